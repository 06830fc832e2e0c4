"""A slot says what the session says of the same row, in any thread, and a failed call leaves no trace."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from toys import DIMENSION, GOLDEN, WORDS

from router import Decision, Policy, Router
from router.extractor import Extractor
from router.scorer import Scorer

TEXTS = [" ".join(WORDS[i : i + n]) + "?" * (i % 4) for i in range(12) for n in range(1, 6)]


@pytest.fixture
def router(toy_artifact_with_lexicon: Path) -> Router:
    return Router.load(toy_artifact_with_lexicon)


@pytest.fixture
def scorer(router: Router) -> Scorer:
    return router._model.scorer


@pytest.fixture
def rows(router: Router) -> NDArray[np.float32]:
    return router._model.extractor.extract_many([*TEXTS, *GOLDEN])


def assert_outputs(scorer: Scorer, row: NDArray[np.float32], outputs: tuple[float, ...]) -> None:
    said = scorer.score(row[None])
    expected = [*said.p_pass[0], *said.spread[0], *said.answer[0], said.novelty[0]]
    np.testing.assert_allclose(expected, outputs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("factor", [1e-6, 0.01, 1.0, 3.7, 1e6])
def test_a_slot_says_what_the_session_says(scorer: Scorer, rows: NDArray[np.float32], factor: float) -> None:
    """Of a row whose embedding has any length."""
    slot = scorer.acquire()
    for row in rows:
        slot.row[:] = row
        slot.row[:DIMENSION] *= factor
        outputs = slot.run()
        assert (10, float) == (len(outputs), type(outputs[0]))
        assert_outputs(scorer, row, outputs)
        assert_outputs(scorer, slot.row, outputs)


@given(factor=st.floats(1e-6, 1e6), place=st.integers(0, 20))
def test_no_length_of_the_embedding_matters(toy_router: Router, factor: float, place: int) -> None:
    scorer, extractor = toy_router._model.scorer, toy_router._model.extractor
    row = extractor.extract_many([TEXTS[place]])[0]
    slot = scorer.acquire()
    slot.row[:] = row
    slot.row[:DIMENSION] *= np.float32(factor)
    assert_outputs(scorer, row, slot.run())
    scorer.release(slot)


def test_without_an_embedding_the_outputs_are_finite(scorer: Scorer, rows: NDArray[np.float32]) -> None:
    slot = scorer.acquire()
    slot.row[:] = rows[0]
    slot.row[:DIMENSION] = 0.0
    outputs = slot.run()
    assert 1.0 == outputs[-1]
    assert np.isfinite(outputs).all()
    assert_outputs(scorer, slot.row, outputs)


def test_what_was_said_does_not_change(scorer: Scorer, rows: NDArray[np.float32]) -> None:
    slot = scorer.acquire()
    slot.row[:] = rows[0]
    first = slot.run()
    kept = tuple(first)
    slot.row[:] = rows[1]
    assert kept != slot.run()
    assert kept == first
    slot.row[:] = rows[0]
    assert kept == slot.run()  # nothing is left of the rows before


def test_a_slot_that_is_given_back_is_given_out_again(scorer: Scorer) -> None:
    first, second = scorer.acquire(), scorer.acquire()
    assert first is not second
    assert first.row is not second.row
    scorer.release(first)
    assert first is scorer.acquire()
    scorer.release(first)
    scorer.release(second)
    assert {id(first), id(second)} == {id(scorer.acquire()), id(scorer.acquire())}
    assert id(scorer.acquire()) not in {id(first), id(second)}


def test_slots_are_as_many_as_calls_at_once(router: Router) -> None:
    idle = router._model.scorer._idle
    for text in TEXTS:
        router.route(text)
    assert 1 == len(idle)
    with ThreadPoolExecutor(4) as pool:
        [*pool.map(router.route, TEXTS * 20)]
    assert 1 <= len(idle) <= 4


def test_two_slots_in_turn_do_not_mix(scorer: Scorer, rows: NDArray[np.float32]) -> None:
    one, other = scorer.acquire(), scorer.acquire()
    one.row[:], other.row[:] = rows[0], rows[1]
    found = one.run(), other.run(), one.run()
    assert_outputs(scorer, rows[0], found[0])
    assert_outputs(scorer, rows[1], found[1])
    assert found[0] == found[2]
    assert found[0] != found[1]


@pytest.mark.parametrize("n_threads", [2, 8])
def test_threads_get_their_own_answers(router: Router, n_threads: int) -> None:
    expected = {text: router.route(text) for text in TEXTS}
    gate = Barrier(n_threads)

    def work(i: int) -> bool:
        gate.wait()
        mine = TEXTS[i:] + TEXTS[:i]
        return all(expected[text] == router.route(text) for _ in range(15) for text in mine)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(n_threads) as pool:
            assert [True] * n_threads == [*pool.map(work, range(n_threads))]
    finally:
        sys.setswitchinterval(interval)
    assert len(set(expected.values())) > len(TEXTS) / 2  # answers that could be taken for one another


# Calls that fail, and calls within calls


class _HalfWayError(Exception):
    """What a test raises where nothing should."""


@pytest.mark.parametrize("written", [0, 1, DIMENSION, -1])
def test_a_call_that_fails_midway_leaves_no_trace(
    router: Router, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    expected = [router.route(text) for text in TEXTS]

    def fail(self: Extractor, view: Any, row: NDArray[np.float32]) -> None:  # noqa: ARG001
        row[:written] = np.nan
        raise _HalfWayError

    for _ in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(Extractor, "extract", fail)
            with pytest.raises(_HalfWayError):
                router.route("hello")
        assert expected == [router.route(text) for text in TEXTS]
    assert 1 == len(router._model.scorer._idle)


@pytest.mark.parametrize("prompt", [b"bytes", 3, [{"role": "user", "content": 3}], ["text"]], ids=repr)
def test_a_prompt_that_is_refused_leaves_no_trace(router: Router, prompt: Any) -> None:
    expected = router.route("hello")
    for _ in range(3):
        with pytest.raises(TypeError):
            router.route(prompt)
        assert expected == router.route("hello")
    assert 1 == len(router._model.scorer._idle)


class _AskingText(str):
    """Text that asks the router something else when it is encoded."""

    __slots__ = ("answers", "router")
    answers: list[Decision]
    router: Router

    def encode(self, *arguments: str) -> bytes:
        self.answers.append(self.router.route("list the number"))
        return super().encode(*arguments)


class _AskingMessage(Mapping[str, Any]):
    """A message that asks the router something else when it is read."""

    def __init__(self, router: Router, content: str) -> None:
        self.answers: list[Decision] = []
        self._router = router
        self._fields = {"role": "user", "content": content}

    def __getitem__(self, key: str) -> Any:
        self.answers.append(self._router.route("list the number", Policy(epsilon=0.3)))
        return self._fields[key]

    def __iter__(self) -> Any:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


def test_text_that_routes_while_it_is_routed(router: Router) -> None:
    inner, outer = router.route("list the number"), router.route("please prove the sum?")
    assert inner.p_pass != outer.p_pass
    text = _AskingText("please prove the sum?")
    text.answers, text.router = [], router
    for _ in range(3):
        assert outer == router.route(text)
    assert [inner] * 3 == text.answers
    assert 2 == len(router._model.scorer._idle)


def test_a_message_that_routes_while_it_is_read(router: Router) -> None:
    inner, outer = router.route("list the number", Policy(epsilon=0.3)), router.route("please prove the sum?")
    message = _AskingMessage(router, "please prove the sum?")
    assert outer == router.route([message])
    assert 2 <= len(message.answers)
    assert {inner} == {*message.answers}
