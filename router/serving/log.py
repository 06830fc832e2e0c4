"""The log: one line per event on stderr, JSON or text. Prompt text is in it only where the operator asked for it."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
import traceback
from typing import Any

from pydantic_core import to_json

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
        self.prompts = prompts
        self.tells_requests = form != "off"
        self._lines: list[bytes] = []
        self._second = 0
        self._stamp = ""

    def event(self, event: str, **fields: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
        """Write an event at once."""
        self._write(self._line(event, fields))

    def request(self, fields: dict[str, Any]) -> None:
        """Write a request's line when the loop has served what is ready: a write of its own costs as much as a parse."""
        if not self._lines:
            asyncio.get_running_loop().call_soon(self.flush)
        self._lines.append(self._line("request", fields))

    def failure(self, event: str, error: BaseException, **fields: Any) -> None:  # noqa: ANN401
        """Write where an error came from, without its message, which could hold anything."""
        frames = traceback.extract_tb(error.__traceback__)
        where = [f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames]  # noqa: PTH119
        self.event(event, error=type(error).__name__, at=where, **fields)

    def flush(self) -> None:
        """Write what waits."""
        lines, self._lines = self._lines, []
        if lines:
            self._write(b"".join(lines))

    def _line(self, event: str, fields: dict[str, Any]) -> bytes:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second, self._stamp = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        stamp = f"{self._stamp}.{int((now - second) * 1000):03d}Z"
        if self._form == "json":
            return to_json({"time": stamp, "event": event, **fields}, serialize_unknown=True) + b"\n"
        words = " ".join(
            f"{key}={value if isinstance(value, str | int | float) else to_json(value).decode()}"
            for key, value in fields.items()
            if value is not None
        )
        return f"{stamp[11:]} {event} {words}\n".encode("utf-8", "backslashreplace")

    def _write(self, line: bytes) -> None:
        try:
            # Past Python's buffer, whole lines at a time: workers share the stream.
            os.write(sys.stderr.fileno(), line)
        except OSError:  # the reader has gone; requests are still owed their answer
            self._lines.clear()


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
