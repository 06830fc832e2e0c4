"""The tokenizer of the decision path: the library's ids, from a memo of words.

A BERT tokenizer cuts a text at spaces and marks, and a word between them has its ids whatever stands beside it. So
the ids of a text are those of its words and marks, and words come again: the vocabulary knows 97 of 100, and others
are remembered, up to a bound. A text of 220 characters takes a seventh of the library's time. What is not certain to
be cut alike here is left whole, in one "word", and the library cuts it.

The ids come in another order, marks last: what reads them adds them up. Tests hold them equal to the library's for
every code point, and on random texts.
"""

from __future__ import annotations

import json
import re
import string
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

__all__ = ["WordPieces"]

_ID = np.dtype(np.intp)

# The tokenizer lowers letters, removes control characters, and sets marks apart.
_CONTROLS = bytes(i for i in (*range(32), 127) if chr(i) not in "\t\n\r")
_MARKS = string.punctuation.encode()
_NO_MARKS = bytes(set(range(256)) - set(_MARKS))
_FOLD = bytes.maketrans(
    string.ascii_uppercase.encode() + _MARKS, string.ascii_lowercase.encode() + b" " * len(_MARKS)
)

# Within a word of other scripts: what the library sets apart, too. Not all of it, and need not be.
_APART = (
    "\u00a1\u00a7\u00ab\u00b6\u00b7\u00bb\u00bf\u2010-\u2027\u2030-\u2043\u2045-\u2051\u2053-\u205e\u3001-\u3003"
    "\u3008-\u3011\uff01\uff08\uff09\uff0c\uff1a\uff1b\uff1f"  # punctuation
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002b73f\U0002b740-\U0002b81f"
    "\U0002b920-\U0002ceaf\U0002f800-\U0002fa1f"  # ideographs
)
_PART = re.compile(f"[{_APART}]|[^\\s{_APART}]+")
_REMOVED = "\x85"  # a space to Python, a control character to the tokenizer
# Each of these stays a character of its word, whatever the tokenizer does to it.
_LASTING = re.compile("[a-z0-9\u0430-\u044f\u3041-\u3094\u30a1-\u30fa\uac00-\ud7a3\U0001f300-\U0001faff]+")

# With the longest words of the most pieces, 15 MB and 9 MB; with those of English, 5 and next to nothing.
_MOST_LEARNED = 1 << 15
_MOST_PARTS = 1 << 13
_LONGEST_LEARNED = 32  # bytes of a word; longer ones do not come again
# Parts of one word that are new: beyond, one call for the word is cheaper than one for each.
_MOST_NEW = 32


