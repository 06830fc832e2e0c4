r"""The grader of multiple choice: which letter a response settles on.

The rule, first that speaks: a lone letter; the last \boxed{}; the last statement such as "the answer is (B)"; the one
letter that is a paragraph of its own; a line that leads with a letter as the options do; the last verdict such as "so B"
or "B is correct"; the one letter that is named and not ruled out; the one option whose text is given. Where two letters
are left, there is no answer. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

from training.grade.answer_text import after_marker, last_boxed, plain, stated
from training.grade.grades import FAILED, PASSED, Grade, Row, Why
from training.grade.matching import normalise
from training.grade.references import references

__all__ = ["Choice", "find_choice"]

_LETTERS = "ABCDEFGHIJ"
_WORD_GOES_ON = re.compile(
    r"\s+(?!(?:and|as|because|but|due|for|given|is|not|or|since|which|while|with)\b)[a-z]"
)


class _Patterns(NamedTuple):
    capital: re.Pattern[str]
    lone: re.Pattern[str]
    leading: re.Pattern[str]
    opening: re.Pattern[str]
    another: re.Pattern[str]
    verdict: re.Pattern[str]
    ruled_out: re.Pattern[str]
    named: re.Pattern[str]


@cache
def _patterns(n: int) -> _Patterns:
    capital = f"[{_LETTERS[:n]}]"
    either = f"[{_LETTERS[:n]}{_LETTERS[:n].lower()}]"
    # Latin letters only: in "答案是B" nothing parts the letter from the words.
    start, end = r"(?<![A-Za-zÀ-ÿ0-9_'’.-])", r"(?![A-Za-zÀ-ÿ0-9_'’])(?!-\w)"
    letter = rf"[(\[{{]?\s?({capital})\s?[)\]}}]?{end}"
    # A bare A or I is an article or a pronoun, unless a mark, an end or a verb follows.
    apart = r"(?=\s*(?:[.,;:!?/)\]}\n]|$|\b(?:is|was|because|since|as|seems|looks|and|or)\b))"
    bare = rf"{start}(?:[AI]{apart}|(?![AI]){capital}){end}"
    bracketed = rf"[(\[]?(?-i:({capital}))[)\]]?"
    one = rf"[(\[]?(?-i:{capital})[)\]]?{end}"
    several = rf"({one}(?:\s*(?:,|/|&|\band\b|\bor\b|\bnor\b)+\s*(?:(?:and|or|nor)\s+)?(?:option\s+|choice\s+)?{one})*)"
    described = r"(?:the\s+)?(?:correct\s+|right\s+|best\s+)?(?:answer|option|choice|letter)\s+(?:is\s+)?(?:option\s+|choice\s+)?"
    concluding = (
        r"\b(?:so|thus|therefore|hence|say|choose|chose|choosing|pick|picking|select|selecting|go\s+with|going\s+with|settle\s+on|leaves|leaving)\b"
        r"[\s,:]*(?:i\s+(?:choose|pick|select)\s+|with\s+|us\s+with\s+|it\s+is\s+|it's\s+|it\s+must\s+be\s+|only\s+)?"
    )
    right = r"(?:the\b|my\b|correct|right|best|true)"
    # "so B is out" concludes nothing, "so B is right" does.
    no_subject = rf"(?!\s+(?:is|was|are|can|cannot|seems|looks)\b(?!\s+{right}))"
    wrong = rf"(?:wrong|incorrect|false|not(?!\s+{one})|n't|cannot|can't|isn't|ruled|eliminated|excluded|out|too|impossible|invalid)"
    return _Patterns(
        capital=re.compile(rf"\b{capital}\b"),
        lone=re.compile(rf"\W*(?:option|choice|answer)?\W*({either})\W*", re.IGNORECASE),
        leading=re.compile(
            rf"^[ \t>#]*(?:[-+][ \t]+)?(?:[(\[]\s?({capital})\s?[)\]]|({capital})\s?[).:\]])(?=\s|$)",
            re.MULTILINE,
        ),
        opening=re.compile(
            rf"[\W_]*(?:(?:clearly|definitely|probably|likely|therefore|simply|option|choice|letter|answer)\W+)*{letter}",
            re.IGNORECASE,
        ),
        another=re.compile(
            rf"\s*\(?(?:,|/|&|\bor\b|\band\b|\bas well as\b)\s*(?:also\s+|option\s+|maybe\s+|perhaps\s+|possibly\s+)?[(\[]?({capital})[)\]]?{end}(?!\s+(?:is|are|was)\b)"
        ),
        verdict=re.compile(
            rf"{concluding}(?:{described})?[(\[]?(?-i:({bare}))[)\]]?{no_subject}"
            rf"|{start}{bracketed}\s+(?:is|must\s+be|would\s+be|has\s+to\s+be)\s+(?:therefore\s+|clearly\s+|thus\s+|then\s+)?(?:the\s+|my\s+)?(?:only\s+)?(?:correct|right|better|best|true|answer|final\s+answer)\b",
            re.IGNORECASE,
        ),
        ruled_out=re.compile(
            rf"{start}{several}\s*(?:,\s*|\s)(?:is|was|are|does|do|can|cannot|looks|seems|both|all|\s)*\s*{wrong}"
            rf"|\b(?:not|neither|nor|eliminat(?:es?|ing)|exclud(?:e|ing)|rul(?:es?|ing)\s+out|ruled\s+out|reject|discard|except|isn't|can't\s+be|cannot\s+be)\s+(?:option\s+|choice\s+|out\s+|among\s+|one\s+of\s+)?{several}",
            re.IGNORECASE,
        ),
        named=re.compile(rf"[(\[]({capital})[)\]]|({bare})"),
    )


def find_choice(response: str, n: int = len(_LETTERS), options: Sequence[str] = ()) -> str | None:
    """Return the letter that a response settles on, or None. Pure.

    Parameters
    ----------
    n : int
        How many letters there are to choose from, from A on.
    options : sequence of str
        The texts of the options, for a response that gives one in place of its letter.
    """
    patterns = _patterns(n)
    boxed = last_boxed(response)
    text = plain(response).strip()
    if lone := patterns.lone.fullmatch(text):
        return lone[1].upper()
    if boxed is not None and (lone := patterns.opening.match(plain(boxed).strip().upper())):
        return None if patterns.another.match(plain(boxed).strip().upper(), lone.end()) else lone[1]
    for statement in reversed(stated(text)):
        if found := patterns.opening.match(statement):
            letter = found[1]
            if not letter.isupper():  # "the answer is a bit long": in prose only a capital is a letter
                if len(statement.strip(" .)(*\n")) > 1:
                    continue
                return letter.upper()
            if letter in "AI" and not _closed(found[0]) and _WORD_GOES_ON.match(statement, found.end()):
                continue  # "the answer is A large city"
            return None if patterns.another.match(statement, found.end()) else letter
    alone = {each[1].upper() for part in text.split("\n\n") if (each := patterns.lone.fullmatch(part))}
    if len(alone) == 1:
        return alone.pop()
    ruled_out = {
        letter for a, b in patterns.ruled_out.findall(text) for letter in patterns.capital.findall(a or b)
    }
    if any(patterns.another.match(text, found.end()) for found in patterns.leading.finditer(text)):
        return None
    leading = _letters(patterns.leading, text) - ruled_out
    if len(leading) == 1:
        return leading.pop()
    if verdicts := list(patterns.verdict.finditer(text)):
        last = verdicts[-1]
        either = patterns.another.match(text, last.end()) and not text.startswith(",", last.end())
        return None if either else last[1] or last[2]
    left = _letters(patterns.named, text) - ruled_out
    return left.pop() if len(left) == 1 else _by_text(text, options)


def _closed(found: str) -> bool:
    return found.rstrip()[-1:] in ")]}"


def _letters(pattern: re.Pattern[str], text: str) -> set[str]:
    """Return the letters that a pattern of two groups finds."""
    return {a or b for a, b in pattern.findall(text)}


def _by_text(text: str, options: Sequence[str]) -> str | None:
    said = f" {normalise(text)} "
    given = [i for i, option in enumerate(options) if (normal := normalise(option)) and f" {normal} " in said]
    return _LETTERS[given[0]] if len(given) == 1 and given[0] < len(_LETTERS) else None


@dataclass(frozen=True)
class Choice:
    """The response settles on the letter of the reference.

    Attributes
    ----------
    reference : str
        The column of the reference: a letter, or the text of an option.
    options : str or None
        The column of the options' texts, a JSON list; it also says how many letters there are.
    after : str or None
        Read only what follows the last of this marker.
    letters : int
        How many letters there are to choose from, where no column says it.
    off_format : {"fail", "null"}
        What a response without a letter is.
    """

    name: str
    reference: str = "reference"
    options: str | None = None
    after: str | None = None
    letters: int = len(_LETTERS)
    off_format: Literal["fail", "null"] = "fail"

    def __post_init__(self) -> None:
        if not 2 <= self.letters <= len(_LETTERS):
            raise ValueError(f"letters is from 2 to {len(_LETTERS)}; found {self.letters}")

    def columns(self) -> tuple[str, ...]:
        """Return the columns that it reads."""
        return (self.reference, *(() if self.options is None else (self.options,)))

    def grade(self, row: Row) -> Grade:
        """Return the grade of a row."""
        wanted = references(row, self.reference)
        if not wanted:
            return Grade(None, Why.NO_REFERENCE)
        options = references(row, self.options) if self.options else []
        n = min(len(options), len(_LETTERS)) if len(options) > 1 else self.letters
        letters = {letter for each in wanted if (letter := _letter_of(each, n, options))}
        if not letters:
            return Grade(None, Why.BAD_REFERENCE)
        response = after_marker(row.response, self.after)
        found = None if response is None else find_choice(response, n, options)
        if found is None:
            return FAILED if self.off_format == "fail" else Grade(None, Why.OFF_FORMAT)
        return PASSED if found in letters else FAILED


def _letter_of(reference: str, n: int, options: Sequence[str]) -> str | None:
    if lone := _patterns(n).lone.fullmatch(plain(reference).strip()):
        return lone[1].upper()
    normal = normalise(reference)
    same = [i for i, option in enumerate(options[:n]) if normalise(option) == normal]
    if len(same) == 1:
        return _LETTERS[same[0]]
    return find_choice(reference, n)
