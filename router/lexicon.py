"""The lexicon: what single tokens say about each tier, learned from a history.

Reads a file at load; pure after that. A linear model over the tokens of a prompt needs no vocabulary of its own:
its weights are a few more numbers per row of the token table. Term weighting is TF-IDF over token positions,
which needs no count per distinct token and so costs one gather and one sum.
"""

from __future__ import annotations

from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.errors import ArtifactError

__all__ = ["LEXICON_FILE", "MARGIN_LIMIT", "Lexicon"]

LEXICON_FILE = "lexicon.npy"

MARGIN_LIMIT = 4.0
"""Log odds that a lexicon can add or take. Prompts of a history stay within 3; a word that is repeated a thousand
times must not decide by its number."""


class Lexicon:
    """Token weights per tier.

    Parameters
    ----------
    table : float32 (V, 1 + k)
        Per token id: its squared inverse document frequency, then per tier its weight times that frequency.
        May be a memory map, so that processes share it.

    Attributes
    ----------
    columns : int
        k, one per tier.
    identity : dict
        What an artefact records and a load compares.
    """

    __slots__ = ("_table", "columns", "identity")

    def __init__(self, table: NDArray[np.float32]) -> None:
        self._table = table
        self.columns = int(table.shape[1]) - 1
        self.identity: dict[str, Any] = {"version": 1, "columns": self.columns}

    @classmethod
    def load(cls, folder: Path, n_ids: int) -> Lexicon:
        """Read `LEXICON_FILE`, memory-mapped, for a tokenizer whose ids are below `n_ids`.

        Raises
        ------
        ArtifactError
            The file is missing, unreadable, or does not fit the tokens.
        """
        path = folder / LEXICON_FILE
        try:
            # Unlike np.load, this opens nothing but a plain array.
            table = np.lib.format.open_memmap(path, mode="r")
        except Exception as error:  # NumPy reads the header with a tokenizer whose errors share no base
            raise ArtifactError(f"{path}: cannot be read ({type(error).__name__}); fit again") from error
        if table.dtype != np.float32 or table.ndim != 2 or table.shape[0] != n_ids or table.shape[1] < 2:
            raise ArtifactError(
                f"{path}: expected float32 with {n_ids} rows and two columns or more; found {table.dtype} "
                f"{table.shape}; fit again"
            )
        return cls(np.asarray(table))  # a view without the memmap subclass, whose indexing is slow

    def weights_of(self, i: int) -> list[float]:
        """Return the squared frequency of a token, and its weight per tier."""
        weights: list[float] = self._table[i].tolist()
        return weights

    def margins(self, ids: NDArray[np.intp]) -> list[float]:
        """Return k margins: per tier, the sum of the tokens' weights over the norm of their frequencies. Pure.

        Zero without a token that the lexicon knows. `ids` is intp (n,), in any order.
        """
        norm, *totals = np.add.reduce(self._table.take(ids, axis=0)).tolist()
        if not norm > 0.0:
            return [0.0] * self.columns
        unit = 1.0 / sqrt(norm)
        return [min(max(total * unit, -MARGIN_LIMIT), MARGIN_LIMIT) for total in totals]
