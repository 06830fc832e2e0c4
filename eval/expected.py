"""Expected cost: what a call is taken to cost before it is made, out of sample.

Pure. All contenders choose at the same expected costs, so that knowing prices is nobody's advantage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from eval.design import Design
from eval.folds import Plan
from eval.outcomes import Outcomes
from router.costs import CostModel
from router.prompt import read_prompt

__all__ = ["Answers", "expect_costs", "expected_cost"]

Answers = Callable[[Design, Design], NDArray[np.float64]]
"""From train (n rows) and test (m rows) to what each answer will cost, as a multiple of its tier's mean: (m, k)."""


def expected_cost(outcomes: Outcomes, answer: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return float64 (n, k) USD: prompts by their length, and answers (n, k) as multiples of their tier's mean."""
    costs = CostModel.from_ladder(outcomes.ladder, outcomes.mean_output_tokens)
    return costs.expected_usd_many([read_prompt(prompt).n_chars for prompt in outcomes.prompts], answer)


def expect_costs(outcomes: Outcomes, design: Design, plan: Plan, answers: Answers) -> Outcomes:
    """Return outcomes with what each call was expected to cost, learned from each fold's training rows.

    Rows in no test fold are NaN. `answers` is never shown what the rows that it predicts cost.
    """
    answer = np.full(outcomes.passed.shape, np.nan)
    for fold in plan.folds:
        blind = replace(design.take(fold.test), cost_usd=None, answer=None)
        answer[fold.test] = answers(design.take(fold.train), blind)
    return replace(outcomes, expected_cost_usd=expected_cost(outcomes, answer))
