"""Two-tier metrics against hand-computed cases."""

from __future__ import annotations

import numpy as np
import pytest

from eval.two_tiers import apgr, cpt, pgr, share_curve

# RouteLLM's metrics. Strong gains 1 on the first two prompts, 0 on the third, loses 1 on the fourth.
PAIR = np.array([[0, 1], [0, 1], [1, 1], [1, 0], [0, 0]], dtype=float)  # weak 0.4, strong 0.6


def test_pgr_by_hand() -> None:
    assert [0.0, 0.5, 1.0, 2.0] == [pgr(q, 0.5, 0.75) for q in (0.5, 0.625, 0.75, 1.0)]
    assert np.isnan([pgr(0.5, 0.5, 0.5), pgr(0.5, 0.75, 0.5)]).all()


def test_share_curve_apgr_and_cpt_by_hand() -> None:
    gain = [0.9, 0.8, 0.3, 0.1, 0.2]  # quality 0.4 0.6 0.8 0.8 0.8 0.6 for 0 to 5 strong calls
    share, recovered = share_curve(gain, PAIR)
    assert [0, 0.2, 0.4, 0.6, 0.8, 1] == pytest.approx(share.tolist())
    assert [0, 1, 2, 2, 2, 1] == pytest.approx(recovered.tolist())
    assert (0.5 + 1.5 + 2 + 2 + 1.5) / 5 == pytest.approx(apgr(gain, PAIR))
    assert [0.0, 0.1, 0.16, 0.2, 0.3] == pytest.approx(
        [cpt(gain, PAIR, x) for x in (0.0, 0.5, 0.8, 1.0, 1.5)]
    )
    assert cpt(gain, PAIR, 2.5) is None


def test_equal_gains_are_random_order() -> None:
    assert 0.5 == pytest.approx(apgr(np.zeros(5), PAIR))
    assert 0.8 == pytest.approx(cpt(np.zeros(5), PAIR, 0.8))


def test_reversed_gains_are_worse_than_random() -> None:
    gain = [0.1, 0.1, 0.5, 0.9, 0.5]  # quality 0.4 0.2 (0.2) 0.2 (0.4) 0.6: the dip counts, unlike on a hull
    assert (-0.5 - 1 - 1 - 0.5 + 0.5) / 5 == pytest.approx(apgr(gain, PAIR))
    assert 0.9 == pytest.approx(cpt(gain, PAIR, 0.5))


def test_no_gap_to_recover_is_undefined() -> None:
    worse = PAIR[:, ::-1]
    assert np.isnan(apgr(np.zeros(5), worse))
    assert cpt(np.zeros(5), worse, 0.5) is None


def test_other_than_two_tiers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"quality \(n, 2\)"):
        apgr([0.1], np.ones((1, 3)))
