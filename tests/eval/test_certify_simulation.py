"""The promises themselves, against a known truth, with controls that show that each test can fail.

A population is a finite set of prompts whose outcomes are fixed; a calibration part is drawn from it with
replacement, so what is true of the population is exactly what a promise is about. Scores are off on purpose: no
promise may rest on their being calibrated. Limits are those of an exact binomial test at one in a thousand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom
from sklearn.tree import DecisionTreeClassifier
from test_certify import outcomes_of

from eval.certify import DELTA, EPSILONS, certify
from eval.ladder import group_means
from router.rule import Loss, choose_many, expected_losses

Floats = NDArray[np.float64]
ALPHAS = (0.05, 0.1, 0.2)
USD = (1.0, 3.0, 10.0)


@dataclass(frozen=True)
class Population:
    """Prompts, and per epsilon the true regret and the true quality of routing them."""

    p: Floats
    score: Floats
    groups: NDArray[Any]
    regret: Floats
    kept: Floats

    def draw(self, groups: NDArray[Any], seed: int, **options: Any) -> dict[str, Any]:
        """Certify on a calibration part of these groups, each of which counts as often as it was drawn."""
        starts, ends = (np.searchsorted(self.groups, groups, side) for side in ("left", "right"))
        sizes = ends - starts
        rows = np.repeat(starts, sizes) + np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        names = np.repeat(np.arange(len(groups)), sizes)
        return self.certify(rows, names, seed, **options)

    def certify(self, rows: NDArray[Any], names: NDArray[Any], seed: int, **options: Any) -> dict[str, Any]:
        options = {"alphas": ALPHAS} | options
        tags = options.pop("tags", {})
        usd = np.tile(USD, (len(rows), 1))
        outcomes = outcomes_of(self.score[rows], usd, names, **tags)
        return certify(outcomes, self.p[rows], usd, reference=2, unit_usd=10.0, seed=seed, **options)

    def broken(self, certificate: dict[str, Any]) -> dict[str, int]:
        """Return, per promise made, whether it is broken."""
        found = {
            f"regret {row['alpha']}": int(self.regret[EPSILONS.index(row["epsilon"])] > row["alpha"] + 1e-12)
            for row in certificate["table"]
        }
        for row in certificate["quality"]:
            kept = self.kept[EPSILONS.index(row["epsilon"])]
            found[f"quality {row['min_quality']}"] = int(kept < row["min_quality"] - 1e-12)
        return found


def truth(p: Floats, score: Floats, groups: NDArray[Any]) -> tuple[Floats, Floats]:
    """Regret and relative quality of a population at every epsilon, of a prompt drawn from a group drawn."""
    usd, prices = np.tile(USD, (len(p), 1)), np.array(EPSILONS) / 10.0
    names = groups.astype(str).astype(object)
    passed = score >= 0.5
    cheap = choose_many(expected_losses(p, None, 2, Loss.REGRET), usd, prices)
    failed = passed[:, 2:] & ~np.take_along_axis(passed, cheap, axis=1)
    cheap = choose_many(expected_losses(p, None, 2, Loss.QUALITY), usd, prices)
    kept = group_means(np.take_along_axis(score, cheap, axis=1), names).mean(axis=0)
    best = group_means(score[:, 2:], names).mean()
    return group_means(failed.astype(float), names).mean(axis=0), kept / best


def populate(gap: float, graded: bool = False, per_group: int = 1, size: int = 8000) -> Population:
    """Prompts of which the dearest tier passes nine in ten and the cheapest `gap` fewer.

    With several prompts per group, groups are of 1 to `per_group` of them, and all of a group share their outcomes.
    """
    rng = np.random.default_rng(round(1000 * gap) + per_group)
    sizes = rng.integers(1, per_group, endpoint=True, size=size)
    of = np.repeat(np.arange(size), sizes)
    rates = np.clip(np.array([0.9 - gap, 0.9 - gap / 2, 0.9]), 0.01, 0.99)
    ease = rng.normal(size=(size, 1))
    true = 1 / (1 + np.exp(-(1.6 * np.log(rates / (1 - rates)) + 1.5 * ease)))
    score = (
        rng.beta(4 * true + 0.1, 4 * (1 - true) + 0.1)
        if graded
        else (rng.random((size, 3)) < true).astype(float)
    )
    p = np.clip(true[of] ** 1.5 + rng.normal(0.0, 0.1, (len(of), 3)), 0.0, 1.0)
    return Population(p, score[of], of, *truth(p, score[of], of))


def count(
    repetitions: int, trial: Callable[[int, np.random.Generator], dict[str, int]]
) -> tuple[dict[str, int], dict[str, int]]:
    """Return how often each promise was broken, and made."""
    rng = np.random.default_rng(2024)
    broken: dict[str, int] = {}
    made: dict[str, int] = {}
    for seed in range(repetitions):
        for name, is_broken in trial(seed, rng).items():
            broken[name] = broken.get(name, 0) + is_broken
            made[name] = made.get(name, 0) + 1
    return broken, made


def most(repetitions: int) -> float:
    """What chance alone explains of promises that hold at 1 - delta."""
    return float(binom.ppf(0.999, repetitions, DELTA))


@pytest.mark.parametrize("graded", [False, True], ids=["passes", "graded"])
@pytest.mark.parametrize("gap", [0.1, 0.3, 0.7])
@pytest.mark.parametrize(("n", "repetitions"), [(100, 150), (500, 80), (2000, 20)])
def test_promises_are_kept(gap: float, n: int, repetitions: int, graded: bool) -> None:
    population = populate(gap, graded)
    broken, made = count(
        repetitions, lambda seed, rng: population.broken(population.draw(rng.integers(8000, size=n), seed))
    )
    assert {"regret 0.05", "regret 0.1", "regret 0.2"} <= {*made}
    assert made["quality 0.8"] > repetitions / 2  # promises are made, not only kept
    assert all(times <= most(repetitions) for times in broken.values()), broken


def test_delta_is_spent() -> None:
    """Promises are broken now and then: a bound that is looser by a little would be seen."""
    population = populate(0.7)
    broken, _ = count(
        250, lambda seed, rng: population.broken(population.draw(rng.integers(8000, size=300), seed))
    )
    assert broken["regret 0.1"] >= 3
    assert broken["regret 0.2"] >= 3
    looser, _ = count(
        250,
        lambda seed, rng: population.broken(population.draw(rng.integers(8000, size=300), seed, delta=0.2)),
    )
    assert looser["regret 0.2"] > most(250)
    assert looser["quality 0.8"] > most(250) / 2  # the bet gives up more than the exact test


def test_groups_may_be_as_alike_as_they_like() -> None:
    """Up to 16 rows a group, all of one fate; and the control, which takes those rows to be exchangeable."""
    population = populate(0.5, per_group=16, size=3000)
    repetitions = 100

    def trial(seed: int, rng: np.random.Generator, by_row: bool = False) -> dict[str, int]:
        groups = rng.integers(3000, size=150)
        if not by_row:
            return population.broken(population.draw(groups, seed))
        starts, ends = (np.searchsorted(population.groups, groups, side) for side in ("left", "right"))
        rows = np.concatenate([np.arange(a, b) for a, b in zip(starts, ends, strict=True)])
        return population.broken(population.certify(rows, np.arange(len(rows)), seed))

    broken, made = count(repetitions, trial)
    assert min(made["regret 0.1"], made["quality 0.8"]) > repetitions / 2
    assert all(times <= most(repetitions) for times in broken.values()), broken
    as_rows, _ = count(repetitions, lambda seed, rng: trial(seed, rng, by_row=True))
    assert all(as_rows[name] > most(repetitions) for name in ("regret 0.1", "regret 0.2", "quality 0.8"))


def test_slices_hold_all_together() -> None:
    """Eight tasks of differing difficulty; the control promises each of them what only all together are promised."""
    easy, hard = populate(0.2), populate(0.7)
    slices = 8

    def trial(seed: int, rng: np.random.Generator, delta: float = DELTA) -> dict[str, int]:
        rows = rng.integers(8000, size=120 * slices)
        tasks = np.arange(len(rows)) % slices
        p, score = (
            np.where(tasks[:, None] % 2, getattr(hard, name)[rows], getattr(easy, name)[rows])
            for name in ("p", "score")
        )
        mixed = Population(p, score, np.arange(len(rows)), easy.regret, easy.kept)
        every = np.arange(len(rows))
        certificate = mixed.certify(
            every, every, seed, tags={"task": [f"t{task}" for task in tasks]}, alphas=(0.2,), delta=delta
        )
        assert slices == len(certificate["slices"])
        found = 0
        for each in certificate["slices"]:
            population = hard if int(each["name"].removeprefix("task=t")) % 2 else easy
            for row in each["table"]:
                found |= int(population.regret[EPSILONS.index(row["epsilon"])] > row["alpha"])
        return {"any": found}

    repetitions = 120
    broken, _ = count(repetitions, trial)
    assert broken["any"] <= most(repetitions)
    apart, _ = count(repetitions, lambda seed, rng: trial(seed, rng, delta=slices * DELTA))
    assert apart["any"] > most(repetitions)


# Leakage


def rates(x: Floats) -> Floats:
    """True pass probabilities of two tiers at places x."""
    return np.stack([0.3 + 0.4 * x, np.full(len(x), 0.9)], axis=1)


def nearest(x: Floats, passed: Floats) -> Callable[[Floats], Floats]:
    """Return a scorer that repeats its nearest row."""
    order = np.argsort(x)
    places, known = x[order], passed[order]
    return lambda at: known[np.searchsorted((places[1:] + places[:-1]) / 2, at)]


def tree(x: Floats, passed: Floats) -> Callable[[Floats], Floats]:
    """Return a scorer that is a decision tree per tier, grown to the end."""
    grown = [DecisionTreeClassifier(random_state=0).fit(x[:, None], passed[:, k]) for k in range(2)]
    return lambda at: np.stack(
        [each.predict_proba(at[:, None]) @ each.classes_ for each in grown], axis=1
    ).astype(float)


def labels(x: Floats, passed: Floats) -> Callable[[Floats], Floats]:
    """Return a scorer that knows outcomes by heart, and otherwise guesses that the cheap tier passes."""
    known = dict(zip(x.tolist(), passed, strict=True))
    return lambda at: np.array([known.get(place, [0.9, 0.9]) for place in at.tolist()], float)


@pytest.mark.parametrize("learn", [nearest, tree, labels])
def test_calibrating_on_what_was_learned_breaks_the_promise(
    learn: Callable[[Floats, Floats], Callable[[Floats], Floats]],
) -> None:
    """The same scorer, certified on rows that it has not seen and on those that it has."""
    fresh = np.random.default_rng(1).random(1000)
    usd, prices = np.tile([1.0, 10.0], (1000, 1)), np.array(EPSILONS) / 10.0

    def trial(seed: int, rng: np.random.Generator) -> dict[str, int]:
        parts = [rng.random(300) for _ in range(2)]
        passed = [(rng.random((300, 2)) < rates(x)).astype(float) for x in parts]
        scorer = learn(parts[0], passed[0])
        cheap = choose_many(expected_losses(scorer(fresh), None, 1, Loss.REGRET), usd, prices) == 0
        true = (cheap * (rates(fresh)[:, 1] * (1 - rates(fresh)[:, 0]))[:, None]).mean(axis=0)
        found = {}
        for name, part in (("leaking", 0), ("held out", 1)):
            x = parts[part]
            costs = np.tile([1.0, 10.0], (300, 1))
            table = certify(
                outcomes_of(passed[part], costs), scorer(x), costs, reference=1, unit_usd=10.0, seed=seed, alphas=(0.05,)
            )["table"]  # fmt: skip
            found[name] = int(any(true[EPSILONS.index(row["epsilon"])] > 0.05 for row in table))
        return found

    repetitions = 100
    broken, _ = count(repetitions, trial)
    assert broken["held out"] <= most(repetitions)
    assert broken["leaking"] > repetitions / 2
