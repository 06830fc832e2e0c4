"""The decision path comes to what its plainest form does, on any prompt, alone and among others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alike import TOLERANCE, assert_alike
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from prompts import PROMPTS
from toys import DIMENSION, GOLDEN, draw_lexicon

from router import Decision, Policy, Router, reference
from router.embedding import StaticEmbedding, to_unit
from router.extractor import Extractor
from router.features import FEATURE_NAMES
from router.lexicon import Lexicon
from router.prompt import read_prompt

HARD: list[Any] = [
    "",
    "\x00",
    "\ud800",
    "\x85\u3000",
    "[UNK]",
    "?" * 100_000,
    "the " * 3000,
    "ж—" * 2000,
    [],
    [{"role": "user", "content": None}],
    *GOLDEN,
]
POLICIES = [
    None,
    Policy(epsilon=0.0),
    Policy(epsilon=0.3),
    Policy(max_regret=0.001),
    Policy(min_quality=0.9),
    Policy(budget=0.002),
    Policy(floor="medium"),
]


@pytest.fixture(scope="module", params=["bare", "worded"])
def router(request: pytest.FixtureRequest, toy_artifact: Path, toy_artifact_with_lexicon: Path) -> Router:
    return Router.load(toy_artifact if request.param == "bare" else toy_artifact_with_lexicon)


@pytest.fixture(scope="module")
def committed() -> Extractor:
    """The real token table, and token weights of no meaning."""
    embedding = StaticEmbedding.load(Path(__file__).resolve().parents[2] / "models" / "default")
    return Extractor(embedding, Lexicon(draw_lexicon(embedding.n_ids)))


def extract(extractor: Extractor, prompt: Any) -> NDArray[np.float32]:
    """The row of one prompt, its embedding at unit length; it held something else before."""
    row = np.full(extractor.width, np.nan, np.float32)
    extractor.extract(read_prompt(prompt), row)
    to_unit(row[None, : extractor.embedding.dimension])
    return row


def assert_rows(extractor: Extractor, prompts: list[Any]) -> None:
    together, start = extractor.extract_many(prompts), extractor.embedding.dimension + len(FEATURE_NAMES)
    assert (np.float32, (len(prompts), extractor.width)) == (together.dtype, together.shape)
    for prompt, row in zip(prompts, together, strict=True):
        expected = reference.row(extractor, prompt)
        for found in row, extract(extractor, prompt):
            np.testing.assert_allclose(expected[:start], found[:start], rtol=1e-6, atol=1e-5)
            # Up to two thousand tokens are added up in float32, one after the other.
            np.testing.assert_allclose(expected[start:], found[start:], rtol=0, atol=2e-4)


def decide(router: Router, prompt: Any, policy: Policy | None) -> Decision:
    """A decision from the reference's row, scored as ONNX Runtime's manual has it."""
    model = router._model
    row = reference.row(model.extractor, prompt).astype(np.float32)
    names = ["p_pass", "spread", "answer", "novelty"]
    outputs = model.scorer._session.run(names, {"x": row[None]})
    said = tuple(np.concatenate([output[0] for output in outputs]).tolist())
    return model.decide(read_prompt(prompt), said, model.resolve(policy or Policy()))


# Rows


@given(prompts=st.lists(PROMPTS, max_size=5))
@example(prompts=HARD)
@example(prompts=[])
def test_rows_are_those_of_the_reference(router: Router, prompts: list[Any]) -> None:
    assert_rows(router._model.extractor, prompts)


@given(prompts=st.lists(PROMPTS, max_size=3))
@example(prompts=HARD)
def test_rows_of_the_committed_embedding_are_those_of_the_reference(
    committed: Extractor, prompts: list[Any]
) -> None:
    assert_rows(committed, prompts)


def test_a_row_by_hand(router: Router) -> None:
    """Two words: the sum of their rows at unit length, then shape, then what the lexicon says."""
    extractor = router._model.extractor
    embedding = extractor.embedding
    ids = embedding.token_ids("hello sum")
    assert 2 == len(ids)
    both = embedding.vector_of(ids[0]) + embedding.vector_of(ids[1])
    row = extract(extractor, "Hello SUM")
    np.testing.assert_allclose(both / np.linalg.norm(both), row[:DIMENSION], rtol=0, atol=1e-6)
    assert pytest.approx(2 / 9) == row[DIMENSION + FEATURE_NAMES.index("share_upper")] / 2
    if extractor.lexicon is None:
        assert DIMENSION + len(FEATURE_NAMES) == len(row)
    else:
        weights = np.array([extractor.lexicon.weights_of(i) for i in ids]).sum(axis=0)
        expected = np.clip(weights[1:] / np.sqrt(weights[0]), -4.0, 4.0)
        np.testing.assert_allclose(expected, row[-3:], rtol=0, atol=1e-5)


def test_one_prompt_is_not_brought_to_unit_length(router: Router) -> None:
    """The graph does that; what the tests above normalise is not normal already."""
    extractor = router._model.extractor
    row = np.empty(extractor.width, np.float32)
    extractor.extract(read_prompt("please write the code"), row)
    assert abs(float(np.linalg.norm(row[:DIMENSION])) - 1.0) > 0.1
    assert pytest.approx(1.0, abs=1e-6) == np.linalg.norm(
        extractor.extract_many(["please write the code"])[0, :DIMENSION]
    )


@pytest.mark.parametrize("n", [0, 1, 255, 256, 257, 600])
def test_any_number_of_prompts_is_read(router: Router, n: int) -> None:
    extractor = router._model.extractor
    prompts = [["hello", "", "世界 sum?", "list " * (i % 50), "\ud800 train"][i % 5] for i in range(n)]
    together = extractor.extract_many(prompts)
    assert (n, extractor.width) == together.shape
    expected = [reference.row(extractor, prompt) for prompt in prompts]
    np.testing.assert_allclose(np.reshape(expected, together.shape), together, rtol=1e-6, atol=2e-5)


# Decisions


@given(prompts=st.lists(PROMPTS, min_size=1, max_size=4), policy=st.sampled_from(POLICIES))
@example(prompts=HARD, policy=None)
@example(prompts=HARD, policy=POLICIES[1])
def test_decisions_are_those_of_the_reference(
    router: Router, prompts: list[Any], policy: Policy | None
) -> None:
    for prompt, together in zip(prompts, router.route_many(prompts, policy), strict=True):
        expected = decide(router, prompt, policy)
        assert_alike(router, prompt, expected, router.route(prompt, policy), policy)
        assert_alike(router, prompt, expected, together, policy)
    scores = router.score(prompts)
    np.testing.assert_allclose(
        [decide(router, prompt, None).p_pass for prompt in prompts], scores, rtol=0, atol=TOLERANCE
    )
