"""What went wrong in MLflow, in one sentence. Pure.

MLflow raises whatever its databases, servers and stores raise, wrapped or bare, often with SQL or a
traceback in the text. A person needs what could not be done, where, why and what to do next.
"""

from __future__ import annotations

import errno
import re
from urllib.parse import unquote

from router.errors import RouterError
from router.masking import mask, secrets_of

__all__ = ["MissingError", "TrackingError", "explain", "where_of"]

GO_ON = "run it again: it goes on where it stopped"
_GONE = "what should be there is not"


def _answered(codes: str) -> str:
    """Return a pattern of an HTTP status; of a bare number nobody knows what it counts."""
    return (
        rf"(?:error code|status(?: code)?|http(?:/[\d.]+)?|error occurred)[ :=(]+(?:{codes})\b|"
        rf"\b(?:{codes}) (?:client|server) error"
    )


# What is in the text of the error, why that is, and what to do. The first that is found counts.
_KNOWN = (
    (
        r"database (?:\w+ )?is locked",
        "another process holds the database (an MLflow server or UI, a backup, another run)",
        "wait for it or stop it, then " + GO_ON,
    ),
    (
        r"database or disk is full|no space left|file too large|disk quota exceeded|disk i/o error",
        "the disk is full or fails",
        "make room, then " + GO_ON,
    ),
    (
        r"readonly database|read-only (?:file system|transaction)|permission ?denied",
        "this user may not write or read there",
        "give it the rights, then " + GO_ON,
    ),
    (
        r"unable to open database file",
        "the database file cannot be opened",
        "check that its folder exists and may be written",
    ),
    (
        r"file is not a database|database disk image is malformed",
        "the file is not a database that can be read",
        "check the tracking URI, or restore the file from a backup",
    ),
    (
        r"out-of-date database schema|can't locate revision",
        "the database is of another version of MLflow",
        "back it up and run `mlflow db upgrade`, or install the MLflow that wrote it",
    ),
    (
        r"table \S+ already exists|duplicate column",
        "the database is half made",
        "restore it from a backup; if it is new, delete it",
    ),
    (
        _answered("40[13]")
        + "|unauthorized|forbidden|password authentication failed|no password supplied|access denied",
        "the server refuses these credentials",
        "check user and password, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    ),
    (
        r"timed? ?out",
        "the server does not answer in time",
        "look after the server, then " + GO_ON,
    ),
    (
        r"connection (?:refused|reset|aborted|broken|to server)|max retries exceeded|remote end closed|"
        r"name or service not known|failed to (?:resolve|establish)|could not (?:connect|translate)|"
        r"server closed the connection|network is unreachable|no route to host|" + _answered("50[0234]"),
        "the server does not answer",
        "start it or check the address, then " + GO_ON,
    ),
    (
        r"no such artifact|no such file|failed to download|does not exist: .*artifact|" + _answered("404"),
        _GONE,
        "check the artefact store: was it moved or cleaned, or is the address another server's?",
    ),
)
_USER = re.compile(r"(://[^/\s:@]*):[^\s/]+@")


class TrackingError(RouterError):
    """MLflow cannot be reached, read or written: its server, its database, its store of files."""


class MissingError(TrackingError):
    """MLflow answers, and what it should hold is not there."""


def explain(error: BaseException, what: str, uri: str, also: str = "") -> TrackingError:
    """Return the error as one sentence: what could not be done, where, why, what to do. Pure.

    Parameters
    ----------
    what : str
        What was tried, such as "register the model".
    uri : str
        Of the database or server; its secrets are hidden here, wherever the error repeats them.
    also : str
        A folder that may as well be at fault.
    """
    chain = _chain(error)
    text = " ".join(str(each) for each in chain)
    why, todo = _of_code(chain) or ("", "")
    if not why:
        for pattern, why_known, todo_known in _KNOWN:
            if re.search(pattern, text, re.IGNORECASE):
                why, todo = why_known, todo_known
                break
        else:
            missing = next((each for each in chain if isinstance(each, ModuleNotFoundError)), None)
            if missing is not None:
                why, todo = f"the package {missing.name} is not installed", f"pip install {missing.name}"
            else:
                why, todo = _first_line(chain[-1]), "if this does not tell what to mend, " + GO_ON
    where = f"{where_of(uri)} or {also}" if also else where_of(uri)
    kind = MissingError if why == _GONE else TrackingError
    return kind(f"MLflow: cannot {what} at {where}: {_without_secrets(why, uri)}; {todo}")


def where_of(uri: str) -> str:
    """Return a tracking URI for a person to read: without its secrets; of a database file, its path. Pure."""
    return mask(uri).removeprefix("sqlite:///")


def _without_secrets(text: str, uri: str) -> str:
    for secret in secrets_of(uri):
        text = text.replace(secret, "***").replace(unquote(secret), "***")
    return _USER.sub(r"\1:***@", text)


def _chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in chain:
        chain.append(following)
        following = following.__cause__ or following.__context__
    return chain


def _of_code(chain: list[BaseException]) -> tuple[str, str] | None:
    """Return what the system's own error number says; texts differ between languages, numbers do not."""
    codes = {each.errno for each in chain if isinstance(each, OSError)}
    if codes & {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}:
        return _KNOWN[1][1:]
    if codes & {errno.EACCES, errno.EPERM, errno.EROFS}:
        return _KNOWN[2][1:]
    return None


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = lines[0] if lines else type(error).__name__
    return (line if len(line) <= 200 else line[:199] + "…").rstrip(".;: ")
