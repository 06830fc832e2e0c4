"""A long input has its own prices: in what a history cost, in what an answer cost, and in what a call is expected to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.design import Design, describe
from eval.expected import expected_cost
from eval.history import read_history
from eval.outcomes import Outcomes, tabulate
from router.costs import CostModel
from router.embedding import StaticEmbedding
from router.extractor import Extractor
from router.prompt import read_prompt
from router.tiers import Ladder, LongContext, Tier

# Large costs twice as much to ask and three times as much to answer above 10 tokens, which are 40 characters.
LONGER = (LongContext(10, 4.0, 60.0),)
LADDER = Ladder((Tier("small", ("s",), 1.0, 10.0), Tier("large", ("l",), 2.0, 20.0, long_context=LONGER)))
SHORT, LONG = "12345678", "x" * 44


def table(folder: Path, *rows: dict[str, Any]) -> Outcomes:
    path = folder / "history.jsonl"
    path.write_text("".join(json.dumps({"score": 1.0} | row) + "\n" for row in rows), encoding="utf-8")
    return tabulate(read_history(path), LADDER)


def both(prompt_id: str, prompt: str, **large: Any) -> list[dict[str, Any]]:
    asked = {"prompt_id": prompt_id, "prompt": prompt}
    return [asked | {"model": "s", "input_tokens": 2, "output_tokens": 5}, asked | {"model": "l"} | large]


def design_of(outcomes: Outcomes, toy_embedding: Path) -> Design:
    extractor = Extractor(StaticEmbedding.load(toy_embedding))
    return describe(outcomes, extractor.extract_many(outcomes.prompts), extractor)


@pytest.mark.parametrize(
    ("large", "usd"),
    [
        ({"input_tokens": 10, "output_tokens": 3}, 10 * 2e-6 + 3 * 20e-6),
        ({"input_tokens": 11, "output_tokens": 3}, 11 * 4e-6 + 3 * 60e-6),
        ({"input_tokens": 11}, 11 * 4e-6 + 5 * 60e-6),  # as many tokens as small wrote
        ({"input_tokens": 11, "output_tokens": 3, "cost_usd": 0.5}, 0.5),
    ],
)
def test_tokens_are_priced_by_the_length_of_their_input(
    tmp_path: Path, large: dict[str, Any], usd: float
) -> None:
    outcomes = table(tmp_path, *both("a", SHORT, **large))
    np.testing.assert_allclose([[2e-6 + 50e-6, usd]], outcomes.cost_usd, rtol=1e-12)


def test_what_is_estimated_from_characters_is_priced_so_too(tmp_path: Path) -> None:
    rows = [{"prompt_id": str(n), "prompt": "x" * n, "model": m} for n in (40, 44) for m in "sl"]
    outcomes = table(tmp_path, *rows)
    by_hand = [[10e-6 + 2560e-6, 20e-6 + 5120e-6], [11e-6 + 2560e-6, 44e-6 + 15360e-6]]
    np.testing.assert_allclose(by_hand, outcomes.cost_usd, rtol=1e-12)
    assert outcomes.cost_estimated.all()


def test_answers_are_learned_at_the_tiers_own_price(tmp_path: Path, toy_embedding: Path) -> None:
    """So that long prompts do not make the mean answer look long."""
    outcomes = table(
        tmp_path,
        *both("a", SHORT, input_tokens=2, output_tokens=7),
        *both("b", LONG, input_tokens=11, output_tokens=7),
        *both("c", LONG, cost_usd=11 * 4e-6 + 8 * 60e-6),
    )
    found = design_of(outcomes, toy_embedding).answer_usd
    assert found is not None
    np.testing.assert_allclose([7 * 20e-6, 7 * 20e-6, 8 * 20e-6], found[:, 1], rtol=1e-9)


def test_what_was_paid_is_expected_again(tmp_path: Path, toy_embedding: Path) -> None:
    logged = {"input_tokens": 11, "output_tokens": 7}
    outcomes = table(tmp_path, *both("a", SHORT, input_tokens=2, output_tokens=9), *both("b", LONG, **logged))
    answers = design_of(outcomes, toy_embedding).answer_usd
    assert answers is not None
    np.testing.assert_allclose(outcomes.cost_usd[:, 1], expected_cost(outcomes, answers)[:, 1], rtol=1e-9)


def test_an_evaluation_expects_what_a_router_does(tmp_path: Path) -> None:
    outcomes = table(tmp_path, *both("a", SHORT), *both("b", "x" * 40), *both("c", LONG))
    mean, multiples = np.array([1e-5, 3e-5]), np.array([[1.0, 2.0], [0.5, 1.0], [2.0, 1.5]])
    costs = CostModel.from_ladder(LADDER, (1e-5, 3e-5))
    expected = costs.expected_usd_many([read_prompt(p).n_chars for p in outcomes.prompts], multiples)
    np.testing.assert_allclose(expected, expected_cost(outcomes, mean * multiples), rtol=1e-12)
