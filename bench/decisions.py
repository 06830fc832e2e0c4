"""How long one decision takes, by length of the prompt, and the ONNX call within it.

Each text is seen for the first time, by a router that has served other texts before. `Router.route` and the
`tokenizers` encode of the same whole text take turns every `BLOCK` texts, so that other jobs on the machine
disturb both alike: the ratio is what to trust.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter_ns
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from router import Router
from router.artifact import open_artifact
from router.prompt import read_prompt

__all__ = ["BLOCK", "measure_huge", "measure_length", "measure_onnx", "serve", "summarise", "take_turns"]

BLOCK = 100
_WARM_UP = 500  # texts before the tokenizer is timed; it remembers none

Call = Callable[[str], object]


def serve(folder: Path, served: Sequence[str]) -> Router:
    """Return a fresh router that has routed these texts."""
    router = Router.load(folder)
    for text in served:
        router.route(text)
    return router


def take_turns(pairs: Sequence[tuple[Call, Sequence[str]]]) -> list[list[float]]:
    """Return the microseconds of each call on each of its texts; calls take turns every BLOCK texts."""
    taken: list[list[float]] = [[] for _ in pairs]
    for b in range(0, max(len(texts) for _, texts in pairs), BLOCK):
        for k in range(len(pairs)):
            turn = (k + b // BLOCK) % len(pairs)  # each goes first in its turn
            call, texts = pairs[turn]
            taken[turn] += _time_each(call, texts[b : b + BLOCK])
    return taken


def _time_each(call: Call, texts: Iterable[str]) -> list[float]:
    taken = []
    for text in texts:
        start = perf_counter_ns()
        call(text)
        taken.append((perf_counter_ns() - start) / 1000)
    return taken


def summarise(us: Sequence[float]) -> dict[str, float]:
    """Return the median and the 99th percentile of times in microseconds. Pure."""
    p50, p99 = median(us), quantiles(us, n=100, method="inclusive")[98]
    return {"p50_us": round(p50, 1), "p99_us": round(p99, 1), "p99_over_p50": round(p99 / p50, 2)}


def measure_length(folder: Path, served: Sequence[str], texts: Sequence[str]) -> dict[str, Any]:
    """Time one length, at first sight of each text and again."""
    assert len(set(texts)) == len(texts), "texts repeat"
    assert not set(texts) & set(served), "a timed text was served"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def encode(text: str) -> object:
        return tokenizer.encode(text, add_special_tokens=False)

    for text in served[:_WARM_UP]:
        encode(text)
    router = serve(folder, served)
    first, library = take_turns([(router.route, texts), (encode, texts)])
    again = _time_each(router.route, texts)

    # What was timed gives right answers: those of a batch, to float32 rounding.
    alone = np.array([router.route(text).p_pass for text in texts])
    assert np.allclose(alone, router.score(texts), atol=1e-5), "a batch changes the score"
    assert len(np.unique(alone, axis=0)) > len(texts) // 2, "different texts get one answer"
    return {
        "texts": len(texts),
        "route": summarise(first),
        "again": summarise(again),
        "tokenizer": summarise(library),
        "route_over_tokenizer": round(median(first) / median(library), 3),
        "again_over_tokenizer": round(median(again) / median(library), 3),
    }


def measure_huge(
    folder: Path, served: Sequence[str], texts: Sequence[str], prompts: list[str], n_chars: int, repeats: int
) -> dict[str, Any]:
    """Time a handful of prompts of n_chars characters, each a text of its own around the same middle, in rounds.

    Then each once more on a fresh router, right after it was made: copying it has emptied the processor's caches.
    """
    body = "\n\n".join(prompts)
    body *= 1 + n_chars // len(body)

    def make(text: str) -> str:
        half = len(text) // 2
        return text[:-half] + body[: n_chars - len(text)] + text[-half:]

    made = [make(text) for text in texts]
    assert {len(prompt) for prompt in made} == {n_chars}, "a prompt of another length"
    route = serve(folder, served).route
    taken = [us for _ in range(repeats) for us in _time_each(route, made)]
    del made
    route = serve(folder, served).route
    fresh = [us for text in texts for us in _time_each(route, [make(text)])]
    return {"texts": len(texts), "route": summarise(taken), "just_made": summarise(fresh)}


def measure_onnx(folder: Path, served: Sequence[str], texts: Sequence[str]) -> dict[str, Any]:
    """Time the bound ONNX call alone: after the extraction, as a decision does, and many in a row."""
    _, extractor, scorer = open_artifact(folder)
    slot = scorer.acquire()
    for text in served:
        extractor.extract(read_prompt(text), slot.row)
        slot.run()
    within, in_a_row, outputs = [], [], []
    for b in range(0, len(texts), BLOCK):
        rows = []
        for text in texts[b : b + BLOCK]:
            extractor.extract(read_prompt(text), slot.row)
            start = perf_counter_ns()
            slot.run()
            within.append((perf_counter_ns() - start) / 1000)
            rows.append(slot.row.copy())
        for row in rows:
            slot.row[:] = row
            start = perf_counter_ns()
            out = slot.run()
            in_a_row.append((perf_counter_ns() - start) / 1000)
            outputs.append(out)
    scorer.release(slot)
    expected = np.column_stack(scorer.score(extractor.extract_many(texts)))
    assert np.allclose(outputs, expected, rtol=1e-3, atol=1e-4), "the ONNX call is another one"
    return {"rows": len(texts), "in_a_row": summarise(in_a_row), "within_a_decision": summarise(within)}
