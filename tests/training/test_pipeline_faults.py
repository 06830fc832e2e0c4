"""A weekly run that cannot be done: one sentence and its exit code, what serves stays, and the next run is clean."""

from __future__ import annotations

import re
import signal
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from mishaps import NOT_ALLOWED, At, Step
from weeks import LARGE, SMALL, Home, Project, make_project, run, start

pytestmark = pytest.mark.pipeline

TRACKING = "training.pipeline.tracking:Tracking"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def refused(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home whose runs are all refused."""
    return project.home.copy(tmp_path_factory.mktemp("refused") / "home")


@pytest.fixture
def home(project: Project, tmp_path: Path) -> Home:
    """A home with a champion."""
    return project.home.copy(tmp_path / "home")


def assert_next_run_promotes(project: Project, home: Home) -> None:
    ended = run(project, home, project.better)
    assert (0, "ROUTE", 2) == (ended.code, ended.result["verdict"], ended.result["champion"])
    assert (2, [1, 2], ended.result["model_id"]) == home.serving
    assert "FINISHED" == home.runs[-1]
    assert 2 == len(home.versions)


# Data


def write_nothing(_: pd.DataFrame, path: Path) -> None:
    assert not path.exists()


def write_empty(_: pd.DataFrame, path: Path) -> None:
    path.touch()


def cut_off(good: pd.DataFrame, path: Path) -> None:
    good.to_parquet(path)
    path.write_bytes(path.read_bytes()[:-1000])


def half_write(good: pd.DataFrame, path: Path) -> None:
    path.write_text(good.to_json(orient="records", lines=True)[:-40], encoding="utf-8")


def keep_few(good: pd.DataFrame, path: Path) -> None:
    good[good["prompt_id"].isin(good["prompt_id"].unique()[:40])].to_parquet(path)


DATA: dict[str, tuple[str, Callable[[pd.DataFrame, Path], object], tuple[str, ...], str]] = {
    "not there": ("h.parquet", write_nothing, (), r"cannot be read \(No such file or directory\)"),
    "no match": ("*.parquet", write_nothing, (), "matches no file"),
    "empty": ("h.parquet", write_empty, (), "found an empty file"),
    "empty lines": ("h.jsonl", write_empty, (), "found an empty file"),
    "cut off": ("h.parquet", cut_off, (), "cut off or damaged"),
    "half-written": ("h.jsonl", half_write, (), "the last line is half-written"),
    "empty window": (
        "h.parquet",
        lambda good, path: good.to_parquet(path),
        ("--since", "2030-01-01"),
        "no prompt is of 2030-01-01 00:00 UTC or later; found 240 from 2026-03-30",
    ),
    "window without times": (
        "h.parquet",
        lambda good, path: good.drop(columns="timestamp").to_parquet(path),
        ("--window", "4w"),
        "need a timestamp for every prompt; found none for 240 of 240",
    ),
    "tier without outcomes": (
        "h.parquet",
        lambda good, path: good[good["model"] != LARGE.model].to_parquet(path),
        (),
        r"expected outcomes of tier large \(synthetic-large\), found none",
    ),
    "other models": (
        "h.parquet",
        lambda good, path: good.assign(model=good["model"] + "-v2").to_parquet(path),
        (),
        "did you mean synthetic-small-v2 for synthetic-small",
    ),
    "nothing passes": (
        "h.parquet",
        lambda good, path: good.assign(score=0.0).to_parquet(path),
        (),
        "no tier passed any of 240 prompts",
    ),
    "too few": ("h.parquet", keep_few, (), "expected 50 prompts or more to learn from, found"),
}


@pytest.mark.parametrize("case", DATA)
def test_data_that_cannot_be_used(project: Project, refused: Home, tmp_path: Path, case: str) -> None:
    name, write, options, said = DATA[case]
    write(pd.read_parquet(project.better), tmp_path / name)
    ended = run(project, refused, tmp_path / name, *options)
    assert 3 == ended.code, ended.err
    assert re.search(f"^error: history.*{said}", ended.error)
    assert project.home.serving == refused.serving
    assert 1 == len(refused.versions)
    assert "fit" not in ended.begun
    assert {"FINISHED", "FAILED"} >= set(refused.runs)


def test_too_few_prompts_to_judge_and_then_enough(project: Project, refused: Home, tmp_path: Path) -> None:
    good = pd.read_parquet(project.better)
    newest = good.drop_duplicates("prompt_id").sort_values("timestamp")["prompt_id"].iloc[-60::2]
    ungraded = good["prompt_id"].isin(newest) & (good["model"] == SMALL.model)
    good[~ungraded].to_parquet(tmp_path / "h.parquet")
    ended = run(project, refused, tmp_path / "h.parquet")
    assert 4 == ended.code, ended.err
    assert re.search(r"^error: gate: .* 30 are the least that can be judged", ended.error)
    assert project.home.serving == refused.serving
    assert (1, "FAILED") == (len(refused.versions), refused.runs[-1])
    assert_next_run_promotes(project, refused)


@pytest.mark.parametrize("score", [SMALL.model, LARGE.model, None])
def test_one_tier_that_is_always_best_or_none(
    project: Project, home: Home, tmp_path: Path, score: str | None
) -> None:
    """Between a tier that always passes and others that never do, or where all pass, there is no gap to close."""
    good = pd.read_parquet(project.better)
    passed = good["model"].isin([score] if score else [SMALL.model, LARGE.model])
    good.assign(score=passed.astype(float)).to_parquet(tmp_path / "h.parquet")
    ended = run(project, home, tmp_path / "h.parquet")
    assert 0 == ended.code, ended.err
    assert ended.result["champion"] == home.champion
    assert ("ROUTE" == ended.result["verdict"]) == (2 == home.champion)


# Interrupts


def test_stopped_while_it_fits(project: Project, home: Home) -> None:
    for number, code, status in (
        (signal.SIGTERM, -signal.SIGTERM, "RUNNING"),
        (signal.SIGINT, 130, "KILLED"),
    ):
        running = start(project, home, project.better, wait=At("training.pipeline.fitting:learn"))
        running.reached()
        running.send(number)
        ended = running.end()
        assert (code, ["FINISHED", status]) == (ended.code, home.runs)
        assert project.home.serving == home.serving
    assert ended.error.startswith("interrupted")
    assert_next_run_promotes(project, home)


def test_stopped_when_the_champion_has_moved(project: Project, home: Home) -> None:
    running = start(project, home, project.better, wait=At("training.pipeline.logbook:Logbook.concluded"))
    running.reached()
    running.send(signal.SIGINT)
    ended = running.end()
    assert (130, 2) == (ended.code, home.champion)
    assert "interrupted; version 2 is the champion now; run it again: it does the rest" == ended.error
    assert_next_run_promotes(project, home)


def test_what_a_person_did_to_the_alias_since_then_stays(project: Project, home: Home) -> None:
    place = At("training.pipeline.logbook:Logbook.concluded")
    assert -signal.SIGKILL == run(project, home, project.better, kill=place).code
    assert 2 == home.champion
    with closing(sqlite3.connect(home.database)) as database, database:  # as MLflow's own page does
        database.execute("UPDATE registered_model_aliases SET version = 1 WHERE alias = 'champion'")
    ended = run(project, home, project.better)
    assert (0, False, 1) == (ended.code, ended.result["promoted"], home.champion), ended.err
    assert "this run had moved the champion, and others have since: nothing is moved again" in ended.err


# One at a time


def test_a_second_run_is_refused_and_the_first_is_unharmed(project: Project, home: Home) -> None:
    running = start(project, home, project.better, wait=Step("fit", "begun"))
    running.reached()
    second = run(project, home, project.worse)
    holder = f"another run holds {home.path}/retrain.lock: pid {running.process.pid} of "
    assert (1, []) == (second.code, second.begun)
    assert second.error.startswith(f"error: {holder}")
    assert f"@{socket.gethostname()} (python -m training retrain) since " in second.error
    assert re.search(r"\((just now|\d+ minutes?)\); wait for it, or stop it$", second.error)
    assert ["FINISHED", "RUNNING"] == home.runs
    running.go_on()
    assert (0, True) == ((ended := running.end()).code, ended.result["promoted"])
    assert (2, [1, 2], ended.result["model_id"]) == home.serving


def test_a_database_that_another_process_holds(project: Project, home: Home) -> None:
    running = start(project, home, project.better, wait=At(f"{TRACKING}.find_run"))
    running.reached()
    with closing(sqlite3.connect(home.database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        running.go_on()
        ended = running.end()
        other.execute("ROLLBACK")
    assert 1 == ended.code
    assert f"at {home.database}: another process holds the database" in ended.error
    assert project.home.serving == home.serving
    assert_next_run_promotes(project, home)


# No room

FULL = [
    At(f"{TRACKING}.begin"),
    *(
        Step(name, "begun")
        for name in ("load", "split", "fit", "export", "evaluate", "duel", "register", "gate")
    ),
    At("training.pipeline.retrain:promote"),
    At(f"{TRACKING}.set_model_tag"),
    At(f"{TRACKING}.set_alias", "champion"),
]


def test_a_disk_that_is_full_from_some_step_on(project: Project, home: Home) -> None:
    for place in FULL:
        ended = run(project, home, project.better, fill=place)
        assert 1 == ended.code, ended.err
        assert "make room" in ended.error
        assert project.home.serving == home.serving
    for place in (
        At(f"{TRACKING}.set_alias", "champion", "after"),
        At("training.pipeline.retrain:_WeeklyRun._conclude"),
        At("training.pipeline.logbook:Logbook.finish"),
    ):
        ended = run(project, home, project.better, fill=place)
        assert (1, 2) == (ended.code, home.champion)
        assert ended.error.startswith("error: version 2 is the champion now, but not all is done: ")
        assert "make room" in ended.error
    assert_next_run_promotes(project, home)


def test_checkpoints_on_a_file_system_that_is_too_small(project: Project, home: Home) -> None:
    (home.path / "work").mkdir()
    reached = set()
    for size in (16 << 10, 1 << 20):
        # Another model has no champion that would have to be fetched, which would be the first to find no room.
        options = ("--model-name", "another")
        ended = run(project, home, project.better, *options, small={home.path / "work": size})
        if ended.code == NOT_ALLOWED:
            pytest.skip("this user may not mount file systems")
        assert 1 == ended.code, ended.err
        assert re.search("No space left on device|the disk is full", ended.error)
        assert "make room" in ended.error
        assert project.home.serving == home.serving
        reached.add(ended.begun[-1])
    assert {"fit", "export"} == reached
    assert_next_run_promotes(project, home)


def test_no_room_for_the_next_champion_beside_the_old_one(project: Project, home: Home) -> None:
    folder = home.path / "served"
    folder.mkdir()
    settings = f'champion_dir = "{folder}/champion"'
    stored = next(project.home.path.glob("artifacts/models/*"))
    room = size_of(stored) + size_of(home.path / "champion") // 2
    ended = run(project, home, project.better, settings=settings, small={folder: room})
    if ended.code == NOT_ALLOWED:
        pytest.skip("this user may not mount file systems")
    assert (1, "intend") == (ended.code, ended.begun[-1]), ended.err
    assert "make room" in ended.error
    assert (1, [1]) == home.serving[:2]
    ended = run(project, home, project.better, settings=settings)
    assert (0, 2, []) == (ended.code, home.champion, ended.begun)
    assert [folder / "champion"] == list(folder.iterdir())


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
