"""Graders that compare text: exact, normalised and contains.

Pure.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from training.grade.answer_text import after_marker
from training.grade.grades import FAILED, PASSED, Grade, Row, Why
from training.grade.references import references

__all__ = ["Contains", "Exact", "Normalised", "normalise"]


class _Folding(dict[int, str]):
    """What each character becomes, filled in as characters are met: `str.translate` then costs a look-up."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        kind = unicodedata.category(character)
        if character in "#%&@+":
            folded = character  # "C" is not "C#", and 50 is not 50 %
        elif kind in ("Pd", "Pc", "Cc") or kind[0] == "Z":
            folded = " "
        elif kind[0] == "P" or kind == "Cf" or character in "`^~":
            folded = ""
        else:
            folded = character
        self[code] = folded
        return folded


_FOLDED = _Folding()
# Marks that carry value, put by where no punctuation can be: a sign before a number, a point or comma within one.
_MINUS, _POINT, _COMMA = "\ue000", "\ue001", "\ue002"
_SIGN = re.compile(r"(?<!\w)[-\u2212](?=[.,]?\d)")
_WITHIN = re.compile(r"(?<=\d)[.,](?=\d)|(?<![\w.,])\.(?=\d)")
_PARTING = re.compile(r"(?<=\d)[:/](?=\d)")  # half past ten is not 1030
_ARTICLES = re.compile(r"\b(?:an?|the)\b")


def normalise(text: str, *, articles: bool = True) -> str:
    """Return a text without what does not change an answer: case, width, punctuation, spacing, English articles.

    Kept are the marks that do change one: the sign of a number, the point and comma within it, and # % & @ +.
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    text = _WITHIN.sub(
        lambda mark: _POINT if mark[0] == "." else _COMMA, _SIGN.sub(_MINUS, _PARTING.sub(" ", text))
    )
    text = text.translate(_FOLDED)
    if articles:
        text = _ARTICLES.sub(" ", text)
    text = text.replace(_MINUS, "-").replace(_POINT, ".").replace(_COMMA, ",")
    return " ".join(text.split())


@dataclass(frozen=True)
class Exact:
    """The response is one of the references, but for space around it.

    Attributes
    ----------
    reference : str
        The column of the reference.
    after : str or None
        Compare only what follows the last of this marker, up to the end of its line.
    strip : bool
        Ignore space around both.
    """

    name: str
    reference: str = "reference"
    after: str | None = None
    strip: bool = True

    def columns(self) -> tuple[str, ...]:
        """Return the columns that it reads."""
        return (self.reference,)

    def grade(self, row: Row) -> Grade:
        """Return the grade of a row."""
        wanted = references(row, self.reference)
        if not wanted:
            return Grade(None, Why.NO_REFERENCE)
        found = after_marker(row.response, self.after)
        if found is None:
            return FAILED
        if self.strip:
            return PASSED if found.strip() in {each.strip() for each in wanted} else FAILED
        return PASSED if found in wanted else FAILED


@dataclass(frozen=True)
class Normalised:
    """The response is one of the references once case, spaces, punctuation and articles are ignored.

    Attributes
    ----------
    reference, after : str
        As `Exact`.
    articles : bool
        Ignore a, an and the.
    """

    name: str
    reference: str = "reference"
    after: str | None = None
    articles: bool = True

    def columns(self) -> tuple[str, ...]:
        """Return the columns that it reads."""
        return (self.reference,)

    def grade(self, row: Row) -> Grade:
        """Return the grade of a row."""
        wanted = references(row, self.reference)
        if not wanted:
            return Grade(None, Why.NO_REFERENCE)
        found = after_marker(row.response, self.after)
        if found is None:
            return FAILED
        return PASSED if any(self._same(found, each) for each in wanted) else FAILED

    def _same(self, found: str, wanted: str) -> bool:
        normal = normalise(wanted, articles=self.articles)
        # Of "The" or "?" nothing is left, and nothing would be the same as any other nothing.
        if not normal:
            return found.strip().casefold() == wanted.strip().casefold()
        return normalise(found, articles=self.articles) == normal


@dataclass(frozen=True)
class Contains:
    """The response contains all, any or none of some texts; without these, any of the references.

    Attributes
    ----------
    all_of, any_of, none_of : tuple of str
        Texts to look for, as they are.
    reference : str
        The column to look into where none of the three is given.
    ignore_case, whole_words : bool
        How to look.
    """

    name: str
    all_of: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()
    none_of: tuple[str, ...] = ()
    reference: str = "reference"
    ignore_case: bool = True
    whole_words: bool = False

    def columns(self) -> tuple[str, ...]:
        """Return the columns that it reads."""
        return () if self.all_of or self.any_of or self.none_of else (self.reference,)

    def grade(self, row: Row) -> Grade:
        """Return the grade of a row."""
        any_of = self.any_of
        if self.columns() and not (any_of := tuple(references(row, self.reference))):
            return Grade(None, Why.NO_REFERENCE)
        text = self._folded(row.response)
        passes = (
            all(self._is_in(each, text) for each in self.all_of)
            and (not any_of or any(self._is_in(each, text) for each in any_of))
            and not any(self._is_in(each, text) for each in self.none_of)
        )
        return PASSED if passes else FAILED

    def _folded(self, text: str) -> str:
        text = unicodedata.normalize("NFKC", text)
        return text.casefold() if self.ignore_case else text

    def _is_in(self, needle: str, text: str) -> bool:
        needle = self._folded(needle)
        if not self.whole_words:
            return needle in text
        return re.search(rf"(?<!\w){re.escape(needle)}(?!\w)", text) is not None
