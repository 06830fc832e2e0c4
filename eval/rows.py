"""Rows: the features of a history's prompts, as serving extracts them, with a bar for people who wait."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eval.progress import Progress
from router.extractor import Extractor
from router.prompt import Prompt

__all__ = ["extract_rows"]

_AT_ONCE = 256


def extract_rows(extractor: Extractor, prompts: Sequence[Prompt], progress: Progress) -> NDArray[np.float32]:
    """Return float32 (n, width)."""
    X = np.empty((len(prompts), extractor.width), np.float32)
    with progress.bar(len(X), "prompt") as bar:
        for start in range(0, len(X), _AT_ONCE):
            rows = slice(start, start + _AT_ONCE)
            X[rows] = extractor.extract_many(prompts[rows])
            bar.update(len(X[rows]))
    return X
