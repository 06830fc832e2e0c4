"""MAPIE's risk control as the oracle, where it computes the same thing: exactly the same, or more cautious.

MAPIE's p-value for a rate is the least of Hoeffding's bound and of a binomial tail without Bentkus' factor e, which is
the exact binomial one. For bounded losses it is Hoeffding-Bentkus.
"""

from __future__ import annotations

import numpy as np
import pytest
from mapie.risk_control import BinaryClassificationController
from mapie.risk_control.fwer_control import control_fwer
from mapie.risk_control.methods import compute_hoeffding_bentkus_p_value
from mapie.risk_control.risks import BinaryRisk
from test_certify import outcomes_of

from eval.bounds import upper_bound
from eval.certify import ALPHAS, DELTA, EPSILONS, certify
from router.rule import Loss, choose_many, expected_losses

# A power of two: then rates are exact numbers, which MAPIE multiplies by n and rounds up.
N = 1024


@pytest.mark.parametrize("n", [64, 512, N])
@pytest.mark.parametrize("alpha", [0.005, 0.05, 0.2])
def test_bounds_and_p_values_of_a_rate_agree(n: int, alpha: float) -> None:
    failures = np.arange(n + 1)
    p_values = compute_hoeffding_bentkus_p_value(failures[:-1] / n, n, alpha, binary=True)[:, 0]
    for delta in (0.01, DELTA, 0.2):
        assert (p_values <= delta).tolist() == (upper_bound(failures, n, delta) <= alpha)[:-1].tolist()


@pytest.mark.parametrize("n", [64, 512, N])
def test_the_exact_bound_is_never_less_permissive_than_hoeffding_bentkus(n: int) -> None:
    failures = np.arange(n)
    stricter = 0
    for alpha in (0.02, 0.1, 0.2):
        cautious = compute_hoeffding_bentkus_p_value(failures / n, n, alpha)[:, 0] <= DELTA
        exact = upper_bound(failures, n, DELTA) <= alpha
        assert not (cautious & ~exact).any()
        stricter += int((exact & ~cautious).sum())
    assert stricter > 0


def risk_of_not_escalating() -> BinaryRisk:
    """P(the reference passes and the cheap tier fails, and the cheap one is chosen): of all rows."""
    return BinaryRisk(
        risk_occurrence=lambda y_true, y_pred: (y_true == 1) & (y_pred == 0),
        risk_condition=lambda y_true, _: np.ones(np.shape(y_true), bool),
        higher_is_better=False,
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("alpha", [0.02, 0.05, 0.1])
def test_the_certified_epsilon_is_mapies_last_valid_threshold(seed: int, alpha: float) -> None:
    rng = np.random.default_rng(seed)
    # The reference is sure to pass and costs 1 USD, the cheap tier costs nothing: then the expected loss of the cheap
    # tier is 1 - p, and epsilon is the threshold that it is compared with.
    p = np.stack([rng.beta(3, 1, N), np.ones(N)], axis=1)
    score = (rng.random((N, 2)) < [[0.8, 0.95]]).astype(float) * (p > 0.1)
    usd = np.tile([0.0, 1.0], (N, 1))
    table = certify(outcomes_of(score, usd), p, usd, reference=1, unit_usd=1.0)["table"]
    ours = next(row["epsilon"] for row in table if row["alpha"] == alpha)

    thresholds = np.array([epsilon for epsilon in EPSILONS if 0 < epsilon < 1])
    controller = BinaryClassificationController(
        predict_function=lambda loss: np.stack([1 - loss, loss], axis=1),
        risk=risk_of_not_escalating(),
        target_level=alpha,
        confidence_level=1 - DELTA,
        best_predict_param_choice=risk_of_not_escalating(),
        list_predict_params=thresholds,
        fwer_method="fixed_sequence",
    )
    regretted = (score[:, 1] == 1) & (score[:, 0] == 0)
    controller.calibrate(1 - p[:, 0], regretted.astype(int))
    theirs = np.asarray(controller.valid_predict_params)
    assert [epsilon for epsilon in thresholds if epsilon <= ours] == theirs.tolist()
    assert 0.002 < ours < max(thresholds)  # neither end: there was something to find


def test_the_sequence_of_the_table_is_mapies_fixed_sequence() -> None:
    """Three tiers, all promises: what fixed-sequence testing of MAPIE's p-values leaves at each."""
    rng = np.random.default_rng(5)
    p = np.sort(rng.random((N, 3)), axis=1)
    score = (rng.random((N, 3)) < p).astype(float)
    usd = np.tile([1.0, 3.0, 10.0], (N, 1))
    table = {
        row["alpha"]: row
        for row in certify(outcomes_of(score, usd), p, usd, reference=2, unit_usd=10.0)["table"]
    }
    chosen = choose_many(expected_losses(p, None, 2, Loss.REGRET), usd, np.array(EPSILONS) / 10.0)
    rate = ((score[:, 2:] == 1) & (np.take_along_axis(score, chosen, axis=1) == 0)).mean(axis=0)
    for alpha in ALPHAS:
        p_values = compute_hoeffding_bentkus_p_value(rate, N, alpha, binary=True)[:, 0]
        valid = control_fwer(p_values, DELTA, "fixed_sequence")
        assert EPSILONS[int(valid[-1])] == table[alpha]["epsilon"]
