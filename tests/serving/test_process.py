"""How a process starts, stops and is told things by signals; and what it leaves behind, which is nothing."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from served import (
    COMMAND,
    Served,
    Wire,
    ask,
    clean_environment,
    connect,
    refuse,
    request,
    route,
    session,
    start,
    wait_until,
)
from toys import ROOT

BODY = b'{"prompt":"hello"}'
LINE = b"13\r\n" + BODY + b"\n\r\n"
STREAM = b"POST /v1/route/batch HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"

SLOW_LOAD = """
import os, time
from router import Router

load = Router.load

def wait_and_load(location=None, policy=None):
    while not os.path.exists(os.environ["GATE"]):
        time.sleep(0.02)
    return load(location, policy)

Router.load = staticmethod(wait_and_load)
"""


@pytest.fixture
def slow_load(tmp_path: Path) -> dict[str, str]:
    """An environment in which a model is loaded only when the file GATE is there."""
    (tmp_path / "sitecustomize.py").write_text(SLOW_LOAD, encoding="utf-8")
    return {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "GATE": str(tmp_path / "gate")}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def accepts(served: Served) -> bool:
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", served.port), 5).close()
        return True
    return False


# Stopping


@pytest.mark.parametrize(
    ("number", "workers"), [(signal.SIGTERM, 1), (signal.SIGINT, 1), (signal.SIGTERM, 2)]
)
def test_what_is_under_way_is_finished(toy_artifact: Path, number: int, workers: int) -> None:
    options = ("--model", str(toy_artifact), "--workers", str(workers))
    with start(*options) as served, connect(served, 4) as (idle, half, chunked, stream):
        assert 200 == idle.ask(route()).status
        sent = route(x_request_id="half")
        half.send(sent[:-1])
        chunked.send(STREAM.replace(b"/batch", b"").replace(b"x-ndjson", b"json"), LINE)
        stream.send(STREAM, LINE)
        assert stream.socket.recv(1)
        os.killpg(served.process.pid, number)  # as a terminal or systemd does: to all processes, workers too
        wait_until(lambda: not accepts(served), "it goes on accepting")
        assert b"" == idle.rest()
        assert (200, "half") == (lambda reply: (reply.status, reply.json["request_id"]))(half.ask(sent[-1:]))
        assert 200 == chunked.ask(b"0\r\n\r\n").status
        stream.send(LINE, b"0\r\n\r\n")
        lines = [line for line in stream.rest().splitlines() if line.startswith(b"{")]
        assert [0, 1] == [json.loads(line)["item"] for line in lines]
        assert 0 == served.process.wait(20)
        assert {"stopping", "stopped"} <= {event["event"] for event in served.events()}
        assert [] == served.events("failure")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_signal_stops_at_once(toy_artifact: Path, workers: int) -> None:
    with start("--model", str(toy_artifact), "--workers", str(workers)) as served, Wire(served) as wire:
        wire.send(STREAM, LINE)
        assert wire.socket.recv(1)
        served.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not accepts(served), "it goes on accepting")
        with pytest.raises(subprocess.TimeoutExpired):
            served.process.wait(0.3)
        served.process.send_signal(signal.SIGTERM)
        assert 0 == served.process.wait(5)
        assert "Traceback" not in served.log


def test_draining_has_an_end(toy_artifact: Path) -> None:
    with start("--model", str(toy_artifact), "--drain-seconds", "1") as served, Wire(served) as wire:
        wire.send(STREAM, LINE)
        assert wire.socket.recv(1)
        assert 0 == served.stop()
        assert "Traceback" not in served.log


def test_before_it_stops_it_says_that_it_is_not_ready(toy_artifact: Path) -> None:
    with start("--model", str(toy_artifact), "--drain-delay", "1") as served, Wire(served) as wire:
        assert 200 == wire.ask(request("GET", "/readyz")).status
        served.process.send_signal(signal.SIGTERM)
        wait_until(lambda: served.events("stopping"), "it does not say that it stops")
        reply = wire.ask(request("GET", "/readyz"))
        assert (503, "not-ready") == (reply.status, reply.problem)
        assert 200 == ask(served, "GET", "/healthz").status
        assert 200 == ask(served, "POST", "/v1/route", BODY).status  # new ones, too
        assert 0 == served.process.wait(20)


def test_after_kill_9_the_port_is_free_at_once(toy_artifact: Path) -> None:
    with start("--model", str(toy_artifact)) as first, connect(first, 3) as wires:
        assert {200} == {wire.ask(route()).status for wire in wires}
        wires[0].send(route()[:-1])
        assert -signal.SIGKILL == first.stop(signal.SIGKILL)
    with start("--model", str(toy_artifact), port=first.port) as second:
        assert first.url == second.url
        assert 200 == ask(second, "POST", "/v1/route", BODY).status


# Loading


@pytest.mark.parametrize("workers", [1, 2])
def test_while_it_loads_it_lives_and_is_not_ready(
    toy_artifact: Path, slow_load: dict[str, str], workers: int
) -> None:
    options = ("--model", str(toy_artifact), "--workers", str(workers))
    with start(*options, environment=slow_load, port=free_port(), ready=False) as served:
        wait_until(lambda: accepts(served), "it does not listen")
        assert 200 == ask(served, "GET", "/healthz").status
        for sent in (
            request("GET", "/readyz"),
            route(),
            request("GET", "/metrics"),
            request("GET", "/v1/model"),
        ):
            with Wire(served) as wire:
                reply = wire.ask(sent)
                assert (503, "not-ready", "1") == (reply.status, reply.problem, reply.headers["retry-after"])
        assert [] == served.events("listening")
        Path(slow_load["GATE"]).touch()
        wait_until(lambda: served.events("listening"), "it never gets ready")
        assert "tw-toy" == ask(served, "GET", "/readyz").json["model_id"]
        assert 200 == ask(served, "POST", "/v1/route", BODY).status


@pytest.mark.parametrize("workers", [1, 2])
def test_it_stops_while_it_loads(toy_artifact: Path, slow_load: dict[str, str], workers: int) -> None:
    options = ("--model", str(toy_artifact), "--workers", str(workers))
    with start(*options, environment=slow_load, port=free_port(), ready=False) as served:
        wait_until(lambda: accepts(served), "it does not listen")
        wait_until(lambda: 200 == ask(served, "GET", "/healthz").status, "it does not answer")
        assert 0 == served.stop()
        assert "Traceback" not in served.log


# Terminals


@contextmanager
def on_terminal(*options: str) -> Iterator[tuple[int, int]]:
    """Start a server on a terminal of its own; give its process and the other end of the terminal."""
    pid, terminal = pty.fork()
    if not pid:
        os.execve(sys.executable, [*COMMAND, "serve", "--port", "0", *options], clean_environment())  # noqa: S606
    try:
        yield pid, terminal
    finally:
        with suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
        with suppress(OSError):
            os.close(terminal)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def read_until(terminal: int, word: bytes) -> bytes:
    """Read until a word has come, or the terminal is closed."""
    found = b""
    with suppress(OSError):  # how a terminal ends
        while word not in found and (data := os.read(terminal, 4096)):
            found += data
    return found


def exit_code(pid: int) -> int:
    def ended() -> tuple[int, int] | None:
        found = os.waitpid(pid, os.WNOHANG)
        return found if found[0] else None

    return os.waitstatus_to_exitcode(wait_until(ended, "it does not end")[1])


@pytest.mark.parametrize("workers", ["1", "2"])
def test_interrupted_on_a_terminal(toy_artifact: Path, workers: str) -> None:
    with on_terminal("--model", str(toy_artifact), "--workers", workers) as (pid, terminal):
        assert b"listening" in read_until(terminal, b"listening")
        os.write(terminal, b"\x03")
        rest = read_until(terminal, b"no such word")
        assert 0 == exit_code(pid)
        assert b"stopped" in rest
        assert b"Traceback" not in rest
        assert b"Interrupt" not in rest
        wait_until(lambda: not session(pid), "a process is left")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_when_its_terminal_is_closed_it_ends(toy_artifact: Path, workers: str) -> None:
    with on_terminal("--model", str(toy_artifact), "--workers", workers) as (pid, terminal):
        assert b"listening" in read_until(terminal, b"listening")
        os.close(terminal)
        assert 0 == exit_code(pid)
        wait_until(lambda: not session(pid), "a process is left")


def test_interrupted_while_workers_start(toy_artifact: Path, slow_load: dict[str, str]) -> None:
    """A terminal sends the signal to workers, too, whatever they are importing."""
    port = free_port()
    options = ("--model", str(toy_artifact), "--workers", "2")
    for delay in (0.0, 0.3):
        with start(*options, environment=slow_load, port=port, ready=False) as served:
            wait_until(lambda served=served: len(session(served.process.pid)) > 3, "no worker is started")
            time.sleep(delay)
            os.killpg(served.process.pid, signal.SIGINT)
            assert 0 == served.process.wait(20)
            assert "Traceback" not in served.log


# Where it runs


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_serves_from_where_nothing_can_be_written(toy_artifact: Path, workers: str) -> None:
    with start("--model", str(toy_artifact), "--workers", workers, cwd=Path("/proc")) as served:
        assert 200 == ask(served, "POST", "/v1/route", BODY).status


@pytest.mark.parametrize(
    "flags",
    [
        ("-O",),
        (
            "-I",
            "-c",
            "import sys; sys.path.insert(0, sys.argv.pop(1)); from router.cli import main; sys.exit(main())",
        ),
    ],
)
def test_it_serves_with_other_flags_of_python(toy_artifact: Path, flags: tuple[str, ...]) -> None:
    command = (sys.executable, *flags, *((str(ROOT),) if "-c" in flags else ("-m", "router")))
    with start("--model", str(toy_artifact), command=command) as served:
        assert 200 == ask(served, "POST", "/v1/route", BODY).status
        assert 422 == ask(served, "POST", "/v1/route", b"{}").status
        assert 200 == ask(served, "GET", "/v1/model").status


# What keeps it from starting


def one_sentence(code: int, out: str, err: str) -> str:
    assert (3, "") == (code, out)
    assert err.startswith("error: ")
    assert err.endswith("\n")
    assert 1 == len(err.splitlines())
    return err


def test_a_port_that_is_taken(toy_artifact: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        told = one_sentence(*refuse("--model", str(toy_artifact), "--port", port))
    assert f"127.0.0.1 port {port} (Address already in use); choose others" in told


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("203.0.113.7", "cannot listen on 203.0.113.7 port 0 (Cannot assign requested address)"),
        ("nowhere.invalid", "cannot listen on nowhere.invalid"),
        ("a" * 70, "(not a host name)"),
        ("..", "(not a host name)"),
    ],
)
def test_a_host_that_is_not_there(toy_artifact: Path, host: str, words: str) -> None:
    assert words in one_sentence(*refuse("--model", str(toy_artifact), "--host", host, "--without-keys"))


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    for workers in ("1", "2"):
        code, out, err = refuse("--model", str(tmp_path / "nowhere"), "--workers", workers)
        assert (1, "") == (code, out)
        assert err.startswith("error: no model: ")
        assert 1 == len(err.splitlines())


def test_no_place_for_what_workers_share(toy_artifact: Path) -> None:
    """A folder for temporary files is wanted; where there is none, one sentence says so."""
    script = "import sys, tempfile; tempfile._candidate_tempdir_list = lambda: ['/proc']; from router.cli import main; sys.exit(main())"
    command = (sys.executable, "-c", script)
    told = one_sentence(*refuse("--model", str(toy_artifact), "--workers", "2", command=command))
    assert "$TMPDIR" in told


# Where it writes


def on_own_port(toy_artifact: Path, port: int, shell: str) -> subprocess.Popen[bytes]:
    line = f'exec "$@" serve --log json --model {toy_artifact} --port {port} {shell}'
    command = ["bash", "-c", line, "-", *COMMAND]
    return subprocess.Popen(command, cwd=ROOT, env=clean_environment(), stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("shell", [">&- 2>&-", ">/dev/full 2>/dev/full", "<&- >&- 2>&-", "2> >(exit 0)"])
def test_nowhere_to_write_the_log_does_not_stop_it(toy_artifact: Path, shell: str) -> None:
    port = free_port()
    process = on_own_port(toy_artifact, port, shell)
    try:

        def status(path: str) -> Callable[[], int]:
            def asked() -> int:
                with suppress(OSError):
                    return ask(f"http://127.0.0.1:{port}", "GET", path).status
                return 0

            return asked

        wait_until(lambda: 200 == status("/readyz")(), "it does not serve")
        url = f"http://127.0.0.1:{port}"
        assert [200] * 5 == [ask(url, "POST", "/v1/route", BODY).status for _ in range(5)]
        assert 422 == ask(url, "POST", "/v1/route", b"{}").status
        process.terminate()
        assert 0 == process.wait(20)
    finally:
        process.kill()
        process.wait()
