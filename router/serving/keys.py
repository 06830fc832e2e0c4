"""API keys: from a file that may change under way, or from the environment; compared in constant time.

Only digests are kept, so neither a dump of the process's memory nor a log gives a key away.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path

from router.errors import ConfigError

__all__ = ["ADMIN_VARIABLE", "KEYS_VARIABLE", "Keys"]

KEYS_VARIABLE = "TIERWISE_API_KEYS"
ADMIN_VARIABLE = "TIERWISE_ADMIN_KEYS"

_LEAST_CHARS = 16  # 16 random characters of 64 are 96 bits
_MAX_FILE_BYTES = 1024 * 1024
_MAX_KEYS = 1000


class Keys:
    """Some keys, any of which opens.

    Parameters
    ----------
    digests : tuple of bytes
        SHA-256 of each.
    path : Path or None
        The file that they came from.
    """

    __slots__ = ("_digests", "_path", "_state")

    def __init__(self, digests: tuple[bytes, ...], path: Path | None = None, state: object = None) -> None:
        self._digests = digests
        self._path = path
        self._state = state

    @classmethod
    def read(cls, file: str | os.PathLike[str] | None, variable: str) -> Keys | None:
        """Return the keys of a file, else of an environment variable, or None where neither is given.

        Raises
        ------
        ConfigError
            The file cannot be read, or holds no keys, or one that is too short.
        """
        if file is not None:
            path = Path(file)
            state, digests = _read_file(path)
            return cls(digests, path, state)
        text = os.environ.get(variable, "")
        return cls(_digests(text.split(","), f"${variable}")) if text.strip() else None

    def check(self, key: bytes) -> str | None:
        """Return the name by which a log may call a key, or None if it is not one of these."""
        digest = hashlib.sha256(key).digest()
        # All are compared, so that the time tells nothing of which.
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return digest.hex()[:8] if any(matches) else None

    def refresh(self) -> bool:
        """Read the file again if it has changed, and return whether it had.

        Raises
        ------
        ConfigError
            It has changed into something that is no list of keys; the old ones stay, and it is told once.
        """
        if self._path is None:
            return False
        try:
            state: object = _state(self._path)
        except OSError as error:
            state = error.errno
        if state == self._state:
            return False
        self._state = state
        self._state, self._digests = _read_file(self._path)
        return True


def _state(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read_file(path: Path) -> tuple[tuple[int, ...], tuple[bytes, ...]]:
    try:
        state = _state(path)  # before the reading: what changes in between is read again
        if not path.is_file():  # it is read again and again, which a pipe is not
            raise ConfigError(f"keys file {path}: not a file that can be read again; check the path")
        if state[1] > _MAX_FILE_BYTES:
            raise ConfigError(f"keys file {path}: expected one key a line, found {state[1]:,} bytes")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"keys file {path}: cannot be read ({error.strerror}); check the path") from None
    except UnicodeDecodeError:
        raise ConfigError(f"keys file {path}: not UTF-8 text; expected one key a line") from None
    lines = [line.strip() for line in text.splitlines()]
    return state, _digests([line for line in lines if not line.startswith("#")], f"keys file {path}")


def _digests(keys: list[str], where: str) -> tuple[bytes, ...]:
    keys = [key.strip() for key in keys if key.strip()]
    if not 0 < len(keys) <= _MAX_KEYS:
        raise ConfigError(f"{where}: expected 1 to {_MAX_KEYS} keys, found {len(keys)}")
    for i, key in enumerate(keys, start=1):
        if len(key) < _LEAST_CHARS or not key.isascii() or not key.isprintable() or " " in key:
            raise ConfigError(
                f"{where}: key {i} is not {_LEAST_CHARS} or more printable ASCII characters without spaces; "
                "make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )
    return tuple(hashlib.sha256(key.encode("ascii")).digest() for key in keys)
