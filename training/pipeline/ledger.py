"""The ledger: which steps of a run are done, with what went in and what came out, so that a run can go on where it stopped.

A folder per run. A step is done when its entry is written, aside and renamed, after its files are on disk; a crash before
that leaves no entry, and the step is done again. An entry counts only while the step is asked for with the same inputs
and its files are the ones that it wrote.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from router.artifact import sha256_of
from router.errors import RouterError

__all__ = ["STEPS_FILE", "Ledger", "clear", "digest", "run_folders", "writing"]

STEPS_FILE = "steps.json"
"""The ledger itself, in the run's folder."""

_OF_THE_DISK = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOENT, errno.EISDIR,
    errno.ENOTDIR, errno.EEXIST,
}  # fmt: skip


class Ledger:
    """The steps of one run.

    Parameters
    ----------
    folder : Path
        Of the run; made if it is not there.
    on_done : callable
        Called with a step's name and entry when it has been done now, not when it was done before.

    Attributes
    ----------
    seconds : dict of str to float
        What each step took in this process.
    """

    def __init__(
        self, folder: Path, on_done: Callable[[str, dict[str, Any]], None] = lambda *_: None
    ) -> None:
        self.folder = folder
        self.seconds: dict[str, float] = {}
        self._on_done = on_done
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._entries = self._read()

    @property
    def entries(self) -> dict[str, dict[str, Any]]:
        """What is done: `inputs`, `result`, `files` (sha256 by name) and `seconds` by step."""
        return dict(self._entries)

    def run(
        self,
        name: str,
        inputs: Mapping[str, Any],
        do: Callable[[], dict[str, Any]],
        files: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Return the result of a step, doing it if it was not done with these inputs.

        Parameters
        ----------
        inputs : mapping
            JSON-ready: all that the result depends on, large things by their digest.
        do : callable
            Does the step; returns what JSON can hold.
        files : names
            What it writes in the folder: files, or folders with files.

        Raises
        ------
        RouterError
            The disk is full, or the folder cannot be written.
        """
        found = self.result(name, inputs)
        if found is not None:
            return found
        begun = time.monotonic()
        with writing(self.folder):
            result = do()
            digests = {str(path.relative_to(self.folder)): sha256_of(path) for path in self._files(files)}
            self.seconds[name] = round(time.monotonic() - begun, 3)
            entry = {
                "inputs": digest(inputs),
                "result": result,
                "files": digests,
                "seconds": self.seconds[name],
            }
            self._entries[name] = entry
            self._write()
        self._on_done(name, entry)
        return result

    def result(self, name: str, inputs: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the result of a step that is done with these inputs, its files being there; else None."""
        entry = self._entries.get(name)
        if entry is None or entry["inputs"] != digest(inputs):
            return None
        for file, expected in entry["files"].items():
            path = self.folder / file
            if not path.is_file() or sha256_of(path) != expected:
                return None
        result: dict[str, Any] = entry["result"]
        return result

    def _files(self, names: Sequence[str]) -> Iterator[Path]:
        for name in names:
            path = self.folder / name
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if file.is_file():
                    _flush(file)
                    yield file

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            entries: dict[str, dict[str, Any]] = json.loads((self.folder / STEPS_FILE).read_bytes())
        except (OSError, ValueError):  # none yet, or not one that we wrote: then nothing is done
            return {}
        return entries

    def _write(self) -> None:
        aside = self.folder / f".{STEPS_FILE}.{os.getpid()}"
        aside.write_text(json.dumps(self._entries, indent=1, allow_nan=False), encoding="utf-8")
        _flush(aside)
        aside.replace(self.folder / STEPS_FILE)


def run_folders(work: Path, but: str) -> list[Path]:
    """Return the folders of runs in a folder, all but one; what is no run's is somebody else's."""
    return [path.parent for path in sorted(work.glob(f"*/{STEPS_FILE}")) if path.parent.name != but]


def clear(work: Path, *folders: Path) -> None:
    """Delete folders of runs, and the one that held them if nothing is left in it."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # not there, or something else is in it
        work.rmdir()


def digest(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    """Return the sha256 of a JSON-ready value, whatever the order of its keys. Pure."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Put a failure of the operating system into a sentence, one of the disk into a sentence of its own."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        text = (
            f"{folder}: cannot be written ({why}); make room or mend its rights"
            if error.errno in _OF_THE_DISK
            else f"the operating system refuses what is needed ({why})"
        )
        raise RouterError(f"{text}, and run it again: it goes on where it stopped") from error
