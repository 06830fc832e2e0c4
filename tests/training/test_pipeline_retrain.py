"""The weekly run, from files to a champion that serves: on a real database, in order, week after week."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from eval.history import read_history
from eval.progress import Progress
from router import ConfigError, Router
from router.artifact import open_artifact, read_manifest
from router.tiers import read_tiers
from training.material import prepare
from training.pipeline.config import parse_settings
from training.pipeline.gate import GateError
from training.pipeline.incumbent import digest_groups
from training.pipeline.promotion import rollback
from training.pipeline.retrain import retrain
from training.pipeline.settings import Settings
from training.pipeline.tracking import Tracking
from training.synthetic import write_demo

STEPS = [
    "load", "validate", "label", "split", "fit", "calibrate", "certify", "export", "verify", "evaluate", "duel", "register",
    "gate",
]  # fmt: skip


class Weeks(NamedTuple):
    """A home after three weeks, the settings of each, and what each run came to."""

    home: Path
    settings: list[Settings]
    results: dict[str, dict[str, Any]]


def settings_for(home: Path, folder: Path, **changes: Any) -> Settings:
    document = {
        "history": str(folder / "*.parquet"),
        "tiers": str(folder / "tiers.toml"),
        "home": str(home),
        # Few prompts support no stricter promise.
        "promotion": {"max_regret": 0.2, "max_ece": 0.2},
    }
    return parse_settings(document | changes, "test")


def cut(whole: pd.DataFrame, until: str, folder: Path, tiers: Path) -> Path:
    """Write the history up to a day, with the ladder beside it."""
    folder.mkdir()
    whole[whole["timestamp"] < until].to_parquet(folder / "history.parquet")
    (folder / "tiers.toml").write_bytes(tiers.read_bytes())
    return folder


@pytest.fixture(scope="module")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> Weeks:
    """A first run, the same again, the next week as a dry run and then for real; not to be changed."""
    base = tmp_path_factory.mktemp("weeks")
    home = base / "home"
    history, tiers = write_demo(base / "whole", n_prompts=900, seed=5)
    whole = pd.read_parquet(history)
    cuts = [cut(whole, until, base / until, tiers) for until in ("2026-03-02", "2026-03-16")]
    settings = [settings_for(home, folder, model_name="weekly") for folder in cuts]
    # What is better by luck does not decide what the tests see: the first champion stays.
    settings[1] = replace(
        settings[1], promotion=replace(settings[1].promotion, margin_saving=1.0, margin_quality=1.0)
    )
    results = {"first": retrain(settings[0])}
    results["again"] = retrain(settings[0])
    results["dry"] = retrain(settings[1], dry_run=True)
    results["real"] = retrain(settings[1])
    return Weeks(home, settings, results)


def test_a_first_model_that_saves_is_promoted(weeks: Weeks) -> None:
    first = weeks.results["first"]
    assert ("ROUTE", True, 1, 1, 0) == tuple(
        first[name] for name in ("verdict", "promoted", "version", "champion", "exit_code")
    )
    assert [*STEPS, "intend", "total"] == list(first["seconds"])
    assert "against always the reference tier" in first["headline"]
    json.dumps(first, allow_nan=False)


def test_the_same_again_is_recognised(weeks: Weeks) -> None:
    first, again = weeks.results["first"], weeks.results["again"]
    same = ("verdict", "headline", "reasons", "version", "champion", "model_id", "run_id", "key")
    assert {name: first[name] for name in same} == {name: again[name] for name in same}
    assert (False, True) == (first["repeated"], again["repeated"])
    assert ["total"] == list(again["seconds"])


def test_a_dry_run_promotes_nothing_and_the_run_itself_goes_on_from_there(weeks: Weeks) -> None:
    dry, real = weeks.results["dry"], weeks.results["real"]
    assert (True, False, 1) == tuple(dry[name] for name in ("dry_run", "promoted", "champion"))
    assert [*STEPS[:9], "drift", *STEPS[9:], "total"] == list(dry["seconds"])
    assert ["intend", "total"] == list(real["seconds"])  # all else was done
    assert (dry["run_id"], dry["version"], dry["model_id"]) == (
        real["run_id"],
        real["version"],
        real["model_id"],
    )
    assert ("KEEP", False, 1) == tuple(real[name] for name in ("verdict", "promoted", "champion"))


def test_nothing_is_left_of_a_finished_run_but_what_serves(weeks: Weeks) -> None:
    assert {"mlflow.db", "artifacts", "champion", "retrain.lock"} == {
        path.name for path in weeks.home.iterdir()
    }
    router = Router.load(weeks.home / "champion")
    served = next(r for r in weeks.results.values() if r["version"] == weeks.results["real"]["champion"])
    assert served["model_id"] == router.model_id


def named(weeks: Weeks) -> Tracking:
    place = weeks.settings[0].place
    return Tracking(place.tracking_uri, place.artifact_dir, place.model_name)


def test_mlflow_holds_what_a_person_looks_for(weeks: Weeks, tmp_path: Path) -> None:
    tracking, result = named(weeks), weeks.results["real"]
    for name in (
        "verdict.json", "verdict.md", "duel.json", "labels.json", "steps.json", "result.json", "report/report.html",
        "report/report.md", "report/report.json", "drift/drift.html", "drift/drift.json", "drift/drift.svg",
        "plots/cost-quality.svg", "training/seen_groups.npy",
    ):  # fmt: skip
        found = tracking.fetch(result["run_id"], name, tmp_path / name.replace("/", "-"))
        assert found is not None, name
        assert found.stat().st_size > 0
    version = tracking.version(2)
    assert version is not None
    assert result["verdict"] == version.tags["tierwise.verdict"]
    assert result["model_id"] == version.tags["tierwise.model_id"]
    assert version.tags["tierwise.window"].startswith("2026-01-05 to 2026-03-15")
    assert result["run_id"] == version.tags["tierwise.fitted_by"]
    open_artifact(tracking.fetch_model(2, tmp_path / "model"))


def test_metrics_come_with_their_intervals(weeks: Weeks) -> None:
    from mlflow import MlflowClient

    tracking, result = named(weeks), weeks.results["real"]
    run = MlflowClient(tracking.uri).get_run(result["run_id"])
    metrics, params = run.data.metrics, run.data.params
    assert (
        metrics["challenger.saving.low"] <= metrics["challenger.saving"] <= metrics["challenger.saving.high"]
    )
    assert metrics["saving_lead.low"] <= metrics["saving_lead"] <= metrics["saving_lead.high"]
    assert {"small", "medium", "large"} == {
        name.removeprefix("label.pass_rate.") for name in metrics if name.startswith("label.pass_rate.")
    }
    assert ("group" if params["split"] == "group" else "time") == params["split"]
    assert "0.2" == params["promotion.max_regret"]
    assert "FINISHED" == run.info.status
    assert result["verdict"] in run.info.run_name
    assert run.data.tags["mlflow.note.content"].startswith(f"# {result['verdict']}")
    dataset = run.inputs.dataset_inputs[0].dataset
    assert "history.parquet" == dataset.name


def test_each_side_is_judged_on_what_neither_has_seen(weeks: Weeks, tmp_path: Path) -> None:
    tracking, settings = named(weeks), weeks.settings[1]
    first, real = weeks.results["first"]["run_id"], weeks.results["real"]["run_id"]
    seen = np.load(tracking.fetch(first, "training/seen_groups.npy", tmp_path / "seen"))
    duel = json.loads(tracking.fetch(real, "duel.json", tmp_path / "duel").read_bytes())
    ladder = read_tiers(settings.tiers)
    material = prepare(
        read_history(settings.tiers.parent / "history.parquet"),
        ladder,
        settings.seed,
        settings.split,
        Progress(),
    )
    held = material.outcomes.take(material.split.test & material.outcomes.complete)
    known = np.array(
        [np.isin(digest_groups(held, np.arange(len(held)) == i), seen)[0] for i in range(len(held))]
    )
    assert 0 < known.sum()  # near repeats of prompts that the champion learned from
    assert (~known).sum() == duel["prompts"]


def test_rollback_needs_a_champion_before(weeks: Weeks) -> None:
    with pytest.raises(ConfigError, match="version 1 is the first champion"):
        rollback(named(weeks), weeks.settings[0].place)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"since": "2030-01-01"}, "2030-01-01"),
        ({"max_age": "1w"}, "days old"),
        ({"tiers": "no.toml"}, "no.toml"),
        ({"history": "no/*.parquet"}, "matches no file"),
    ],
)
def test_data_that_is_refused_changes_nothing(weeks: Weeks, changes: dict[str, Any], said: str) -> None:
    folder = Path(weeks.settings[0].tiers).parent
    before = named(weeks).versions()
    with pytest.raises(ConfigError, match=said) as raised:
        retrain(settings_for(weeks.home, folder, model_name="weekly", **changes))
    assert 3 == raised.value.exit_code
    assert before == named(weeks).versions()


def test_a_champion_that_does_not_open_stops_at_the_gate(weeks: Weeks) -> None:
    folders = [path.parent for path in (weeks.home / "artifacts").rglob("manifest.json")]
    model_id = weeks.results["first"]["model_id"]
    stored = next(folder for folder in folders if read_manifest(folder).model_id == model_id) / "model.onnx"
    whole = stored.read_bytes()
    stored.write_bytes(whole[:-10])
    try:
        with pytest.raises(GateError, match="cannot be opened") as raised:
            retrain(replace(weeks.settings[1], seed=9))  # another seed is another run
    finally:
        stored.write_bytes(whole)
    assert 4 == raised.value.exit_code
