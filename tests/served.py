"""A real `tierwise serve`, in a process of its own, and raw conversations with it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from toys import ROOT

MOST_SECONDS = 60.0
LISTENING = re.compile(r"listening.*?(http://[^\s\"]+)")
COMMAND = (sys.executable, "-m", "router")


@contextmanager
def serve(
    *options: str,
    command: Sequence[str] = COMMAND,
    cwd: Path = ROOT,
    environment: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Start a server on a free port and give its address; stop it with SIGTERM, on which it must exit with 0."""
    with start(*options, command=command, cwd=cwd, environment=environment) as served:
        yield served.url


@dataclass(frozen=True)
class Served:
    """A server that runs, and its log: all that it writes."""

    url: str
    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    @property
    def model(self) -> Path:
        """Where the model is that `--model` named."""
        assert isinstance(self.process.args, list)
        return Path(self.process.args[self.process.args.index("--model") + 1])

    @property
    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8")

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return the lines of a JSON log, of one event if it is named."""
        found = [json.loads(line) for line in self.log.split("\n")[:-1] if line]  # the last is being written
        return [event for event in found if name in (None, event["event"])]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it by a signal, and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(MOST_SECONDS)


@contextmanager
def start(
    *options: str,
    command: Sequence[str] = COMMAND,
    cwd: Path = ROOT,
    environment: Mapping[str, str] | None = None,
    port: int = 0,
    ready: bool = True,
) -> Iterator[Served]:
    """Start a server as `serve` does, and give all of it, in time or before it listens.

    If it still runs at the end it must exit with 0. However it ended, no process that it began may be left.
    """
    with TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [*command, "serve", "--port", str(port), *options],
                cwd=cwd,
                env=clean_environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        try:
            yield Served(_address(process, log) if ready else f"http://127.0.0.1:{port}", process, log)
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(MOST_SECONDS)
                assert 0 == process.returncode, log.read_text(encoding="utf-8")
            wait_until(lambda: not session(process.pid), "a process that the server began is left")
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.wait()


def refuse(*options: str, command: Sequence[str] = COMMAND, **environment: str) -> tuple[int, str, str]:
    """Run `serve` where it does not start, and return its exit code, and what it writes to stdout and to stderr."""
    run = subprocess.run(
        [*command, "serve", "--port", "0", *options],
        cwd=ROOT,
        env=clean_environment(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=MOST_SECONDS,
        check=False,
        text=True,
    )
    return run.returncode, run.stdout, run.stderr


def clean_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment without the caller's model and keys."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("TIERWISE_")}
    return env | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)} | dict(more or {})


def session(leader: int) -> list[int]:
    """Return the processes of a session that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if fields[3] == str(leader) and fields[0] != "Z":
                found.append(int(path.parent.name))
    return found


def wait_until(happens: Callable[[], Any], otherwise: str, seconds: float = MOST_SECONDS / 2) -> Any:
    """Wait for something to be true, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := happens()):
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)
    return found


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + MOST_SECONDS
    while time.monotonic() < deadline:
        found = LISTENING.search(log.read_text(encoding="utf-8"))
        if found:
            return found[1]
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise AssertionError(f"the server did not start:\n{log.read_text(encoding='utf-8')}")


# Raw conversations: what an ordinary client would not send, byte by byte.


class Reply(NamedTuple):
    """An answer as it came; the names of headers are in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """The name of the problem that this is; it must be a whole one."""
        assert "application/problem+json" == self.headers["content-type"], self
        assert self.status == self.json["status"]
        assert self.json["detail"]
        return str(self.json["type"]).removeprefix("urn:tierwise:problem:")


class Wire:
    """A connection on which any bytes are sent and answers are read."""

    def __init__(self, served: Served | str, **how: Any) -> None:
        parts = urlsplit(served if isinstance(served, str) else served.url)
        self.socket = socket.create_connection((parts.hostname, parts.port), MOST_SECONDS / 2, **how)
        self._reader = self.socket.makefile("rb")

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.socket.sendall(part)

    def read(self, *, head_only: bool = False) -> Reply:
        """Read one answer."""
        line = self._reader.readline()
        assert line.startswith(b"HTTP/1.1 "), f"expected an answer, found {line!r}"
        headers = {}
        while (header := self._reader.readline()) not in (b"\r\n", b""):
            name, _, value = header.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        status = int(line.split()[1])
        body = b""
        if headers.get("transfer-encoding") == "chunked" and not head_only:
            while size := int(self._reader.readline(), 16):
                body += self._reader.read(size)
                self._reader.readline()
            self._reader.readline()
        elif "content-length" in headers and not head_only:
            body = self._reader.read(int(headers["content-length"]))
        return Reply(status, headers, body)

    def wait(self) -> None:
        """Wait until an answer begins, and read nothing of it."""
        assert self.socket.recv(1, socket.MSG_PEEK)

    def ask(self, *parts: bytes) -> Reply:
        """Send, and read one answer."""
        self.send(*parts)
        return self.read()

    def rest(self) -> bytes:
        """Read what comes until the server closes; a reset is a close, too."""
        with suppress(ConnectionResetError):
            return self._reader.read()
        return b""


@contextmanager
def connect(served: Served | str, n: int) -> Iterator[list[Wire]]:
    """Open some connections."""
    with ExitStack() as stack:
        yield [stack.enter_context(Wire(served)) for _ in range(n)]


def request(method: str, path: str, body: bytes | None = None, **headers: str) -> bytes:
    """Return the bytes of a request; an underscore in a header's name is a hyphen."""
    lines = {"host": "127.0.0.1"}
    if body is not None:
        lines |= {"content-type": "application/json", "content-length": str(len(body))}
    lines |= {name.replace("_", "-").lower(): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + (body or b"")


def ask(served: Served | str, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
    """Ask on a connection of its own."""
    with Wire(served) as wire:
        return wire.ask(request(method, path, body, **headers))


def route(prompt: Any = "hello", **headers: str) -> bytes:
    """Return the bytes of a request for a decision."""
    return request("POST", "/v1/route", json.dumps({"prompt": prompt}).encode(), **headers)
