"""What can be promised: the figure shows where promises are, tables and sentences say what came of them."""

from __future__ import annotations

import re
from copy import deepcopy
from html import unescape
from typing import Any

import pytest
from sample_report import bare, plausible, promises, two_tiers, worst
from test_promises import N_BOOT, toy

from eval.promises import half_promises
from eval.report_html import render_html
from eval.report_markdown import render_markdown
from eval.report_promises import TITLE, notes, promises_figure, promises_section, rows_of, short_words
from eval.report_text import render_text

TIERS = ["small", "medium", "large"]
RENDERERS = (render_html, render_markdown, render_text)


def nothing() -> dict[str, Any]:
    """What a history too small for any promise gives."""
    empty = promises(TIERS)
    empty.update(rows=[], lines={"regret": [], "quality": []}, groups=10, why=None)
    empty["needed"] = [{"promise": 0.05, "groups": 59}, {"promise": 0.2, "groups": 14}]
    return empty


def words(html: str) -> str:
    return " ".join(unescape(re.sub("<[^>]+>", " ", html)).split())


def test_samples_have_the_form_of_what_is_measured() -> None:
    measured = half_promises(*toy(), N_BOOT, 0)
    for sample in (promises(TIERS), worst()["promises"], two_tiers()["promises"]):
        assert set(measured) == set(sample)
        for part in ("rows", "judged", "lines"):
            a, b = measured[part], sample[part]
            assert set(a[0] if part == "rows" else a) == set(b[0] if part == "rows" else b)
        assert set(measured["rows"][0]["measured"]) == set(sample["rows"][0]["measured"])
        assert set(measured["lines"]["regret"][0]) == set(sample["lines"]["regret"][0])
    small = half_promises(*toy(20), N_BOOT, 0)
    assert set(small["needed"][0]) == set(nothing()["needed"][0])


def test_the_figure_has_two_lines_in_two_sizes_and_says_what_it_shows() -> None:
    chart = promises_figure(promises(TIERS))
    assert 2 == chart.count("<svg") == chart.count('role="img"') == chart.count("<desc")
    for style in ("s0", "s2"):
        assert 2 == len(re.findall(rf'<path class="line {style}"', chart))
    assert (
        2 * 7
        == len(re.findall('<circle class="dot s0"', chart))
        == len(re.findall('<path class="dot s2"', chart))
    )
    assert "at most 5% of prompts fail where the best tier passes: saves 34.4%, measured 35.4%" in chart
    assert "keeps at least 95% of the best tier" in unescape(chart)


def test_marks_stand_where_savings_were_measured() -> None:
    part = promises(TIERS)
    for row in part["rows"]:
        row["measured"]["saving"] = {"value": row["saving"], "low": None, "high": None}
    part["lines"] = {
        kind: [{"promise": row["promise"], "saving": row["saving"]} for row in rows_of(part, kind)]
        for kind in ("regret", "quality")
    }
    chart = promises_figure(part)
    line = re.search(r'<path class="line s0" d="M([^"]+)"', chart)
    assert line is not None
    expected = [tuple(point.split()) for point in line[1].split("L")]
    assert expected == re.findall(r'<circle class="dot s0" cx="([\d.]+)" cy="([\d.]+)"', chart)[:7]


def test_a_kind_without_promises_is_neither_drawn_nor_listed() -> None:
    part = promises(TIERS)
    part["rows"] = rows_of(part, "regret")
    part["lines"]["quality"] = []
    section = promises_section(part)
    assert "s2" not in section
    assert 1 == section.count("<table>")
    assert "quality is kept" not in section


def test_losses_are_drawn_below_zero() -> None:
    part = promises(TIERS)
    part["lines"]["quality"][0]["saving"] = -0.3
    assert "−25%" in promises_figure(part)


def test_a_table_row_holds_promise_savings_what_was_kept_and_shares() -> None:
    section = promises_section(promises(TIERS))
    row = next(row for row in re.findall("<tr.*?</tr>", section) if ">at most 5%<" in row)
    assert "at most 5% 34.4% 35.4% 32.4 to 38.4 4.0% 3.0 to 5.0 17% 33% 50%" == words(row)
    row = next(row for row in re.findall("<tr.*?</tr>", section) if ">at least 95%<" in row)
    assert "at least 95% 45.5% 46.5% 43.5 to 49.5 96.0% 95.0 to 97.0 17% 33% 50%" == words(row)


