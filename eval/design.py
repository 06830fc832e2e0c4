"""What estimators learn from: the rows of a history as features and outcomes.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from eval.censored import outcome_weights
from eval.outcomes import UNKNOWN, Outcomes
from router.costs import answer_scale, prompt_usd
from router.extractor import Extractor
from router.prompt import read_prompt

__all__ = ["Design", "count_tokens", "describe"]


@dataclass(frozen=True, eq=False)
class Design:
    """Features and outcomes of n prompts on k tiers.

    Attributes
    ----------
    X : float32 (n, width)
        Embedding, then shape features, as the extractor gives them.
    dimension : int
        Columns of the embedding.
    texts : object (n,)
        str: the part of each prompt that a decision reads.
    passed : float32 (n, k)
        1, 0, or NaN where unobserved.
    label : int8 (n,)
        Cheapest passing tier, k where none passed, UNKNOWN where it cannot be known.
    tokens : sparse float64 (n, V) or None
        How often each token of the embedding occurs; None where no estimator reads them.
    tasks : object (n,) or None
        What the history calls each prompt's task, str or None; None where no estimator reads them.
    groups : object (n,) or None
        str; rows of one group go together. None where no estimator divides the rows again.
    cost_usd : float64 (n, k) or None
        What each tier's answer cost. None where no estimator weighs tiers by their price.
    answer_usd : float64 (n, k) or None
        What each answer cost beyond its prompt, at the tier's own price also where a long context has another; an
        estimate where `answer_seen` (n, k) is false or the tier was not observed. None where no estimator predicts it.
    weight : float64 (n, k) or None
        How much each observed outcome counts, 1 in the mean of a tier (`eval.censored.outcome_weights`). None where all
        count alike.
    """

    X: NDArray[np.float32]
    dimension: int
    texts: NDArray[np.object_]
    passed: NDArray[np.float32]
    label: NDArray[np.int8]
    tokens: sparse.csr_array | None = None
    tasks: NDArray[np.object_] | None = None
    groups: NDArray[np.object_] | None = None
    cost_usd: NDArray[np.float64] | None = None
    answer_usd: NDArray[np.float64] | None = None
    answer_seen: NDArray[np.bool_] | None = None
    weight: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.X)

    @property
    def n_tiers(self) -> int:
        """Rungs of the ladder."""
        return int(self.passed.shape[1])

    def weight_of(self, k: int) -> NDArray[np.float64] | None:
        """Return how much each outcome of a tier counts, (n,); None where all count alike."""
        return None if self.weight is None else self.weight[:, k]

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Design:
        """Return some of the rows."""
        return Design(
            self.X[rows],
            self.dimension,
            self.texts[rows],
            self.passed[rows],
            self.label[rows],
            None if self.tokens is None else self.tokens[rows],
            None if self.tasks is None else self.tasks[rows],
            None if self.groups is None else self.groups[rows],
            None if self.cost_usd is None else self.cost_usd[rows],
            None if self.answer_usd is None else self.answer_usd[rows],
            None if self.answer_seen is None else self.answer_seen[rows],
            None if self.weight is None else self.weight[rows],
        )

    def blind(self) -> Design:
        """Return the same rows without anything that happened on them: no outcome, no cost."""
        return replace(
            self,
            passed=np.full_like(self.passed, np.nan),
            label=np.full_like(self.label, UNKNOWN),
            cost_usd=None,
            answer_usd=None,
            answer_seen=None,
            weight=None,
        )


def describe(outcomes: Outcomes, X: NDArray[np.float32], extractor: Extractor) -> Design:
    """Return what members and baselines are fitted on. Pure.

    Parameters
    ----------
    X : float32 (n, width)
        What the extractor, without a lexicon, gives for the prompts.
    """
    embedding = extractor.embedding
    seen = ~outcomes.cost_estimated if outcomes.answer_seen is None else outcomes.answer_seen
    views = [read_prompt(prompt) for prompt in outcomes.prompts]
    texts, n_chars = [view.text for view in views], [view.n_chars for view in views]
    answer_usd = np.maximum(outcomes.cost_usd - prompt_usd(outcomes.ladder, n_chars), 0.0)
    tags = [outcomes.tags[name] for name in ("task", "feature") if name in outcomes.tags]
    tasks = next((tag for tag in tags if any(value is not None for value in tag)), None)
    return Design(
        X,
        embedding.dimension,
        np.array([*texts, None], dtype=object)[:-1],  # a list of equal strings is still one dimension
        outcomes.passed,
        outcomes.label(),
        count_tokens([embedding.token_ids(text) for text in texts], embedding.n_ids),
        tasks,
        outcomes.groups,
        outcomes.cost_usd,
        answer_usd / answer_scale(outcomes.ladder, n_chars),
        seen & ~np.isnan(outcomes.passed),
        outcome_weights(outcomes),
    )


def count_tokens(ids: Sequence[Sequence[int]], n_ids: int) -> sparse.csr_array:
    """Return float64 (n, n_ids): how often each token occurs in each prompt. Pure."""
    # 32-bit indices: scikit-learn takes no others.
    rows = np.repeat(np.arange(len(ids), dtype=np.int32), [len(row) for row in ids])
    columns = np.concatenate([np.empty(0, np.int32), *(np.asarray(row, np.int32) for row in ids)])
    counts = sparse.csr_array((np.ones(len(columns)), (rows, columns)), shape=(len(ids), n_ids))
    counts.sum_duplicates()
    return counts
