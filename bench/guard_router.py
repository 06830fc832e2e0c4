"""A router fitted for the guard bench: the pieces of a fit, with each guard on or off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval.certify import certify
from eval.design import describe
from eval.expected import expected_cost
from eval.ladder import best_tier
from eval.outcomes import Outcomes
from router.costs import prompt_usd
from router.extractor import Extractor
from router.lexicon import Lexicon
from router.prompt import read_prompt
from router.rule import Loss, choose_many, expected_losses
from router.scorer import Scorer, Scores
from router.tiers import Ladder
from training.answers import Answers
from training.blend import build_model, cross_validate, fit_blend, select
from training.decisions import DEFAULT_MAX_REGRET, DecisionPath
from training.novelty import Novelty, is_novel, threshold

__all__ = ["ALPHA", "GUARDS", "FittedRouter", "Guard", "Reading"]

Floats = NDArray[np.float64]

ALPHA = DEFAULT_MAX_REGRET
"""What the certificates of this bench promise."""


class Guard(NamedTuple):
    """What makes a router escalate where it is not sure: novelty, the spread of its members, both or neither."""

    novelty: bool
    spread: bool


GUARDS = {
    "none": Guard(novelty=False, spread=False),
    "novelty": Guard(novelty=True, spread=False),
    "paired uncertainty": Guard(novelty=False, spread=True),
    "both": Guard(novelty=True, spread=True),
}
"""Guards by name; a router that `python -m training fit` makes has both."""


class Reading(NamedTuple):
    """What the router makes of n prompts: scores, and what a call on each tier is expected to cost, USD (n, k)."""

    scores: Scores
    usd: Floats


@dataclass(frozen=True)
class FittedRouter:
    """A graph, and the path from what it says to a tier."""

    ladder: Ladder
    serving: Extractor
    scorer: Scorer
    answer_usd: Floats
    path: DecisionPath
    novelty: Novelty

    @classmethod
    def fit(cls, outcomes: Outcomes, extractor: Extractor, seed: int) -> FittedRouter:
        """Fit on all rows, as `training.fit` does on its training part."""
        design = describe(outcomes, extractor.extract_many(outcomes.prompts), extractor)
        selection = select(cross_validate(design, seed).margins, outcomes.passed, outcomes.cost_usd)
        blend, answers = fit_blend(design, selection, seed), Answers.fit(design)
        reference = best_tier(outcomes)
        usd = expected_cost(outcomes, answers.usd * answers.multiples(design.X))
        lexicon = None if blend.lexicon is None else Lexicon(np.asarray(blend.lexicon))
        serving = Extractor(extractor.embedding, lexicon)
        novelty = Novelty.fit(design, seed)
        model = build_model(
            blend, answers, novelty, reference, serving.width, design.dimension
        ).SerializeToString()
        path = DecisionPath.of(reference, usd[:, reference], threshold(design, seed))
        scorer = Scorer(model, serving.width, len(outcomes.ladder))
        return cls(outcomes.ladder, serving, scorer, answers.usd, path, novelty)

    def read(self, prompts: Sequence[Any]) -> Reading:
        """Score prompts, and say what each tier is expected to cost."""
        scores = self.scorer.score(self.serving.extract_many(prompts))
        n_chars = [read_prompt(prompt).n_chars for prompt in prompts]
        return Reading(scores, prompt_usd(self.ladder, n_chars) + self.answer_usd * scores.answer)

    def novel(self, reading: Reading) -> NDArray[np.bool_]:
        """Return which prompts are novel, (n,)."""
        return is_novel(reading.scores.novelty, self.path.novel_above)

    def far(self, prompts: Sequence[Any]) -> tuple[float, float]:
        """Return the shares of prompts that are novel by their embedding alone, and by their shape alone."""
        by_embedding, by_shape = (
            is_novel(distance, self.path.novel_above).mean()
            for distance in self.novelty.distances(self.serving.extract_many(prompts))
        )
        return float(by_embedding), float(by_shape)

    def losses(self, reading: Reading, guard: Guard) -> Floats:
        """Return the expected loss on each tier, (n, k)."""
        spread = reading.scores.spread if guard.spread else None
        return expected_losses(reading.scores.p_pass, spread, self.path.reference, Loss.REGRET)

    def choose(self, reading: Reading, guard: Guard, epsilons: Sequence[float]) -> NDArray[np.intp]:
        """Return the tier of each prompt at each epsilon, (n, m)."""
        prices = np.array(epsilons) / self.path.unit_usd
        choices = choose_many(self.losses(reading, guard), reading.usd, prices)
        if guard.novelty:
            choices[self.novel(reading)] = self.path.reference
        return choices

    def margin(self, reading: Reading, guard: Guard, epsilon: float) -> Floats:
        """Return how much better the best tier below the reference tier is than that, (n,); above 0 it is chosen."""
        cost = np.maximum.accumulate(reading.usd, axis=1) / self.path.unit_usd
        values = self.losses(reading, guard) + epsilon * cost
        return np.asarray(values[:, self.path.reference] - values[:, : self.path.reference].min(axis=1))

    def below(self, reading: Reading, guard: Guard, epsilon: float) -> float:
        """Return the share of prompts that go to a tier below the reference tier."""
        return float((self.choose(reading, guard, [epsilon]) < self.path.reference).mean())

    def certify(self, held: Outcomes, reading: Reading, guard: Guard) -> dict[str, Any]:
        """Return the certified row of `ALPHA` on calibration rows; epsilon 0 where nothing is certified."""
        certificate = certify(
            replace(held, tags={}),  # slices are not asked for
            reading.scores.p_pass.astype(np.float64),
            reading.usd,
            reference=self.path.reference,
            unit_usd=self.path.unit_usd,
            spread=reading.scores.spread.astype(np.float64) if guard.spread else None,
            escalated=self.novel(reading) if guard.novelty else None,
            alphas=(ALPHA,),
        )
        row: dict[str, Any] = next(
            iter(certificate["table"]), {"epsilon": 0.0, "saving": 0.0, "observed": 0.0}
        )
        return row
