"""The static embedding: a token table distilled from a sentence encoder, and its tokenizer.

Reads files at load; pure after that. The vector of a text is the mean of its tokens' rows, L2-normalised;
unknown tokens are left out, and a text without known tokens is the zero vector.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from router.errors import ArtifactError

__all__ = ["EMBEDDING_FILES", "StaticEmbedding"]

EMBEDDING_FILES = ("embedding.int8.npy", "embedding.scale.npy", "tokenizer.json", "embedding.json")
"""The files of an embedding, in any folder that holds one."""


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

    __slots__ = ("_scale", "_table", "_tokenizer", "_unknown", "dimension", "identity")

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
        try:
            ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        except TypeError:  # a lone surrogate cannot cross into the tokenizer, which takes UTF-8
            clean = text.encode("utf-8", "replace").decode("utf-8")
            ids = self._tokenizer.encode(clean, add_special_tokens=False).ids
        unknown = self._unknown
        return [i for i in ids if i != unknown]

    @property
    def n_ids(self) -> int:
        """Rows of the table: every token id is below."""
        return len(self._table)

    def embed(self, text: str) -> NDArray[np.float32]:
        """Return the float32 (d,) vector of a text. Pure."""
        return self.embed_ids(self.token_ids(text))

    def embed_ids(self, ids: list[int]) -> NDArray[np.float32]:
        """Return the float32 (d,) vector of the tokens of a text. Pure."""
        if not ids:
            return np.zeros(self.dimension, np.float32)
        # Only the direction counts, so the sum serves as the mean.
        total = self._scale[ids] @ self._table[ids].astype(np.float32)
        norm = float(np.sqrt(total @ total))
        return (total / norm if norm > 0.0 else total).astype(np.float32, copy=False)

    def embed_many(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the float32 (n, d) vectors of texts, each as `embed` gives it. Pure."""
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in zip(vectors, texts, strict=True):
            row[:] = self.embed(text)
        return vectors


def _unknown_token(tokenizer: Tokenizer) -> str:
    token = getattr(tokenizer.model, "unk_token", None)
    if isinstance(token, str):
        return token
    model = json.loads(tokenizer.to_str())["model"]  # Unigram models name it by position
    unknown = model.get("unk_id")
    return str(model["vocab"][unknown][0]) if isinstance(unknown, int) else "[UNK]"