def test_sentences_say_confidence_groups_and_who_checks() -> None:
    (first, missing, kept, why) = notes(promises(TIERS))
    for part in ("212 groups", "95% confidence", "2,184 prompts in 695 groups"):
        assert part in first
    assert "at most 1% (299) failing" in missing
    assert "no promise is broken" in kept
    assert why == promises(TIERS)["why"]


def test_broken_promises_are_named() -> None:
    part = promises(TIERS, broken=True)
    part["rows"] = [row for row in part["rows"] if row["promise"] in (0.05, 0.1)]
    text = " ".join(notes(part))
    assert "Broken on these prompts, by the whole interval: regret of at most 5% and 10%." in text
    part["rows"][2]["broken"] = True
    assert "regret of at most 5% and 10%; quality of at least 95%." in " ".join(notes(part))
    assert 3 == promises_section(part).count("broken on these prompts")


@pytest.mark.parametrize("render", RENDERERS)
def test_every_form_has_the_section_or_leaves_it_out(render: Any) -> None:
    document = plausible()
    text = words(render(document)) if render is render_html else render(document)
    for part in (
        TITLE,
        "at most",
        "at least" if render is not render_text else "keeps at least 95%",
        "34.4%",
        "4.0%",
    ):
        assert part in text
    assert TITLE not in render(document | {"promises": None})


@pytest.mark.parametrize("render", RENDERERS)
def test_too_few_groups_say_how_many_are_needed(render: Any) -> None:
    document = plausible() | {"promises": nothing()}
    text = " ".join((words(render(document)) if render is render_html else render(document)).split())
    text = text.replace("\\", "")
    assert "Nothing can be promised yet." in text
    assert "of which there were 10: at most 5% (59) and 20% (14)" in text
    assert "" == promises_figure(nothing())
    assert "broken" not in promises_section(nothing())


def test_a_dominated_ladder_is_said() -> None:
    part = promises(TIERS) | {"dominated": True, "reference": "medium"}
    said = "The ladder is dominated: medium is better than large, the dearest tier, so promises and savings are against medium."
    assert said in notes(part)
    assert said not in notes(promises(TIERS))


def test_unknown_numbers_are_dashes_and_no_figure() -> None:
    part = bare(plausible())["promises"]
    assert "" == promises_figure(part)
    assert "None" not in promises_section(part)
    assert "–" in promises_section(part)


def test_promises_are_called_by_what_they_are() -> None:
    rows = promises(TIERS)["rows"]
    assert ["at most 2%", "at most 3%"] == [short_words(row) for row in rows[:2]]
    assert "at least 92.5%" == short_words(
        next(r for r in rows_of({"rows": rows}, "quality") if r["promise"] == 0.075)
    )


def test_rendering_changes_nothing() -> None:
    part = worst()["promises"]
    same = deepcopy(part)
    promises_section(part)
    assert same == part


def test_a_foreign_history_is_not_what_a_certificate_is_about() -> None:
    """A model's promises are for prompts like those that made its certificate, whatever is judged here."""
    assert (
        "95% confidence for prompts like these; the certificate rests on 212 groups"
        in notes(promises(TIERS))[0]
    )
    for files, said in (
        (["a.jsonl"], "prompts like the 212 groups of a.jsonl that made it."),
        (["a.jsonl", "b.csv"], "prompts like the 212 groups of a.jsonl and b.csv that made it."),
        (
            [f"{i}.csv" for i in range(9)],
            "groups of 0.csv, 1.csv, 2.csv, 3.csv and 5 more files that made it.",
        ),
        ([], "prompts like the 212 groups that made it."),
    ):
        first = notes(promises(TIERS) | {"files": files})[0]
        assert said in first
        assert "like these" not in first


def test_the_figure_says_what_goes_upwards() -> None:
    assert 2 == promises_figure(promises(TIERS)).count(">Saving against the best tier for all</text>")
