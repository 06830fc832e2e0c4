"""The tokenizer of the decision path: the library's ids, from a memo of words.

A BERT tokenizer makes of each character what it makes of it anywhere (lower case, without accents, apart, or nothing),
cuts the text at spaces, and a word has its ids whatever stands beside it. So the ids of a text are those of its words,
and words come again: nearly all are in the memo or the vocabulary, and others are cut into pieces here.

What becomes of a character is asked of the library, once. The ids come in another order, marks last: what reads them
adds them up. Tests hold them equal to the library's for every code point, and on random texts.
"""

from __future__ import annotations

import json
import re
import string
import sys
from collections.abc import Callable, Sequence
from typing import Any
from unicodedata import combining

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
_ASCII = bytes(range(128))

# Bounds on what is remembered: some 15, 12 and 5 MB at the worst, a third of it in practice.
_MOST_WORDS = _MOST_PARTS = _MOST_CHARACTERS = 1 << 15
_LONGEST_WORD, _LONGEST_PART = 32, 12  # in bytes, in characters; longer ones do not come again
# Of one text. Beyond, one call of the library for the text is cheaper than two for each.
_MOST_NEW_CHARACTERS = 64
_MOST_OTHER_BYTES = 256  # beyond ASCII; with fewer, a text holds few new characters
_HEAD = 3  # bytes of a word that tell how long its first piece can be


