"""Opens a log, packed or not, as a stream of bytes that cannot grow without bound.

The rule: no file is read whole, and a packed one that unpacks to far more than logs do is refused, since a few megabytes
can be made to unpack to terabytes.
"""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from router.errors import ConfigError

__all__ = ["PARQUET", "magic_of", "open_log", "unreadable"]

PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"
_PACKED = {
    b"PK\x03\x04": "a zip archive",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
}
_WIDE = (b"\xff\xfe", b"\xfe\xff")

_FREE_BYTES = 2**30
_MOST_UNPACKED = 250
"""Bytes out per byte in beyond the first gibibyte. Logs in JSON pack 5 to 40 times; a bomb 1,000 times."""


def magic_of(path: Path) -> bytes:
    """Return the first bytes of a file.

    Raises
    ------
    ConfigError
        There is no such file, it cannot be read, or it is empty.
    """
    if path.is_dir():
        raise ConfigError(f"log {path}: expected a file, found a folder; name the files in it")
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise ConfigError(f"log {path}: {error.strerror}; check the path{_nearest(path)}") from None
    if not start:
        raise ConfigError(f"log {path}: expected records, found an empty file (0 bytes); check what wrote it")
    return start


def _nearest(path: Path) -> str:
    """Return a hint of what stands in the folder under a like name."""
    try:
        names = [each.name for each in path.parent.iterdir()]
    except OSError:
        return ""
    close = get_close_matches(path.name, names, n=1)
    return f" (did you mean {path.with_name(close[0])}?)" if close else ""


@contextmanager
def open_log(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file for reading, unpacking gzip by its first bytes, whatever its name."""
    start = magic_of(path)
    for magic, what in _PACKED.items():
        if start.startswith(magic):
            raise ConfigError(f"log {path}: expected text, gzip or Parquet, found {what}; unpack it first")
    if start.startswith(_WIDE):
        raise ConfigError(f"log {path}: expected UTF-8, found UTF-16; save the file as UTF-8")
    try:
        with path.open("rb") as file:
            if not start.startswith(_GZIP):
                yield file
                return
            bound = _FREE_BYTES + _MOST_UNPACKED * os.fstat(file.fileno()).st_size
            with gzip.GzipFile(fileobj=file, mode="rb") as packed:
                yield io.BufferedReader(_Bounded(packed, bound, path), 2**20)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise ConfigError(f"log {path}: expected gzip, found a damaged file; pack it again") from None
    except OSError as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: OSError) -> ConfigError:
    """Return what to say of a file that the system does not give."""
    return ConfigError(f"log {path}: {error.strerror or 'it cannot be read'}; check the file and its disk")


class _Bounded(io.RawIOBase):
    """A stream that refuses to give more than so many bytes."""

    def __init__(self, source: gzip.GzipFile, bound: int, path: Path) -> None:
        self._source, self._left, self._bound, self._path = source, bound, bound, path

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        try:
            data = self._source.read1(len(buffer))  # read would lose what comes before a cut
        except EOFError:
            data = b""  # a packed log that is being written; its last line is cut off
        self._left -= len(data)
        if self._left < 0:
            raise ConfigError(
                f"log {self._path}: expected a packed log, found one that unpacks to more than {self._bound:,} bytes, "
                f"{_MOST_UNPACKED} times its size; unpack it yourself if it is what it should be"
            )
        buffer[: len(data)] = data
        return len(data)
