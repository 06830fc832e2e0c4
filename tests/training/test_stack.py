"""Stacking: weight goes to who knows which tier is worth it, and calibration never reverses a ranking."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from eval.calibration import log_loss
from training.stack import LEAST_WEIGHT, PRIOR_PROMPTS, SLOPE_RANGE, calibrate, match, shrink, sigmoid, weigh

Floats = NDArray[np.float64]
# Mean costs of three tiers, the same from each to the next.
EVEN = np.array([0.0, 0.01, 0.02])


def outcomes_of(margin: Floats, seed: int) -> NDArray[np.float32]:
    """Outcomes drawn with the log odds given."""
    return (np.random.default_rng(seed).random(margin.shape) < sigmoid(margin)).astype(np.float32)


def test_the_sigmoid_does_not_overflow() -> None:
    found = sigmoid(np.array([-1e300, -2.0, 0.0, 2.0, 1e300]))
    np.testing.assert_allclose([0.0, 1 / (1 + np.exp(2)), 0.5, 1 / (1 + np.exp(-2)), 1.0], found)


# Calibration


@pytest.mark.parametrize("factor", [-3.0, 0.0, 0.01, 0.5, 1.0, 2.0, 50.0])
def test_calibration_keeps_order_and_meets_the_pass_rate(factor: float) -> None:
    rng = np.random.default_rng(2)
    truth = rng.normal(0.5, 1.5, (400, 2))
    passed = outcomes_of(truth, 3)
    passed[rng.random(passed.shape) < 0.2] = np.nan
    # A member that says the truth times a factor, and so is over-sure, unsure, blind or wrong.
    margin = truth * factor + rng.normal(0, 1e-3, truth.shape)
    slope, offset = calibrate(margin, passed)
    assert ((slope >= SLOPE_RANGE[0]) & (slope <= SLOPE_RANGE[1])).all()
    p = sigmoid(margin * slope + offset)
    for k in range(2):
        seen = ~np.isnan(passed[:, k])
        assert passed[seen, k].mean() == pytest.approx(p[seen, k].mean(), abs=1e-9)
        order = np.argsort(margin[:, k])
        assert (np.diff(p[order, k]) >= 0).all()


def test_calibration_mends_margins_that_are_too_sure() -> None:
    truth = np.random.default_rng(5).normal(0.0, 1.5, (4000, 1))
    passed = outcomes_of(truth, 6)
    slope, offset = calibrate(truth * 2.0 + 1.0, passed)
    assert 0.5 == pytest.approx(slope[0], abs=0.05)
    assert -0.5 == pytest.approx(offset[0], abs=0.12)
    before, after = (
        log_loss(sigmoid(z[:, 0]), passed[:, 0]) for z in (truth * 2 + 1, (truth * 2 + 1) * slope + offset)
    )
    assert after < before


@pytest.mark.parametrize("outcome", [0.0, 1.0, np.nan])
def test_a_tier_whose_outcomes_are_all_alike_keeps_its_margin(outcome: float) -> None:
    margin = np.random.default_rng(0).normal(size=(50, 2))
    passed = outcomes_of(margin, 1)
    passed[:, 1] = outcome
    slope, offset = calibrate(margin, passed)
    assert (1.0, 0.0) == (slope[1], offset[1])
    assert (1.0, 0.0) != (slope[0], offset[0])


def test_where_no_tier_can_be_calibrated_all_keep_their_margins() -> None:
    passed = np.tile(np.array([1.0, 0.0, np.nan], np.float32), (20, 1))
    slope, offset = calibrate(np.random.default_rng(0).normal(size=(20, 3)), passed)
    assert ([1.0] * 3, [0.0] * 3) == (slope.tolist(), offset.tolist())


def test_tiers_share_one_slope() -> None:
    truth = np.random.default_rng(1).normal(size=(300, 3))
    slope, offset = calibrate(truth, outcomes_of(truth * [0.5, 1.0, 1.5], 2))
    assert 1 == len(set(slope.tolist()))
    assert 3 == len(set(offset.tolist()))


@pytest.mark.parametrize("margin", [0.0, 0.3, -9.0])
def test_a_constant_margin_becomes_the_pass_rate(margin: float) -> None:
    passed = np.repeat([[1, 0], [1, 1], [0, 1], [1, 0]], 10, axis=0).astype(np.float32)
    slope, offset = calibrate(np.full(passed.shape, margin), passed)
    p = sigmoid(np.full(passed.shape, margin) * slope + offset)
    np.testing.assert_allclose(np.tile([0.75, 0.5], (40, 1)), p)


def test_a_margin_that_knows_all_is_kept_moderate() -> None:
    passed = outcomes_of(np.zeros((200, 2)), 4)
    slope, offset = calibrate(np.where(passed == 1.0, 0.3, -0.3), passed)
    assert [SLOPE_RANGE[1]] * 2 == slope.tolist()
    assert np.isfinite(offset).all()


# Weights


def draw(n: int, seed: int, n_members: int = 4) -> tuple[Floats, NDArray[np.float32], list[Floats]]:
    """The pass probabilities of three tiers, whose differences vary by prompt; outcomes; members that guess."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(0.0, 1.5, (n, 3)) + np.array([-0.5, 0.5, 1.5])
    blind = [sigmoid(rng.normal(0.0, 1.5, (n, 3))) for _ in range(n_members)]
    return sigmoid(truth), outcomes_of(truth, seed + 1), blind


