"""Opens an artefact as serving will: in a fresh process that has the base install and nothing else.

A fit has verified its artefact, but in a process full of training's packages. Here a child starts with the few
variables of the environment that it needs, refuses to import what `pip install tierwise` does not bring (training/pipeline/fresh.py), opens the
folder, and decides the golden prompts. What the child says is data; what it cannot say, because it was killed or
hangs, is said for it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath
from signal import Signals
from typing import Any

from packaging.requirements import Requirement

import router
from router.errors import ArtifactError

__all__ = ["BASE", "LIMIT_S", "base_packages", "verify"]

BASE = ("numpy", "onnxruntime", "tokenizers")
"""What the base install depends on; here as well as in pyproject.toml, because a checkout need not be installed."""

LIMIT_S = 120.0
"""Seconds after which a child is taken to hang: a load takes less than one."""

# Where programs and libraries are found, and how the names of files are written. No passwords, and nothing that changes
# how fast or how a model computes.
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "LANG", "LC_ALL", "LC_CTYPE")

_CHILD = Path(__file__).with_name("fresh.py")


def verify(artefact: Path, champion: Path | None = None, *, limit_s: float = LIMIT_S) -> dict[str, Any]:
    """Open an artefact in a fresh process with the base install only, decide by it, and time it.

    The load checks hashes and golden scores. The golden prompts are then routed one by one and as a batch, which
    must agree, and timed in turns with the champion, so that a busy machine is slow for both.

    Parameters
    ----------
    artefact : Path
        The folder of the artefact.
    champion : Path, optional
        The artefact that serves, to be timed beside.
    limit_s : float
        Seconds after which the child is killed.

    Returns
    -------
    dict
        `model_id`; `golden`, the number of prompts; `ties`, those for which rounding decides between one by one and a
        batch; `load_s`, ONNX Runtime's import included; `median_us` and `p99_us` over the golden prompts of a decision's
        time in microseconds, which is each prompt's median over rounds; `champion_median_us`, None without a champion
        or with one that cannot be opened, and then `champion_error` says why.

    Raises
    ------
    ArtifactError
        The artefact cannot be opened or decides two ways, something beyond the base install is asked for, or the
        process was killed or did not finish.
    """
    request = {
        "artefact": str(artefact.resolve()),
        "champion": None if champion is None else str(champion.resolve()),
        "packages": sorted(base_packages()),
        "path": _search_path(),
    }
    # Isolated from Python's own variables, and without site: what .pth files would load is not base either.
    command = [sys.executable, "-I", "-S", str(_CHILD), json.dumps(request)]
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        done = subprocess.run(  # noqa: S603 - our own
            command, capture_output=True, text=True, timeout=limit_s, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        raise ArtifactError(
            f"{artefact}: not opened within {limit_s:g} s in a fresh process; try `tierwise inspect {artefact}`"
        ) from None
    if done.returncode < 0:
        raise ArtifactError(
            f"{artefact}: the fresh process that opened it was ended by {_name_of(-done.returncode)}; make sure of "
            "enough memory, and run it again"
        )
    answer = _last_json(done.stdout)
    if answer is None:
        said = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise ArtifactError(
            f"{artefact}: the fresh process that opened it ended with exit code {done.returncode}: {said[0]}"
        )
    if "error" in answer:
        raise ArtifactError(
            f"{artefact}: refused in a fresh process with the base install: {answer['error']}"
        )
    return answer


def base_packages() -> set[str]:
    """Return the names under which the base install can be imported: the router, and what its dependencies bring.

    Raises
    ------
    ArtifactError
        A dependency is not installed.
    """
    names, seen, left = {"router"}, set[str](), list(BASE)
    while left:
        name = _normal(left.pop())
        if name in seen:
            continue
        seen.add(name)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            raise ArtifactError(
                f"{name} is not installed, and nothing opens without it: pip install {name}"
            ) from None
        names.update(_top_level(found))
        requirements = (Requirement(text) for text in found.requires or ())
        left += [r.name for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    return names


def _top_level(found: Distribution) -> Iterator[str]:
    """Yield what a distribution puts beside other packages, by its list of files."""
    for file in found.files or ():
        first = PurePosixPath(file).parts[0]
        if first != ".." and not first.endswith((".dist-info", ".libs", ".pth")):
            yield first.partition(".")[0]  # a module's file, too
    if found.files is None:  # some systems' own packages keep none
        yield _normal(found.metadata["Name"]).replace("-", "_")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _search_path() -> list[str]:
    """Return where this process finds modules, the router first, independent of the current folder."""
    own = Path(router.__file__).resolve().parent.parent
    return [str(own), *(str(Path(entry).resolve()) for entry in sys.path if entry)]


def _name_of(number: int) -> str:
    try:
        return Signals(number).name
    except ValueError:  # one of the real-time signals has no name
        return f"signal {number}"


def _last_json(text: str) -> dict[str, Any] | None:
    try:
        answer = json.loads(text.splitlines()[-1])
    except (IndexError, ValueError):
        return None
    return answer if isinstance(answer, dict) else None
