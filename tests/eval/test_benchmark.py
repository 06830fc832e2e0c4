"""The benchmark and its documents: made from the record alone, and found out when either was edited."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eval.baselines import BASELINES
from eval.benchmark_page import END, START, render_page, render_table, splice
from router.errors import ConfigError

Command = Callable[..., Any]
DOCUMENTS = ("README.md", "docs/BENCHMARKS.md", "docs/benchmarks.json", "docs/gap-closed.svg")
README = f"# A toy\n\nBefore.\n\n{START}\nold\n{END}\n\nAfter.\n"


@pytest.fixture(scope="module")
def data(
    tmp_path_factory: pytest.TempPathFactory,
    write: Callable[..., tuple[Path, Path]],
    draw: Callable[..., NDArray[np.float64]],
    texts: list[str],
) -> Path:
    """A folder of two histories of 60 prompts: on three tiers, of which the longer prompts need the dearer, and on two."""
    folder, prompts = tmp_path_factory.mktemp("data"), texts[:60]
    long = np.array([len(prompt) > 200 for prompt in prompts])
    score = draw(60, (0.8, 0.85, 0.9), seed=1)
    score[long] = draw(60, (0.1, 0.5, 0.9), seed=2)[long]
    cost = np.tile([0.0001, 0.001, 0.01], (60, 1))
    for name, ends, names in (
        ("three", slice(None), ("small", "medium", "large")),
        ("two", slice(None, None, 2), ("small", "large")),
    ):
        history, tiers = write(folder / name, prompts, score[:, ends], names=names, cost_usd=cost[:, ends])
        history.rename(folder / f"{name}.parquet")
        tiers.rename(folder / f"{name}.tiers.toml")
        (folder / name).rmdir()
    return folder


@pytest.fixture(scope="module")
def measured(
    data: Path, tmp_path_factory: pytest.TempPathFactory, evaluate_here: Command
) -> tuple[Any, Path]:
    """The run, and the checkout that it wrote to; not to be changed."""
    root = tmp_path_factory.mktemp("checkout")
    (root / "README.md").write_text(README, encoding="utf-8")
    return evaluate_here(
        "benchmark", "--data", data, "--out", root, "--workers", "1", "--seed", "2", "--repeats", "2"
    ), root


@pytest.fixture
def checkout(measured: tuple[Any, Path], tmp_path: Path) -> Path:
    """A copy of it, to edit."""
    return Path(shutil.copytree(measured[1], tmp_path / "checkout"))


def record_of(root: Path) -> Any:
    return json.loads((root / DOCUMENTS[2]).read_bytes())


def test_it_measures_every_history_on_every_ladder(measured: tuple[Any, Path]) -> None:
    done, root = measured
    assert 0 == done.code, done.err
    expected = ["three/as given", "three/its two ends", "two/as given"]
    assert expected == list(done.result["runs"])
    record = record_of(root)
    assert expected == [f"{run['history']}/{run['ladder']}" for run in record["runs"]]
    assert [3, 2, 2] == [len(run["tiers"]) for run in record["runs"]]
    assert {60} == {run["prompts"] for run in record["runs"]}
    assert {60} == {row["observed"] for run in record["runs"] for row in run["calibration"]}
    assert (2, 2, 1000, 1) == (record["seed"], record["repeats"], record["n_boot"], record["workers"])
    assert record["command"].startswith("python -m eval benchmark --data ")
    assert record["command"].endswith("--seed 2 --repeats 2")
    assert record["peak_mb"] > 0
    assert {} == record["learning"]  # of histories so small
    assert {path.name for path in root.iterdir()} == {"README.md", "docs"}
    assert {path.name for path in (root / "docs").iterdir()} == {
        "BENCHMARKS.md",
        "benchmarks.json",
        "gap-closed.svg",
    }


def test_the_two_ends_are_the_same_as_a_ladder_of_two(measured: tuple[Any, Path]) -> None:
    """What is fixed is the same either way; estimators learn from the middle tier as well, or not."""
    _, ends, two = record_of(measured[1])["runs"]
    fixed = [
        {entry["name"]: entry["gap_closed"] for entry in run["contenders"] if entry["kind"] == "tier"}
        for run in (ends, two)
    ]
    assert fixed[0] == fixed[1]
    assert ends["tiers"] == two["tiers"]
    assert all(entry["two_tier"] for entry in two["contenders"] if entry["kind"] == "baseline")


def test_what_choosing_at_mean_costs_closes_is_told_of_every_scored_contender(
    measured: tuple[Any, Path],
) -> None:
    for run in record_of(measured[1])["runs"]:
        scored = [entry for entry in run["contenders"] if entry["kind"] in ("subject", "baseline")]
        assert ["tierwise", *sorted(BASELINES)] == [scored[0]["name"], *sorted(e["name"] for e in scored[1:])]
        ours = scored[0]["at_mean_cost"]
        assert ours["lead"] is None
        for entry in scored:
            gap = entry["at_mean_cost"]["gap_closed"]
            assert gap["low"] <= gap["value"] <= gap["high"]
        for entry in scored[1:]:
            there = entry["at_mean_cost"]
            lead = ours["gap_closed"]["value"] - there["gap_closed"]["value"]
            assert lead == pytest.approx(there["lead"]["value"])
        assert any(entry["gap_closed"] != entry["at_mean_cost"]["gap_closed"] for entry in scored)
        assert all(entry["at_mean_cost"] is None for entry in run["contenders"] if entry not in scored)


def test_where_a_call_costs_the_same_on_every_prompt_nothing_is_to_explain(
    measured: tuple[Any, Path],
) -> None:
    for run in record_of(measured[1])["runs"]:
        assert [None] * len(run["tiers"]) == [tier["cost_explained"] for tier in run["tiers"]]


def test_no_prompt_leaves_the_histories(measured: tuple[Any, Path], texts: list[str]) -> None:
    done, root = measured
    told = [done.out, done.err, *((root / name).read_text(encoding="utf-8") for name in DOCUMENTS)]
    for text in told:
        assert not [prompt for prompt in texts[:60] if prompt[:30] in text]
        assert '"prompt_id"' not in text


def test_the_documents_hold_what_the_record_says(measured: tuple[Any, Path]) -> None:
    root, record = measured[1], record_of(measured[1])
    assert splice(README, render_table(record)) == (root / "README.md").read_text(encoding="utf-8")
    page = (root / DOCUMENTS[1]).read_text(encoding="utf-8")
    assert render_page(record).strip() == page.strip()
    readme = (root / "README.md").read_text(encoding="utf-8")
    assert readme.startswith("# A toy\n\nBefore.\n\n<!--")
    assert readme.endswith("-->\n\nAfter.\n")
    assert "old" not in readme
    for run in record["runs"]:
        assert run["verdict"]["word"] in page
        ours = run["contenders"][0]["gap_closed"]["value"]
        assert f"{100 * ours:.1f} %".replace("-", "−") in page


def test_the_check_passes_after_a_run(measured: tuple[Any, Path], evaluate_here: Command) -> None:
    done = evaluate_here("benchmark", "--check", "--out", measured[1])
    assert (0, "") == (done.code, done.err)
    assert record_of(measured[1])["created"] == done.result["created"]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("README.md", "three |", "three! |", "README.md and docs/benchmarks.json disagree"),
        ("docs/BENCHMARKS.md", "gap closed", "gap open", "docs/BENCHMARKS.md and docs/benchmarks.json disagree"),
        ("docs/benchmarks.json", '"prompts": 60', '"prompts": 61', "docs/BENCHMARKS.md, README.md, docs/gap-closed.svg and"),
        ("docs/gap-closed.svg", "tierwise", "tierwide", "docs/gap-closed.svg and docs/benchmarks.json disagree"),
        ("docs/benchmarks.json", "{", "", "JSONDecodeError"),
        ("docs/benchmarks.json", '"runs"', '"ruins"', "KeyError"),
        ("docs/benchmarks.json", '"name": "length"', '"name": "width"', "StopIteration"),
        ("docs/benchmarks.json", '"seconds": ', '"seconds": null, "s": ', "TypeError"),
    ],
)  # fmt: skip
def test_the_check_finds_what_was_edited(
    checkout: Path, evaluate_here: Command, name: str, old: str, new: str, said: str
) -> None:
    edit(checkout / name, old, new)
    before = {document: (checkout / document).read_bytes() for document in DOCUMENTS}
    done = evaluate_here("benchmark", "--check", "--out", checkout)
    assert (3, "") == (done.code, done.out)
    assert 1 == len(done.err.splitlines())
    assert done.err.startswith("error: --check: ")
    assert said in done.err
    assert "python -m eval benchmark --data DIR" in done.err
    assert before == {document: (checkout / document).read_bytes() for document in DOCUMENTS}


def test_what_lies_outside_the_marks_is_free(checkout: Path, evaluate_here: Command) -> None:
    edit(checkout / "README.md", "After.", "After all.")
    page = checkout / "docs" / "BENCHMARKS.md"
    page.write_text(f"# By hand\n\n{page.read_text(encoding='utf-8')}\nMore.\n", encoding="utf-8")
    assert 0 == evaluate_here("benchmark", "--check", "--out", checkout).code


@pytest.mark.parametrize("gone", DOCUMENTS)
def test_the_check_needs_every_document(checkout: Path, evaluate_here: Command, gone: str) -> None:
    (checkout / gone).unlink()
    done = evaluate_here("benchmark", "--check", "--out", checkout)
    assert (3, 1) == (done.code, len(done.err.splitlines()))
    assert Path(gone).name in done.err


@pytest.mark.parametrize(
    "text", ["No marks.\n", f"{START}\n", f"{END}\n{START}\n", f"{START}\n{END}\n{START}\n{END}\n"]
)
@pytest.mark.parametrize("name", ["README.md", "docs/BENCHMARKS.md"])
def test_marks_that_are_missing_are_refused_before_anything_is_measured(
    checkout: Path, data: Path, evaluate_here: Command, name: str, text: str
) -> None:
    (checkout / name).write_text(text, encoding="utf-8")
    record = (checkout / DOCUMENTS[2]).read_bytes()
    for arguments in (("--data", data), ("--check",)):
        done = evaluate_here("benchmark", *arguments, "--out", checkout)
        assert (3, "") == (done.code, done.out)
        assert 1 == len(done.err.splitlines())
        assert f"{checkout / name}: expected one block between" in done.err
    assert record == (checkout / DOCUMENTS[2]).read_bytes()


def test_what_cannot_be_measured_is_refused(
    checkout: Path, data: Path, evaluate_here: Command, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "lone").mkdir()
    shutil.copyfile(data / "two.tiers.toml", tmp_path / "lone" / "two.tiers.toml")
    (tmp_path / "bare").mkdir()
    cases = [
        ([], "--data: name the folder"),
        (["--data", tmp_path / "unknown"], "unknown: expected NAME.tiers.toml beside a NAME.parquet, found none"),
        (["--data", tmp_path / "empty"], "found none"),
        (["--data", tmp_path / "lone"], "two.parquet"),
        (["--data", data, "--out", tmp_path / "bare"], "README.md: cannot be read"),
        (["--data", data, "--seed", "-1"], "--seed is 0 to 4294967295 and --workers 1 or more; found -1"),
        (["--data", data, "--workers", "0"], "--workers 1 or more"),
        (["--data", data, "--repeats", "0"], "--repeats is 1 or more; found 0"),
        (["--data", data, "--repeats", "-2"], "--repeats is 1 or more; found -2"),
    ]  # fmt: skip
    for arguments, sentence in cases:
        place = [] if "--out" in arguments else ["--out", checkout]
        done = evaluate_here("benchmark", *arguments, *place)
        said = [line for line in done.err.splitlines() if not line.startswith("[")]
        assert (3, "", 1) == (done.code, done.out, len(said)), done.err
        assert sentence in said[0]


def test_the_last_history_is_judgeable_before_the_first_is_measured(
    checkout: Path,
    data: Path,
    evaluate_here: Command,
    write: Callable[..., tuple[Path, Path]],
    tmp_path: Path,
) -> None:
    """Ten rows of the last one: nothing has been fitted by then, and the documents stand."""
    shutil.copytree(data, tmp_path / "data")
    history, tiers = write(tmp_path / "few", [f"prompt {i}" for i in range(10)], np.eye(10)[:, :3])
    history.rename(tmp_path / "data" / "zz.parquet")
    tiers.rename(tmp_path / "data" / "zz.tiers.toml")
    before = {name: (checkout / name).read_bytes() for name in DOCUMENTS}
    done = evaluate_here("benchmark", "--data", tmp_path / "data", "--out", checkout)
    said = [line for line in done.err.splitlines() if not line.startswith("[")]
    assert (3, "", 1) == (done.code, done.out, len(said))
    assert "zz, ladder as given: cannot be judged: Only 10 prompts" in said[0]
    assert "three, ladder" not in done.err
    assert before == {name: (checkout / name).read_bytes() for name in DOCUMENTS}


@pytest.mark.parametrize(
    "text", ["", START, END, f"{END} {START}", f"{START}{START}{END}", f"{START}{END}{START}{END}"]
)
def test_a_document_without_one_block_cannot_be_spliced(text: str) -> None:
    with pytest.raises(ConfigError, match=r"page\.md: expected one block"):
        splice(text, "new", "page.md")


def test_splicing_keeps_what_is_around() -> None:
    assert "before new after" == splice(f"before {START} old {END} after", "\nnew\n")
