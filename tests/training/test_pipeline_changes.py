"""Weeks in which something else has changed: the tiers since the champion was made, or what its certificate rests on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from mishaps import Faults
from weeks import (
    FEW_EASY,
    LARGE,
    MEDIUM,
    MOST_EASY,
    SMALL,
    Ended,
    Home,
    Project,
    Running,
    draw_week,
    make_project,
    run,
    write_tiers,
)

from router import Router

pytestmark = pytest.mark.pipeline

# A limit that no decision keeps, so that no challenger is promoted.
NONE_IS_PROMOTED = "max_latency_us = 0.001"

ALL = (SMALL.model, MEDIUM.model, LARGE.model)
ALONE = "the champion's tiers are not there any more, so the challenger is judged as a first one"
CHEAPER = replace(LARGE, input_usd_per_mtok=2.5, output_usd_per_mtok=10.0)
SWAPPED = replace(LARGE, models=(MEDIUM.model,))

TIERS: dict[str, tuple[Callable[[Path], Path], bool, str]] = {
    "price": (
        lambda to: write_tiers(to, SMALL, CHEAPER),
        True,
        "Tier large has another price: the champion decides by the old one.",
    ),
    "added": (
        lambda to: write_tiers(to, SMALL, MEDIUM, LARGE),
        True,
        "Tier medium is new: the champion never chooses it.",
    ),
    "removed": (
        lambda to: write_tiers(to, SMALL, MEDIUM),
        False,
        "Tier large is gone: the champion goes on sending prompts there until it is replaced.",
    ),
    "swapped": (
        lambda to: write_tiers(to, SMALL, SWAPPED),
        False,
        "Tier large is another model now (synthetic-medium; it was synthetic-large): what the champion knows of that "
        "tier is of the old one.",
    ),
    "pass score": (
        lambda to: write_tiers(to, SMALL, LARGE, pass_score=0.9),
        True,
        "An answer now passes at 0.9, before at 0.5: the champion was made for the latter.",
    ),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.getbasetemp())


@pytest.fixture
def home(project: Project, tmp_path: Path) -> Home:
    """A home with a champion."""
    return project.home.copy(tmp_path / "home")


@pytest.mark.parametrize("case", TIERS)
def test_tiers_that_changed_since_the_champion(
    project: Project, home: Home, tmp_path: Path, case: str
) -> None:
    write, comparable, said = TIERS[case]
    draw_week(MOST_EASY, "d", "2026-03-30", models=ALL).to_parquet(tmp_path / "h.parquet")
    tiers = write(tmp_path / "tiers.toml")
    ended = run(project, home, tmp_path / "h.parquet", tiers=tiers)
    assert (0, "ROUTE", 2) == (ended.code, ended.result["verdict"], home.champion), ended.err
    assert f"since the champion: {said}" in ended.err.splitlines()
    assert comparable == (ALONE not in ended.err)
    whom = "version 1" if comparable else "always the reference tier"
    assert f"against {whom}, " in ended.result["headline"]
    assert said in (fetched := verdict_page(home)), fetched
    served = Router.load(home.path / "champion")
    assert tiers.read_text(encoding="utf-8").count("[[tier]]") == len(served.tiers)


def verdict_page(home: Home) -> str:
    """The page that the newest run left in MLflow."""
    ((place,),) = home.ask("SELECT artifact_uri FROM runs ORDER BY start_time DESC LIMIT 1")
    return (Path(place.removeprefix("file://")) / "verdict.md").read_text(encoding="utf-8")


# A void certificate


@pytest.fixture(scope="module")
def twice(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home whose second champion relies on much that the small model could do last week; not to be changed."""
    home = project.home.copy(tmp_path_factory.mktemp("twice") / "home")
    ended = run(project, home, project.better)
    assert [1, 2] == home.served, ended.err
    return home


@pytest.fixture(scope="module")
def relapsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history in which the small model can do no more than in the first weeks."""
    path = tmp_path_factory.mktemp("relapsed") / "relapsed.parquet"
    draw_week(FEW_EASY, "e", "2026-06-22").to_parquet(path)
    return path


@pytest.fixture(scope="module")
def worst(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history in which the small model fails on everything."""
    path = tmp_path_factory.mktemp("worst") / "worst.parquet"
    draw_week((), "f", "2026-06-22").to_parquet(path)
    return path


def run_void(project: Project, home: Home, history: Path, on_void: str) -> Ended:
    ended = run(project, home, history, promotion=f'{NONE_IS_PROMOTED}\non_void = "{on_void}"')
    assert (0, False, True) == (ended.code, ended.result["promoted"], ended.result["void"]), ended.err
    assert home.champion == ended.result["champion"]
    return ended


def is_void(home: Home) -> bool:
    """Whether the served folder sends everything to the reference tier because its certificate is void."""
    router = Router.load(home.path / "champion")
    decided = router.route_many(
        [f"Extract the order number from: order A-{n} was shipped." for n in range(9)]
    )
    void = bool(router.manifest.document["certificate"].get("void"))
    assert not void or {("large", "uncertified")} == {(each.tier, each.reason.value) for each in decided}
    return void


