"""What every bench shares: the machine's name, child processes with their clocks, and how results are told."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["ROOT", "Child", "describe_machine", "render_table", "report", "run_child"]

ROOT = Path(__file__).resolve().parent.parent
"""The checkout."""

_LIBRARIES = ("numpy", "onnxruntime", "tokenizers", "lightgbm", "scikit-learn", "pandas", "pyarrow")
# ru_maxrss is in KiB on Linux and in bytes on macOS (getrusage(2)).
_MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024


class Child(NamedTuple):
    """A process that ended well: its output, and what it used.

    `peak_mb` is in 1e6 bytes. Linux starts a child's peak at its parent's at the time of the fork, so a bench
    that measures memory stays small itself: it imports nothing large and leaves the work to its children.
    """

    stdout: str
    wall_s: float
    user_s: float
    system_s: float
    peak_mb: float

    @property
    def last_json(self) -> Any:  # noqa: ANN401 - a document of any shape
        """The last line of the output, parsed."""
        return json.loads(self.stdout.strip().splitlines()[-1])


def run_child(*command: str | Path, cwd: Path = ROOT, environment: Mapping[str, str] | None = None) -> Child:
    """Run a command to its end; its stderr passes through.

    Raises
    ------
    SystemExit
        It failed: a bench has nothing to say then.
    """
    start = time.monotonic()
    process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, text=True)  # noqa: S603 - commands of our own
    assert process.stdout is not None
    with process.stdout:
        stdout = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)  # the usage of this child alone, not of all so far
    wall_s = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"bench: exit code {process.returncode} of {' '.join(map(str, command))}")
    peak_mb = used.ru_maxrss * _MAXRSS_BYTES / 1e6
    return Child(stdout, wall_s, used.ru_utime, used.ru_stime, peak_mb)


def describe_machine() -> dict[str, Any]:
    """Return CPU, cores, load before the bench, Python and library versions."""
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load_1_min": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def render_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows of cells under their header, the first column left-aligned. Pure."""
    cells = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in cells
    )


def report(document: Mapping[str, Any], *tables: str) -> None:
    """Print tables and the machine to stderr, and the document as the last line to stdout."""
    machine = document["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    about = f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_1_min']}; Python {machine['python']}; {versions}"
    print("", *tables, about, sep="\n", file=sys.stderr)
    print(json.dumps(document), flush=True)
