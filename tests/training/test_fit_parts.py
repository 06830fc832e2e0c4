"""Which part of a history decides what: nothing leaks from what certifies and judges; and what a fit says of a ladder
that is dominated, and of a calibration part that is too small."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import ceil, log
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from eval.history import read_history
from eval.outcomes import tabulate
from eval.split import split_rows
from router import Policy, Reason, Router
from router.tiers import read_tiers
from training.fit import fit
from training.synthetic import TIERS_TOML, generate

MADE = ("model.onnx", "lexicon.npy", "golden.jsonl.gz")
Learn = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def embedding(committed_embedding: Path) -> Path:
    return committed_embedding


def manifest_of(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
    return document


# What each part decides


@pytest.fixture(scope="module")
def flipped(
    history_files: tuple[Path, Path], embedding: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Per part of the history: an artefact fitted with every outcome of that part turned into its opposite, and its
    answers five times as long and dear; and "nothing". A third of the answers were not counted, so they are estimated."""
    history, tiers = history_files
    outcomes = tabulate(read_history(history), read_tiers(tiers))
    split = split_rows(outcomes, 0)
    table = pd.read_parquet(history)
    paid = ["output_tokens", "cost_usd"]
    table[paid] = table[paid].astype(float)
    table.loc[np.random.default_rng(5).random(len(table)) < 1 / 3, paid] = np.nan
    folders = {}
    for part in ("nothing", "calibration", "test", "train"):
        folder = tmp_path_factory.mktemp(part)
        rows = np.zeros(len(outcomes), bool) if part == "nothing" else getattr(split, part)
        inside = table["prompt_id"].isin(outcomes.prompt_ids[rows])
        assert (part == "nothing") == (inside.sum() == 0)
        changed = table.assign(score=table["score"].where(~inside, 1.0 - table["score"]))
        changed[paid] = changed[paid].mask(inside, 5.0 * changed[paid])
        changed.to_parquet(folder / history.name, index=False)
        changed = folder / history.name
        fit([changed], tiers, folder / "model", seed=0, embedding=embedding)
        folders[part] = folder / "model"
    return folders


def test_the_fit_under_test_has_all_that_could_leak(flipped: dict[str, Path]) -> None:
    document = manifest_of(flipped["nothing"])
    assert set(MADE) <= set(document["files"])
    assert document["certificate"]["table"]
    assert document["certificate"]["quality"]


@pytest.mark.parametrize("part", ["calibration", "test"])
@pytest.mark.parametrize("name", MADE)
def test_what_certifies_and_what_judges_teach_nothing(flipped: dict[str, Path], part: str, name: str) -> None:
    assert (flipped["nothing"] / name).read_bytes() == (flipped[part] / name).read_bytes()


@pytest.mark.parametrize("part", ["calibration", "test"])
def test_nor_have_they_a_part_in_what_is_weighed_expected_or_novel(
    flipped: dict[str, Path], part: str
) -> None:
    whole, changed = manifest_of(flipped["nothing"]), manifest_of(flipped[part])
    # What came of the held-out prompts is written down for drift reports, and decides nothing.
    assert whole["reference"].pop("held") != changed["reference"].pop("held")
    for key in ("model", "cost", "features", "reference"):
        assert whole[key] == changed[key], key
    for key in ("reference", "dominated", "unit_usd", "novelty_threshold"):
        assert whole["decision"][key] == changed["decision"][key], key
    assert whole["data"]["split"] == changed["data"]["split"]


def test_what_judges_promises_nothing(flipped: dict[str, Path]) -> None:
    whole, changed = manifest_of(flipped["nothing"]), manifest_of(flipped["test"])
    del whole["certificate"]["date"], changed["certificate"]["date"]
    assert whole["decision"] == changed["decision"]
    assert whole["certificate"] == changed["certificate"]
    assert whole["model_id"] == changed["model_id"]
    assert whole["metrics"]["router"]["tiers"] != changed["metrics"]["router"]["tiers"]  # it was flipped


def test_what_certifies_decides_the_certificate_and_is_not_measured_on(
    flipped: dict[str, Path],
) -> None:
    whole, changed = manifest_of(flipped["nothing"]), manifest_of(flipped["calibration"])
    assert whole["certificate"]["table"] != changed["certificate"]["table"]
    assert whole["model_id"] != changed["model_id"]
    for key in ("tiers", "gap_closed", "calibration"):
        assert whole["metrics"]["router"][key] == changed["metrics"]["router"][key]


