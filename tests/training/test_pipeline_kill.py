"""A weekly run killed at each of its steps: what serves stays, and the next run ends as one that nobody killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from mishaps import At, Step
from weeks import Ended, Home, Project, make_project, run

from router.cli import main

pytestmark = pytest.mark.pipeline

STEPS = [
    "load", "validate", "label", "split", "fit", "calibrate", "certify", "export", "verify", "drift", "evaluate", "duel",
    "register", "gate", "intend",
]  # fmt: skip

KILLED = -9
CLIENT, TRACKING = "mlflow.tracking:MlflowClient", "training.pipeline.tracking:Tracking"
PROMOTION, RETRAIN = "training.pipeline.promotion", "training.pipeline.retrain"

REGISTERING = [
    At(f"{CLIENT}.create_logged_model", when="after"),
    At(f"{CLIENT}.log_model_artifacts", when="after"),
    At(f"{CLIENT}.finalize_logged_model", when="after"),
    At(f"{CLIENT}.create_model_version", when="after"),
    At(f"{TRACKING}.set_alias", "challenger", "after"),
]

BEFORE_THE_ALIAS = [
    At(f"{RETRAIN}:promote"),
    At(f"{TRACKING}.set_model_tag", when="after"),  # the journal's entry
    At(f"{TRACKING}.set_alias", "champion"),
]
AFTER_THE_ALIAS = [
    At(f"{TRACKING}.set_alias", "champion", "after"),
    At(f"{PROMOTION}:publish"),
    At("training.package:_swap", when="after"),
    At(f"{RETRAIN}:promote", when="after"),
    At(f"{TRACKING}.tag_version", when="after"),  # the verdict's
    At(f"{TRACKING}.end"),
]

DEMOTING = [
    (At("training.pipeline.voiding:void", when="after"), 1),
    (At("training.pipeline.voiding:promote"), 1),
    (At(f"{TRACKING}.set_alias", "champion"), 1),
    (At(f"{TRACKING}.set_alias", "champion", "after"), 3),
    (At(f"{PROMOTION}:publish", when="after"), 3),
    (At(f"{TRACKING}.end"), 3),
]


class Whole(NamedTuple):
    """What a run that nobody killed came to, and what serves after it."""

    outcome: dict[str, Any]
    serving: tuple[int | None, list[int], str]
    versions: int


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def better(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A run whose challenger is promoted."""
    whole = run_whole(project, project.better, tmp_path_factory.mktemp("better") / "home")
    assert ("ROUTE", True, 2) == tuple(whole.outcome[name] for name in ("verdict", "promoted", "champion"))
    return whole


