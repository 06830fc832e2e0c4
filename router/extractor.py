"""The one extractor: from a prompt to the row that the model reads, at training and at serving alike.

Pure once its embedding is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.embedding import StaticEmbedding, to_unit
from router.features import FEATURE_NAMES, IDENTITY, shape, shape_many
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

    __slots__ = ("_tail", "_tail_at", "embedding", "identity", "lexicon", "width")

    def __init__(self, embedding: StaticEmbedding, lexicon: Lexicon | None = None) -> None:
        self.embedding = embedding
        self.lexicon = lexicon
        self.width = embedding.dimension + len(FEATURE_NAMES) + (lexicon.columns if lexicon else 0)
        self._tail = Struct(f"{self.width - embedding.dimension}f")
        self._tail_at = embedding.dimension * np.dtype(np.float32).itemsize
        self.identity: dict[str, Any] = {"embedding": embedding.identity, "shape": IDENTITY}
        if lexicon:
            self.identity["lexicon"] = lexicon.identity

    def extract(self, view: PromptView, row: NDArray[np.float32]) -> None:
        """Write the features of one prompt into a contiguous float32 (width,) row.

        The embedding is not brought to unit length: the graph does that, in half the time of two calls of NumPy.
        """
        embedding, lexicon = self.embedding, self.lexicon
        raw = view.text.encode("utf-8", "surrogatepass")
        ids = embedding.ids(raw)
        embedding.add_up(ids, row[: embedding.dimension])
        margins = () if lexicon is None else lexicon.margins(ids)
        # struct writes floats into an array in a third of the time that assigning a list to a slice takes.
        self._tail.pack_into(row.data, self._tail_at, *shape(view, raw), *margins)

    def extract_many(self, prompts: Sequence[Prompt]) -> NDArray[np.float32]:
        """Return float32 (n, width), embeddings of unit length or zero. Pure.

        Raises
        ------
        TypeError
            A prompt is neither a string nor a list of messages.
        """
        return self.extract_views([read_prompt(prompt) for prompt in prompts])

    def extract_views(self, views: Sequence[PromptView]) -> NDArray[np.float32]:
        """Return the same for prompts that were read already."""
        rows = np.empty((len(views), self.width), np.float32)
        if not views:
            return rows
        embedding, lexicon = self.embedding, self.lexicon
        raws = [view.text.encode("utf-8", "surrogatepass") for view in views]
        ids, lengths = embedding.ids_many(raws)
        start, end = embedding.dimension, embedding.dimension + len(FEATURE_NAMES)
        embedding.add_up_many(ids, lengths, rows[:, :start])
        to_unit(rows[:, :start])
        rows[:, start:end] = shape_many(views, raws)
        if lexicon is not None:
            parts = np.split(ids, np.cumsum(lengths)[:-1])
            rows[:, end:] = [lexicon.margins(part) for part in parts]
        return rows
