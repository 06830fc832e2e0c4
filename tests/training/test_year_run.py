"""The running of a year, with a pipeline that only puts a toy where the champion belongs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from homes import rename

from bench import year as bench_year
from bench.year import Year, compare_champions
from bench.year_history import draw_week
from training.void import void


class Pipeline:
    """Refuses in week 1, promotes in week 2 and keeps in week 3; in week 4 its gate cannot run, and it demotes."""

    def __init__(self, toy: Path, scratch: Path) -> None:
        self.runs = 0
        self._toy, self._scratch = toy, scratch

    def retrain(self, logs: Path, tiers: Path, home: Path, _seed: int) -> dict[str, Any]:
        assert tiers.is_file()
        self.runs += 1
        week = len(list(logs.glob("week-*.parquet")))
        said: dict[str, Any] = {"exit_code": {1: 3, 4: 4}.get(week, 0), "wall_s": 1.0, "promoted": week == 2}
        if week == 2:
            rename(self._toy, home / "champion", "tw-000000000001")
            said |= {"verdict": "ROUTE", "headline": "It is better.", "version": 1}
        if week == 3:
            said |= {"verdict": "KEEP", "version": 2}
        if week == 4:
            void(self._toy, self._scratch / "void", why="it does not hold", date="2026-01-01")
            shutil.rmtree(home / "champion")
            shutil.copytree(self._scratch / "void", home / "champion")
        return said

    def fetch(self, _home: Path, version: int, into: Path) -> None:
        shutil.rmtree(into, ignore_errors=True)
        rename(self._toy, into, f"tw-{version:012d}")


@pytest.fixture
def pipeline(toy_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    monkeypatch.setattr(bench_year, "FURTHER", 50)
    return Pipeline(toy_artifact, tmp_path)


def year_of(pipeline: Pipeline, folder: Path, seed: int = 3) -> Year:
    return Year(folder, 20, seed, pipeline.retrain, pipeline.fetch)


def test_every_change_of_champion_is_kept_also_one_that_no_run_tells(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    year = year_of(pipeline, tmp_path / "year")
    records = [year.run_week(week) for week in range(1, 5)]
    assert [None, "promoted", None, "demoted"] == [
        each["change"] and each["change"]["how"] for each in records
    ]
    assert all(each["commit"] is None or isinstance(each["commit"], str) for each in records)
    promoted, demoted = records[1]["change"], records[3]["change"]
    assert promoted["old"]["always_top"]
    assert promoted["same_cost"] is None
    assert (True, 50) == (demoted["new"]["always_top"], demoted["new"]["prompts"])
    assert demoted["same_cost"] == 0.0  # a void copy scores as the original does
    assert not list((tmp_path / "year" / "models").glob("before-*"))


def test_a_year_goes_on_where_it_stopped(pipeline: Pipeline, tmp_path: Path) -> None:
    year = year_of(pipeline, tmp_path / "year")
    year.run_week(1)
    once = year.run_week(2)
    again = year_of(pipeline, tmp_path / "year").run_week(2)
    assert (2, once) == (pipeline.runs, again)
    # It stopped after the pipeline had promoted its first champion and before the week was judged.
    (tmp_path / "year" / "weeks" / "02.json").unlink()
    (tmp_path / "year" / "models" / "before-02").mkdir()
    judged = year_of(pipeline, tmp_path / "year").run_week(2)
    assert (2, once["change"]) == (pipeline.runs, judged["change"])


def test_nobody_served_is_remembered_while_the_pipeline_runs(pipeline: Pipeline, tmp_path: Path) -> None:
    year = year_of(pipeline, tmp_path / "year")
    year.run_week(1)

    def stop(*_: object) -> dict[str, Any]:
        pipeline.retrain(
            tmp_path / "year" / "logs", tmp_path / "year" / "tiers.toml", tmp_path / "year" / "home", 3
        )
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Year(tmp_path / "year", 20, 3, stop, pipeline.fetch).run_week(2)

    def recognised(*_: object) -> dict[str, Any]:
        return {"exit_code": 0, "wall_s": 1.0, "promoted": True, "verdict": "ROUTE", "version": 1}

    record = Year(tmp_path / "year", 20, 3, recognised, pipeline.fetch).run_week(2)
    assert record["change"]["old"]["always_top"]


def test_a_folder_holds_one_year(pipeline: Pipeline, tmp_path: Path) -> None:
    year_of(pipeline, tmp_path / "year")
    with pytest.raises(SystemExit, match="holds another year"):
        year_of(pipeline, tmp_path / "year", seed=4)


def test_champions_are_compared_on_the_same_prompts(toy_artifact: Path) -> None:
    told = compare_champions(toy_artifact, toy_artifact, draw_week(1, 40, 0))
    assert told["new"] == told["old"]
    assert told["same_cost"] == 0.0
    assert json.dumps(told)


def test_seeds_are_different_years(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bench.year", "--seeds", "1", "1"])
    with pytest.raises(SystemExit):
        bench_year.main()
    assert "--seeds are different years" in capsys.readouterr().err


def test_each_seed_is_a_year_of_its_own_and_the_first_is_told_at_length(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, pipeline: Pipeline
) -> None:
    out = tmp_path / "out"
    for seed in (5, 2):
        year = Year(out / f"seed-{seed}", 20, seed, pipeline.retrain, pipeline.fetch)
        for week in (1, 2):
            year.run_week(week)
    monkeypatch.setattr(
        "sys.argv", ["bench.year", "--seeds", "5", "2", "--weeks", "2", "--per-week", "20", "--out", str(out)]
    )
    bench_year.main()
    told = capsys.readouterr()
    document = json.loads(told.out)
    assert [5, 2] == [each["seed"] for each in document["years"]]
    assert (4, 1) == (pipeline.runs, document["workers"])
    assert "champion, seed 5" in told.err
