"""The log: one line per event on stderr, JSON or text. Prompt text is in it only where the operator asked for it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterable
from typing import Any

from pydantic_core import to_json

from router.serving.exchange import Exchange

__all__ = ["Log", "uvicorn_logging"]


class Log:
    """Writes events to stderr, those of one turn of the event loop together.

    Parameters
    ----------
    form : str
        "json", "text" or "off"; the last keeps what is not about a request.
    prompts : bool
        Whether requests may carry their text.
    """

    def __init__(self, form: str = "json", *, prompts: bool = False) -> None:
        self._form = form
        self._prompts = prompts
        self._second = 0
        self._stamp = ""

    def event(self, event: str, **fields: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
        """Write an event at once."""
        self._write(self._line(event, fields))

    def requests(self, exchanges: Iterable[Exchange]) -> None:
        """Write a line for each exchange, all at once: a write costs as much as a parse."""
        if self._form != "off":
            self._write(
                b"".join([self._line("request", e.describe(prompts=self._prompts)) for e in exchanges])
            )

    def failure(self, event: str, error: BaseException, **fields: Any) -> None:  # noqa: ANN401
        """Write where an error came from, without its message, which could hold anything."""
        frames = traceback.extract_tb(error.__traceback__)
        where = [f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames]  # noqa: PTH119
        self.event(event, error=type(error).__name__, at=where, **fields)

    def _line(self, event: str, fields: dict[str, Any]) -> bytes:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second, self._stamp = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        stamp = f"{self._stamp}.{int((now - second) * 1000):03d}Z"
        if self._form == "json":
            return _json({"time": stamp, "event": event, **fields}) + b"\n"
        words = " ".join(f"{key}={_word(value)}" for key, value in fields.items() if value is not None)
        return f"{stamp[11:]} {event} {words}\n".encode("utf-8", "backslashreplace")

    def _write(self, line: bytes) -> None:
        # The reader may have gone, or there was none: requests are still owed their answer.
        with contextlib.suppress(OSError, AttributeError):
            # Past Python's buffer, whole lines at a time: workers share the stream.
            os.write(sys.stderr.fileno(), line)


def _json(value: Any) -> bytes:  # noqa: ANN401 - whatever JSON can hold
    try:
        return to_json(value, serialize_unknown=True)
    except ValueError:  # half a character, which JSON can hold and UTF-8 cannot
        return json.dumps(value, default=str).encode("ascii")


def _word(value: Any) -> str:  # noqa: ANN401 - whatever JSON can hold
    """Return a value on one line, with nothing in it that a terminal would act on."""
    if isinstance(value, int | float):
        return str(value)
    text = value if isinstance(value, str) else _json(value).decode()
    return text if text.isprintable() else ascii(text)


class _ToLog(logging.Handler):
    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self._log.failure("server", record.exc_info[1])
        else:
            self._log.event("server", message=str(record.msg))


def uvicorn_logging(log: Log) -> None:
    """Send what uvicorn warns of to the log; the messages' arguments, which come from clients, stay out."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers = [_ToLog(log)] if name == "uvicorn" else []
        logger.propagate = name == "uvicorn.error"
        logger.setLevel(logging.WARNING)
