"""Calls through the Batch API come to what calls by themselves do, at half the price, whatever the provider does to them."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from batched import ONE, QUICK, TWO, answers, endpoints_of, run, units_of
from openai import OpenAI
from served import wait_until
from standin import Standin, standin

from eval.progress import Progress
from eval.status import Status
from router.errors import ConfigError, RouterError
from training.calls.answer import Answer
from training.calls.batch import BatchLimits, run_batches
from training.calls.batch_provider import Provider
from training.calls.batch_spool import most_in_batch
from training.calls.engine import run_calls
from training.calls.journal import Journal
from training.calls.outcome import EndpointClosed, Interrupted
from training.calls.records import Intent


@pytest.fixture(scope="module")
def running() -> Iterator[Standin]:
    with standin("--ignore-idempotency") as server:
        yield server


@pytest.fixture
def server(running: Standin) -> Standin:
    running.fail()
    running.reset()
    return running


def singly(server: Standin, folder: Path, n: int = 10) -> None:
    endpoints = endpoints_of(server.url)
    with Journal.open(folder) as journal:
        run_calls(units_of(endpoints, n), endpoints, journal, progress=Progress(), total=2 * n)


def statuses(found: Mapping[str, Answer]) -> Counter[str]:
    return Counter(answer.status.value for answer in found.values())


def nothing_twice(server: Standin) -> None:
    assert 0 == server.bill()["keys_billed_twice"]


def test_it_answers_as_calls_by_themselves_do_at_half_the_price(server: Standin, tmp_path: Path) -> None:
    singly(server, tmp_path / "singly")
    dear = server.bill()["usd"]
    server.reset()
    summary = run(server.url, tmp_path / "batch")
    bill = server.bill()
    assert dear / 2 == pytest.approx(bill["usd"])
    assert bill["usd"] == pytest.approx(summary.spent_usd)
    assert (20, {"answered": 20}, None) == (summary.made, summary.by_status, summary.stopped)
    assert (2, 2) == (bill["files"], bill["batches"])  # one for each tier
    assert dict.fromkeys(("standin-small", "standin-large"), 10) == {
        model: each["calls_in_batches"] for model, each in bill["models"].items() if each["calls"]
    }
    expected, found = answers(server.url, tmp_path / "singly"), answers(server.url, tmp_path / "batch")
    assert expected.keys() == found.keys()
    for key, answer in found.items():
        same = {"cost_usd": answer.cost_usd * 2, "latency_ms": 0.0, "request_id": None}
        alone = replace(expected[key], latency_ms=0.0, request_id=None)
        assert alone == replace(answer, **same)


def test_what_is_answered_is_not_asked_again(server: Standin, tmp_path: Path) -> None:
    run(server.url, tmp_path, 5)
    summary = run(server.url, tmp_path, 8)
    assert (6, 10) == (summary.made, summary.resumed)
    assert 16 == server.bill()["calls"]
    nothing_twice(server)


@pytest.mark.parametrize("limits", [BatchLimits(requests=4), BatchLimits(bytes=1000)])
def test_it_splits_at_the_limits_of_a_batch(tmp_path: Path, limits: BatchLimits) -> None:
    with standin("--batch-requests", str(limits.requests), "--batch-bytes", str(limits.bytes)) as server:
        summary = run(server.url, tmp_path, 10, tiers=ONE, limits=limits)
        assert (10, {"answered": 10}) == (summary.made, summary.by_status)
        assert 3 <= server.bill()["batches"] <= 4


def test_a_call_longer_than_any_batch_is_given_up(server: Standin, tmp_path: Path) -> None:
    summary = run(server.url, tmp_path, 3, tiers=ONE, limits=BatchLimits(bytes=100))
    assert ({"rejected": 3}, 0) == (summary.by_status, server.bill()["batches"])


def test_the_same_call_twice_in_a_plan_is_submitted_once(server: Standin, tmp_path: Path) -> None:
    endpoints = endpoints_of(server.url, ONE)
    unit = units_of(endpoints, 1)[0]
    twice = [type(unit)(unit.calls * 2), unit]
    with Journal.open(tmp_path) as journal:
        summary = run_batches(twice, endpoints, journal, progress=Progress(), total=3, pace=QUICK)
    assert (1, 1) == (summary.made, server.bill()["calls"])


# What fails of a batch.


def test_each_call_is_what_became_of_it(server: Standin, tmp_path: Path) -> None:
    kinds = {
        "server_error": "server_error", "rate_limited": "rate_limited", "filtered_400": "filtered", "timeout": "timeout",
        "rejected": "rejected", "refused": "refused", "empty": "empty", "no_completion": "malformed", "malformed": "malformed",
    }  # fmt: skip
    server.fail(*({"kind": kind, "rate": 0.2} for kind in kinds))
    summary = run(server.url, tmp_path, 40)
    found = statuses(answers(server.url, tmp_path, 40))
    assert {*kinds.values(), "answered"} == {*found}
    assert found == summary.by_status
    assert 0.0 < summary.possibly_usd
    server.fail()
    again = run(server.url, tmp_path, 40)
    retried = found["server_error"] + found["rate_limited"]
    assert (retried, {"answered": retried}) == (again.made, again.by_status)
    nothing_twice(server)


def test_without_usage_tokens_are_estimated(server: Standin, tmp_path: Path) -> None:
    server.fail({"kind": "no_usage"})
    run(server.url, tmp_path, 3)
    found = answers(server.url, tmp_path, 3)
    assert all(answer.usage_is_estimate and (answer.input_tokens or 0) > 5 for answer in found.values())


@pytest.mark.parametrize("kind", ["batch_expired", "batch_cancelled"])
def test_what_was_not_run_costs_nothing_and_is_submitted_by_the_next_run(
    server: Standin, tmp_path: Path, kind: str
) -> None:
    server.fail({"kind": kind, "rate": 0.4})
    summary = run(server.url, tmp_path)
    assert (12, "ended", 0, 0.0) == (summary.made, summary.stopped, summary.in_batch, summary.possibly_usd)
    assert server.bill()["usd"] == pytest.approx(summary.spent_usd)
    server.fail()
    assert (8, None) == ((again := run(server.url, tmp_path)).made, again.stopped)
    assert {"answered": 20} == statuses(answers(server.url, tmp_path))
    nothing_twice(server)


def test_a_batch_cancelled_by_hand_keeps_what_was_done(server: Standin, tmp_path: Path) -> None:
    server.fail({"kind": "batch_held"})

    def cancel() -> None:
        wait_until(lambda: server.bill()["calls"] == 5, "half of the batch is not done")
        server.ask("/v1/batches/batch_000001/cancel", {})

    with during(cancel):
        summary = run(server.url, tmp_path, tiers=ONE)
    assert (5, "ended") == (summary.made, summary.stopped)
    server.fail()
    run(server.url, tmp_path, tiers=ONE)
    assert 10 == len(answers(server.url, tmp_path, tiers=ONE)) == server.bill()["calls"]


def test_lines_that_are_at_fault_are_given_up_and_the_others_submitted(
    server: Standin, tmp_path: Path
) -> None:
    server.fail({"kind": "batch_line", "rate": 0.3})
    summary = run(server.url, tmp_path, 20, tiers=ONE)
    assert {"answered", "rejected"} == {*summary.by_status}
    assert 20 == summary.made
    assert summary.by_status["answered"] == server.bill()["calls"]
    assert {"invalid_request"} == {
        answer.code
        for answer in answers(server.url, tmp_path, 20, ONE).values()
        if answer.status is Status.REJECTED
    }
    nothing_twice(server)


def test_where_the_queue_is_full_smaller_batches_go_one_at_a_time(server: Standin, tmp_path: Path) -> None:
    server.fail({"kind": "batch_failed", "first": 2})
    summary = run(server.url, tmp_path, 12, tiers=ONE)
    assert ({"answered": 12}, None) == (summary.by_status, summary.stopped)
    assert 12 == server.bill()["calls"]
    assert 4 < server.bill()["batches"]


def test_where_nothing_passes_validation_it_says_so_and_owes_nothing(tmp_path: Path) -> None:
    with standin("--batch-requests", "3") as server:
        with pytest.raises(
            EndpointClosed,
            match=r"tier small: batch batch_000001 of 10 calls did not pass .*too_many_requests",
        ):
            run(server.url, tmp_path, tiers=ONE)
        assert {} == answers(server.url, tmp_path, tiers=ONE)
        assert 10 == run(server.url, tmp_path, tiers=ONE, limits=BatchLimits(requests=3)).made
        assert 10 == server.bill()["calls"]
    with standin(faults=[{"kind": "batch_failed"}]) as server:
        with pytest.raises(EndpointClosed, match="token_limit_exceeded"):
            run(server.url, tmp_path / "full", tiers=ONE)
        assert 0 == owed(tmp_path / "full")


def owed(folder: Path) -> float:
    with Journal.open(folder) as journal:
        assert {} == journal.unsettled
        return journal.spent_usd + journal.possibly_usd


# The provider and the network.


def test_a_batch_whose_creation_was_not_confirmed_is_found_and_not_created_again(
    server: Standin, tmp_path: Path
) -> None:
    server.fail({"kind": "batch_lost"})
    assert {"answered": 20} == run(server.url, tmp_path).by_status
    assert 2 == server.bill()["batches"]
    nothing_twice(server)


@pytest.mark.parametrize("kind", ["batch_server_error", "batch_cut"])
def test_a_provider_that_is_unwell_is_asked_again(server: Standin, tmp_path: Path, kind: str) -> None:
    server.fail({"kind": kind, "first": 2})
    assert {"answered": 10} == run(server.url, tmp_path, tiers=ONE).by_status
    assert 10 == server.bill()["calls"]


def test_a_provider_that_stays_unwell_is_left_and_its_batches_taken_up_later(
    server: Standin, tmp_path: Path
) -> None:
    def fall_ill() -> None:
        wait_until(lambda: server.bill()["batches"], "there is no batch")
        server.fail({"kind": "batch_server_error"})

    server.fail({"kind": "batch_held"})
    with (
        during(fall_ill),
        pytest.raises(EndpointClosed, match=r"could not be looked at: 127.0.0.1:\d+ answered 500") as stop,
    ):
        run(server.url, tmp_path, tiers=ONE)
    assert (10, "closed") == (stop.value.summary.in_batch, stop.value.summary.stopped)
    server.fail()
    assert 10 == run(server.url, tmp_path, tiers=ONE).made
    assert (10, 1) == (server.bill()["calls"], server.bill()["batches"])


def test_a_provider_may_be_silent_for_a_while(server: Standin, tmp_path: Path) -> None:
    def fall_ill_and_recover() -> None:
        wait_until(lambda: server.bill()["batches"], "there is no batch")
        server.fail({"kind": "batch_server_error", "first": 4})  # more than one look has attempts

    server.fail({"kind": "batch_held"})
    with during(fall_ill_and_recover):
        summary = run(server.url, tmp_path, tiers=ONE, pace=QUICK._replace(patience_s=60.0))
    assert (10, 1) == (summary.made, server.bill()["batches"])


def test_results_that_are_gone_are_said_to_be(
    server: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    download = Provider.download

    def after_a_month(self: Provider, file_id: str, path: Path) -> None:
        with OpenAI(base_url=server.url, api_key="any") as client:
            client.files.delete(file_id)
        download(self, file_id, path)

    monkeypatch.setattr(Provider, "download", after_a_month)
    summary = run(server.url, tmp_path, tiers=ONE)
    assert ({"cut_off": 10}, None) == (summary.by_status, summary.stopped)
    assert {"results_gone"} == {answer.code for answer in answers(server.url, tmp_path, tiers=ONE).values()}
    assert server.bill()["usd"] <= summary.possibly_usd
    monkeypatch.setattr(Provider, "download", download)
    assert 0 == run(server.url, tmp_path, tiers=ONE).made
    assert 10 == run(server.url, tmp_path, tiers=ONE, retry=frozenset({Status.CUT_OFF})).made


def test_a_key_that_is_refused_is_named_and_nothing_is_owed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "wrong-key-0123456789")
    how: dict[str, Any] = {"tiers": ONE, "endpoint": {"api_key_env": "MY_KEY"}}
    with standin("--api-key", "right") as server:
        with pytest.raises(
            EndpointClosed, match=r"answered 401 \(invalid_api_key\); set the right key in MY_KEY"
        ) as stop:
            run(server.url, tmp_path, **how)
        assert "wrong-key" not in str(stop.value)
        assert 0 == owed(tmp_path)
        monkeypatch.setenv("MY_KEY", "right")
        assert 10 == run(server.url, tmp_path, **how).made


def test_nobody_there_is_said_and_nothing_is_owed(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    with pytest.raises(EndpointClosed, match=r"could not be uploaded: 127.0.0.1:.* did not answer"):
        run(url, tmp_path, tiers=ONE, endpoint={"max_attempts": 2})
    assert 0 == owed(tmp_path)


def test_one_endpoint_that_is_down_does_not_keep_the_other(server: Standin, tmp_path: Path) -> None:
    endpoints = endpoints_of(server.url)
    endpoints["small"] = replace(endpoints["small"], base_url=f"{server.url}/nowhere")
    with (
        Journal.open(tmp_path) as journal,
        pytest.raises(EndpointClosed, match=r"tier small: .* answered 404") as stop,
    ):
        run_batches(units_of(endpoints, 5), endpoints, journal, progress=Progress(), total=10, pace=QUICK)
    assert {"answered": 5} == stop.value.summary.by_status


# Budget, interruption, and calls by themselves.


def test_it_spends_no_more_than_the_budget_and_goes_on_as_batches_cost_less(
    server: Standin, tmp_path: Path
) -> None:
    endpoints = endpoints_of(server.url, endpoint_values := TWO)
    units = units_of(endpoints, 10)
    most = [
        sum(most_in_batch(endpoints[c.endpoint], c.messages) for c in unit.calls) / 1e12 for unit in units
    ]
    budget = sum(most[:3])
    summary = run(server.url, tmp_path, budget_usd=budget, tiers=endpoint_values)
    assert (20, None) == (summary.made, summary.stopped)  # an answer costs far less than it can at most
    assert 2 < server.bill()["batches"]
    assert server.bill()["usd"] <= budget
    tight = run(server.url, tmp_path / "tight", budget_usd=most[0] * 0.9)
    assert (0, "budget") == (tight.made, tight.stopped)


def test_interrupted_it_leaves_batches_running_and_goes_on_with_them(server: Standin, tmp_path: Path) -> None:
    server.fail({"kind": "batch_held"})

    def interrupt() -> None:
        wait_until(lambda: server.bill()["batches"] == 2, "the batches are not there")
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with (
        during(interrupt),
        pytest.raises(Interrupted, match=r"20 calls are in batches.* run again and wait") as stop,
    ):
        run(server.url, tmp_path, command="again and wait")
    assert before == signal.getsignal(signal.SIGINT)
    assert (20, "interrupted") == (stop.value.summary.in_batch, stop.value.summary.stopped)
    server.fail()
    assert 20 == run(server.url, tmp_path).made
    assert (20, 2) == (server.bill()["calls"], server.bill()["batches"])


def test_calls_in_batches_are_not_sent_by_themselves(server: Standin, tmp_path: Path) -> None:
    endpoints = endpoints_of(server.url, ONE)
    units = units_of(endpoints, 3)
    with Journal.open(tmp_path) as journal:
        journal.commit([Intent(units[0].calls[0].key, "small", 0.1, via="some-batch")])
        summary = run_calls(units, endpoints, journal, progress=Progress(), total=3)
    assert (2, 1) == (summary.made, summary.in_batch)


@pytest.mark.parametrize(("unsettled", "made"), [("retry", 3), ("skip", 2)])
def test_calls_sent_by_themselves_do_not_go_into_batches(
    server: Standin, tmp_path: Path, unsettled: Any, made: int
) -> None:
    endpoints = endpoints_of(server.url, ONE)
    units = units_of(endpoints, 3)
    with Journal.open(tmp_path) as journal:
        journal.commit([Intent(units[0].calls[0].key, "small", 0.1)])
        summary = run_batches(
            units, endpoints, journal, progress=Progress(), total=3, unsettled=unsettled, pace=QUICK
        )
    assert (made, made - 2, 3 - made) == (summary.made, summary.resent, summary.unsettled)
    assert 2 == server.bill()["models"]["standin-small"]["calls_in_batches"]


def test_a_batch_of_a_tier_that_is_gone_is_said(server: Standin, tmp_path: Path) -> None:
    server.fail({"kind": "batch_held"})
    stop = threading.Thread(
        target=lambda: (
            wait_until(lambda: server.bill()["batches"] == 2, "no batch"),
            os.kill(os.getpid(), signal.SIGINT),
        )
    )
    stop.start()
    with pytest.raises(Interrupted):
        run(server.url, tmp_path)
    stop.join()
    with pytest.raises(RouterError, match="holds a batch of tier large, which is not among small"):
        run(server.url, tmp_path, tiers=ONE)


def test_a_key_that_is_not_set_is_missed_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_KEY", raising=False)
    with pytest.raises(ConfigError, match="NO_KEY"):
        run("http://example.invalid/v1", tmp_path, tiers=ONE, endpoint={"api_key_env": "NO_KEY"})
    assert 0 == owed(tmp_path)


def test_a_spool_that_cannot_be_written_is_said_and_nothing_is_owed(tmp_path: Path) -> None:
    tmp_path.joinpath("batches").write_text("in its place")
    with pytest.raises(
        RouterError, match=r"the requests of a batch cannot be written .*these were not submitted"
    ):
        run("http://127.0.0.1:1/v1", tmp_path, tiers=ONE)
    assert 0 == owed(tmp_path)


def test_it_never_tells_what_was_asked(
    server: Standin, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.fail({"kind": "batch_line", "rate": 0.5})
    run(server.url, tmp_path, tiers=ONE)
    out, err = capfd.readouterr()
    assert "submitted" in err
    assert "Compute" not in out + err
    assert b"Compute" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


class during:  # noqa: N801 - reads as a statement
    """Do something in a thread meanwhile; what it raises is raised at the end."""

    def __init__(self, act: Any) -> None:
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(act,))

    def _run(self, act: Any) -> None:
        try:
            act()
        except BaseException as error:
            self._error = error

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error
