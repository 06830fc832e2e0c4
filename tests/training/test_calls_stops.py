"""A run that ends before its time: killed, interrupted once and twice, on a full disk; and what a key leaves behind."""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from calling import answers, completion, http, raw_server, run
from served import wait_until
from standin import standin
from toys import ROOT

from router.errors import RouterError
from training.calls import retries
from training.calls.engine import EndpointClosed, Interrupted
from training.calls.journal import JOURNAL_FILE, Journal

ONE = ("small",)
FORKS = multiprocessing.get_context("forkserver")
# Of what the engine imports, what takes long, and stands where a fork server looks (it does not know this folder).
FORKS.set_forkserver_preload(["openai.resources", "aiohttp", "numpy", "tqdm"])


def _run_in_child(pipe: Any, stderr: str, limit: int | None, options: dict[str, Any]) -> None:
    """Run, and say how it ended."""
    retries.FIRST_BACKOFF_S = retries.LONGEST_BACKOFF_S = options.pop("backoff", 0.5)
    sys.stderr = Path(stderr).open("w", encoding="utf-8", buffering=1)  # noqa: SIM115 - the process ends with it
    try:
        with Journal.open(Path(options.pop("folder"))) as journal:
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            said: Any = asdict(run(options.pop("url"), journal.folder, journal=journal, **options))
    except Interrupted as stop:
        said = {"interrupted": str(stop), "summary": asdict(stop.summary)}
    except RouterError as error:
        said = {"error": str(error)}
    pipe.send(said)


@contextmanager
def child(
    url: str, folder: Path, limit: int | None = None, **options: Any
) -> Iterator[tuple[BaseProcess, Any]]:
    """A run in a process of its own, and where it says how it ended."""
    ours, theirs = FORKS.Pipe(duplex=False)
    told = str(folder.parent / f"{folder.name}.stderr")
    process = FORKS.Process(
        target=_run_in_child, args=(theirs, told, limit, {"url": url, "folder": str(folder), **options})
    )
    process.start()
    theirs.close()
    try:
        yield process, ours
    finally:
        process.kill()
        process.join()
        process.close()
        ours.close()


def _lines(folder: Path) -> int:
    path = folder / JOURNAL_FILE
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _content(folder: Path, count: int) -> dict[str, Any]:
    """All that answers say, but the time they took and the provider's number for the request."""
    found = {label: asdict(answer) for label, answer in answers(folder, count).items() if answer is not None}
    return {
        label: {name: value for name, value in answer.items() if name not in ("latency_ms", "request_id")}
        for label, answer in found.items()
    }