class WordPieces:
    """Gives the ids of a text's known tokens.

    Thread-safe: what two threads learn at once is learned twice.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        The library's.
    vocabulary : dict of str to int
    unknown : int or None
        The id that stands for a word without pieces; left out.
    special : dict of str to int
        Tokens that the library finds anywhere in a text, before it cuts it.
    prefix : str
        What a piece inside a word begins with.
    most_chars : int
        A longer word is unknown.
    encode : callable
        The library's ids of the known tokens of a text.
    """

    __slots__ = ("_characters", "_encode", "_marks", "_parts", "_special", "_special_ids", "_words")

    def __init__(
        self,
        tokenizer: Tokenizer,
        vocabulary: dict[str, int],
        unknown: int | None,
        special: dict[str, int],
        prefix: str,
        most_chars: int,
        encode: Callable[[str], list[int]],
    ) -> None:
        self._encode = encode
        self._special_ids = _as_bytes(special, unknown)
        # Of two that begin together, the library takes the longer.
        longest_first = sorted(self._special_ids, key=len, reverse=True)
        self._special = re.compile(b"|".join(map(re.escape, longest_first)) or b"(?!)")
        self._characters = _Characters(tokenizer)
        self._parts = _Parts(vocabulary, unknown, prefix, most_chars, self._characters)
        self._words = _Words(self._parts)
        self._marks = [self._parts[chr(i)] if i in _MARKS else b"" for i in range(256)]

    @classmethod
    def of(
        cls, tokenizer: Tokenizer, unknown: int | None, encode: Callable[[str], list[int]]
    ) -> WordPieces | None:
        """Return the word pieces of a library tokenizer; None if it is not an uncased BERT one, or an odd one."""
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
            # In the rest, a lone surrogate could become part of a token, and marks of accent could change places.
            or any("?" in token["content"] for token in added)
            or any(combining(c) for token in model["vocab"] if not token.isascii() for c in token)
        ):
            return None
        return cls(
            tokenizer,
            model["vocab"],
            unknown,
            {token["content"]: token["id"] for token in added},
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
        for token in self._special_ids:  # a search for each is faster than one for all
            if token in raw:
                return self._read_around(raw)
        return self._read_words(raw)

    def _read_words(self, raw: bytes) -> bytes:
        if not raw.isascii():
            others = len(raw.translate(None, _ASCII))
            # A text mostly of other scripts: whole, for its words are new more often, and may have no spaces.
            if 2 * others > len(raw) or others > _MOST_OTHER_BYTES:
                return self._read_other(raw.decode("utf-8", "surrogatepass"))
        words = raw.translate(_FOLD, _CONTROLS).split()
        marks = raw.translate(None, _NO_MARKS)
        return b"".join(map(self._words.__getitem__, words)) + b"".join(map(self._marks.__getitem__, marks))

    def _read_around(self, raw: bytes) -> bytes:
        """Read a text that may hold special tokens: what is between them, and each of them."""
        ids, start = [], 0
        for token in self._special.finditer(raw):
            ids += [self._read_words(raw[start : token.start()]), self._special_ids[token[0]]]
            start = token.end()
        return b"".join([*ids, self._read_words(raw[start:])])

    def _read_other(self, text: str) -> bytes:
        if self._characters.learn(text):
            return self._parts.read(text)
        return np.array(self._encode(text), _ID).tobytes()


class _Words(dict[bytes, bytes]):
    """The ids, as bytes, of each word that came up; a word is lower-case ASCII, or has other characters in it as well.

    It begins empty: the words that do come up then lie together in memory, which makes a look-up a third faster than
    among the whole vocabulary.
    """

    __slots__ = ("_parts",)

    def __init__(self, parts: _Parts) -> None:
        super().__init__()
        self._parts = parts

    def __missing__(self, word: bytes) -> bytes:
        # Of bytes, isalnum is about ASCII.
        ids = (
            self._parts.cut(word, len(word))
            if word.isalnum()
            else self._parts.read(word.decode("utf-8", "surrogatepass"))
        )
        if len(word) <= _LONGEST_WORD:
            if len(self) >= _MOST_WORDS:  # begin anew: what is frequent is soon back
                self.clear()
            self[word] = ids
        return ids


class _Parts(dict[str, bytes]):
    """The ids, as bytes, of each part of a text of any script, as the library's normalizer leaves it."""

    __slots__ = ("_characters", "_inside", "_most_chars", "_reach", "_reach_inside", "_whole")

    def __init__(
        self,
        vocabulary: dict[str, int],
        unknown: int | None,
        prefix: str,
        most_chars: int,
        characters: _Characters,
    ) -> None:
        super().__init__()
        self._characters = characters
        self._most_chars = most_chars
        self._whole = _as_bytes(vocabulary, unknown)
        start = prefix.encode()
        self._inside = {token[len(start) :]: i for token, i in self._whole.items() if token.startswith(start)}
        self._reach, self._reach_inside = _reach(self._whole), _reach(self._inside)

    def read(self, text: str) -> bytes:
        """Return the ids of a text, in order."""
        return b"".join(map(self.__getitem__, text.translate(self._characters).split()))

    def __missing__(self, part: str) -> bytes:
        ids = self.cut(part.encode(), len(part))
        if len(part) <= _LONGEST_PART:
            if len(self) >= _MOST_PARTS:
                self.clear()
            self[part] = ids
        return ids

    def cut(self, word: bytes, chars: int) -> bytes:
        """Return the pieces of a word: the longest that fits, and again from there; none if one is unknown.

        In UTF-8 a piece that fits ends where a character does.
        """
        if chars > self._most_chars:
            return b""
        found, start, n = [], 0, len(word)
        known, reach = self._whole, self._reach
        while start < n:
            end = min(n, start + reach.get(word[start : start + _HEAD], _HEAD - 1))
            while (ids := known.get(word[start:end])) is None:
                end -= 1
                if end == start:
                    return b""
            found.append(ids)
            start, known, reach = end, self._inside, self._reach_inside
        return b"".join(found)


class _Characters(dict[int, str]):
    """What the library makes of each character, a space before and after it where it stands apart; for `str.translate`."""

    __slots__ = ("_normalizer", "_pre_tokenizer")

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._normalizer = tokenizer.normalizer
        self._pre_tokenizer = tokenizer.pre_tokenizer

    def learn(self, text: str) -> bool:
        """Learn what is new of a text's characters, and return whether that is all of it."""
        new = [code for code in set(map(ord, text)) if code not in self]
        for code in new[:_MOST_NEW_CHARACTERS]:
            self[code]
        return len(new) <= _MOST_NEW_CHARACTERS

    def __missing__(self, code: int) -> str:
        if (
            0xD800 <= code < 0xE000
        ):  # a lone surrogate cannot cross into the library, which is given a ? for it
            return self[ord("?")]
        within = f"a{self._normalizer.normalize_str(chr(code))}a"
        made = " ".join(word for word, _ in self._pre_tokenizer.pre_tokenize_str(within))[1:-1]
        if len(self) >= _MOST_CHARACTERS:
            self.clear()
        self[code] = made
        return made


def _as_bytes(tokens: dict[str, int], unknown: int | None) -> dict[bytes, bytes]:
    """Return tokens in UTF-8 and their ids as bytes of an array; those of the unknown token are none."""
    return {
        token.encode(): b"" if i == unknown else i.to_bytes(_ID.itemsize, sys.byteorder)
        for token, i in tokens.items()
    }


def _reach(tokens: dict[bytes, bytes]) -> dict[bytes, int]:
    """Return the length of the longest token of each beginning: no piece of a word that begins so reaches further."""
    reach: dict[bytes, int] = {}
    for token in tokens:
        head = token[:_HEAD]
        reach[head] = max(reach.get(head, 0), len(token))
    return reach


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
