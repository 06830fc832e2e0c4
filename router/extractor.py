"""The one extractor: from a prompt to the row that the model reads, at training and at serving alike.

Pure once its embedding is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.embedding import StaticEmbedding
from router.features import FEATURE_NAMES, IDENTITY, shape
from router.prompt import Prompt, PromptView, read_prompt

__all__ = ["Extractor"]


class Extractor:
    """Turns prompts into float32 rows: the embedding first, then the shape features.

    Attributes
    ----------
    width : int
        Columns of a row: dimension of the embedding plus number of features.
    identity : dict
        What an artefact records and a load compares.
    """

    __slots__ = ("embedding", "identity", "width")

    def __init__(self, embedding: StaticEmbedding) -> None:
        self.embedding = embedding
        self.width = embedding.dimension + len(FEATURE_NAMES)
        self.identity: dict[str, Any] = {"embedding": embedding.identity, "shape": IDENTITY}

    def extract(self, view: PromptView, row: NDArray[np.float32]) -> None:
        """Write the features of one prompt into a float32 (width,) row."""
        dimension = self.embedding.dimension
        row[:dimension] = self.embedding.embed(view.text)
        row[dimension:] = shape(view)

    def extract_many(self, prompts: Sequence[Prompt]) -> NDArray[np.float32]:
        """Return float32 (n, width), each row as `extract` gives it. Pure.

        Raises
        ------
        TypeError
            A prompt is neither a string nor a list of messages.
        """
        rows = np.empty((len(prompts), self.width), np.float32)
        for row, prompt in zip(rows, prompts, strict=True):
            self.extract(read_prompt(prompt), row)
        return rows