@pytest.mark.pipeline
def test_killed_twenty_times_it_is_as_if_never_and_nothing_is_paid_twice(tmp_path: Path) -> None:
    count, kills = 150, 20
    chance = random.Random(8)  # noqa: S311
    with standin() as server:
        run(server.url, tmp_path / "whole", count)
        whole = server.bill()
    with standin("--latency-ms", "4") as server:
        folder = tmp_path / "killed"
        for kill in range(kills):
            left = 1 + 2 * 3 * count - _lines(folder)
            target = _lines(folder) + chance.randint(0, max(1, 2 * left // (kills - kill + 3)))
            with child(server.url, folder, count=count, concurrency=16) as (process, pipe):
                wait_until(lambda: _lines(folder) >= target or pipe.poll(), "the run does not go on")  # noqa: B023
                assert not pipe.poll(), "the run was over before it was killed"
                process.kill()
        with child(server.url, folder, count=count, concurrency=16) as (_, pipe):
            summary = pipe.recv()
        bill = server.bill()
    assert _content(tmp_path / "whole", count) == _content(folder, count)
    assert 3 * count == len(_content(folder, count))
    assert (0, 0, 3 * count) == (bill["billed_twice"], bill["keys_billed_twice"], bill["calls"])
    assert bill["usd"] == pytest.approx(whole["usd"])
    assert summary["made"] + summary["resumed"] == 3 * count
    with Journal.open(folder) as journal:
        assert not journal.unsettled
        assert journal.spent_usd == pytest.approx(bill["usd"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_once_it_ends_what_is_under_way(tmp_path: Path, number: int) -> None:
    folder = tmp_path / "run"
    with standin("--latency-ms", "50") as server:
        with child(server.url, folder, count=2000, concurrency=8) as (process, pipe):
            wait_until(lambda: _lines(folder) > 20, "nothing is written")
            assert process.pid is not None
            os.kill(process.pid, number)
            said = pipe.recv()
        bill = server.bill()
        made = said["summary"]["made"]
        assert made == bill["calls"] == bill["requests"]
        assert (
            f"interrupted: {made:,} calls made; what was answered is kept in {folder}; run the same command again to go on"
            == said["interrupted"]
        )
        assert "interrupted" == said["summary"]["stopped"]
        with Journal.open(folder) as journal:
            assert not journal.unsettled
        assert "calls are under way, and end first" in (tmp_path / "run.stderr").read_text()


def test_interrupted_twice_it_ends_at_once_and_knows_what_it_sent(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with (
        raw_server(lambda number, _request: http(completion()) if number < 3 else None) as raw,
        child(raw.url, folder, count=100, names=ONE, concurrency=4) as (process, pipe),
    ):
        wait_until(lambda: len(raw.requests) == 7, "the requests do not come")
        assert process.pid is not None
        os.kill(process.pid, signal.SIGINT)
        wait_until(lambda: "under way" in (tmp_path / "run.stderr").read_text(), "it says nothing")
        os.kill(process.pid, signal.SIGINT)
        said = pipe.recv()
    assert (
        "interrupted: 3 calls made, 4 sent and not answered, which it sends again with the same key"
        in said["interrupted"]
    )
    with Journal.open(folder) as journal:
        assert 4 == len(journal.unsettled)
        assert journal.possibly_usd == pytest.approx(
            sum(each.most_usd for each in journal.unsettled.values())
        )
    before = raw.keys()
    with raw_server(lambda _number, _request: http(completion())) as raw:
        assert 97 == run(raw.url, folder, 100, names=ONE).made
        assert set(before[3:]) <= set(raw.keys())


def test_interrupted_while_it_waits_to_try_again(tmp_path: Path) -> None:
    """What was refused is told; what may have been billed stays open, so that the next run sends it again."""
    folder = tmp_path / "run"
    wait = "retry-after: 200"
    with (
        raw_server(lambda number, _request: http(b"{}", "503 Busy", wait) if number else b"") as raw,
        child(raw.url, folder, count=2, names=ONE, concurrency=2, fields={"max_attempts": 9}) as (
            process,
            pipe,
        ),
    ):
        wait_until(lambda: len(raw.requests) >= 3, "the request that was cut off is not made again")
        assert process.pid is not None
        os.kill(process.pid, signal.SIGINT)
        said = pipe.recv()
    assert {"server_error": 2} == said["summary"]["by_status"]
    assert said["summary"]["possibly_usd"] > 0


def test_interrupted_before_it_tries_again_what_may_have_been_billed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with (
        raw_server(lambda _number, _request: b"") as raw,
        child(raw.url, folder, count=1, names=ONE, fields={"max_attempts": 9}, backoff=36_000.0) as (
            process,
            pipe,
        ),
    ):
        wait_until(lambda: raw.requests, "nothing is sent")
        assert process.pid is not None
        os.kill(process.pid, signal.SIGINT)
        said = pipe.recv()
    assert 0 == said["summary"]["made"]
    assert "1 sent and not answered" in said["interrupted"]
    with Journal.open(folder) as journal:
        (intent,) = journal.unsettled.values()
        assert (
            intent.most_usd
            == pytest.approx(journal.possibly_usd)
            == pytest.approx(said["summary"]["possibly_usd"])
        )
    with raw_server(lambda _number, _request: http(completion())) as later:
        assert 1 == run(later.url, folder, 1, names=ONE).resent
    assert raw.keys() == later.keys()


def test_a_prompt_is_logged_nowhere_whatever_the_sdk_was_told(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from calling import run; run(sys.argv[1], Path(sys.argv[2]), 3)"
    env = os.environ | {
        "OPENAI_LOG": "debug",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
    }
    with standin() as server:
        command = [sys.executable, "-c", code, server.url, str(tmp_path / "run")]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        assert 9 == server.bill()["calls"]
    assert "" == done.stdout
    assert "What is" not in done.stderr


def test_a_disk_that_is_full_midway(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with standin() as server:
        with child(server.url, folder, limit=100_000, count=400, concurrency=16) as (_, pipe):
            said = pipe.recv()
        assert (
            f"journal {folder / JOURNAL_FILE}: cannot be written (File too large); make room" in said["error"]
        )
        with child(server.url, folder, count=400, concurrency=16) as (_, pipe):
            assert pipe.recv()["resumed"] > 50
        assert 0 == server.bill()["keys_billed_twice"]
    assert 1200 == sum(answer is not None for answer in answers(folder, 400).values())


def test_a_second_run_on_the_same_journal(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with standin("--latency-ms", "50") as server, child(server.url, folder, count=2000) as (process, _):
        wait_until(lambda: _lines(folder) > 2, "nothing is written")
        with pytest.raises(RouterError, match=f"another run holds {folder / 'lock'}: pid {process.pid} of"):
            run(server.url, folder, 1)


def test_a_key_is_written_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even by a server that says it back in every place it can, with each status."""
    secret = "sk-5ecret0123456789abcdef"  # noqa: S105
    monkeypatch.setenv("TIERWISE_TEST_KEY", secret)
    monkeypatch.setenv("OPENAI_LOG", "debug")
    error = {"error": {"message": f"no {secret}", "code": secret, "type": f"bad_{secret}", "param": secret}}
    headers = (f"x-request-id: {secret}/", f"x-why: {secret}", f"retry-after: {secret}")
    statuses = ["200 OK", "400 No", "401 No", "404 No", "429 No", "500 No"]
    told = io.StringIO()
    said = []
    for status in statuses:
        with (
            raw_server(
                lambda _n, _r, status=status: http(json.dumps(error).encode(), status, *headers)
            ) as raw,
            contextlib.redirect_stderr(told),
            contextlib.suppress(EndpointClosed),
        ):
            try:
                said.append(str(run(raw.url, tmp_path / status[:3], 7, names=ONE)))
            except EndpointClosed as closed:
                said.append(str(closed))
                raise
            finally:
                assert all(secret.encode() in request for request in raw.requests)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert len(statuses) == len(said)
    assert secret.encode() not in written + told.getvalue().encode() + " ".join(said).encode()
    assert b"5ecret" not in written
