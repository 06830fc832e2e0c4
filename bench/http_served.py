"""The processes of bench/http.py: the service and its floor, and the children that send requests."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from bench.http_requests import Order
from bench.measuring import ROOT

__all__ = ["Generator", "Served", "floor_command", "measure_start", "send", "serve", "server_command"]

_URL = re.compile(r"http://[\d.]+:\d+")
_START_S, _STOP_S = 60.0, 60.0
_POLL_S = 0.002


class Served(NamedTuple):
    """A server that is ready: where it is, its first process, and the seconds that it took to start."""

    url: str
    pid: int
    start_s: float
    ready: dict[str, Any]

    @property
    def pids(self) -> list[int]:
        """Itself and its descendants."""
        children: dict[int, list[int]] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(stat.read_text(encoding="utf-8").rpartition(")")[2].split()[1])
            except OSError:  # it has just ended
                continue
            children.setdefault(parent, []).append(int(stat.parent.name))
        family = [self.pid]
        for pid in family:
            family += children.get(pid, [])
        return family


def server_command(folder: Path, keys: Path, workers: int = 1) -> list[str]:
    """Return the command of the service as it is meant to run: keys, metrics and log on. Pure."""
    options = ["--model", str(folder), "--port", "0", "--workers", str(workers), "--keys", str(keys)]
    return [sys.executable, "-m", "router", "serve", *options, "--log", "json"]


def floor_command() -> list[str]:
    """Return the command of the endpoint that decides nothing, on the same loop and parser. Pure."""
    options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--port", "0"]
    return [sys.executable, "-m", "uvicorn", "bench.http_floor:app", *options]


@contextmanager
def serve(command: Sequence[str], log: Path) -> Iterator[Served]:
    """Run a server, its stderr to a file, until the block ends.

    Raises
    ------
    SystemExit
        It did not start, or did not end well.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "TIERWISE"))}
    start = time.monotonic()
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=stderr, stderr=stderr)  # noqa: S603 - a command of our own
    try:
        url = _wait_for_url(process, log, start)
        ready = _wait_until_ready(process, url, start)
        yield Served(url, process.pid, time.monotonic() - start, ready)
        process.send_signal(signal.SIGTERM)
        code = process.wait(_STOP_S)
        if code not in (0, -signal.SIGTERM):  # uvicorn ends by the signal that it was sent
            _give_up(f"exit code {code}", log)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _wait_for_url(process: subprocess.Popen[bytes], log: Path, start: float) -> str:
    while (found := _URL.search(log.read_text(encoding="utf-8"))) is None:
        if process.poll() is not None or time.monotonic() > start + _START_S:
            _give_up("no address", log)
        time.sleep(_POLL_S)
    return found[0]


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, start: float) -> dict[str, Any]:
    while process.poll() is None and time.monotonic() < start + _START_S:
        connection = HTTPConnection(urlsplit(url).netloc, timeout=_START_S)
        try:
            connection.request("GET", "/readyz")
            response = connection.getresponse()
            body = response.read()
        except ConnectionError:
            time.sleep(_POLL_S)
            continue
        finally:
            connection.close()
        if response.status == 200:
            document: dict[str, Any] = json.loads(body)
            return document
        time.sleep(_POLL_S)
    raise SystemExit(f"bench: {url}/readyz did not answer 200 in {_START_S:g} s")


def _give_up(what: str, log: Path) -> None:
    raise SystemExit(f"bench: {what} of a server; its last words: {log.read_text(encoding='utf-8')[-2000:]}")


def measure_start(commands: dict[str, list[str]], scratch: Path, repeats: int) -> dict[str, Any]:
    """Return the seconds from the start of each server's process to a 200 of /readyz; they take turns."""
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for i in range(repeats + 1):
        for name, command in commands.items():
            with serve(command, scratch / f"start-{name}.log") as served:
                if i:  # the first process fills the page cache
                    taken[name].append(served.start_s)
    seconds = {
        name: {"median_s": round(median(each), 3), "worst_s": round(max(each), 3)}
        for name, each in taken.items()
    }
    return {"repeats": repeats, **seconds}


class Generator:
    """A child that sends requests (bench/http_load.py); a context that ends it."""

    def __init__(self, texts: Path) -> None:
        command = [sys.executable, "-m", "bench.http_load", str(texts)]
        self._child = subprocess.Popen(  # noqa: S603 - a command of our own
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Generator:
        return self

    def __exit__(self, *exc: object) -> None:
        self._child.communicate()  # the end of its input is the end of the child

    def say(self, line: str) -> None:
        """Send a line."""
        assert self._child.stdin is not None
        self._child.stdin.write(f"{line}\n")
        self._child.stdin.flush()

    def hear(self) -> Any:  # noqa: ANN401 - a document of any shape
        """Wait for a line, and return it parsed."""
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise SystemExit("bench: the load generator ended early; its error is above")
        return json.loads(line)


def send(generators: Sequence[Generator], orders: Sequence[Order]) -> list[dict[str, Any]]:
    """Return what came of orders that generators carry out at the same time."""
    for generator, order in zip(generators, orders, strict=True):
        generator.say(json.dumps(asdict(order)))
    for generator in generators:
        assert generator.hear() == "ready"
    for generator in generators:
        generator.say("go")
    return [generator.hear() for generator in generators]
