"""Certificates: tables by hand, which rows count, and what is said when there are too few."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from eval.certify import ALPHAS, DELTA, EPSILONS, certify, explain_shortage, spend
from eval.ladder import mean_call_usd
from eval.outcomes import Outcomes
from router.rule import Loss, choose_many, expected_losses
from router.tiers import Ladder, Tier


def outcomes_of(score: Any, cost: Any = None, groups: Any = None, **tags: Any) -> Outcomes:
    """Outcomes of n prompts; costs are 1, 2, ... USD and each prompt is a group of its own, where not given."""
    score = np.asarray(score, np.float64)
    n, k = score.shape
    ids = np.array([f"p{i}" for i in range(n)], dtype=object)
    return Outcomes(
        ladder=Ladder(tuple(Tier(f"tier{i}", (f"m{i}",), 1.0 + i, 1.0 + i) for i in range(k))),
        prompt_ids=ids,
        prompts=["?"] * n,
        groups=ids if groups is None else np.array([str(group) for group in groups], dtype=object),
        score=score.astype(np.float32),
        passed=np.where(np.isnan(score), np.nan, score >= 0.5).astype(np.float32),
        cost_usd=np.tile(np.arange(1.0, k + 1), (n, 1)) if cost is None else np.asarray(cost, np.float64),
        cost_estimated=np.zeros((n, k), bool),
        tags={name: np.array(values, dtype=object) for name, values in tags.items()},
        timestamp=None,
        mean_output_tokens=(1.0,) * k,
        dropped={},
    )


def alike(p: list[float], score: list[float], usd: list[float], n: int) -> tuple[Any, Any, Any]:
    """Scores, outcomes and expected costs of n prompts alike."""
    return np.tile(p, (n, 1)), np.tile(score, (n, 1)), np.tile(usd, (n, 1))


def join(*parts: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    return tuple(np.concatenate(each) for each in zip(*parts, strict=True))  # type: ignore[return-value]


def of(rows: tuple[Any, Any, Any], groups: Any = None, **options: Any) -> dict[str, Any]:
    """Certify rows against their dearest tier, of which a call is expected to cost 10 USD."""
    p, score, usd = rows
    options = {"reference": score.shape[1] - 1, "unit_usd": 10.0} | options
    tags = options.pop("tags", {})
    return certify(outcomes_of(score, usd, groups, **tags), p, usd, **options)


def below(limit: float) -> float:
    """The last epsilon below a limit."""
    return max(epsilon for epsilon in EPSILONS if epsilon < limit)


SAFE = ([0.75, 1.0], [1.0, 1.0], [1.0, 10.0])
UNSAFE = ([0.5, 1.0], [0.0, 1.0], [1.0, 10.0])


def noisy(n: int, seed: int) -> tuple[Any, Any, Any]:
    """Scores that mean what they say, three tiers."""
    rng = np.random.default_rng(seed)
    p = np.sort(rng.random((n, 3)), axis=1)
    return p, (rng.random((n, 3)) < p).astype(float), rng.gamma(2.0, [0.5, 2.0, 5.0], (n, 3))


# The grids


def test_alphas_and_epsilons_ascend_from_conservative_to_permissive() -> None:
    assert (40, 0.005, 0.2) == (len(ALPHAS), ALPHAS[0], ALPHAS[-1])
    assert (300, 0.0, 0.002, 10.0) == (len(EPSILONS), EPSILONS[0], EPSILONS[1], EPSILONS[-1])
    assert (np.diff(ALPHAS) > 0).all()
    assert (np.diff(EPSILONS) > 0).all()


# Regret


def test_a_reserve_is_the_certificate_of_a_stricter_promise() -> None:
    rows = noisy(900, 4)
    kept = of(rows, reserve=0.2)
    strict = of(rows, alphas=[0.8 * alpha for alpha in ALPHAS])
    assert 0.2 == kept["reserve"]
    assert [row["epsilon"] for row in strict["table"]] == [row["epsilon"] for row in kept["table"]]
    assert [row["epsilon"] for row in strict["quality"]] == [row["epsilon"] for row in kept["quality"]]
    assert {row["alpha"] for row in kept["table"]} <= set(ALPHAS)
    assert all(row["bound"] <= 0.8 * row["alpha"] for row in kept["table"])
    assert list(strict["needed"].values()) == list(kept["needed"].values())
    assert kept["table"] != of(rows)["table"]


def test_too_few_groups_certify_nothing() -> None:
    # With 13 groups and no failure the bound is 0.206, with 14 it is 0.193.
    assert [] == of(alike(*SAFE, 13))["table"]
    table = of(alike(*SAFE, 14))["table"]
    assert [(0.195, 10.0), (0.2, 10.0)] == [(row["alpha"], row["epsilon"]) for row in table]


def test_a_row_of_the_table_by_hand() -> None:
    # The cheap tier passes on 80 prompts, where its loss is 0.25, and fails on 20, where it is 0.5; it saves 0.9 calls.
    certificate = of(join(alike(*SAFE, 80), alike(*UNSAFE, 20)))
    assert (100, DELTA, "tier1") == tuple(certificate[key] for key in ("n", "delta", "reference"))
    bound = 1 - 0.05 ** (1 / 100)  # no failure of 100
    expected = {
        "epsilon": below(0.5 / 0.9),
        "observed": 0.0,
        "bound": bound,
        "saving": 1 - (80 * 1 + 20 * 10) / 1000,
    }
    for row in certificate["table"]:
        assert [0.8, 0.2] == pytest.approx(row["share_per_tier"])
        assert expected == pytest.approx({key: row[key] for key in expected})
    assert [alpha for alpha in ALPHAS if alpha >= bound] == [row["alpha"] for row in certificate["table"]]


def test_the_sequence_stops_at_the_first_failure() -> None:
    # The middle tier fails and is chosen from 0.2 on; the cheap one passes and is chosen from 0.75 on. There, nothing
    # is regretted again, but a test that looks on after a failure proves nothing.
    rows = alike([0.6, 0.9, 1.0], [1, 0, 1], [1, 5, 10], 200)
    losses = expected_losses(rows[0], None, 2, Loss.REGRET)
    assert [2, 1, 0] == choose_many(losses, rows[2], np.array([0.019, 0.021, 0.076]))[0].tolist()
    table = of(rows)["table"]
    assert 0.015 == table[0]["alpha"]
    assert {below(0.2)} == {row["epsilon"] for row in table}


def test_nothing_routed_is_nothing_regretted() -> None:
    """Even a scorer that has it all wrong gets the promise that costs nothing."""
    wrong = alike([1.0, 0.5], [0, 1], [1, 10], 600)
    table = of(wrong, escalated=np.full(600, True))["table"]
    assert ALPHAS == tuple(row["alpha"] for row in table)
    assert {(0.0, 0.0)} == {(row["observed"], row["saving"]) for row in table}
    assert [] == of(alike([1.0, 0.0], [0, 1], [1, 10], 600))["table"]


def test_a_reference_that_fails_is_not_regretted() -> None:
    table = of(alike([0.5, 0.75], [0, 0], [1, 10], 600))["table"]
    assert {(10.0, 0.0, 0.9)} == {(row["epsilon"], row["observed"], row["saving"]) for row in table}


def test_free_tiers_save_nothing() -> None:
    p, score, _ = alike(*SAFE, 100)
    free = np.zeros((100, 2))
    certificate = certify(outcomes_of(score, free), p, free, reference=1, unit_usd=mean_call_usd(free[:, 1]))
    assert {0.0} == {row["saving"] for kind in ("table", "quality") for row in certificate[kind]}


def test_the_reference_need_not_be_the_dearest() -> None:
    # The middle tier is the best one: savings are against it, and the dearest is never chosen.
    rows = join(
        alike([0.5, 1.0, 0.9], [1, 1, 0], [1, 5, 20], 80), alike([0.1, 1.0, 0.9], [0, 1, 0], [1, 5, 20], 20)
    )
    certificate = of(rows, reference=1, unit_usd=5.0)
    assert "tier1" == certificate["reference"]
    row = certificate["table"][-1]
    assert 1 - (80 * 1 + 20 * 5) / 500 == pytest.approx(row["saving"])
    assert [0.8, 0.2, 0.0] == pytest.approx(row["share_per_tier"])


def test_escalated_rows_are_served_by_the_reference_tier() -> None:
    rows = join(alike(*SAFE, 80), alike(*UNSAFE, 20))
    row = of(rows, escalated=np.arange(100) >= 80)["table"][-1]
    assert (10.0, 0.0) == (row["epsilon"], row["observed"])
    assert [0.8, 0.2] == pytest.approx(row["share_per_tier"])


def test_what_is_uncertain_is_routed_later() -> None:
    rows = alike(*SAFE, 100)
    failing = join(rows, alike([0.75, 1.0], [0.0, 1.0], [1.0, 10.0], 50))
    sure = of(failing)["table"][-1]["epsilon"]
    unsure = of(failing, spread=np.tile([0.125, 0.0], (150, 1)))["table"][-1]["epsilon"]
    assert (below(0.25 / 0.9), below(0.375 / 0.9)) == (sure, unsure)


# Quality


def test_quality_by_hand() -> None:
    # The reference has 0.8 throughout. The cheap tier has 0.9 where p says it gains, and 0.4 where it says it loses.
    better = alike([1.0, 0.9], [0.9, 0.8], [1, 10], 300)
    worse = alike([0.4, 0.9], [0.4, 0.8], [1, 10], 100)
    certificate = of(join(better, worse))
    table = {row["min_quality"]: row for row in certificate["quality"]}
    # Routing only what gains has 1.09 of the quality; routing all has 0.97, which is shown to be over 0.8, not 0.96.
    assert (0.3 * 0.9 + 0.1 * 0.8) / 0.32 == pytest.approx(table[0.96]["observed"])
    assert 0.75 * 0.9 == pytest.approx(table[0.96]["saving"])
    assert below(0.5 / 0.9) == table[0.96]["epsilon"]
    assert (0.3 * 0.9 + 0.1 * 0.4) / 0.32 == pytest.approx(table[0.8]["observed"])
    assert (10.0, [1.0, 0.0]) == (table[0.8]["epsilon"], table[0.8]["share_per_tier"])


def test_what_is_won_counts_for_quality_and_not_for_regret() -> None:
    # One in ten is lost and one in ten won, and scores cannot tell them from the rest.
    usd = [1.0, 10.0]
    rows = join(
        alike([0.9, 0.95], [1, 1], usd, 800),
        alike([0.9, 0.95], [0, 1], usd, 100),
        alike([0.9, 0.95], [1, 0], usd, 100),
    )
    certificate = of(rows)
    assert 0.0 == certificate["table"][9]["saving"]  # alpha .05
    quality = {row["min_quality"]: row for row in certificate["quality"]}
    assert 0.9 == pytest.approx(quality[0.95]["saving"])
    assert 1.0 == pytest.approx(quality[0.95]["observed"])


def test_nothing_passing_is_no_quality_to_keep() -> None:
    certificate = of(alike([0.5, 0.75], [0, 0], [1, 10], 600))
    assert [] == certificate["quality"]
    json.dumps(certificate, allow_nan=False)


# Both


@pytest.mark.parametrize("n", [50, 300, 2000])
@pytest.mark.parametrize("seed", range(4))
def test_the_tables_are_monotone(n: int, seed: int) -> None:
    certificate = of(noisy(n, seed), seed=seed, tags={"task": ["a", "b"] * (n // 2)})
    assert certificate == json.loads(json.dumps(certificate, allow_nan=False))
    for row in certificate["table"]:
        assert row["observed"] <= row["bound"] <= row["alpha"]
    stricter_first = [certificate["table"], certificate["quality"]]
    stricter_first += [each["table"] for each in certificate["slices"]]
    for table in stricter_first:
        for above, after in pairwise(table):
            assert above.get("alpha", 0) <= after.get("alpha", 1)
            assert above.get("min_quality", 1) >= after.get("min_quality", 0)
            assert above["epsilon"] <= after["epsilon"]
        assert {row["epsilon"] for row in table} <= {*EPSILONS}
        assert all(sum(row.get("share_per_tier", [1.0])) == pytest.approx(1.0) for row in table)


@pytest.mark.parametrize("kind", ["table", "quality"])
def test_a_smaller_delta_promises_less(kind: str) -> None:
    rows = noisy(2000, 1)
    sure, surer = (of(rows, delta=delta)[kind] for delta in (0.2, 0.001))
    name = "alpha" if kind == "table" else "min_quality"
    epsilon = {row[name]: row["epsilon"] for row in sure}
    assert len(surer) <= len(sure)
    assert all(row["epsilon"] <= epsilon[row[name]] for row in surer)
    assert any(row["epsilon"] < epsilon[row[name]] for row in surer)


def test_fewer_alphas_change_nothing_about_each() -> None:
    rows = noisy(1000, 2)
    whole, few = of(rows), of(rows, alphas=(0.05, 0.2))
    for kind, name, at in (("table", "alpha", (0.05, 0.2)), ("quality", "min_quality", (0.95, 0.8))):
        assert [row for row in whole[kind] if row[name] in at] == few[kind]


# Which rows count


def test_one_row_of_a_group_counts() -> None:
    rows = join(alike(*SAFE, 100), alike([0.75, 1.0], [0, 1], [1, 10], 400))
    apart = of(rows)
    assert (500, 0.0) == (apart["n"], apart["table"][-1]["saving"])
    together = of(rows, groups=[*range(100), *["one user"] * 400])
    assert 101 == together["n"]
    assert {0.0, 1 / 101} == {row["observed"] for row in together["table"]}
    assert 10.0 == together["table"][-1]["epsilon"]
    assert 0.9 == pytest.approx(together["table"][-1]["saving"])


def test_a_group_counts_by_its_mean_for_quality() -> None:
    # In each group three of four are kept, so that 0.75 is, whatever the draw: shown to be over 0.7, and never 0.8.
    p, score, usd = alike([0.75, 1.0], [1, 1], [1, 10], 1200)
    score[::4, 0] = 0.0
    rows = (p, score, usd)
    lax = of(rows, groups=np.arange(1200) // 4, alphas=(0.2, 0.3))["quality"]
    assert [0.0, 10.0] == [0.0 if row["saving"] == 0 else row["epsilon"] for row in lax]
    assert 0.75 == pytest.approx(lax[1]["observed"])


def test_which_rows_count_depends_on_the_seed_alone() -> None:
    rows, groups = noisy(900, 5), np.arange(900) // 3
    first, again, other = (of(rows, groups, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first["n"] == other["n"] == 300
    assert first != other


def test_rows_with_an_unobserved_tier_are_left_out() -> None:
    for k in range(2):
        rows = join(alike(*SAFE, 100), alike([0.75, 1.0], [0, 1], [1, 10], 50))
        rows[1][100:, k] = np.nan
        certificate = of(rows)
        assert 100 == certificate["n"]
        assert {0.0} == {row["observed"] for row in certificate["table"]}
        assert 0.9 == certificate["table"][-1]["saving"]


# Slices


def test_slices_are_promised_apart_and_share_delta() -> None:
    rows = join(alike(*SAFE, 300), alike([0.75, 1.0], [0, 1], [1, 10], 200), alike(*SAFE, 99))
    task = [*["safe"] * 300, *["hard"] * 200, *["rare"] * 99]
    feature = [*["chat"] * 150, *[None] * 449]
    slices = of(rows, tags={"task": task, "feature": feature})["slices"]
    assert [("task=safe", 300), ("task=hard", 200), ("feature=chat", 150)] == [
        (each["name"], each["n"]) for each in slices
    ]
    assert {DELTA / 3} == {each["delta"] for each in slices}
    safe, hard, _ = (each["table"] for each in slices)
    assert (10.0, 0.9) == (safe[-1]["epsilon"], safe[-1]["saving"])
    assert 1 - (DELTA / 3) ** (1 / 300) == pytest.approx(safe[-1]["bound"])
    assert (below(0.25 / 0.9), 0.0) == (hard[-1]["epsilon"], hard[-1]["saving"])
    assert {"alpha", "epsilon", "observed", "bound", "saving"} == {*safe[0]}


def test_a_slice_has_its_groups_rows_alone() -> None:
    """Groups that reach beyond a slice: the row that is drawn is one of the slice."""
    rows = join(alike(*SAFE, 100), alike([0.75, 1.0], [0, 1], [1, 10], 100))
    groups = [*range(100), *range(100)]
    tasks = ["safe"] * 100 + ["hard"] * 100
    certificate = of(rows, groups, tags={"task": tasks})
    assert 100 == certificate["n"]
    found = {each["name"]: each for each in certificate["slices"]}
    assert {"task=safe", "task=hard"} == {*found}
    assert {100} == {each["n"] for each in found.values()}
    assert (10.0, 0.0) == tuple(found["task=safe"]["table"][-1][key] for key in ("epsilon", "observed"))
    assert 0.0 == found["task=hard"]["table"][-1]["saving"]


def test_there_are_fifty_slices_at_most() -> None:
    rows = alike(*SAFE, 5200)
    slices = of(rows, tags={"task": [f"{i % 52:02}" for i in range(5200)]}, alphas=(0.2,))["slices"]
    assert [f"task={i:02}" for i in range(50)] == [each["name"] for each in slices]


# Too little


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (9, "9 calibration groups support no promise; 14 are needed for one of 20 %, 59 for 5 %, if nothing goes wrong"),
        (1, "1 calibration group supports no promise; 14 are needed for one of 20 %, 59 for 5 %, if nothing goes wrong"),
        (20, "20 calibration groups support no promise of 13.5 % or less; 21 are needed for 13.5 %, 59 for 5 %, if nothing goes wrong"),
        (100, "100 calibration groups support no promise of 2.5 % or less; 119 are needed for 2.5 %, 598 for 0.5 %, if nothing goes wrong"),
        (400, "400 calibration groups support no promise of 0.5 % or less; 598 are needed for 0.5 %, if nothing goes wrong"),
        (598, None),
    ],
)  # fmt: skip
def test_a_shortage_is_explained(n: int, expected: str | None) -> None:
    certificate = of(alike(*SAFE, n))
    assert expected == explain_shortage(certificate)
    assert {alpha for alpha in ALPHAS if f"{alpha:g}" not in certificate["needed"]} == {
        row["alpha"] for row in certificate["table"]
    }
    json.dumps(certificate, allow_nan=False)


def test_no_prompt_tried_on_every_tier_is_explained() -> None:
    p, score, usd = alike(*SAFE, 700)
    score[:, 0] = np.nan
    certificate = certify(outcomes_of(score, usd), p, usd, reference=1, unit_usd=10.0)
    assert (0, [], [], []) == tuple(certificate[key] for key in ("n", "table", "quality", "slices"))
    assert 40 == len(certificate["needed"])
    assert (
        "no calibration prompt was tried on every tier, so nothing is promised; 14 groups of such prompts are needed "
        "for a promise of 20 %, 59 for 5 %, if nothing goes wrong"
    ) == explain_shortage(certificate)


# What is spent


def test_spending_by_hand() -> None:
    p, score, usd = join(alike(*SAFE, 60), alike(*UNSAFE, 40))
    table = spend(outcomes_of(score, usd), p, usd, reference=1, unit_usd=10.0)
    firsts = [0.0, *(min(e for e in EPSILONS if 0.9 * e >= loss) for loss in (0.25, 0.5))]
    assert firsts == [entry["epsilon"] for entry in table]
    assert [10.0, 0.6 * 1 + 0.4 * 10, 1.0] == pytest.approx([entry["usd"] for entry in table])


def test_spending_is_what_was_paid_and_falls() -> None:
    p, score, usd = noisy(500, 3)
    paid = usd * 3
    table = spend(outcomes_of(score, paid), p, usd, reference=2, unit_usd=10.0)
    assert len(table) > 100
    assert all(a["epsilon"] < b["epsilon"] and a["usd"] > b["usd"] for a, b in pairwise(table))
    best = p.argmax(axis=1)
    assert paid[np.arange(500), best].mean() == pytest.approx(table[0]["usd"])
    assert table[-1]["usd"] <= paid[:, 0].mean()
    everywhere = np.full(500, True)
    table = spend(outcomes_of(score, paid), p, usd, reference=2, unit_usd=10.0, escalated=everywhere)
    assert [paid[:, 2].mean()] == pytest.approx([entry["usd"] for entry in table])


def test_spending_rests_on_complete_rows_where_there_are_any() -> None:
    p, score, usd = alike(*SAFE, 10)
    usd[5:] *= 3
    for unobserved, expected in ((slice(5, 10), [10.0, 1.0]), (slice(0, 10), [20.0, 2.0])):
        score[unobserved, 0] = np.nan
        table = spend(outcomes_of(score, usd), p, usd, reference=1, unit_usd=10.0)
        assert expected == pytest.approx([table[0]["usd"], table[-1]["usd"]])
    nothing = outcomes_of(score, usd).take([])
    assert [] == spend(nothing, p[:0], usd[:0], reference=1, unit_usd=10.0)
