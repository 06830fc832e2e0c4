"""A file of lines that only grows: what `append` returned from is on disk, whatever happens to the machine.

Reads and writes that file, and beside it a reserve: room that is given up when the disk is full, so that the answers to
requests that have left can still be written.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from router.errors import RouterError

__all__ = ["RESERVE_BYTES", "RESERVE_FILE", "JournalFile"]

RESERVE_FILE = "reserve"
RESERVE_BYTES = 4 << 20
"""Answers of a thousand tokens to eight hundred requests."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CHUNK = 16 << 10


class JournalFile:
    """The file, open for this process alone.

    Attributes
    ----------
    full : RouterError or None
        Set once the disk had no more room and the reserve was given up: whatever is under way may still be written, and
        nothing new should begin.
    """

    def __init__(self, path: Path, header: bytes) -> None:
        """Open the file, or make it with a first line.

        Raises
        ------
        RouterError
            It cannot be opened, or there is no room for it.
        """
        self._path = path
        self._reserve = path.parent / RESERVE_FILE
        self._guard = threading.Lock()
        self.full: RouterError | None = None
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self._size = self._cut_torn()
            if self._size == 0:
                self.append(header)
                _sync_folder(path.parent)
            self._set_aside()
        except OSError as error:
            os.close(self._handle)
            raise self._unwritable(error) from error
        except BaseException:
            os.close(self._handle)
            raise

    def append(self, data: bytes) -> int:
        """Write whole lines, wait until they are on disk, and return where they begin. Of any thread.

        Raises
        ------
        RouterError
            They cannot be written; then the file is as it was.
        """
        with self._guard:
            start = self._size
            try:
                self._write(data, start)
            except OSError as error:
                failure = self._unwritable(error)
                if error.errno not in _FULL or not self._give_up_reserve():
                    raise failure from error
                try:
                    self._write(data, start)
                except OSError:
                    raise failure from error
                self.full = failure
            self._size = start + len(data)
            return start

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield each line with where it begins."""
        with self._path.open("rb") as file:
            offset = 0
            for line in file:
                yield offset, line
                offset += len(line)

    def line_at(self, offset: int) -> bytes:
        """Return the line that begins at an offset."""
        parts = []
        while chunk := os.pread(self._handle, _CHUNK, offset):
            end = chunk.find(b"\n")
            if end >= 0:
                parts.append(chunk[:end])
                break
            parts.append(chunk)
            offset += len(chunk)
        return b"".join(parts)

    def close(self) -> None:
        """Close the file, and give the reserve back."""
        os.close(self._handle)
        self._give_up_reserve()

    def _write(self, data: bytes, start: int) -> None:
        try:
            view = memoryview(data)
            while view:
                view = view[os.pwrite(self._handle, view, start + len(data) - len(view)) :]
            os.fsync(self._handle)
        except OSError:
            with suppress(OSError):  # half a line is cut when the file is next opened
                os.ftruncate(self._handle, start)
            raise

    def _cut_torn(self) -> int:
        """Cut what follows the last line's end: a process was killed while it wrote. Return the file's size."""
        size = end = os.fstat(self._handle).st_size
        while end > 0:
            begin = max(0, end - _CHUNK)
            found = os.pread(self._handle, end - begin, begin).rfind(b"\n")
            if found >= 0:
                end = begin + found + 1
                break
            end = begin
        if end < size:
            os.ftruncate(self._handle, end)
            os.fsync(self._handle)
        return end

    def _set_aside(self) -> None:
        """Take the room that the answers under way would need."""
        if self._reserve.is_file() and self._reserve.stat().st_size == RESERVE_BYTES:
            return
        try:
            with self._reserve.open("wb") as file:
                file.write(bytes(RESERVE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            self._give_up_reserve()
            raise

    def _give_up_reserve(self) -> bool:
        try:
            self._reserve.unlink()
        except OSError:
            return False
        return True

    def _unwritable(self, error: OSError) -> RouterError:
        advice = "make room" if error.errno in _FULL else "check the disk and the folder's rights"
        return RouterError(
            f"journal {self._path}: cannot be written ({error.strerror}); {advice}, then run the same command again: "
            "what it holds is kept"
        )


def _sync_folder(folder: Path) -> None:
    """Have the file's name on disk, not only its content."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
