"""One run at a time: a lock on a file of the folder that a command works in, which says who holds it.

The lock is the system's own (flock), not the file: it ends with the process that holds it, however that ends.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from getpass import getuser
from pathlib import Path
from typing import Any

from router.errors import ConfigError, RouterError

__all__ = ["Locked", "hold", "user", "who"]


class Locked(RouterError):  # noqa: N818 - a state, and no fault
    """Another process holds the lock."""


@contextmanager
def hold(path: Path, *, flag: str = "--home") -> Iterator[None]:
    """Hold the lock on a file, which is made if it is not there.

    Parameters
    ----------
    path : Path
        The file.
    flag : str
        The option that decides where it is, for messages.

    Raises
    ------
    Locked
        Another process holds it; the message says which, and since when.
    ConfigError
        Its folder is a file.
    RouterError
        The file cannot be written, or its file system has no locks.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except (FileExistsError, NotADirectoryError):
        raise ConfigError(f"{path.parent} is not a folder; name another place with {flag}") from None
    except OSError as error:
        raise RouterError(
            f"{path}: the lock cannot be opened ({error.strerror}); check that its folder may be written, or name "
            f"another place with {flag}"
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked(_describe(path)) from None
        except OSError as error:
            raise RouterError(
                f"{path}: cannot be locked ({error.strerror}); put {flag} on a file system with locks"
            ) from error
        _write(handle, path, _holder())
        try:
            yield
        finally:
            _write(handle, path, None)
    finally:
        os.close(handle)


def user() -> str:
    """Return the name of this process's user."""
    try:
        return getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        return str(os.getuid())


def who() -> str:
    """Return user@host of this process."""
    return f"{user()}@{socket.gethostname()}"


def _holder() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "user": user(),
        "command": " ".join(["python", "-m", "training", *sys.argv[1:2]]),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _write(handle: int, path: Path, document: dict[str, Any] | None) -> None:
    """Write who holds the lock; nothing, once it is given back."""
    try:
        os.ftruncate(handle, 0)
        if document is not None:
            os.pwrite(handle, json.dumps(document).encode(), 0)
    except OSError as error:
        if document is None:  # the lock is given back all the same
            return
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise RouterError(
            f"{path}: the lock cannot be written ({error.strerror}); {'make room' if full else 'check the disk'}, "
            "then run it again"
        ) from error


def _describe(path: Path) -> str:
    """Say who holds the lock; the file may be empty or half written, for its holder writes it after it locked it."""
    try:
        found = json.loads(path.read_bytes())
        since = datetime.fromisoformat(found["since"])
        minutes = max(0, int((datetime.now(UTC) - since).total_seconds() // 60))
        holder = (
            f"pid {found['pid']} of {found['user']}@{found['host']} ({found['command']}) since "
            f"{since.astimezone():%Y-%m-%d %H:%M} ({_age(minutes)})"
        )
    except (OSError, ValueError, KeyError, TypeError):
        holder = "a process that has not said yet which it is"
    return f"another run holds {path}: {holder}; wait for it, or stop it"


def _age(minutes: int) -> str:
    if minutes < 2:
        return "1 minute" if minutes else "just now"
    if minutes < 120:
        return f"{minutes} minutes"
    return f"{minutes // 60} hours" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days"
