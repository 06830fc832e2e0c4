"""From a learned model to what it promises: scores as served, expected costs, the decision path and its certificate.

Pure, given a seed. What certifies was seen neither by the fit nor by the choice of its members.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.certify import certify, explain_shortage, spend
from eval.expected import expected_cost
from eval.metrics import measure_parts
from eval.outcomes import Outcomes
from eval.progress import Progress
from eval.rows import extract_rows
from router.extractor import Extractor
from router.promise import dominance_words
from router.scorer import Scorer, Scores
from training.decisions import DEFAULT_MAX_REGRET, DecisionPath, default_epsilon
from training.learning import Learned
from training.material import Material
from training.novelty import NOVELTY_FALSE_ALARM

__all__ = ["Promises", "Scored", "measure_test", "promise", "score", "take"]


@dataclass(frozen=True, eq=False)
class Scored:
    """What the exported graph says of every prompt, and the path that decides by it.

    Attributes
    ----------
    outcomes : Outcomes
        The material's, with what calls are expected to cost.
    scores : Scores
        As served, n rows.
    usd : float64 (n, k)
        The expected costs.
    path : DecisionPath
        How the router decides.
    scorer : Scorer
        The graph, opened.
    extractor : Extractor
        As it will serve.
    """

    outcomes: Outcomes
    scores: Scores
    usd: NDArray[np.float64]
    path: DecisionPath
    scorer: Scorer
    extractor: Extractor


@dataclass(frozen=True)
class Promises:
    """The certificate, and where the router stands by default, as a manifest has them."""

    certificate: dict[str, Any]
    decision: dict[str, Any]


def score(
    material: Material, learned: Learned, X: NDArray[np.float32], extractor: Extractor, progress: Progress
) -> Scored:
    """Score all prompts by the graph that will serve.

    Parameters
    ----------
    X : float32 (n, width)
        What the extractor, without a lexicon, gives.
    """
    outcomes, train = material.outcomes, material.split.train
    serving = learned.serving_extractor(extractor)
    scorer = Scorer(learned.graph, serving.width, len(outcomes.ladder))
    scores = scorer.score(X if serving.lexicon is None else extract_rows(serving, outcomes.prompts, progress))
    usd = expected_cost(outcomes, learned.answer_usd * scores.answer)
    path = DecisionPath.of(learned.reference, usd[train, learned.reference], learned.novel_above)
    return Scored(replace(outcomes, expected_cost_usd=usd), scores, usd, path, scorer, serving)


def promise(
    material: Material, learned: Learned, scored: Scored, progress: Progress, reserve: float = 0.0
) -> Promises:
    """Certify the decision path on the calibration part, and say what is out of reach; `reserve` is `certify`'s."""
    rows, ladder = material.split.calibration, material.outcomes.ladder
    held, said = scored.outcomes.take(rows), take(scored.scores, rows)
    settings = scored.path.settings(said)
    certificate = certify(
        held, said.p_pass, scored.usd[rows], **settings, seed=material.seed, reserve=reserve
    )
    certificate |= {
        "split": f"calibration part, by group ({material.split.method})",
        "date": datetime.now(UTC).date().isoformat(),
    }
    if (shortage := explain_shortage(certificate)) is not None:
        unseen = [t for k, t in enumerate(ladder.names) if np.isnan(held.passed[:, k]).all()]
        why = f" (tier {', '.join(unseen)} on none of {len(held):,})" if unseen else ""
        progress.say(f"certificate: {shortage}{why}")
    train = scored.outcomes.take(material.split.train)
    decision = {
        **default_epsilon(certificate, learned.out_of_fold, train, scored.path),
        "default_max_regret": DEFAULT_MAX_REGRET,
        "reference": ladder.names[learned.reference],
        "dominated": learned.reference < len(ladder) - 1,
        "unit_usd": scored.path.unit_usd,
        "novelty_threshold": learned.novel_above,
        "novelty_false_alarm": NOVELTY_FALSE_ALARM,
        "novelty_false_alarm_observed": float(settings["escalated"].mean()) if len(held) else None,
        "spend": spend(held, said.p_pass, scored.usd[rows], **settings),
    }
    if dominated := dominance_words(decision, ladder.names):
        progress.say(dominated)
    return Promises(certificate, decision)


def measure_test(material: Material, learned: Learned, scored: Scored, epsilon: float) -> dict[str, Any]:
    """Measure the router, and length alone, on the test part."""
    rows, alone = material.split.test, learned.length_alone
    said, usd = take(scored.scores, rows), scored.usd[rows]
    return measure_parts(
        scored.outcomes.take(rows),
        learned.reference,
        {
            "router": (said.p_pass, scored.path.decide(said.p_pass, said, usd, epsilon)),
            "length": (alone, scored.path.decide(alone, None, usd, epsilon)),
        },
        epsilon,
        material.seed,
    )


def take(scores: Scores, rows: NDArray[np.bool_]) -> Scores:
    """Return the scores of some rows."""
    return Scores(*(column[rows] for column in scores))
