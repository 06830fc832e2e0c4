"""The static embedding: a token table distilled from a sentence encoder, and its tokenizer.

Reads files at load; pure after that, but for what the tokenizer remembers. The vector of a text is the mean of its
tokens' rows, L2-normalised; unknown tokens are left out, and a text without known tokens is the zero vector.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from router.errors import ArtifactError
from router.wordpiece import WordPieces

__all__ = ["EMBEDDING_FILES", "StaticEmbedding", "to_unit"]

EMBEDDING_FILES = ("embedding.int8.npy", "embedding.scale.npy", "tokenizer.json", "embedding.json")
"""The files of an embedding, in any folder that holds one."""

_AT_ONCE = 8  # texts whose rows are gathered together: few enough to stay in the cache
# OpenBLAS wakes a second thread from 460,800 elements on, and where another process keeps that thread's core busy the
# product takes 8 ms instead of 170 us.
_MOST_ELEMENTS = 1 << 18


class StaticEmbedding:
    """A token table and its tokenizer.

    Parameters
    ----------
    table : int8 (V, d)
        Quantised rows; may be a memory map, so that processes share it.
    scale : float32 (V,)
        Row i of the table stands for `table[i] * scale[i]`.
    tokenizer : tokenizers.Tokenizer
        Gives ids below V.
    identity : dict
        Where the table comes from; an artefact records it.
    """

    __slots__ = ("_pieces", "_scale", "_table", "_tokenizer", "_unknown", "dimension", "identity")

    def __init__(
        self,
        table: NDArray[np.int8],
        scale: NDArray[np.float32],
        tokenizer: Tokenizer,
        identity: dict[str, Any],
    ) -> None:
        self._table = table
        self._scale = scale
        self._tokenizer = tokenizer
        self._unknown = tokenizer.token_to_id(_unknown_token(tokenizer))
        # Not a method of this object: they would refer to one another, and the table stay mapped after its last use.
        self._pieces = WordPieces.of(tokenizer, self._unknown, partial(_token_ids, tokenizer, self._unknown))
        self.dimension = int(table.shape[1])
        self.identity = identity

    @classmethod
    def load(cls, folder: str | Path) -> StaticEmbedding:
        """Read the four files of `EMBEDDING_FILES`; the table is memory-mapped.

        Raises
        ------
        ArtifactError
            A file is missing, unreadable, or does not fit the others.
        """
        folder = Path(folder)
        missing = [name for name in EMBEDDING_FILES if not (folder / name).is_file()]
        if missing:
            raise ArtifactError(
                f"embedding in {folder}: {', '.join(missing)} not found; distil or copy it again"
            )
        try:
            # Unlike np.load, these two open nothing but a plain array.
            table = np.lib.format.open_memmap(folder / EMBEDDING_FILES[0], mode="r")
            with (folder / EMBEDDING_FILES[1]).open("rb") as file:
                scale = np.lib.format.read_array(file, allow_pickle=False)
            tokenizer = Tokenizer.from_file(str(folder / EMBEDDING_FILES[2]))
            identity = json.loads((folder / EMBEDDING_FILES[3]).read_text(encoding="utf-8"))
        except Exception as error:  # tokenizers raises bare Exception on a bad file
            raise ArtifactError(
                f"embedding in {folder}: cannot be read ({type(error).__name__}); distil or copy it again"
            ) from error
        n_ids = 1 + max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
        if (
            table.dtype != np.int8
            or table.ndim != 2
            or scale.dtype != np.float32
            or scale.shape != table.shape[:1]
            or n_ids > len(table)
            or not isinstance(identity, dict)
        ):
            raise ArtifactError(
                f"embedding in {folder}: expected an int8 table, a float32 scale for each row, a row for each "
                f"token and a JSON object; found {table.dtype} {table.shape}, {scale.dtype} {scale.shape}, "
                f"{n_ids} token ids and a {type(identity).__name__}; distil or copy it again"
            )
        # A view without the memmap subclass: its indexing costs three times an ndarray's.
        return cls(np.asarray(table), scale, tokenizer, identity)

    def token_ids(self, text: str) -> list[int]:
        """Return the ids of the known tokens of a text, without special tokens. Pure."""
        return _token_ids(self._tokenizer, self._unknown, text)

    @property
    def n_ids(self) -> int:
        """Rows of the table: every token id is below."""
        return len(self._table)

    def vector_of(self, i: int) -> NDArray[np.float64]:
        """Return the float64 (d,) row of a token."""
        vector: NDArray[np.float64] = self._table[i].astype(np.float64) * float(self._scale[i])
        return vector

    def embed(self, text: str) -> NDArray[np.float32]:
        """Return the float32 (d,) vector of a text."""
        vector: NDArray[np.float32] = self.embed_many([text])[0]
        return vector

    def ids(self, raw: bytes) -> NDArray[np.intp]:
        """Return the same ids as `token_ids`, intp (n,), in another order, for a text in UTF-8."""
        if self._pieces is None:
            return np.array(self.token_ids(raw.decode("utf-8", "surrogatepass")), np.intp)
        return self._pieces.ids(raw)

    def ids_many(self, raws: Sequence[bytes]) -> tuple[NDArray[np.intp], list[int]]:
        """Return the ids of texts one after the other, and how many each has."""
        if self._pieces is None:
            ids = [self.ids(raw) for raw in raws]
            return np.concatenate([np.empty(0, np.intp), *ids]), [*map(len, ids)]
        return self._pieces.ids_many(raws)

    def add_up(self, ids: NDArray[np.intp], out: NDArray[np.float32]) -> None:
        """Write the sum of tokens' rows into a contiguous float32 (d,): the vector of a text, but for its length."""
        _weigh(self._scale.take(ids), self._table.take(ids, axis=0).astype(np.float32), out)

    def add_up_many(self, ids: NDArray[np.intp], lengths: Sequence[int], out: NDArray[np.float32]) -> None:
        """Write the sums of n texts, whose ids stand one after the other, into float32 (n, d) of contiguous rows."""
        first = 0
        for start in range(0, len(lengths), _AT_ONCE):
            block = lengths[start : start + _AT_ONCE]
            end = first + sum(block)
            rows = self._table.take(ids[first:end], axis=0).astype(np.float32)
            scale = self._scale.take(ids[first:end])
            first, at = end, 0
            for row, n in zip(out[start : start + _AT_ONCE], block, strict=True):
                _weigh(scale[at : at + n], rows[at : at + n], row)
                at += n

    def embed_many(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the float32 (n, d) vectors of texts."""
        vectors = np.empty((len(texts), self.dimension), np.float32)
        self.add_up_many(*self.ids_many([text.encode("utf-8", "surrogatepass") for text in texts]), vectors)
        to_unit(vectors)
        return vectors


def _weigh(scale: NDArray[np.float32], rows: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Write `scale @ rows` into `out`, in parts that OpenBLAS does not share among threads."""
    if rows.size <= _MOST_ELEMENTS:
        np.dot(scale, rows, out)
        return
    step = max(1, _MOST_ELEMENTS // len(out))
    out[:] = 0.0
    for i in range(0, len(rows), step):
        out += scale[i : i + step] @ rows[i : i + step]


def to_unit(vectors: NDArray[np.float32]) -> None:
    """Divide each row of float32 (n, d) by its length, in place; a row of zeros stays."""
    length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    vectors /= np.where(length > 0.0, length, 1.0)[:, None]


def _token_ids(tokenizer: Tokenizer, unknown: int | None, text: str) -> list[int]:
    try:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
    except TypeError:  # a lone surrogate cannot cross into the tokenizer, which takes UTF-8
        clean = text.encode("utf-8", "replace").decode("utf-8")
        ids = tokenizer.encode(clean, add_special_tokens=False).ids
    return [i for i in ids if i != unknown]


def _unknown_token(tokenizer: Tokenizer) -> str:
    token = getattr(tokenizer.model, "unk_token", None)
    if isinstance(token, str):
        return token
    model = json.loads(tokenizer.to_str())["model"]  # Unigram models name it by position
    unknown = model.get("unk_id")
    return str(model["vocab"][unknown][0]) if isinstance(unknown, int) else "[UNK]"
