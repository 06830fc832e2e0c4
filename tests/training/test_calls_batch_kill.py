"""A run by batches that is killed at any step goes on where it stopped: nothing is submitted, or billed, twice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from batched import ONE, SIX, answers, run
from standin import Standin, standin
from toys import ROOT


@pytest.fixture(scope="module")
def server() -> Iterator[Standin]:
    with standin("--ignore-idempotency") as running:  # nothing may hang on the provider's kindness
        yield running


@pytest.fixture(scope="module")
def killer() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(ROOT / "tests" / "batched.py")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        yield process
        process.communicate(timeout=60)
        assert 0 == process.returncode


def attempt(killer: subprocess.Popen[str], server: Standin, folder: Path, step: int) -> Any:
    def stream(found: IO[str] | None) -> IO[str]:
        assert found
        return found

    print(
        json.dumps({"url": server.url, "folder": str(folder), "step": step}),
        file=stream(killer.stdin),
        flush=True,
    )
    return json.loads(stream(killer.stdout).readline())


@pytest.mark.pipeline
def test_killed_at_any_step_it_ends_as_if_it_had_not_been(
    killer: subprocess.Popen[str], server: Standin, tmp_path: Path
) -> None:
    server.reset()
    steps = attempt(killer, server, tmp_path / "whole", -1)["passed"]
    whole, bill = answers(server.url, tmp_path / "whole", tiers=ONE), server.bill()
    assert 10 == len(whole) == bill["calls"]
    assert 2 == bill["batches"]  # 10 calls, 6 in a batch
    assert 40 < steps
    for step in range(1, steps, 2):  # after each; before the next is the same
        server.reset()
        folder = tmp_path / str(step)
        assert {"killed": step} == attempt(killer, server, folder, step)
        summary = run(server.url, folder, tiers=ONE, limits=SIX)
        found = server.bill()
        assert whole == answers(server.url, folder, tiers=ONE), step
        assert bill == found | {"files": bill["files"]}, step  # what was uploaded again costs nothing
        assert found["files"] <= bill["files"] + 1
        assert (None, 0, 0) == (summary.stopped, summary.in_batch, found["keys_billed_twice"])
        assert [] == list((folder / "batches").iterdir())


def test_killed_again_and_again_it_still_pays_once(
    killer: subprocess.Popen[str], server: Standin, tmp_path: Path
) -> None:
    server.reset()
    kills = 0
    while "killed" in attempt(killer, server, tmp_path, 3 + 2 * kills):
        kills += 1
    assert 3 < kills
    assert 10 == len(answers(server.url, tmp_path, tiers=ONE)) == server.bill()["calls"]
    assert 2 == server.bill()["batches"]