@given(
    n=st.integers(0, 40),
    k=st.integers(2, 4),
    members=st.integers(1, 5),
    unobserved=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
    costs=st.sampled_from(["drawn", "equal", "none"]),
    seed=st.integers(0, 99),
)
def test_weights_are_shares(n: int, k: int, members: int, unobserved: float, costs: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    passed = (rng.random((n, k)) < 0.6).astype(np.float32)
    passed[rng.random((n, k)) < unobserved] = np.nan
    cost = {"drawn": rng.lognormal(0.0, 3.0, k), "equal": np.full(k, 0.01), "none": np.zeros(k)}[costs]
    weights = weigh([rng.random((n, k)) for _ in range(members)], passed, cost)
    assert (members,) == weights.shape
    assert (weights >= 0.0).all()
    assert 1.0 == pytest.approx(weights.sum())
    assert not ((weights > 0.0) & (weights < LEAST_WEIGHT)).any()


@pytest.mark.parametrize("place", [0, 2, 4])
def test_with_many_rows_who_knows_has_nearly_all_weight(place: int) -> None:
    truth, passed, blind = draw(20_000, 3)
    weights = weigh([*blind[:place], truth, *blind[place:]], passed, EVEN)
    assert weights[place] > 0.9
    assert np.delete(weights, place).max() < 0.05


@pytest.mark.parametrize("seed", range(3))
def test_noise_has_about_nothing(seed: int) -> None:
    truth, passed, blind = draw(6000, seed, 3)
    weights = weigh([truth, *blind], passed, EVEN)
    assert weights[1:].max() < 0.07
    assert (
        weights[0] > weigh([p[:20] for p in (truth, *blind)], passed[:20], EVEN)[0]
    )  # which is learned from rows


def raw_shares(p: list[Floats], passed: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch) -> Floats:
    """Weights with no member left out for having little."""
    with monkeypatch.context() as patch:
        patch.setattr("training.stack.LEAST_WEIGHT", 0.0)
        return weigh(p, passed, EVEN)


def test_a_member_under_a_tenth_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors of one member, ever greater, take its weight through a tenth; beyond, it has none, and the other all."""
    assert 0.1 == LEAST_WEIGHT
    truth, passed, (wrong, *_) = draw(6000, 2)
    left_out = 0
    for error in np.linspace(0.3, 3.0, 19):
        members = [truth + 0.2 * (wrong[::-1] - 0.5), truth + error * (wrong - 0.5)]
        raw, found = raw_shares(members, passed, monkeypatch), weigh(members, passed, EVEN)
        assert (raw > 0.0).all()
        kept = np.where(raw < 0.1, 0.0, raw)
        np.testing.assert_allclose(kept / kept.sum(), found, rtol=0, atol=1e-12)
        left_out += 0.0 == found[1]
    assert 0 < left_out < 19


@pytest.mark.parametrize("seed", range(3))
def test_who_says_the_opposite_has_nothing(seed: int) -> None:
    truth, passed, _ = draw(20_000, seed)
    assert [1.0, 0.0] == weigh([truth, 1.0 - truth], passed, EVEN).tolist()


def test_members_whose_errors_cancel_share_the_weight() -> None:
    truth, passed, (wrong, blind, *_) = draw(6000, 2)
    error = 0.3 * (wrong - 0.5)
    weights = weigh([truth + error, truth - error, blind], passed, EVEN)
    np.testing.assert_allclose([0.5, 0.5], weights[:2], atol=0.1)


def test_twins_share_alike() -> None:
    truth, passed, (blind, *_) = draw(3000, 4)
    weights = weigh([truth, blind, truth], passed, EVEN)
    assert weights[0] == pytest.approx(weights[2])


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_few_rows_leave_weights_about_equal(rows: int) -> None:
    truth, passed, blind = draw(5, 1)
    weights = weigh([p[:rows] for p in (truth, *blind)], passed[:rows], EVEN)
    np.testing.assert_allclose(np.full(5, 0.2), weights, atol=0.0 if rows == 0 else 0.05)


def test_rows_move_weights_as_the_prior_says() -> None:
    """One who knows and one who says nothing: by hand, the weight before it is made a share."""
    truth, passed, _ = draw(4 * PRIOR_PROMPTS, 1)
    constant = np.full_like(truth, 0.5)
    cost, said, gain = np.array([0.001, 0.003, 0.011]), [], []
    for low, share in ((0, 0.2), (1, 0.8)):  # neighbours; a step counts as much as it costs
        lead = truth[:, low + 1] - truth[:, low]
        difference = passed[:, low + 1].astype(float) - passed[:, low]
        said.append(np.sqrt(share) * (lead - lead.mean()))
        gain.append(np.sqrt(share) * (difference - difference.mean()))
    gram, right = np.sum(np.square(said)), np.sum(np.multiply(said, gain))
    ridge = 0.25 * gram / 2
    knows, says_nothing = (right + ridge / 2) / (gram + ridge), 0.5
    expected = np.array([knows, says_nothing]) / (knows + says_nothing)
    np.testing.assert_allclose(expected, weigh([truth, constant], passed, cost))


@pytest.mark.parametrize(
    "passed",
    [
        np.full((300, 3), np.nan),
        np.where(np.arange(3) == 1, 1.0, np.full((300, 3), np.nan)),
        np.where(np.arange(3) == 1, np.nan, np.tile([0.0, 1.0, 1.0], (300, 1))),
    ],
    ids=["nothing", "one tier", "no neighbours"],
)
def test_without_outcomes_of_neighbouring_tiers_weights_are_equal(passed: Floats) -> None:
    truth, _, blind = draw(300, 1)
    assert [0.2] * 5 == weigh([truth, *blind], passed.astype(np.float32), EVEN).tolist()


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_outcomes_that_are_all_alike_weigh_nobody_up(outcome: float) -> None:
    """No tier is ever worth more than another, and all who say otherwise are as wrong."""
    truth, passed, blind = draw(3000, 1)
    weights = weigh([truth, *blind], np.full_like(passed, outcome), EVEN)
    np.testing.assert_allclose(np.full(5, 0.2), weights, atol=0.02)


def test_members_that_say_the_same_of_all_prompts_are_equal() -> None:
    _, passed, _ = draw(300, 1)
    constants = [np.full((300, 3), p) for p in (0.1, 0.5, 0.9)]
    assert [1 / 3] * 3 == weigh(constants, passed, EVEN).tolist()
    assert [1.0] == weigh(constants[:1], passed, EVEN).tolist()


def test_the_order_of_members_does_not_matter() -> None:
    truth, passed, blind = draw(400, 5)
    members = [truth, *blind, 0.5 * truth + 0.5 * blind[0]]
    order = np.random.default_rng(0).permutation(len(members))
    np.testing.assert_allclose(
        weigh(members, passed, EVEN)[order],
        weigh([members[i] for i in order], passed, EVEN),
        rtol=0,
        atol=1e-9,
    )


def test_the_order_of_rows_does_not_matter() -> None:
    truth, passed, blind = draw(400, 5)
    order = np.random.default_rng(0).permutation(400)
    np.testing.assert_allclose(
        weigh([truth, *blind], passed, EVEN),
        weigh([p[order] for p in (truth, *blind)], passed[order], EVEN),
        rtol=0,
        atol=1e-9,
    )


def test_what_tiers_have_in_common_does_not_matter() -> None:
    """Who is worth it rests on differences; how hard a prompt is for all tiers alike is no merit or fault."""
    truth, passed, blind = draw(4000, 6)
    common = np.random.default_rng(1).uniform(-0.3, 0.3, (4000, 1))
    weights = weigh([truth, *blind], passed, EVEN)
    for who in (0, 1):  # exactly, in probabilities
        moved = [p + common if i == who else p for i, p in enumerate((truth, *blind))]
        np.testing.assert_allclose(weights, weigh(moved, passed, EVEN), rtol=0, atol=1e-9)


def test_what_log_odds_have_in_common_hardly_matters() -> None:
    rng = np.random.default_rng(8)
    z = rng.normal(0.0, 1.2, (6000, 3)) + np.array([-0.5, 0.0, 0.5])
    passed = outcomes_of(z, 9)
    half, noise = 0.5 * z + rng.normal(0.0, 0.8, z.shape), rng.normal(0.0, 1.2, z.shape)
    members = [z, half, noise]
    weights = weigh([sigmoid(m) for m in members], passed, EVEN)
    common = rng.normal(0.0, 0.7, (6000, 1))
    moved = weigh([sigmoid(m + common) for m in members], passed, EVEN)
    np.testing.assert_allclose(weights, moved, rtol=0, atol=0.05)
    # The same noise, not in common, does matter.
    apart = weigh([sigmoid(z + rng.normal(0.0, 2.0, z.shape)), sigmoid(half), sigmoid(noise)], passed, EVEN)
    assert np.abs(weights - apart).max() > 0.1


def test_the_mean_lead_of_a_tier_is_no_merit() -> None:
    truth, passed, blind = draw(2000, 7)
    leads = [p + np.array([0.0, 0.2, 0.4]) * i for i, p in enumerate((truth, *blind))]
    np.testing.assert_allclose(
        weigh([truth, *blind], passed, EVEN), weigh(leads, passed, EVEN), rtol=0, atol=1e-9
    )


def test_a_pair_counts_where_both_tiers_were_observed() -> None:
    truth, passed, blind = draw(3000, 8)
    passed[:, 2] = np.nan
    passed[1000:, 1] = np.nan
    members = [truth, *blind]
    alone = weigh([p[:1000, :2] for p in members], passed[:1000, :2], EVEN[:2])
    np.testing.assert_allclose(alone, weigh(members, passed, EVEN), rtol=0, atol=1e-9)


# Steps of the ladder count as much as they cost


def step_knowers(n: int, seed: int) -> tuple[list[Floats], NDArray[np.float32]]:
    """One member knows the lower step and guesses the upper one; the other does the contrary."""
    rng = np.random.default_rng(seed)
    low, high = (rng.uniform(0.0, 0.5, n) for _ in range(2))
    guess = rng.permutation
    p = [np.stack([0.0 * low, low, low + guess(high)], 1), np.stack([0.0 * low, guess(low), high], 1)]
    p[1][:, 2] += p[1][:, 1]
    u = rng.random(n)
    return p, np.stack([u < 0.0, u < low, u < low + high], axis=1).astype(np.float32)


def test_who_knows_the_dear_step_counts_more() -> None:
    p, passed = step_knowers(20_000, 1)
    cheap, even, dear = (weigh(p, passed, np.array(c)) for c in ([0, 9, 10.0], [0, 1, 2.0], [0, 1, 10.0]))
    assert cheap[0] > even[0] + 0.2
    assert dear[1] > even[1] + 0.2
    np.testing.assert_allclose([0.5, 0.5], even, atol=0.1)


def test_a_step_that_costs_nothing_is_not_decided_by_outcomes() -> None:
    p, passed = step_knowers(2000, 1)
    other = passed.copy()
    other[:, 0] = 1.0 - other[:, 0]
    free = np.array([0.01, 0.01, 0.1])
    np.testing.assert_array_equal(weigh(p, passed, free), weigh(p, other, free))


def test_the_unit_of_cost_does_not_matter() -> None:
    truth, passed, blind = draw(500, 4)
    cost = np.array([0.001, 0.002, 0.03])
    np.testing.assert_allclose(
        weigh([truth, *blind], passed, cost), weigh([truth, *blind], passed, cost * 1e6 + 5.0), atol=1e-6
    )


@pytest.mark.parametrize("cost", [0.0, 0.02])
def test_where_all_tiers_cost_the_same_steps_count_alike(cost: float) -> None:
    truth, passed, blind = draw(500, 4)
    np.testing.assert_allclose(
        weigh([truth, *blind], passed, EVEN), weigh([truth, *blind], passed, np.full(3, cost)), atol=1e-9
    )


# How much of a difference to believe


def test_what_is_true_is_believed_and_the_more_the_more_prompts_say_it() -> None:
    truth, passed, _ = draw(20_000, 5)
    believed = [shrink(truth[:n], passed[:n], EVEN) for n in (30, 1000, 20_000)]
    assert believed[0] < 0.5
    assert 0.95 < believed[2] <= 1.0
    assert believed == sorted(believed)


@pytest.mark.parametrize("factor", [2.0, 4.0])
def test_what_is_exaggerated_is_believed_in_part(factor: float) -> None:
    truth, passed, _ = draw(20_000, 6)
    assert 1.0 / factor == pytest.approx(shrink(0.5 + factor * (truth - 0.5), passed, EVEN), abs=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_noise_and_the_opposite_are_not_believed(seed: int) -> None:
    truth, passed, (blind, *_) = draw(20_000, seed)
    assert shrink(blind, passed, EVEN) < 0.05
    assert 0.0 == shrink(1.0 - truth, passed, EVEN)


def test_belief_by_hand() -> None:
    truth, passed, _ = draw(4 * PRIOR_PROMPTS, 1)
    cost, product, square = np.array([0.001, 0.003, 0.011]), 0.0, 0.0
    for low, share in ((0, 0.2), (1, 0.8)):
        lead = truth[:, low + 1] - truth[:, low]
        difference = passed[:, low + 1].astype(float) - passed[:, low]
        product += share * float((lead - lead.mean()) @ (difference - difference.mean()))
        square += share * float(np.square(lead - lead.mean()).sum())
    assert product / (1.25 * square) == pytest.approx(shrink(truth, passed, cost))


def test_where_no_neighbours_were_observed_together_all_is_believed() -> None:
    truth, passed, _ = draw(300, 1)
    passed[:, 1] = np.nan
    assert 1.0 == shrink(truth, passed, EVEN)
    assert 1.0 == shrink(np.full((300, 3), 0.5), passed, EVEN)
    assert 1.0 == shrink(truth[:0], passed[:0], EVEN)


# Meeting a pass rate


@pytest.mark.parametrize("rate", [0.01, 0.3, 0.97])
def test_the_offset_meets_the_pass_rate(rate: float) -> None:
    rng = np.random.default_rng(7)
    z = rng.normal(0.0, 2.0, 1000)
    passed = (np.arange(1000) < 1000 * rate).astype(np.float32)
    passed[::3] = np.nan
    seen = ~np.isnan(passed)
    assert passed[seen].mean() == pytest.approx(sigmoid(z + match(z, passed))[seen].mean(), abs=1e-9)


@pytest.mark.parametrize("outcome", [0.0, 1.0, np.nan])
def test_outcomes_that_are_all_alike_need_no_offset(outcome: float) -> None:
    assert 0.0 == match(np.linspace(-3.0, 3.0, 50), np.full(50, outcome, np.float32))
