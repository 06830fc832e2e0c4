"""Code of a model, run against tests in a process of its own, with limits.

The rule: nothing of this process is at hand there: an empty environment, an empty folder, no network, no file that
could be written but in a /tmp in memory, no other process; limits of processor time, memory, files and processes; and
what is left behind is killed. Where the system permits no namespaces, the code does not run, unless the operator says
that it may reach the network. What is printed is thrown away.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path

from router.errors import ConfigError

__all__ = ["Limits", "Outcome", "Sandbox"]

_CHILD = Path(__file__).with_name("sandbox_child.py")
# As -I does, but for the seed of hashes: the same code has to come to the same end twice.
_PYTHON = (sys.executable, "-s", "-P", "-S", "-B", "-X", "utf8")
_ENVIRONMENT = {"PYTHONHASHSEED": "0"}
_GRACE_S = 10.0  # what starting, isolating and ending may take where the machine is busy


class Outcome(Enum):
    """What became of a run."""

    PASSED = "p"
    FAILED = "f"
    OUT_OF_TIME = "t"
    BAD_TESTS = "b"
    BROKEN = ""  # the sandbox, not the code


@dataclass(frozen=True)
class Limits:
    """What one run may use: whole seconds of processor time, MiB per process, MiB of files, processes and threads."""

    cpu_s: int
    memory_mb: int
    files_mb: int
    processes: int


@dataclass(frozen=True)
class Sandbox:
    """A way to run code.

    Attributes
    ----------
    limits : Limits
        What a run may use.
    wall_s : float
        How long it may take.
    network : bool
        It may reach the network, and runs without isolation where the system permits none.
    isolate : bool
        It gets namespaces of its own.
    """

    limits: Limits
    wall_s: float
    network: bool = False
    isolate: bool = True

    def run(self, blocks: Sequence[str], tests: str) -> Outcome:
        """Run a solution against tests."""
        said = self._ask(blocks, tests)[:1]
        return next((outcome for outcome in Outcome if outcome.value == said), Outcome.BROKEN)

    def checked(self, where: str) -> Sandbox:
        """Return this sandbox, or the one without isolation, once it has run something.

        Raises
        ------
        ConfigError
            The system permits no isolation, and the operator has not said that it can go without.
        """
        said = self._ask(["x = 1"], "assert x == 1")
        if said == Outcome.PASSED.value:
            return self
        reason = said[1:] if said.startswith("i") else "the trial run came to nothing"
        if self.isolate and self.network and said.startswith("i"):
            return Sandbox(self.limits, self.wall_s, self.network, isolate=False).checked(where)
        raise ConfigError(
            f"{where}: expected a system that gives a process namespaces of its own, found {reason}; allow user namespaces "
            'here, or set network = "allowed" to run the code with limits of time and memory alone'
        )

    def _ask(self, blocks: Sequence[str], tests: str) -> str:
        order = {
            "blocks": list(blocks),
            "tests": tests,
            "limits": asdict(self.limits),
            "wall_s": self.wall_s,
            "network": self.network,
            "isolate": self.isolate,
        }
        with tempfile.TemporaryDirectory(prefix="tierwise-", ignore_cleanup_errors=True) as folder:
            process = subprocess.Popen(  # noqa: S603 - a command of our own
                [*_PYTHON, str(_CHILD)],
                cwd=folder,
                env=_ENVIRONMENT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                said, _ = process.communicate(json.dumps(order).encode(), self.wall_s + _GRACE_S)
            except subprocess.TimeoutExpired:
                said = b""
            finally:
                _end(process)
        return said.decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
