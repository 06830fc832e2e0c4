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
from router.lexicon import Lexicon
from router.prompt import Prompt, PromptView, read_prompt

__all__ = ["Extractor"]


class Extractor:
    """Turns prompts into float32 rows: the embedding, then the shape features, then what the lexicon says.

    Parameters
    ----------
    embedding : StaticEmbedding
        The token table.
    lexicon : Lexicon, optional
        Token weights of a fitted model; without one, rows end with the shape features.

    Attributes
    ----------
    width : int
        Columns of a row.
    identity : dict
        What an artefact records and a load compares.
    """

    __slots__ = ("embedding", "identity", "lexicon", "width")

    def __init__(self, embedding: StaticEmbedding, lexicon: Lexicon | None = None) -> None:
        self.embedding = embedding
        self.lexicon = lexicon
        self.width = embedding.dimension + len(FEATURE_NAMES) + (lexicon.columns if lexicon else 0)
        self.identity: dict[str, Any] = {"embedding": embedding.identity, "shape": IDENTITY}
        if lexicon:
            self.identity["lexicon"] = lexicon.identity

    def extract(self, view: PromptView, row: NDArray[np.float32]) -> None:
        """Write the features of one prompt into a float32 (width,) row."""
        embedding, lexicon = self.embedding, self.lexicon
        dimension = embedding.dimension
        ids = embedding.token_ids(view.text)
        row[:dimension] = embedding.embed_ids(ids)
        end = dimension + len(FEATURE_NAMES)
        row[dimension:end] = shape(view)
        if lexicon is not None:
            row[end:] = lexicon.margins(ids)

    def extract_many(self, prompts: Sequence[Prompt]) -> NDArray[np.float32]:
        """Return float32 (n, width), each row as `extract` gives it. Pure.

        Raises
        ------
        TypeError
            A prompt is neither a string nor a list of messages.
        """
        return self.extract_views([read_prompt(prompt) for prompt in prompts])

    def extract_views(self, views: Sequence[PromptView]) -> NDArray[np.float32]:
        """Return the same for prompts that were read already. Pure."""
        rows = np.empty((len(views), self.width), np.float32)
        for view, row in zip(views, rows, strict=True):
            self.extract(view, row)
        return rows
