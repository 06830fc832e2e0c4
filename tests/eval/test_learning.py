"""Learning curves: whole groups teach, all others judge, and sizes that leave too few to judge are left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_metrics import drawn

from eval import learning
from eval.design import Design
from eval.learning import LEAST_JUDGED, learning_curve
from eval.outcomes import Outcomes
from router.tiers import Ladder, Tier

Seen = list[tuple[set[str], set[str]]]


def history(n: int, seed: int = 0) -> tuple[Outcomes, Design]:
    """Outcomes, and a design whose first shape feature is the truth and whose texts are the groups."""
    p, outcomes = drawn(n, seed)
    # Prompts cost nothing, so that answers cost all that was drawn.
    tiers = tuple(Tier(str(k), (f"m-{k}",), 0.0, 1.0) for k in range(3))
    groups = np.array([f"g{i % (n // 3)}" for i in range(n)], dtype=object)
    outcomes = replace(outcomes, ladder=Ladder(tiers), groups=groups)
    X = np.hstack([np.zeros((n, 2)), p]).astype(np.float32)
    cost, label, seen = outcomes.cost_usd, np.zeros(n, np.int8), np.ones((n, 3), dtype=bool)
    design = Design(X, 2, groups, outcomes.passed, label, cost_usd=cost, answer_usd=cost, answer_seen=seen)
    return outcomes, design


def usual(train: Design, test: Design) -> np.ndarray:
    """Every answer costs what its tier's answers cost in the mean."""
    assert train.answer_usd is not None
    return np.tile(train.answer_usd.mean(axis=0), (len(test), 1))


def test_no_group_teaches_and_judges_and_sizes_are_met(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "SIZES", {100: 3, 250: 2})
    outcomes, design = history(600)
    seen: Seen = []
    sizes = []

    def spy(train: Design, test: Design, _seed: int) -> np.ndarray:
        seen.append((set(train.texts), set(test.texts)))
        sizes.append(len(train))
        return np.clip(test.X[:, 2:].astype(np.float64), 0, 1)

    curve = learning_curve(outcomes, design, {"spy": spy}, usual)
    assert [100, 250] == [row["prompts"] for row in curve]
    assert [3, 2] == [row["draws"] for row in curve]
    assert 5 == len(seen)
    assert all(not taught & judged for taught, judged in seen)
    assert all(100 <= size < 103 for size in sizes[:3])
    assert all(250 <= size < 253 for size in sizes[3:])
    assert len({frozenset(taught) for taught, _ in seen}) == len(seen)


def test_answers_learn_from_the_same_rows_and_are_shown_no_cost_of_those_that_judge(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(learning, "SIZES", {100: 2})
    outcomes, design = history(600)
    fitted: Seen = []
    answered: Seen = []

    def half(train: Design, test: Design, _seed: int) -> np.ndarray:
        fitted.append((set(train.texts), set(test.texts)))
        assert (None, None, None) == (test.cost_usd, test.answer_usd, test.answer_seen)
        return np.full(test.passed.shape, 0.5)

    def spy(train: Design, test: Design) -> np.ndarray:
        answered.append((set(train.texts), set(test.texts)))
        for column in (train.cost_usd, train.answer_usd, train.answer_seen):
            assert column is not None
        assert (None, None, None) == (test.cost_usd, test.answer_usd, test.answer_seen)
        assert np.isnan(test.passed).all()
        return np.ones(test.passed.shape)

    learning_curve(outcomes, design, {"half": half}, spy)
    assert 2 == len(fitted)
    assert fitted == answered


def test_knowing_what_answers_cost_helps_whatever_the_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "SIZES", {100: 3})
    outcomes, design = history(900)
    # The design's own column of answers is hidden from what predicts them, so the truth goes in as a feature.
    told = replace(design, X=np.hstack([design.X, outcomes.cost_usd]).astype(np.float32))
    rates = {"rates": lambda train, test, _seed: np.tile(np.nanmean(train.passed, 0), (len(test), 1))}
    mean, known = (
        learning_curve(outcomes, told, rates, answers)[0]["gap_closed"]["rates"]["mean"]
        for answers in (usual, lambda _train, test: test.X[:, 5:].astype(np.float64))
    )
    assert known > mean + 0.05


def test_what_knows_closes_more_than_what_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "SIZES", {100: 3})
    outcomes, design = history(900)
    rng = np.random.default_rng(3)
    gaps = learning_curve(
        outcomes,
        design,
        {
            "knows": lambda _train, test, _seed: np.clip(test.X[:, 2:].astype(np.float64), 0, 1),
            "guesses": lambda _train, test, _seed: rng.random(test.passed.shape),
        },
        usual,
    )[0]["gap_closed"]
    assert gaps["knows"]["mean"] > gaps["guesses"]["mean"] + 0.1
    assert gaps["knows"]["sd"] >= 0


def test_a_size_that_leaves_too_few_to_judge_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "SIZES", {100: 2, 500: 2})
    outcomes, design = history(500 + LEAST_JUDGED - 50)
    curve = learning_curve(
        outcomes, design, {"half": lambda _train, test, _seed: np.full(test.passed.shape, 0.5)}, usual
    )
    assert [100] == [row["prompts"] for row in curve]
    # It only knows the two ends of the ladder, which are worse than mixing all three tiers.
    assert curve[0]["gap_closed"]["half"]["mean"] < 0


def test_processes_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "SIZES", {100: 3, 250: 2})
    outcomes, design = history(600)
    ticks: list[str] = []

    def guesses(train: Design, test: Design, seed: int) -> np.ndarray:
        return np.random.default_rng(seed + len(train)).random(test.passed.shape)

    alone = learning_curve(outcomes, design, {"guesses": guesses}, usual, seed=5)
    assert alone == learning_curve(
        outcomes, design, {"guesses": guesses}, usual, seed=5, workers=2, tick=ticks.append
    )
    assert sorted(ticks) == ["100 prompts"] * 3 + ["250 prompts"] * 2