@pytest.fixture(scope="module")
def worse(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A run that finds the champion's certificate void."""
    whole = run_whole(project, project.worse, tmp_path_factory.mktemp("worse") / "home")
    assert ("DO NOT ROUTE", True, 3) == tuple(
        whole.outcome[name] for name in ("verdict", "demoted", "champion")
    )
    return whole


def run_whole(project: Project, history: Path, to: Path) -> Whole:
    home = project.home.copy(to)
    ended = run(project, home, history)
    assert STEPS == ended.begun
    return Whole(outcome(ended), home.serving, len(home.versions))


@pytest.fixture(scope="module")
def judged(project: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Home]:
    """By history, a home whose run was killed when the gate had spoken; not to be changed."""
    homes = {}
    for history in (project.better, project.worse):
        home = homes[history] = project.home.copy(tmp_path_factory.mktemp(history.stem) / "home")
        assert KILLED == run(project, home, history, kill=Step("intend", "entered")).code
    return homes


@pytest.fixture
def home(project: Project, tmp_path: Path) -> Home:
    """A home with a champion."""
    return project.home.copy(tmp_path / "home")


def outcome(ended: Ended) -> dict[str, Any]:
    """What a run came to, without what differs between two runs of the same: times, ids, places."""
    assert 0 == ended.code, ended.err
    names = ("verdict", "headline", "promoted", "demoted", "champion", "version", "model_id", "void", "key")
    return {name: ended.result[name] for name in names}


def routes(home: Home, capsys: pytest.CaptureFixture[str]) -> bool:
    """Whether the exported folder holds a whole model that `tierwise route` decides by."""
    code = main(["route", "--model", str(home.path / "champion"), "Name the largest lake in Africa."])
    return 0 == code and bool(capsys.readouterr().out)


def assert_ends_well(project: Project, home: Home, history: Path, whole: Whole, begun: list[str]) -> None:
    """The next run does what is left and comes to the same; the one after it finds nothing to do."""
    ended = run(project, home, history)
    assert whole.outcome == outcome(ended)
    assert begun == ended.begun == [name for name in ended.result["seconds"] if name in STEPS]
    assert whole.serving == home.serving
    assert whole.versions == len(home.versions)
    assert {"FINISHED"} == set(home.runs)
    assert 2 == len(home.runs)
    left = {"artifacts", "champion", "mlflow.db", "retrain.lock"}
    assert left >= {path.name for path in home.path.iterdir() if not path.name.startswith(".champion.next.")}
    again = run(project, home, history)
    assert (whole.outcome, []) == (outcome(again), again.begun)
    assert again.result["repeated"]


def test_killed_as_each_step_is_done_and_not_yet_entered(
    project: Project, home: Home, better: Whole, capsys: pytest.CaptureFixture[str]
) -> None:
    before = home.serving
    last: list[str] = []
    for step in STEPS:
        ended = run(project, home, project.better, kill=Step(step, "done"))
        assert (KILLED, [*last, step]) == (ended.code, ended.begun)
        assert before == home.serving
        assert routes(home, capsys)
        last = [step]
    assert_ends_well(project, home, project.better, better, last)


def test_killed_as_each_step_is_entered(
    project: Project, home: Home, better: Whole, capsys: pytest.CaptureFixture[str]
) -> None:
    before = home.serving
    for step in STEPS:
        ended = run(project, home, project.better, kill=Step(step, "entered"))
        assert (KILLED, [step]) == (ended.code, ended.begun)
        assert before == home.serving
        assert routes(home, capsys)
    assert_ends_well(project, home, project.better, better, [])


def test_killed_at_each_call_of_registering(project: Project, home: Home, better: Whole) -> None:
    before = home.serving
    assert KILLED == run(project, home, project.better, kill=Step("register", "begun")).code
    for place in REGISTERING:
        ended = run(project, home, project.better, kill=place)
        assert (KILLED, ["register"]) == (ended.code, ended.begun)
        assert before == home.serving
    assert_ends_well(project, home, project.better, better, ["register", "gate", "intend"])


@pytest.mark.parametrize(
    ("place", "moved"),
    [*((place, False) for place in BEFORE_THE_ALIAS), *((place, True) for place in AFTER_THE_ALIAS)],
    ids=str,
)
def test_killed_at_each_call_of_promoting(
    project: Project,
    judged: dict[Path, Home],
    better: Whole,
    tmp_path: Path,
    place: At,
    moved: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home = judged[project.better].copy(tmp_path / "home")
    before = home.serving
    ended = run(project, home, project.better, kill=place)
    assert (KILLED, []) == (ended.code, ended.begun)
    assert (better.serving[:2] if moved else before[:2]) == home.serving[:2]
    assert home.folder in (before[2], better.serving[2])
    assert routes(home, capsys)
    assert_ends_well(project, home, project.better, better, [])


@pytest.mark.parametrize(("place", "champion"), DEMOTING, ids=str)
def test_killed_at_each_call_of_demoting(
    project: Project,
    judged: dict[Path, Home],
    worse: Whole,
    tmp_path: Path,
    place: At,
    champion: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home = judged[project.worse].copy(tmp_path / "home")
    ended = run(project, home, project.worse, kill=place)
    assert (KILLED, [], champion) == (ended.code, ended.begun, home.champion)
    assert routes(home, capsys)
    assert_ends_well(project, home, project.worse, worse, [])


def test_killed_when_all_is_done(project: Project, home: Home, better: Whole) -> None:
    ended = run(project, home, project.better, kill=At(f"{TRACKING}.end", when="after"))
    assert (KILLED, STEPS) == (ended.code, ended.begun)
    assert better.serving == home.serving
    again = run(project, home, project.better)
    assert (better.outcome, [], True) == (outcome(again), again.begun, again.result["repeated"])


def test_a_first_run_is_killed_before_its_database_has_its_name(project: Project, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    place = At("mlflow.tracking:MlflowClient.search_experiments", when="after")
    assert KILLED == run(project, home, project.first, kill=place).code
    assert not home.database.exists()
    ended = run(project, home, project.first)
    assert (0, 1, project.home.folder) == (ended.code, ended.result["champion"], home.folder)
