"""Killed at any time and started again, it ends as if nobody had, and nothing is paid twice."""

from __future__ import annotations

import random
import signal
from pathlib import Path
from typing import Any

import pytest
from collecting import Ended, finish, journal_of, rows_of, start
from served import MOST_SECONDS, wait_until
from standin import Standin, make_prompts, standin

LATENCY_MS = 20


def whole(prompts: Path, out: Path, *flags: object) -> tuple[list[dict[str, Any]], float]:
    """The history of a run that nobody killed, less what differs, and its bill."""
    with standin() as server:
        ended = finish(start(prompts, out, server.url, *flags))
        assert 0 == ended.code, ended.err
        return rows_of(out, "latency_ms"), server.bill()["usd"]


def kill_after(server: Standin, prompts: Path, out: Path, calls: int, *flags: object) -> Ended | None:
    """Start the command and kill it once so many calls were made since; None, or how it ended before."""
    before = server.bill()["calls"]
    process = start(prompts, out, server.url, "--concurrency", 8, *flags)
    try:
        wait_until(
            lambda: process.poll() is not None or server.bill()["calls"] >= before + calls,
            "no calls are made",
            MOST_SECONDS,
        )
    finally:
        process.send_signal(signal.SIGKILL)
    ended = finish(process)
    return None if ended.code == -signal.SIGKILL else ended


