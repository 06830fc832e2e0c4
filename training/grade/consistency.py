"""The grader without a reference: does the response say the same as the top tier's.

The rule: the top tier is taken at its word and scores 1, so that its own mistakes become everyone's: what is learned is
agreement with it. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from training.grade.choices import Choice, find_choice
from training.grade.grades import PASSED, Grade, Grader, Row, Why
from training.grade.matching import Normalised
from training.grade.numeric import Number
from training.grade.similarity import Measure, Similarity

__all__ = ["SameAsTop"]

_COLUMN = "top"


@dataclass(frozen=True)
class SameAsTop:
    """The response says the same as that of the top tier.

    Attributes
    ----------
    by : {"normalised", "choice", "number", "similarity"}
        How the two are compared, as the graders of these kinds do.
    measure, threshold
        Of `Similarity`.
    relative, absolute
        Of `Number`.
    """

    name: str
    by: Literal["normalised", "choice", "number", "similarity"]
    measure: Measure = "token_f1"
    threshold: float | None = None
    relative: float = 1e-6
    absolute: float = 1e-9
    compare: Grader = field(init=False, repr=False, compare=False)
    needs_top: ClassVar[bool] = True

    def __post_init__(self) -> None:
        graders: dict[str, Grader] = {
            "normalised": Normalised(self.name, _COLUMN),
            "choice": Choice(self.name, _COLUMN),
            "number": Number(self.name, _COLUMN, self.relative, self.absolute),
            "similarity": Similarity(self.name, _COLUMN, self.measure, self.threshold),
        }
        object.__setattr__(self, "compare", graders[self.by])

    def columns(self) -> tuple[str, ...]:
        """Return the columns that it reads."""
        return ()

    def grade(self, row: Row) -> Grade:
        """Return the grade of a row."""
        if row.is_top:
            return PASSED
        if row.top is None:
            return Grade(None, Why.NO_TOP_ANSWER)
        top = find_choice(row.top) if self.by == "choice" else row.top
        if top is None:
            return Grade(None, Why.BAD_REFERENCE)
        # In a list: the top's answer is one answer, also where it looks like a list of them.
        return self.compare.grade(Row(row.number, row.place, {_COLUMN: [top]}, row.response))
