"""A judge against a human: who is refused, what of an order's sway is counted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from judged import judge

from eval.status import FINAL, Status
from router.errors import ConfigError
from training.calls.answer import Answer
from training.grade.grades import Why
from training.grade.judges.config import Judge, Pairwise
from training.grade.judges.human import HumanGrades
from training.grade.judges.measuring import Measured, measure, position_bias, refusal
from training.grade.judges.noise import Confusion
from training.grade.judges.prompt import ask_absolute
from training.grade.judges.questions import AGAIN, Reply, Said, read_reply, said


def measured(pairs: list[tuple[int | None, int]], models: int = 2) -> Measured:
    """Measure a judge of 1 to 5 against a human's stars."""
    names = [(f"q{i // models}", f"m{i % models}") for i in range(len(pairs))]
    stars = {name: float(theirs) for name, (_, theirs) in zip(names, pairs, strict=True)}
    human = HumanGrades({name: each >= 4 for name, each in stars.items()}, stars, 0)
    verdicts = {
        name: Said(None, Why.OFF_FORMAT) if own is None else Said(float(own))
        for name, (own, _) in zip(names, pairs, strict=True)
    }
    return measure(judge(None), verdicts, human)


def test_a_judge_is_measured_on_passes_and_on_stars() -> None:
    found = measured([(5, 4), (1, 2)] * 20 + [(5, 1), (2, 5), (None, 3)])
    assert (42, 21) == (found.passes.n, found.passes.groups)
    assert Confusion(both_pass=20, false_pass=1, false_fail=1, both_fail=20) == found.confusion
    assert {"m0", "m1"} == found.by_model.keys()
    assert found.confusion.n == sum(each.n for each in found.by_model.values())
    assert {"off format": 1} == found.unheard == found.to_dict()["without_verdict"]
    assert found.stars is not None
    assert 0.0 == found.stars.share
    assert (found.stars.kappa or 0.0) > 0.6
    assert 0.9 < (found.passes.kappa or 0.0) < 0.96
    assert refusal(judge(None), found) is None


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (
            [(5, 5), (1, 1)] * 14 + [(None, 5)] * 4,
            r"a verdict on 28 human-graded answers \(4 off format\), and 30 are needed to measure it; mend the rubric",
        ),
        ([(5, 5), (5, 1)] * 20, r"a kappa of 0\.00 \(.* on 40 answers\), below the floor of 0\.4"),
        ([(5, 1), (1, 5)] * 20, r"a kappa of -1\.00"),
        ([(5, 5)] * 40, "gave all 40 human-graded answers one verdict"),
    ],
)
def test_a_judge_that_agrees_too_little_is_refused(pairs: list[tuple[int | None, int]], message: str) -> None:
    found = refusal(judge(None), measured(pairs))
    assert isinstance(found, ConfigError)
    with pytest.raises(ConfigError, match=message):
        raise found


def test_the_floor_is_the_judges_own() -> None:
    found = measured(([(5, 5), (1, 1)] * 4 + [(5, 1), (1, 5)]) * 4)
    assert found.passes.kappa == pytest.approx(0.6)
    assert refusal(judge(None), found) is None
    assert refusal(replace(judge(None), floor=0.61), found) is not None
    one = replace(found, passes=replace(found.passes, kappa=0.1, kappa_low=None, kappa_high=None))
    assert "no interval: one prompt alone" in str(refusal(judge(None), one))


def test_an_order_that_changes_the_verdict_is_counted_by_whom_it_favours() -> None:
    # As A, as B: the worth of the row's response.
    replies = [(1.0, 1.0), (0.0, 0.0), (0.5, 0.5), (1.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 0.5)]
    found = position_bias([Said(None, None, each) for each in replies] + [Said(0.5), Said(None, Why.REFUSED)])
    assert (7, 4, 2, 1) == (found["pairs"], found["inconsistent"], found["first"], found["second"])
    assert found["share"] == pytest.approx(4 / 7)
    assert found["share_low"] < 4 / 7 < found["share_high"]
    assert {"pairs": 0, "share": None, "share_low": None}.items() <= position_bias([]).items()


@pytest.mark.parametrize(
    ("as_a", "other_as_a", "worth"),
    [
        ("A", "B", 1.0),
        ("B", "A", 0.0),
        ("tie", "tie", 0.5),
        ("A", "A", 0.5),
        ("B", "B", 0.5),
        ("A", "tie", 0.75),
    ],
)
def test_the_mean_of_both_orders_cancels_what_the_order_does(
    as_a: str, other_as_a: str, worth: float
) -> None:
    values = {"A": 1.0, "tie": 0.5, "B": 0.0}
    assert worth == said([Reply(values[as_a]), Reply(values[other_as_a])]).worth


def test_a_pair_without_one_order_has_no_verdict() -> None:
    assert Said(None, Why.OFF_FORMAT) == said([Reply(1.0), Reply(None, Why.OFF_FORMAT)])


@pytest.mark.parametrize("status", sorted(Status))
def test_every_end_of_a_call_is_read_as_what_it_is(status: Status) -> None:
    asked = ask_absolute("r", "q", "a")
    right = f'{{"id": "{asked.nonce}", "score": 5}}'
    found = read_reply(judge(None), asked, Answer(status, right))
    if status is Status.ANSWERED:
        assert Reply(5.0) == found
    elif status in AGAIN:
        assert Reply(None, Why.OFF_FORMAT) == found
    elif status in (Status.REFUSED, Status.FILTERED):
        assert Reply(None, Why.REFUSED) == found
    else:
        assert Reply(None, Why.UNANSWERED) == found
    assert AGAIN <= FINAL


def test_a_call_that_was_not_made_waits_for_a_budget() -> None:
    asked = ask_absolute("r", "q", "a")
    assert Reply(None, Why.BUDGET) == read_reply(judge(None), asked, None)
    assert ("judge", "pairwise") == (Judge.kind, Pairwise.kind)