class WordPieces:
    """Gives the ids of a text's known tokens.

    Thread-safe: what two threads learn at once is learned twice.

    Parameters
    ----------
    vocabulary : dict of str to int
    unknown : int or None
        The id that stands for a word without pieces; left out.
    special : tuple of str
        Tokens that the library finds anywhere in a text, before it cuts it.
    prefix : str
        What a piece inside a word begins with.
    most_chars : int
        A longer word is unknown.
    encode : callable
        The library's ids of the known tokens of a text.
    """

    __slots__ = ("_marks", "_special", "_words")

    def __init__(
        self,
        vocabulary: dict[str, int],
        unknown: int | None,
        special: tuple[str, ...],
        prefix: str,
        most_chars: int,
        encode: Callable[[str], list[int]],
    ) -> None:
        self._special = tuple(token.encode() for token in special)
        self._words = _Words(vocabulary, unknown, prefix, most_chars, encode)
        self._marks = [self._words[bytes([i])] if i in _MARKS else b"" for i in range(256)]

    @classmethod
    def of(
        cls, tokenizer: Tokenizer, unknown: int | None, encode: Callable[[str], list[int]]
    ) -> WordPieces | None:
        """Return the word pieces of a library tokenizer; None if it is not an uncased BERT one."""
        form: dict[str, Any] = json.loads(tokenizer.to_str())
        model, added = form["model"], form["added_tokens"]
        anywhere = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        if (
            form["normalizer"] not in _NORMALIZERS
            or form["pre_tokenizer"] != {"type": "BertPreTokenizer"}
            or model["type"] != "WordPiece"
            or form["truncation"]
            or form["padding"]
            or not all(anywhere.items() <= token.items() for token in added)
        ):
            return None
        return cls(
            model["vocab"],
            unknown,
            tuple(token["content"] for token in added),
            model["continuing_subword_prefix"],
            model["max_input_chars_per_word"],
            encode,
        )

    def ids(self, raw: bytes) -> NDArray[np.intp]:
        """Return the ids of the known tokens of a text, intp (n,), read-only. Pure but for what it remembers.

        The text is UTF-8, lone surrogates passed.
        """
        # Bytes join faster than a list of numbers becomes an array: 1 us against 2, at 50 words.
        return np.frombuffer(self._read(raw), _ID)

    def ids_many(self, raws: Sequence[bytes]) -> tuple[NDArray[np.intp], list[int]]:
        """Return the ids of texts one after the other, and how many each has."""
        read = [*map(self._read, raws)]
        return np.frombuffer(b"".join(read), _ID), [len(ids) // _ID.itemsize for ids in read]

    def _read(self, raw: bytes) -> bytes:
        for token in self._special:
            if token in raw:
                return self._words.ask(raw.decode("utf-8", "surrogatepass"))
        words = raw.translate(_FOLD, _CONTROLS).split()
        marks = raw.translate(None, _NO_MARKS)
        return b"".join(map(self._words.__getitem__, words)) + b"".join(map(self._marks.__getitem__, marks))


class _Words(dict[bytes, bytes]):
    """The ids of each word, as bytes; those that came up.

    It begins empty: the words that do come up then lie together in memory, which makes a look-up a third faster than
    among the whole vocabulary.
    """

    __slots__ = ("_encode", "_inside", "_longest", "_most_chars", "_parts", "_vocabulary")

    def __init__(
        self,
        vocabulary: dict[str, int],
        unknown: int | None,
        prefix: str,
        most_chars: int,
        encode: Callable[[str], list[int]],
    ) -> None:
        super().__init__()
        self._vocabulary = {
            token.encode(): i.to_bytes(_ID.itemsize, sys.byteorder)
            for token, i in vocabulary.items()
            if i != unknown and len(token) <= most_chars and token.isascii()
        }
        start = prefix.encode()
        self._inside = {
            token[len(start) :]: i for token, i in self._vocabulary.items() if token.startswith(start)
        }
        self._longest = max(map(len, self._vocabulary), default=1)
        self._most_chars = most_chars
        self._encode = encode
        self._parts: dict[str, bytes] = {}

    def __missing__(self, word: bytes) -> bytes:
        n = len(word)
        ids = self._vocabulary.get(word)
        if ids is None:
            if word.isalnum():  # of bytes: ASCII letters and digits
                ids = self._cut(word) if n <= self._most_chars else b""
            else:
                ids = self._cut_parts(word.decode("utf-8", "surrogatepass"))
        if n <= _LONGEST_LEARNED:
            if len(self) >= _MOST_LEARNED:  # begin anew: what is frequent is soon back
                self.clear()
            self[word] = ids
        return ids

    def ask(self, text: str) -> bytes:
        """Return the library's ids of a text."""
        return np.array(self._encode(text), _ID).tobytes()

    def _cut(self, word: bytes) -> bytes:
        """Return the pieces of a word of letters and digits: the longest that fits, and again from there."""
        found, start, n = [], 0, len(word)
        known = self._vocabulary
        while start < n:
            end = min(n, start + self._longest)
            while (ids := known.get(word[start:end])) is None:
                end -= 1
                if end == start:
                    return b""  # a word with one unknown piece is unknown
            found.append(ids)
            start, known = end, self._inside
        return b"".join(found)

    def _cut_parts(self, text: str) -> bytes:
        """Return the ids of a word with other than ASCII in it, or of a sentence without spaces, by its parts."""
        parts = _PART.findall(text.replace(_REMOVED, ""))
        if len(parts) == 1:
            # The library takes 500 us to say of a thousand letters that they are no word.
            return b"" if len(text) > self._most_chars and _LASTING.fullmatch(text) else self.ask(text)
        known = {part: self[part.encode()] if part.isascii() else self._parts.get(part) for part in parts}
        new = [part for part, ids in known.items() if ids is None]
        for part in new[:_MOST_NEW]:
            known[part] = self._learn_part(part)
        if len(new) > _MOST_NEW:  # some were learned, so that a script that is new is soon known
            return self.ask(text)
        return b"".join([known[part] or b"" for part in parts])

    def _learn_part(self, part: str) -> bytes:
        ids = self._cut_parts(part)
        if len(part) <= _LONGEST_LEARNED:
            if len(self._parts) >= _MOST_PARTS:
                self._parts.clear()
            self._parts[part] = ids
        return ids


_NORMALIZERS = tuple(
    {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": strip,  # None follows lowercase
        "lowercase": True,
    }
    for strip in (None, True)
)
