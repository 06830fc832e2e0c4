"""Writes an artefact: a folder that appears whole or not at all.

Everything is written to a temporary folder beside the target, the manifest last, verified there by the
loader that serving uses, and then renamed into place. A crash at any point leaves the last good artefact, if the file
system can swap two folders; `publish` says what it leaves elsewhere.
"""

from __future__ import annotations

import ctypes
import errno
import gzip
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router import ConfigError
from router.artifact import GOLDEN_FILE, MANIFEST_FILE, MODEL_FILE, open_artifact, sha256_of
from router.embedding import EMBEDDING_FILES
from router.lexicon import LEXICON_FILE
from router.prompt import Prompt

__all__ = [
    "CARD_FILE",
    "check_target",
    "folder_itself",
    "model_id_of",
    "publish",
    "seal",
    "write_artifact",
    "write_aside",
]

CARD_FILE = "MODEL_CARD.md"


def check_target(out: Path) -> None:
    """Refuse a target that a finished fit could not replace, before any work is done.

    Raises
    ------
    ConfigError
        It exists and is neither an empty folder nor an artefact, or its parent cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out}: is a file; name a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST_FILE).is_file():
        raise ConfigError(f"--out {out}: holds files that are not an artefact; name an empty or new folder")
    parent = folder_itself(out).parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"--out {out}: its parent cannot be made ({error.strerror}); name another folder"
        ) from error
    if not os.access(parent, os.W_OK):
        raise ConfigError(f"--out {out}: {parent} is not writable; name another folder")


def folder_itself(out: Path) -> Path:
    """Return what a rename replaces: "." has no name, and a link stays a link."""
    return out.resolve() if out.is_symlink() or out.name in ("", "..") else out


def model_id_of(model: bytes, lexicon: NDArray[np.float32] | None, *parts: dict[str, Any]) -> str:
    """Return a name for the graph, the lexicon and the parts of the manifest that decide. Pure.

    The same content has the same name.
    """
    digest = hashlib.sha256(model)
    if lexicon is not None:
        digest.update(lexicon.tobytes())
    digest.update(json.dumps(parts, sort_keys=True).encode())
    return f"tw-{digest.hexdigest()[:12]}"


def write_artifact(
    out: Path,
    *,
    model: bytes,
    embedding: Path,
    lexicon: NDArray[np.float32] | None,
    golden: list[tuple[Prompt, NDArray[np.float32]]],
    manifest: dict[str, Any],
    card: Callable[[dict[str, Any]], str],
) -> dict[str, Any]:
    """Write, verify and publish an artefact; an older one at the same place is replaced.

    Parameters
    ----------
    out : Path
        Its folder; `check_target` said that it may be written.
    embedding : Path
        A folder whose embedding files are copied.
    lexicon : float32 (V, 1 + k) or None
        Token weights, where the model has any.
    golden : list of (prompt, float32 (k,))
        Inputs and what the graph gives for them.
    manifest : dict
        Everything but `files`, which is filled in here.
    card : callable
        From the manifest to the text of the model card.

    Returns
    -------
    dict
        The manifest as written.

    Raises
    ------
    ConfigError
        The folder cannot be written, for want of room or of rights; what was there stays.
    """

    def fill(work: Path) -> dict[str, Any]:
        deciding = [MODEL_FILE, *EMBEDDING_FILES, GOLDEN_FILE]
        if lexicon is not None:
            np.save(work / LEXICON_FILE, lexicon, allow_pickle=False)
            deciding.append(LEXICON_FILE)
        (work / MODEL_FILE).write_bytes(model)
        for name in EMBEDDING_FILES:
            shutil.copyfile(embedding / name, work / name)
        lines = [
            json.dumps({"prompt": prompt, "p_pass": [round(float(p), 7) for p in row]}, ensure_ascii=True)
            for prompt, row in golden
        ]
        # Without a time in its header, the same lines are the same bytes.
        (work / GOLDEN_FILE).write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))
        return seal(work, manifest, deciding, card)

    return write_aside(out, fill)


def write_aside(out: Path, fill: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Have an artefact written to a folder beside its place, verify it there, and publish it.

    Parameters
    ----------
    fill : callable
        Writes the artefact to the folder that it is given, and returns the manifest.

    Returns
    -------
    dict
        The manifest as written.

    Raises
    ------
    ArtifactError
        Serving would refuse it; nothing is published.
    ConfigError
        The folder cannot be written, for want of room or of rights; what was there stays.
    """
    target = folder_itself(out)
    try:
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            document = fill(work)
            open_artifact(work)  # what serving would refuse is never published
            publish(work, out)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise _not_written(out, error) from error
    return document


