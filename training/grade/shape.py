"""Graders of shape: length and language.

Pure, but that the language model is read at first use.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, fields
from functools import cache
from importlib import import_module
from typing import Any

from training.grade.answer_text import fences
from training.grade.grades import FAILED, PASSED, Grade, Row, Why
from training.grade.references import references

__all__ = ["Language", "Length"]

_WORD = re.compile(r"\w+(?:['’-]\w+)*")
# A mark within a number or a name, such as 3.14 or e.g., has no space behind it, or a small letter after that.
_SENTENCE_END = re.compile(
    r"(?:\.(?<!\bDr\.)(?<!\bMr\.)(?<!\bMs\.)(?<!\bSt\.)(?<!\bMrs\.)(?<!\bProf\.)(?!\s+[a-z])|[!?…]|\.\.+)+[\"'”’)\]]*(?=\s|$)|[。！？]+"
)
_NO_LANGUAGE = re.compile(r"https?://\S+|`[^`\n]*`|[\w.+-]+@[\w-]+\.\w+")


@dataclass(frozen=True)
class Length:
    """The response is no shorter and no longer than asked.

    Attributes
    ----------
    min_characters, max_characters, min_words, max_words, min_sentences, max_sentences : int or None
        At least one is given. A word is a run of letters and digits, so that scripts without spaces are better
        measured in characters; a sentence ends with its mark, and what is left without one is a sentence too.
    """

    name: str
    min_characters: int | None = None
    max_characters: int | None = None
    min_words: int | None = None
    max_words: int | None = None
    min_sentences: int | None = None
    max_sentences: int | None = None

    def __post_init__(self) -> None:
        limits = {item.name: getattr(self, item.name) for item in fields(self)[1:]}
        if all(limit is None for limit in limits.values()):
            raise ValueError(f"expected at least one of {', '.join(limits)}")
        for key, limit in limits.items():
            least = self._bound(f"min_{key[4:]}") or 0
            if limit is not None and (limit < 0 or (key.startswith("max_") and limit < least)):
                raise ValueError(f"{key} is {least} or more; found {limit}")

    def _bound(self, key: str) -> int | None:
        bound: int | None = getattr(self, key)
        return bound

    def columns(self) -> tuple[str, ...]:
        """Return the columns that it reads."""
        return ()

    def grade(self, row: Row) -> Grade:
        """Return the grade of a row."""
        text = row.response.strip()
        for unit, count in _COUNTS.items():
            least, most = self._bound(f"min_{unit}"), self._bound(f"max_{unit}")
            if least is None and most is None:
                continue
            n = count(text)
            if (least is not None and n < least) or (most is not None and n > most):
                return FAILED
        return PASSED


def _words(text: str) -> int:
    return sum(1 for _ in _WORD.finditer(text))


def _sentences(text: str) -> int:
    parts = _SENTENCE_END.split(text)
    return sum(1 for part in parts if _WORD.search(part))


_COUNTS = {"characters": len, "words": _words, "sentences": _sentences}


@dataclass(frozen=True)
class Language:
    """The response is in a language.

    Code, addresses and what has too few letters are in none: such a row is not this grader's business.

    Attributes
    ----------
    language : str or None
        ISO 639-1, such as "de".
    column : str or None
        The column that holds it, or a list of languages; one of the two is given.
    min_letters : int
        Fewer letters than this are not judged: py3langid names the language of 38 of 49 texts of at most 24 characters
        and of 26 of 27 longer ones (docs/LOG.md).
    """

    name: str
    language: str | None = None
    column: str | None = None
    min_letters: int = 20

    def __post_init__(self) -> None:
        if (self.language is None) == (self.column is None):
            raise ValueError(
                f"expected one of language and column; found {'none' if self.language is None else 'both'}"
            )
        if self.language is not None and self.language not in _known():
            raise ValueError(
                f"language is one of {', '.join(sorted(_known()))}; found {self.language[:20]!r}"
            )

    def columns(self) -> tuple[str, ...]:
        """Return the columns that it reads."""
        return () if self.column is None else (self.column,)

    def grade(self, row: Row) -> Grade:
        """Return the grade of a row."""
        wanted = (
            [self.language] if self.language else [_code(each) for each in references(row, self.column or "")]
        )
        if not wanted:
            return Grade(None, Why.NO_REFERENCE)
        if not _known().issuperset(wanted):
            return Grade(None, Why.BAD_REFERENCE)
        text = row.response
        for fence in fences(text):
            text = text.replace(fence.text, "")
        text = _NO_LANGUAGE.sub(" ", text)
        if sum(unicodedata.category(character)[0] == "L" for character in text[:2000]) < self.min_letters:
            return Grade(None, Why.NOT_APPLICABLE)
        return PASSED if _model().classify(text)[0] in wanted else FAILED


def _code(text: str) -> str:
    return re.split("[-_]", text.strip().lower())[0]  # de-CH is de


@cache
def _model() -> Any:  # noqa: ANN401 - a module without types
    return import_module("py3langid")


@cache
def _known() -> frozenset[str]:
    return frozenset(code for code, _ in _model().rank("known"))
