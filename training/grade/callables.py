"""The grader that calls a function of the operator's own.

The rule: what the function raises or returns amiss is the grader's failure, never the response's. Runs code that the
operator wrote and named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from training.grade.grades import Grade, Row, Why

__all__ = ["Python"]


@dataclass(frozen=True)
class Python:
    """What a function says of the row.

    Attributes
    ----------
    function : str
        "module:function", found as Python finds modules from the working directory. It is called with a dict of the
        row, `response` among its keys, and returns a number from 0 to 1, a bool, or None where it does not apply.
    """

    name: str
    function: str
    called: Callable[[dict[str, Any]], Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        module, _, name = self.function.partition(":")
        try:
            called = getattr(import_module(module), name)
        except Exception as error:
            raise ValueError(
                f'function is "module:function" that can be imported; found {self.function!r} ({type(error).__name__})'
            ) from None
        if not callable(called):
            raise ValueError(f"function is a function; found a {type(called).__name__} at {self.function!r}")
        object.__setattr__(self, "called", called)

    def columns(self) -> tuple[str, ...]:
        """Return the columns that it reads; which those are is known to the function alone."""
        return ()

    def grade(self, row: Row) -> Grade:
        """Return the grade of a row."""
        try:
            said = self.called({**row.cells, "response": row.response})
            if said is None:
                return Grade(None, Why.NOT_APPLICABLE)
            score = float(said)
        except Exception:  # whatever a stranger's function raises; the summary counts it
            return Grade(None, Why.ERROR)
        return Grade(score) if 0 <= score <= 1 else Grade(None, Why.ERROR)
