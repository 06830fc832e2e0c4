"""Figures: axes are round and hold the data, labels find room, marks stand where their numbers are."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_report import NOTHING, bare, interval, plausible

from eval.report_curves import cost_quality
from eval.report_figures import bar_range, gap_closed, interval_bar, learned_range
from eval.report_lift import lift, lift_over
from eval.report_svg import Box, Placer, Scale, inside, padded, ticks

FINITE = st.floats(-1e6, 1e6)


@given(FINITE, st.floats(1e-6, 1e6), st.integers(2, 9))
def test_ticks_enclose_the_range_and_are_few(low: float, span: float, about: int) -> None:
    marks = ticks(low, low + span, about)
    slack = 1e-6 * max(1.0, abs(low), span)
    assert marks[0] <= low + slack
    assert marks[-1] >= low + span - slack
    assert 2 <= len(marks) <= about + 3


def test_ticks_are_round() -> None:
    assert [0.6, 0.7, 0.8, 0.9] == ticks(0.614, 0.836, 3)
    assert [0.0, 2.5, 5.0, 7.5, 10.0] == ticks(0, 9.4, 4)
    assert 2 <= len(ticks(0.5, 0.5, 5)) <= 8
    assert 2 <= len(ticks(0, 0, 5)) <= 8


def test_a_scale_keeps_values_inside() -> None:
    scale = Scale(0, 2, 10, 20)
    assert [10, 15, 20, 20] == [scale(v) for v in (-1, 1, 2, 3)]
    assert 10 == Scale(1, 1, 10, 20)(1)


def test_labels_take_room_that_is_free() -> None:
    placer = Placer(Box(0, 0, 200, 200))
    boxes = [placer.beside([(100, 100)], 40, 15)[1] for _ in range(8)]
    assert 0 == sum(a.overlap(b) for i, a in enumerate(boxes) for b in boxes[:i])
    corner = placer.beside([(198, 2)], 40, 15)[1]
    assert corner.right <= 200
    assert corner.top >= 0


def test_labels_keep_off_lines_where_they_can() -> None:
    placer = Placer(Box(0, 0, 200, 200))
    placer.add_line([(100, 100), (200, 100)])
    box = placer.beside([(100, 100)], 40, 15)[1]
    assert 0 == placer.inside(box)
    assert 0 < placer.inside(Box(90, 90, 130, 105))


def test_bars_show_the_first_interval_whole_and_zero() -> None:
    low, high = bar_range([interval(0.2, 0.1), interval(-7, 3), interval(0.4, 2), None, NOTHING])
    assert low <= 0 < 0.3 < high
    assert (low, high) == (-1.0, 1.0)
    assert (-0.9, 0.05) == bar_range([interval(-0.8, 0.1)])
    assert 0 < bar_range([])[1]


def test_bars_tell_significance_and_cut_ends_by_shape() -> None:
    assert 'class="hollow' in interval_bar(interval(0.1, 0.2), -0.5, 1)
    assert 'class="dot' in interval_bar(interval(0.3, 0.2), -0.5, 1)
    assert 'class="arrow' in interval_bar(interval(-0.3, 0.5), -0.5, 1)
    assert "" == interval_bar(NOTHING, -0.5, 1)


def test_fixed_policies_far_below_do_not_squeeze_learned_ones() -> None:
    comparison = plausible()["comparison"]
    rule = next(c for c in comparison["contenders"] if c["name"] == "hand-rule")
    before = learned_range(comparison["contenders"])
    rule["gap_closed"] = interval(-5.0, 0.5)
    assert before == learned_range(comparison["contenders"])
    chart = gap_closed(comparison)
    assert 2 == chart.count('class="break"')
    assert "−500.0%" in chart
    rule["gap_closed"] = interval(0.0, 0.01)
    comparison["contenders"] = [c for c in comparison["contenders"] if c["kind"] in ("subject", "baseline")]
    assert 'class="break"' not in gap_closed(comparison)


def test_the_lift_over_mixing_by_hand() -> None:
    mixing = [(1.0, 0.5), (3.0, 0.7), (5.0, 0.8)]
    line = [(1.0, 0.5), (2.0, 0.75), (5.0, 0.8)]
    expected = [(1.0, 0.0), (2.0, 0.15), (3.0, 0.75 + 0.05 / 3 - 0.7), (5.0, 0.0)]
    for (cost, gain), (a, b) in zip(expected, lift_over(line, mixing), strict=True):
        assert cost == a
        assert gain == pytest.approx(b)
    assert [] == lift_over(line[:1], mixing)
    assert all(gain == 0 for _, gain in lift_over(mixing, mixing))


def test_the_lift_shows_every_learned_contender_or_nothing() -> None:
    comparison = plausible()["comparison"]
    chart = lift(comparison)
    for c in comparison["contenders"]:
        assert (c["label"] in chart) == (c["kind"] in ("subject", "baseline") or c["label"] == "random mix")
    assert "" == lift(bare(comparison))
    comparison["contenders"] = [c for c in comparison["contenders"] if c["kind"] != "random"]
    assert "" == lift(comparison)


@given(FINITE, st.floats(0, 1e6), st.floats(0, 0.2))
def test_a_padded_range_holds_what_it_was_given(low: float, span: float, share: float) -> None:
    start, end = padded(low, low + span, share)
    assert start <= low <= low + span <= end
    assert start < end


def test_only_ticks_on_the_scale_are_drawn() -> None:
    assert [0.7, 0.8, 0.9] == inside(Scale(0.61, 0.93, 0, 100), 4)


@pytest.mark.parametrize("ends", [True, False])
def test_a_fixed_policy_is_drawn_where_it_is(ends: bool) -> None:
    """Its points may hold the ends of the ladder too; a policy that is an end is drawn there."""
    drawn = []
    for own in (0, 1, 2):
        comparison = plausible()["comparison"]
        costs, qualities = ([t[key] for t in comparison["tiers"]] for key in ("cost_usd", "quality"))
        rows = sorted([0, own, 2]) if ends else [own]
        middle = next(c for c in comparison["contenders"] if c["name"] == "always-middle")
        middle["points"] = {"cost_usd": [costs[i] for i in rows], "quality": [qualities[i] for i in rows]}
        marks = re.findall(r'class="mark fixed" d="M([\d.]+) ([\d.]+)l', cost_quality(comparison))
        tiers = re.findall(r'class="mark tier" cx="([\d.]+)" cy="([\d.]+)"', cost_quality(comparison))
        drawn.append(
            [float(tiers[own][0]), float(tiers[own][1]) - 6] in [[float(a), float(b)] for a, b in marks]
        )
    assert [True, True, True] == drawn