def kill_often(tmp_path: Path, n: int, kills: int, *flags: str, budget_share: float | None = None) -> int:
    """Kill a run over n prompts and return how many calls were sent again; `flags` are the server's.

    Where the budget is a share of what all prompts cost, the provider is trusted to bill a key once.
    """
    prompts = make_prompts(tmp_path / "prompts.jsonl", n)
    expected, usd = whole(prompts, tmp_path / "whole.jsonl")
    budget: tuple[object, ...] = ()
    if budget_share is not None:
        budget = ("--budget-usd", f"{usd * budget_share:.9f}")
        all_rows = len(expected)
        expected, usd = whole(prompts, tmp_path / "sampled.jsonl", *budget)
        assert 0 < len(expected) < all_rows
    total = len(expected)
    calls = random.Random(n)  # noqa: S311 - no secret hangs on it
    out = tmp_path / "killed.jsonl"
    done = 0
    with standin("--latency-ms", str(LATENCY_MS), *flags) as server:
        while done < kills:
            # From the first call on; the mean leaves a sixth of the calls for the run that ends well.
            ended = kill_after(server, prompts, out, calls.randint(0, 2 * (5 * total // 6) // kills), *budget)
            if ended:
                break
            done += 1
            assert not out.exists()
        ended = finish(start(prompts, out, server.url, *budget))
        assert 0 == ended.code, ended.err
        bill = server.bill()
    assert kills - 2 <= done, "it was killed about as often as said"
    assert expected == rows_of(out, "latency_ms")
    assert (total, 0, 0) == (bill["calls"], bill["billed_twice"], bill["keys_billed_twice"])
    assert usd == pytest.approx(bill["usd"], rel=1e-9)
    assert usd == pytest.approx(ended.result["spent_usd"], rel=1e-9)
    assert {"journal", "dead_letters.jsonl"} <= {
        path.stem if "journal" in path.name else path.name for path in journal_of(out).iterdir()
    }
    return int(bill["given_again"])


@pytest.mark.pipeline
def test_killed_five_times(tmp_path: Path) -> None:
    assert 0 <= kill_often(tmp_path, 60, 5)


@pytest.mark.pipeline
def test_killed_five_times_within_a_budget(tmp_path: Path) -> None:
    assert 0 <= kill_often(tmp_path, 120, 5, budget_share=0.5)


@pytest.mark.pipeline
def test_killed_twenty_times(tmp_path: Path) -> None:
    assert 0 < kill_often(tmp_path, 300, 20), "some were answered and not yet written down"


@pytest.mark.pipeline
def test_killed_twenty_times_within_a_budget(tmp_path: Path) -> None:
    assert 0 < kill_often(tmp_path, 400, 20, budget_share=0.7)


@pytest.mark.pipeline
def test_killed_twenty_times_among_failures(tmp_path: Path) -> None:
    assert 0 < kill_often(
        tmp_path, 200, 20, "--faults",
        '[{"kind": "server_error", "rate": 0.1, "attempts": 1}, {"kind": "cut_off", "rate": 0.1, "attempts": 1}]',
    )  # fmt: skip


@pytest.mark.pipeline
def test_killed_within_a_budget_it_never_pays_more(tmp_path: Path) -> None:
    """What was in flight may have been paid, and counts at its most: such runs end early, and a larger budget mends it."""
    prompts = make_prompts(tmp_path / "prompts.jsonl", 200)
    expected, usd = whole(prompts, tmp_path / "whole.jsonl")
    out, calls, done = tmp_path / "killed.jsonl", random.Random(1), 0  # noqa: S311 - no secret hangs on it
    with standin("--latency-ms", str(LATENCY_MS)) as server:
        for budget in (usd / 4, usd / 2):
            ended = None
            for _ in range(10):
                ended = kill_after(server, prompts, out, calls.randint(0, 20), "--budget-usd", budget)
                done += ended is None
                assert server.bill()["usd"] <= budget
                if ended:
                    break
            ended = ended or finish(start(prompts, out, server.url, "--budget-usd", budget))
            assert 0 == ended.code, ended.err
            assert server.bill()["usd"] <= budget
        assert 0 == finish(start(prompts, out, server.url)).code
        bill = server.bill()
    assert done > 1
    assert expected == rows_of(out, "latency_ms")
    assert (len(expected), 0) == (bill["calls"], bill["billed_twice"])


@pytest.mark.pipeline
def test_calls_in_flight_are_sent_again_or_left(tmp_path: Path) -> None:
    prompts = make_prompts(tmp_path / "prompts.jsonl", 20)
    out = tmp_path / "history.jsonl"
    with standin("--latency-ms", "300") as server:
        assert kill_after(server, prompts, out, 1) is None
        left = finish(start(prompts, out, server.url, "--unsettled", "skip"))
        unsettled = left.result["unsettled"]
        assert (0, True) == (left.code, unsettled > 0), left.err
        statuses = [row["status"] for row in rows_of(out)]
        assert unsettled == statuses.count("unsettled") == left.result["dead_letters"]
        assert left.result["possibly_usd"] > 0.0
        again = finish(start(prompts, out, server.url))
        assert (0, unsettled, 0) == (again.code, again.result["resent"], again.result["unsettled"]), again.err
        bill = server.bill()
    assert {"answered"} == {row["status"] for row in rows_of(out)}
    assert (60, 0) == (bill["calls"], bill["billed_twice"])


def test_stopped_by_ctrl_c_it_keeps_what_was_answered(tmp_path: Path) -> None:
    prompts = make_prompts(tmp_path / "prompts.jsonl", 40)
    out = tmp_path / "history.jsonl"
    with standin("--latency-ms", "50") as server:
        process = start(prompts, out, server.url, "--concurrency", 6)
        wait_until(lambda: server.bill()["calls"] >= 12, "no calls are made", MOST_SECONDS)
        process.send_signal(signal.SIGINT)
        ended = finish(process)
        calls = server.bill()["calls"]
        assert (130, "") == (ended.code, ended.out), ended.err
        assert "Traceback" not in ended.err
        assert "python -m training collect" in ended.err
        assert calls == len(rows_of(out)) < 120
        again = finish(start(prompts, out, server.url))
        assert (0, calls, 120 - calls) == (again.code, again.result["resumed"], again.result["calls"]["made"])
        assert (120, 0, 0) == tuple(server.bill()[name] for name in ("calls", "billed_twice", "given_again"))
    expected, _ = whole(prompts, tmp_path / "whole.jsonl")
    assert expected == rows_of(out, "latency_ms")


def test_two_at_a_time_are_refused(tmp_path: Path) -> None:
    prompts = make_prompts(tmp_path / "prompts.jsonl", 10)
    out = tmp_path / "history.jsonl"
    with standin("--latency-ms", "400") as server:
        first = start(prompts, out, server.url, "--concurrency", 4)
        wait_until(lambda: server.bill()["calls"] >= 1, "no calls are made", MOST_SECONDS)
        second = finish(start(prompts, out, server.url))
        assert 1 == second.code
        assert f"pid {first.pid}" in second.err
        assert 0 == finish(first).code
        assert (30, 0) == (server.bill()["calls"], server.bill()["billed_twice"])
