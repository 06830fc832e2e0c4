"""The grader that runs code: the code of a response against the tests of its prompt, in a sandbox.

The rule: code that fails, ends early or takes too long has failed; where the sandbox fails, there is no score. Starts
processes. The command runs it only with --allow-code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from textwrap import dedent
from typing import ClassVar, Literal

from training.grade.answer_text import fences
from training.grade.grades import FAILED, PASSED, Grade, Row, Why
from training.grade.references import references
from training.grade.sandbox import Limits, Outcome, Sandbox

__all__ = ["Code", "code_blocks"]

_TAGS = frozenset({"python", "python3", "py", "py3", "pycon"})
_GRADES = {
    Outcome.PASSED: PASSED,
    Outcome.FAILED: FAILED,
    Outcome.OUT_OF_TIME: FAILED,
    Outcome.BAD_TESTS: Grade(None, Why.BAD_REFERENCE),
    Outcome.BROKEN: Grade(None, Why.ERROR),
}


def code_blocks(response: str) -> list[str]:
    """Return the code of a response: blocks tagged as Python, else those without a tag, else all of it. Pure."""
    blocks = fences(response)
    found = [block for block in blocks if block.language in _TAGS] or [
        block for block in blocks if not block.language
    ]
    return [dedent(block.text) for block in found] or [response]


@dataclass(frozen=True)
class Code:
    """The code of the response passes its tests. Python, of which the standard library is there.

    Attributes
    ----------
    tests : str
        The column of the tests: Python that raises where the code is wrong, or a JSON list of such statements.
    cpu_s, wall_s : int, float
        Seconds of processor time, and of time, that one run may take.
    memory_mb, files_mb, processes : int
        What it may use: MiB per process, MiB written, processes and threads.
    network : {"none", "allowed"}
        With "allowed", code also runs where the system permits no isolation.
    """

    name: str
    tests: str = "tests"
    cpu_s: int = 5
    wall_s: float = 15.0
    memory_mb: int = 512
    files_mb: int = 64
    processes: int = 8
    network: Literal["none", "allowed"] = "none"
    sandbox: Sandbox = field(init=False, repr=False, compare=False)
    runs_code: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for key in ("cpu_s", "wall_s", "memory_mb", "files_mb", "processes"):
            if getattr(self, key) <= 0:
                raise ValueError(f"{key} is above 0; found {getattr(self, key)}")
        limits = Limits(self.cpu_s, self.memory_mb, self.files_mb, self.processes)
        object.__setattr__(self, "sandbox", Sandbox(limits, self.wall_s, self.network == "allowed"))

    def columns(self) -> tuple[str, ...]:
        """Return the columns that it reads."""
        return (self.tests,)

    def prepare(self, where: str) -> None:
        """Try the sandbox once, before anything is graded.

        Raises
        ------
        ConfigError
            The system permits no isolation, and `network` is "none".
        """
        object.__setattr__(self, "sandbox", self.sandbox.checked(where))

    def grade(self, row: Row) -> Grade:
        """Return the grade of a row."""
        tests = references(row, self.tests)
        if not tests:
            return Grade(None, Why.NO_REFERENCE)
        return _GRADES[self.sandbox.run(code_blocks(row.response), "\n".join(tests))]
