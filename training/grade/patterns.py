"""The grader by regular expression, with a limit of time.

The rule: a pattern that runs out of time is the operator's fault and never the response's, so there is no score then.
Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import regex

from training.grade.grades import FAILED, PASSED, Grade, Row, Why

__all__ = ["Regex"]


@dataclass(frozen=True)
class Regex:
    """The response matches a pattern, as the package `regex` reads it.

    Attributes
    ----------
    pattern : str
        Flags stand in it, as (?i), (?s), (?m).
    fullmatch : bool
        Match the whole response, space around it left out, and not only a part.
    timeout_s : float
        The most that one match may take.
    """

    name: str
    pattern: str
    fullmatch: bool = False
    timeout_s: float = 1.0
    compiled: regex.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 < self.timeout_s <= 60:
            raise ValueError(f"timeout_s is above 0 and at most 60; found {self.timeout_s}")
        try:
            object.__setattr__(self, "compiled", regex.compile(self.pattern))
        except (regex.error, ValueError, RecursionError, OverflowError) as error:
            raise ValueError(f"pattern is no regular expression ({error})") from None

    def columns(self) -> tuple[str, ...]:
        """Return the columns that it reads."""
        return ()

    def grade(self, row: Row) -> Grade:
        """Return the grade of a row."""
        try:
            if self.fullmatch:
                found = self.compiled.fullmatch(row.response.strip(), timeout=self.timeout_s)
            else:
                found = self.compiled.search(row.response, timeout=self.timeout_s)
        except TimeoutError:
            return Grade(None, Why.TIME_LIMIT)
        return PASSED if found else FAILED
