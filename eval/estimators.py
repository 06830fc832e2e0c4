"""What an evaluation fits: our own estimator, and the baselines beside it.

The one place in this package that knows training, and only when asked: an evaluation of a history alone has to
fit what a fit would fit (docs/adr/0006-evaluation-fits-the-estimator.md). Everything else here takes estimators
as functions.
"""

from __future__ import annotations

from eval.baselines import BASELINES, Estimator
from eval.expected import Answers

__all__ = ["SUBJECT", "answers", "estimators"]

SUBJECT = "tierwise"
"""Name of what is judged."""


def estimators() -> dict[str, Estimator]:
    """Return the estimator that a fit exports, then the baselines, by name."""
    from training.blend import score_blend

    return {SUBJECT: score_blend, **BASELINES}


def answers() -> Answers:
    """Return what predicts the cost of answers, for all contenders alike."""
    from training.answers import predict_answers

    return predict_answers
