"""Where an artefact comes from: files by content, libraries by version, code by commit.

Reads files and asks git; records names and digests, never a machine's paths.
"""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from router import __version__
from router.artifact import sha256_of

__all__ = ["describe_files", "git_commit", "library_versions"]

_LIBRARIES = ("lightgbm", "numpy", "onnx", "onnxruntime", "pandas", "scikit-learn", "scipy", "tokenizers")


def describe_files(paths: Sequence[Path]) -> list[dict[str, str | int]]:
    """Return name, size in bytes and sha256 of each file."""
    return [{"name": p.name, "bytes": p.stat().st_size, "sha256": sha256_of(p)} for p in paths]


def library_versions() -> dict[str, str]:
    """Return the versions that a fit depends on; a library that is not installed is left out."""
    versions = {"python": platform.python_version(), "tierwise": __version__}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def git_commit() -> str | None:
    """Return the commit of the checkout this code runs from, marked "+changes" if dirty; None outside one."""
    root = Path(__file__).resolve().parent.parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 - fixed arguments

    try:
        commit = git("rev-parse", "HEAD")
        return f"{commit}+changes" if git("status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.CalledProcessError):
        return None
