"""How a year is judged and told: sums are right, a flattering comparison is not made, and the page says whose year it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import year_history
from bench.year_figure import render_svg
from bench.year_history import EVENTS, WEEKS
from bench.year_page import SECTION, render_tables
from bench.year_truth import PROMISE, compare, honoured, proportion, summarise_year

MACHINE = {"cpu": "a CPU", "cores": 2, "python": "3.11", "load_1_min": 0.1, "versions": {}}


def served(regret: float, saving: float = 0.3, kept: float = 0.97, **more: Any) -> dict[str, Any]:
    told = {
        "prompts": 100,
        "reference": "large",
        "quality": 0.8,
        "pass_rates": [0.6, 0.8, 0.9],
        "always_top": False,
    }
    return {**told, "regret": regret, "saving": saving, "kept": kept, **more}


@pytest.mark.parametrize(
    ("new", "old", "same_cost", "worse"),
    [
        (served(0.04, 0.40), served(0.04, 0.30), 0.0, False),
        # Less saved is not made up for by what routing less buys at its price, only by scores that buy more at the same.
        (served(0.01, 0.02, 0.9751), served(0.045, 0.30, 0.975), 0.0, True),
        (served(0.03, 0.25, 0.98), served(0.04, 0.30, 0.97), 0.004, True),
        (served(0.03, 0.25, 0.98), served(0.04, 0.30, 0.97), 0.006, False),
        (served(0.03, 0.25, 0.98), served(0.04, 0.30, 0.97), None, True),
        # A tie in saving, and scores that buy less.
        (served(0.04, 0.295), served(0.04, 0.30), 0.0, False),
        (served(0.04, 0.295), served(0.04, 0.30), -0.006, True),
        (served(0.04, 0.40), served(0.04, 0.30), -0.006, False),
        # A promise that is broken.
        (served(0.06, 0.50), served(0.04, 0.30), 0.02, True),
        (served(0.04, 0.20, 0.96), served(0.06, 0.30, 0.97), -0.02, False),
        (served(0.06), served(0.07), 0.0, False),
        (served(0.08), served(0.07), 0.0, True),
        # Always the reference tier, for a champion that kept its promise, and for one that did not.
        (served(0.0, 0.0, 1.0, always_top=True), served(0.04), 0.0, True),
        (served(0.0, 0.0, 1.0, always_top=True), served(0.06), 0.0, False),
    ],
)  # fmt: skip
def test_worse_is_a_promise_broken_or_behind_in_a_measure_of_the_gate_and_not_ahead_in_the_other(
    new: dict[str, Any], old: dict[str, Any], same_cost: float | None, worse: bool
) -> None:
    assert worse == compare(new, old, same_cost)["worse"]


@pytest.mark.parametrize(
    ("new", "old", "less"),
    [
        (served(0.03, 0.28), served(0.04, 0.30), True),
        (served(0.03, 0.295), served(0.04, 0.30), False),
        (served(0.03, 0.20), served(0.06, 0.30), False),
        (served(0.06, 0.20), served(0.04, 0.30), True),
    ],
)
def test_less_saved_is_told_whatever_excuses_it(new: dict[str, Any], old: dict[str, Any], less: bool) -> None:
    assert less == compare(new, old, 0.5)["saved_less"]


def test_a_promise_is_kept_up_to_its_bound() -> None:
    assert honoured(served(PROMISE))
    assert not honoured(served(PROMISE + 1e-4))


def test_shares_have_exact_intervals() -> None:
    found = proportion(50, 52)
    # Clopper and Pearson by R's binom.test(50, 52).
    assert (0.9615, 0.8679, 0.9953) == (found["share"], found["low"], found["high"])
    assert (1.0, 1.0) == (proportion(9, 9)["share"], proportion(9, 9)["high"])
    assert proportion(0, 0)["share"] is None


def record(week: int, regret: float, change: dict[str, Any] | None = None, **said: Any) -> dict[str, Any]:
    told = {"exit_code": 0, "verdict": "KEEP", "promoted": False, "wall_s": 20.0, "tracking_s": 4.0, **said}
    both = {
        name: served(
            regret, model_id="a", always_top=regret == 0.0, **({"saving": 0.0} if regret == 0.0 else {})
        )
        for name in ("served", "further")
    }
    return {
        "week": week, "commit": "0123456789abcdef", "served": week + 1, "events": year_history.events_of(week + 1), "retrain": told,
        "champion": both, "newest": both, "never": both if week >= 8 else None, "change": change,
    }  # fmt: skip


def promotion(new: dict[str, Any], old: dict[str, Any], same_cost: float | None = 0.0) -> dict[str, Any]:
    return {"how": "promoted", "new": new, "old": old, "same_cost": same_cost}


LAPSED = "Its saving is +20.5 points against version 25, whose promise is not proved any more."


def a_year(seed: int) -> dict[str, Any]:
    """A year of two broken weeks, one always at the top, and four changes: fine, less saved twice, and a demotion."""
    changes = {
        2: promotion(served(0.04), served(0.0, 0.0, 1.0, always_top=True), None),
        16: promotion(served(0.035, 0.28, 0.975), served(0.04), 0.02),
        30: promotion(served(0.035, 0.27, 0.975), served(0.04), 0.001),
        40: promotion(served(0.0, 0.0, 1.0, always_top=True), served(0.04)) | {"how": "demoted"},
    }
    said: dict[int, dict[str, Any]] = {
        1: {"exit_code": 3, "verdict": None},
        2: {"verdict": "ROUTE", "promoted": True},
        16: {
            "verdict": "ROUTE",
            "promoted": True,
            "headline": "At the same cost its quality is +2.0 points.",
        },
        30: {"verdict": "ROUTE", "promoted": True, "headline": LAPSED},
        40: {"exit_code": 4, "verdict": None},
    }
    regrets = {1: 0.0, 20: 0.07, 21: 0.07}
    records = [
        record(week, regrets.get(week, 0.04), changes.get(week), **said.get(week, {}))
        for week in range(1, WEEKS + 1)
    ]
    return {"seed": seed, **summarise_year(records)}


@pytest.fixture(scope="module")
def year() -> dict[str, Any]:
    return a_year(1)


def document(*years: dict[str, Any], workers: int = 1) -> dict[str, Any]:
    told = {"bench": "year", "machine": MACHINE, "workers": workers, "per_week": 600, "window": 8}
    return {**told, "years": list(years)}


def page_of(folder: Path, *years: dict[str, Any], workers: int = 1) -> str:
    page = folder / "YEAR.md"
    page.write_text("# A year\n", encoding="utf-8")
    SECTION.write(folder, document(*years, workers=workers))
    return page.read_text(encoding="utf-8")


def test_a_year_counts_its_weeks(year: dict[str, Any]) -> None:
    champion = year["models"]["champion"]
    assert (50, 52) == (champion["honoured"]["count"], champion["honoured"]["of"])
    assert (49, 51) == (champion["honoured_routed"]["count"], champion["honoured_routed"]["of"])
    assert [21, 22] == [week["served"] for week in year["broken"]]
    runs = {"promoted": 3, "refused": 1, "gate_could_not_run": 1, "demoted": 1, "kept": 47, "runs": 52}
    assert runs.items() <= year["runs"].items()
    assert (9, 45) == (year["since_never"], year["models_since_never"]["never"]["weeks"])
    assert [13, 13, 13, 13] == [quarter["champion"]["weeks"] for quarter in year["quarters"]]
    assert [event.name for event in EVENTS] == [event["name"] for event in year["events"]]
    assert ["0123456789abcdef"] == year["commits"]


def test_demotions_are_judged_as_promotions_are(year: dict[str, Any]) -> None:
    assert [(2, "promoted"), (16, "promoted"), (30, "promoted"), (40, "demoted")] == [
        (each["week"], each["how"]) for each in year["changes"]
    ]
    assert [30, 40] == [each["week"] for each in year["changes"] if each["worse"]]
    assert (2, 3) == (year["worse"], year["saved_less"])


def test_the_page_says_what_the_document_says(year: dict[str, Any], tmp_path: Path) -> None:
    text = page_of(tmp_path, year)
    assert (
        "in 49 of 51 weeks that routed anything (96.1 %; 86.5 to 99.5), and in 50 of 52 weeks in all (96.2 %; 86.8 to 99.5)"
        in text
    )
    assert "of 4 changes of champion, the truth calls 2 worse, and 3 saved less" in text
    assert "| changes of champion that the truth calls worse | at most 0 | 2 | MISSED |" in text
    assert "| those after which less is saved, though the old one kept the promise | – | 3 |  |" in text
    assert "| champion | 49 of 51: 96.1 % (86.5 to 99.5) | 50 of 52" in text
    assert "or both break it, and the new one by more" in text
    assert "](year.svg)" in text
    assert {"YEAR.md", "year.json", "year.svg"} == {path.name for path in tmp_path.iterdir()}
    SECTION.check(tmp_path)
    SECTION.write(tmp_path, document(year))
    assert text == (tmp_path / "YEAR.md").read_text(encoding="utf-8")
    assert "promise was kept" in "".join(render_tables(document(year)))


def test_the_page_gives_the_gates_words_where_less_is_saved(year: dict[str, Any], tmp_path: Path) -> None:
    text = page_of(tmp_path, year)
    assert "In 3 of these, less is saved than before by more than 1.0 points" in text
    assert f"- week 30: {LAPSED}\n- week 40: the gate could not run." in text
    assert "- week 2:" not in text


def test_the_page_says_whose_year_it_is(tmp_path: Path) -> None:
    text = page_of(tmp_path, a_year(1))
    assert "`python -m bench.year --write --seeds 1` at commit `0123456789ab`:" in text
    assert (
        "chosen on the traffic of seed 0 ([LOG.md](LOG.md)). What follows is seed 1, on which nothing was chosen"
        in text
    )
    assert "What follows is seed 0 itself, which flatters them." in page_of(tmp_path, a_year(0))
    changed = a_year(1) | {"commits": ["0123456789abcdef+changes", None]}
    assert "at commit `0123456789ab` with changes:" in page_of(tmp_path, changed)
    assert "commit" not in page_of(tmp_path, a_year(1) | {"commits": [None]}).partition(":")[0]


def test_other_years_stand_beside_the_first(tmp_path: Path) -> None:
    other = summarise_year([record(week, 0.04) for week in range(1, WEEKS + 1)])
    text = page_of(tmp_path, a_year(1), {"seed": 0, **other}, workers=2)
    assert "`python -m bench.year --write --seeds 1 0 --workers 2`" in text
    assert "Beside it stands seed 0." in text
    assert "| figure | target | seed 1 |  | seed 0 |  |" in text
    assert "| changes of champion that the truth calls worse | at most 0 | 2 | MISSED | 0 | met |" in text
    assert "| champion, seed 1 | 49 of 51" in text
    assert "| champion, seed 0 | 52 of 52" in text
    assert "(2 years ran at a time)" in text
    assert "week 21 (7.0 %)" in (tmp_path / "year.svg").read_text(encoding="utf-8")


def test_the_figure_marks_what_was_broken_and_what_happened(year: dict[str, Any]) -> None:
    drawing = render_svg(year)
    assert 'xmlns="http://www.w3.org/2000/svg"' in drawing
    assert all(f">{event.name}<" in drawing for event in EVENTS)
    assert 2 + 1 == drawing.count('class="broken"')  # and the legend's
    assert "week 21 (7.0 %), week 22 (7.0 %)" in drawing


def test_a_part_of_a_year_is_told_and_drawn_too() -> None:
    short = {"seed": 1, **summarise_year([record(week, 0.04) for week in range(1, 5)])}
    assert short["models"]["never"] is None
    assert "svg" in render_svg(short)
    nothing = {"seed": 1, **summarise_year([record(1, 0.0)])}
    assert (0, None) == tuple(
        nothing["models"]["champion"]["honoured_routed"][key] for key in ("of", "share")
    )
    assert "promise kept" in "".join(render_tables(document(nothing)))