def _not_written(out: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{out}: cannot be written ({error.strerror}); make room or name another folder")


def seal(
    work: Path, manifest: dict[str, Any], deciding: Sequence[str], card: Callable[[dict[str, Any]], str]
) -> dict[str, Any]:
    """Write the card and the manifest of the files that lie in a folder, and return the manifest.

    Parameters
    ----------
    manifest : dict
        Everything but `files`.
    deciding : names
        The artefact's files, but for the card.
    card : callable
        From the manifest to the text of the model card.
    """
    document = {**manifest, "files": {name: sha256_of(work / name) for name in deciding}}
    (work / CARD_FILE).write_text(card(document), encoding="utf-8")
    document["files"][CARD_FILE] = sha256_of(work / CARD_FILE)
    (work / MANIFEST_FILE).write_text(
        json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8"
    )
    return document


def publish(work: Path, out: Path) -> None:
    """Put a finished folder in place of another, or where there is none; what was there is deleted.

    Linux and macOS swap the two in one step: a crash at any point leaves the old folder or the new one, whole. Where the
    file system cannot (NFS, for one), the old one is renamed first: for a moment there is no folder, and a process that
    is killed then leaves none, and the old one whole in the hidden folder `.NAME.old.*` beside. At worst a hidden folder
    stays there.

    Parameters
    ----------
    work : Path
        The new folder, on the same file system as `out`, such as one made beside it. It is gone afterwards.
    out : Path
        Its place: a folder, an empty one, or nothing. Of a link, the folder that it names is replaced.

    Raises
    ------
    ConfigError
        It cannot be put there, for want of rights; what was there stays, and so does `work`.
    """
    target = folder_itself(out)
    try:
        work.chmod(0o755)  # one made for temporary files is its owner's only
        _flush(work)
        _swap(work, target)
    except OSError as error:
        raise _not_written(out, error) from error
    shutil.rmtree(work, ignore_errors=True)  # what was there before


def _flush(work: Path) -> None:
    """Have a folder's files on disk, so that a power cut cannot leave the name of one without its content."""
    for path in work.rglob("*"):
        if path.is_file():
            with path.open("rb+" if os.name == "nt" else "rb") as file:
                os.fsync(file.fileno())


def _swap(work: Path, out: Path) -> None:
    """Put the new folder in place of the old one, which ends up in `work` or is deleted."""
    if out.is_file():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(out))
    if not out.exists() or not any(out.iterdir()):
        work.replace(out)
        return
    if _exchange(work, out):
        return
    # Elsewhere a folder cannot be renamed over one that is not empty: for a moment there is none.
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}.old.", dir=out.parent))
    try:
        out.rename(old / out.name)
        work.rename(out)
    finally:
        if not out.exists():
            (old / out.name).rename(out)
        shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in a single step; False where the system or the file system cannot."""
    paths = os.fsencode(one), os.fsencode(other)
    if sys.platform == "linux":  # AT_FDCWD, and RENAME_EXCHANGE of renameat2(2)
        call = getattr(ctypes.CDLL(None), "renameat2", None)
        return call is not None and call(-100, paths[0], -100, paths[1], 2) == 0
    if sys.platform == "darwin":  # RENAME_SWAP of renamex_np(2)
        return bool(ctypes.CDLL(None).renamex_np(*paths, 2) == 0)
    return False
