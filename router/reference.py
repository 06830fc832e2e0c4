"""The decision path in its plainest form: what `Router.route` must come to.

For readers and tests. It tokenizes with the library, counts one thing at a time, adds up in double precision and runs
the graph as ONNX Runtime's manual has it; the decision path does the same work in a fifth of the time, and property
tests hold the two together.
"""

from __future__ import annotations

from math import log1p

import numpy as np
from numpy.typing import NDArray

from router.embedding import StaticEmbedding
from router.extractor import Extractor
from router.features import CLASSES, MARKS
from router.lexicon import MARGIN_LIMIT, Lexicon
from router.prompt import Prompt, PromptView, read_prompt

__all__ = ["embed", "margins", "row", "shape"]


def row(extractor: Extractor, prompt: Prompt) -> NDArray[np.float64]:
    """Return the features of a prompt, float64 (width,)."""
    view = read_prompt(prompt)
    ids = extractor.embedding.token_ids(view.text)
    lexicon = extractor.lexicon
    return np.concatenate(
        [embed(extractor.embedding, ids), shape(view), [] if lexicon is None else margins(lexicon, ids)]
    )


def embed(embedding: StaticEmbedding, ids: list[int]) -> NDArray[np.float64]:
    """Return the sum of the tokens' rows at unit length, float64 (d,); zero without tokens."""
    total = np.zeros(embedding.dimension)
    for i in ids:
        total += embedding.vector_of(i)
    length = np.linalg.norm(total)
    return total / length if length > 0.0 else total


def shape(view: PromptView) -> list[float]:
    """Return the length and shape features, in the order of `FEATURE_NAMES`."""
    text = view.text
    raw = text.encode("utf-8", "surrogatepass")
    count = {name: sum(raw.count(byte) for byte in members) for name, members in CLASSES.items()}
    words = count["space"] + count["newline"] + count["cjk"] + 1
    return [
        log1p(view.n_chars),
        log1p(view.n_last_chars),
        log1p(view.n_system_chars),
        log1p(view.n_turns),
        log1p(view.n_tool_turns),
        1.0 if view.n_images else 0.0,
        log1p(words),
        len(text) / words if words > 1 else min(len(text), 32),
        log1p(count["newline"]),
        *(count[name] / max(len(text), 1) for name in CLASSES),
        *(log1p(raw.count(mark)) for mark in MARKS.values()),
    ]


def margins(lexicon: Lexicon, ids: list[int]) -> list[float]:
    """Return per tier the sum of the tokens' weights over the norm of their frequencies, within the limit."""
    weights = [lexicon.weights_of(i) for i in ids]
    norm = sum(squared for squared, *_ in weights) ** 0.5
    sums = [sum(per_tier) for per_tier in list(zip(*weights, strict=True))[1:]] or [0.0] * lexicon.columns
    return [max(-MARGIN_LIMIT, min(MARGIN_LIMIT, total / norm)) if norm > 0.0 else 0.0 for total in sums]