def test_what_teaches_changes_all(flipped: dict[str, Path]) -> None:
    """The tests above can fail."""
    whole, changed = manifest_of(flipped["nothing"]), manifest_of(flipped["train"])
    for name in ("model.onnx", "golden.jsonl.gz"):
        assert (flipped["nothing"] / name).read_bytes() != (flipped["train"] / name).read_bytes()
    assert whole["decision"] != changed["decision"]
    assert whole["certificate"]["table"] != changed["certificate"]["table"]
    # Upside down, the cheapest tier is the best.
    assert ("small", True) == (changed["decision"]["reference"], changed["decision"]["dominated"])


# A ladder whose dearest tier is not the best


@pytest.fixture
def learn(toy_embedding: Path, tmp_path: Path) -> Learn:
    def learn(table: pd.DataFrame) -> dict[str, Any]:
        table.to_parquet(tmp_path / "history.parquet", index=False)
        (tmp_path / "tiers.toml").write_text(TIERS_TOML, encoding="utf-8")
        fit(
            [tmp_path / "history.parquet"],
            tmp_path / "tiers.toml",
            tmp_path / "model",
            embedding=toy_embedding,
        )
        return manifest_of(tmp_path / "model")

    return learn


def plain(n: int) -> pd.DataFrame:
    """A history without messages and times, so that it is divided by group."""
    table = generate(n, 5)
    return table[table["prompt"].notna()].drop(columns=["messages", "timestamp"])


def one_spoken_line(text: str, begins: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith(begins)]
    return line


def test_a_dominated_ladder_is_said_and_promises_are_against_the_best(
    learn: Learn, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    table = plain(420)
    rng = np.random.default_rng(1)
    large = table["model"] == "synthetic-large"
    spoilt = np.where(large & (rng.random(len(table)) < 0.6), 0.0, table["score"])
    document = learn(table.assign(score=spoilt))
    line = one_spoken_line(capfd.readouterr().err, "The ladder is dominated")
    assert "medium is better than large" in line
    assert "so promises are against medium" in line
    assert ("medium", True) == (document["decision"]["reference"], document["decision"]["dominated"])
    assert "medium" == document["certificate"]["reference"]
    router = Router.load(tmp_path / "model")
    asked, uncertified = "Prove that the sum of two odd numbers is even.", Policy(max_regret=0.0)
    assert ("medium", Reason.UNCERTIFIED) == ((d := router.route(asked, uncertified)).tier, d.reason)
    assert ("medium", Reason.EMPTY) == ((d := router.route("")).tier, d.reason)
    usd = document["decision"]["unit_usd"]
    per_call = router.expected_cost(table["prompt"].unique().tolist()).mean(axis=0)
    assert per_call[1] == pytest.approx(usd, rel=0.2)
    assert per_call[2] > 2.0 * usd


def test_a_ladder_that_is_not_dominated_is_not_called_so(
    learn: Learn, capfd: pytest.CaptureFixture[str]
) -> None:
    document = learn(plain(190))
    assert "dominated" not in capfd.readouterr().err
    assert ("large", False) == (document["decision"]["reference"], document["decision"]["dominated"])


# A calibration part that is too small


def test_too_small_a_calibration_part_says_what_it_needs(
    learn: Learn, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    document = learn(plain(130))
    certificate = document["certificate"]
    n, needed = certificate["n"], ceil(log(0.05) / log(0.95))
    assert 59 == needed == certificate["needed"]["0.05"]
    assert 0 < n < needed
    line = one_spoken_line(capfd.readouterr().err, "certificate: ")
    assert f"{n} calibration groups support no promise" in line
    assert "59 for 5 %" in line
    assert {"cross-validation"} == {document["decision"]["basis"]}
    assert [] == [row for row in certificate["table"] if row["alpha"] <= 0.05]
    router = Router.load(tmp_path / "model")
    asked = "Prove that the sum of two odd numbers is even."
    assert Reason.UNCERTIFIED == router.route(asked, Policy(max_regret=0.05)).reason
    assert Reason.UNCERTIFIED == router.route(asked, Policy(preset="balanced")).reason
    assert Reason.UNCERTIFIED != router.route(asked).reason
    epsilon = document["decision"]["default_epsilon"]
    prompts = plain(130)["prompt"].unique().tolist()
    assert router.route_many(prompts, Policy(epsilon=epsilon)) == router.route_many(prompts)


def test_a_large_one_says_nothing_of_it(learn: Learn, capfd: pytest.CaptureFixture[str]) -> None:
    """The certificate still says what stricter promises would need."""
    table = plain(190)
    copies = pd.concat(
        [table.assign(**{c: table[c] + f"/{i}" for c in ("prompt_id", "group", "prompt")}) for i in range(9)]
    )
    document = learn(copies)
    assert document["certificate"]["n"] > 59
    assert "support no promise;" not in capfd.readouterr().err
    assert "certificate" == document["decision"]["basis"]
    assert 299 == document["certificate"]["needed"]["0.01"]
    assert "0.1" not in document["certificate"]["needed"]
