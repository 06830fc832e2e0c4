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
from router.costs import answer_scale, prompt_usd
from router.prompt import read_prompt

__all__ = ["Answers", "expect_costs", "expected_cost"]

Answers = Callable[[Design, Design], NDArray[np.float64]]
"""From train (n rows) and test (m rows) to USD of each answer beyond its prompt, float64 (m, k), as `Design.answer_usd` is."""


def expected_cost(outcomes: Outcomes, answer_usd: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return float64 (n, k) USD: prompts by their length, and answers (n, k) given at the tiers' own prices."""
    n_chars = [read_prompt(prompt).n_chars for prompt in outcomes.prompts]
    return prompt_usd(outcomes.ladder, n_chars) + answer_usd * answer_scale(outcomes.ladder, n_chars)


def expect_costs(outcomes: Outcomes, design: Design, plan: Plan, answers: Answers) -> Outcomes:
    """Return outcomes with what each call was expected to cost, learned from each fold's training rows.

    Rows in no test fold are NaN. `answers` is never shown what happened on the rows that it predicts.
    """
    answer_usd = np.full(outcomes.passed.shape, np.nan)
    for fold in plan.folds:
        answer_usd[fold.test] = answers(design.take(fold.train), design.take(fold.test).blind())
    return replace(outcomes, expected_cost_usd=expected_cost(outcomes, answer_usd))
