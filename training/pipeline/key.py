"""The key of a run: the same data, configuration and code have the same key, wherever and whenever they run.

Reads the package's own source files; records no path of the machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from router.artifact import sha256_of
from router.embedding import EMBEDDING_FILES
from training.pipeline.ledger import digest
from training.pipeline.settings import Settings
from training.provenance import library_versions

__all__ = ["data_digest", "run_key"]

_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("router", "eval", "training")


def run_key(settings: Settings, data: str, tiers: Path, embedding: Path) -> str:
    """Return the key, a sha256 in hexadecimal.

    Parameters
    ----------
    data : str
        As `data_digest` gives it.
    tiers : Path
        The ladder's file.
    embedding : Path
        The folder of the embedding that is used.
    """
    parts: dict[str, Any] = {
        "data": data,
        "tiers": sha256_of(tiers),
        "embedding": {name: sha256_of(embedding / name) for name in EMBEDDING_FILES},
        "settings": settings.deciding(),
        "code": _code_digest(),
        "libraries": library_versions(),
    }
    return digest(parts)


def data_digest(described: Sequence[Mapping[str, Any]]) -> str:
    """Return one digest of a history's files in the order that they are read in, whatever they are called. Pure."""
    return digest([str(file["sha256"]) for file in described])


def _code_digest() -> str:
    """Return one digest of all source: a commit says nothing of what was changed since."""
    files = [path for package in _PACKAGES for path in sorted((_ROOT / package).rglob("*.py"))]
    return digest({path.relative_to(_ROOT).as_posix(): sha256_of(path) for path in files})