def test_a_void_certificate_sends_everything_to_the_top(
    project: Project, twice: Home, relapsed: Path, worst: Path, tmp_path: Path
) -> None:
    home = twice.copy(tmp_path / "home")
    assert not is_void(home)
    ended = run_void(project, home, relapsed, "top")
    assert ("DO NOT ROUTE", True, 4) == tuple(
        ended.result[name] for name in ("verdict", "demoted", "champion")
    )
    assert "VOID: the certificate of champion 2 does not hold any more. " in ended.err
    assert "version 4 serves: everything goes to the reference tier" in ended.err
    assert "version 4 serves" in ended.result["headline"]
    assert [1, 2, 4] == home.served
    assert ("void", "2") == (home.versions[2]["tierwise.certificate"], home.versions[4]["tierwise.void_of"])
    assert (
        "KEEP" == home.versions[3]["tierwise.verdict"]
    )  # what the gate said of it; the demotion is not its own
    assert is_void(home)
    # Another bad week finds that this has been seen to already.
    bad = run(project, home, worst, promotion=NONE_IS_PROMOTED)
    assert (0, 4, False, False) == (
        bad.code,
        *(bad.result[name] for name in ("champion", "demoted", "promoted")),
    ), bad.err
    assert ([1, 2, 4], 5) == (home.served, len(home.versions))
    # An ordinary one replaces it.
    good = run(project, home, project.better, "--seed", "1")
    assert (0, "ROUTE", 6) == (good.code, good.result["verdict"], home.champion), good.err
    assert not is_void(home)


def test_a_void_certificate_is_seen_to_though_the_gate_cannot_run(
    project: Project, twice: Home, tmp_path: Path
) -> None:
    home, tiers = twice.copy(tmp_path / "home"), tmp_path / "tiers.toml"
    write_tiers(tiers, SMALL, MEDIUM, LARGE)
    drawn = draw_week(FEW_EASY, "e", "2026-06-22", models=ALL)
    old = drawn["timestamp"] < drawn["timestamp"].sort_values().iloc[len(drawn) // 4]
    drawn[old | (drawn["model"] != MEDIUM.model)].to_parquet(tmp_path / "new-tier.parquet")

    def run_on(history: Path, *options: str) -> Ended:
        return run(project, home, history, *options, tiers=tiers)

    rehearsed = run_on(tmp_path / "new-tier.parquet", "--dry-run")
    assert (4, 2) == (rehearsed.code, home.champion), rehearsed.err
    assert rehearsed.error.endswith("And the certificate of champion 2 is void.")
    ended = run_on(tmp_path / "new-tier.parquet")
    assert (4, [1, 2, 3], True) == (ended.code, home.served, is_void(home)), ended.err
    assert ended.error.startswith("error: gate: ")
    assert ended.error.endswith("And the certificate of champion 2 is void: version 3 serves now.")
    assert "void" == home.versions[2]["tierwise.certificate"]
    # The same again finds it seen to.
    again = run_on(tmp_path / "new-tier.parquet")
    assert (4, [1, 2, 3]) == (again.code, home.served), again.err
    assert again.error.endswith("is void: version 3 serves now.")
    # A person knows better, and the same run respects it.
    promoted = Running(["promote", "2", "--home", str(home.path)], (), Faults()).end()
    assert (0, [1, 2, 3, 2]) == (promoted.code, home.served), promoted.err
    respected = run_on(tmp_path / "new-tier.parquet")
    assert (4, [1, 2, 3, 2]) == (respected.code, home.served), respected.err
    assert "others have since: nothing is moved again" in respected.err
    drawn.to_parquet(tmp_path / "graded.parquet")
    good = run_on(tmp_path / "graded.parquet")
    assert (0, "ROUTE") == (good.code, good.result["verdict"]), good.err
    assert not is_void(home)


def test_a_void_certificate_brings_back_the_previous_champion(
    project: Project, twice: Home, relapsed: Path, tmp_path: Path
) -> None:
    home = twice.copy(tmp_path / "home")
    ended = run_void(project, home, relapsed, "previous")
    assert ("KEEP", True, 1) == tuple(ended.result[name] for name in ("verdict", "demoted", "champion"))
    assert "on_void is previous: version 1 serves again" in ended.err
    assert "version 1 serves" in ended.result["headline"]
    assert ([1, 2, 1], project.home.folder) == (home.served, home.folder)
    good = run(project, home, project.better, "--seed", "1")
    assert (0, "ROUTE", [1, 2, 1, 4]) == (good.code, good.result["verdict"], home.served), good.err


def test_no_previous_champion_keeps_the_promise(
    project: Project, twice: Home, worst: Path, tmp_path: Path
) -> None:
    home = twice.copy(tmp_path / "home")
    ended = run_void(project, home, worst, "previous")
    assert ("DO NOT ROUTE", True, 4) == tuple(
        ended.result[name] for name in ("verdict", "demoted", "champion")
    )
    assert "no earlier champion keeps the promise on these prompts" in ended.err
    assert ([1, 2, 4], True) == (home.served, is_void(home))


def test_a_void_certificate_is_only_told(
    project: Project, twice: Home, relapsed: Path, tmp_path: Path
) -> None:
    home = twice.copy(tmp_path / "home")
    ended = run_void(project, home, relapsed, "keep")
    assert ("KEEP", False, 2) == tuple(ended.result[name] for name in ("verdict", "demoted", "champion"))
    assert "VOID: the certificate of champion 2 does not hold any more. " in ended.err
    assert "on_void is keep: it serves on, and its promises are not to be relied on" in ended.err
    assert twice.serving == home.serving
    assert "void" == home.versions[2]["tierwise.certificate"]
    # The next run is free to replace it.
    better = run(project, home, relapsed, "--seed", "1")
    assert (0, "ROUTE", 4) == (better.code, better.result["verdict"], home.champion), better.err
