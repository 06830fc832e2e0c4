"""A run of calls: what is made, in which order, how often, and what it may cost. Against real servers of this machine."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
from calling import LADDER, answers, completion, endpoints, http, raw_server, run, units
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from standin import standin

from eval.status import Status
from router.errors import ConfigError
from training.calls import retries
from training.calls.budget import most_usd, picos
from training.calls.call import Unit
from training.calls.engine import EndpointClosed
from training.calls.journal import JOURNAL_FILE, Journal
from training.calls.records import Intent

ONE = ("small",)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_BACKOFF_S", 0.001)


def test_every_call_is_made_once_and_its_bill_is_the_providers(tmp_path: Path) -> None:
    with standin() as server:
        summary = run(server.url, tmp_path, 20)
        again = run(server.url, tmp_path, 20)
        bill = server.bill()
    assert (60, 0, {"answered": 60}, None) == (
        summary.made,
        summary.resumed,
        summary.by_status,
        summary.stopped,
    )
    assert (0, 60) == (again.made, again.resumed)
    assert (60, 60, 0) == (bill["requests"], bill["calls"], bill["keys_billed_twice"])
    assert bill["usd"] == pytest.approx(summary.spent_usd)
    found = answers(tmp_path, 20)
    assert all(answer is not None and answer.response and answer.latency_ms > 0 for answer in found.values())
    assert summary.spent_usd == pytest.approx(sum(answer.cost_usd for answer in found.values() if answer))


def test_an_attempt_that_fails_is_made_again_with_the_same_key(tmp_path: Path) -> None:
    def respond(number: int, _request: bytes) -> bytes:
        if number == 1:
            return http(b"{}", "503 Busy", "retry-after-ms: 1")
        if number == 2:
            return b""
        return http(b"{}", "500 No") if number == 0 else http(completion())

    with raw_server(respond) as raw:
        summary = run(raw.url, tmp_path, 1, names=ONE, fields={"max_attempts": 4})
    assert {"answered": 1} == summary.by_status
    (answer,) = answers(tmp_path, 1, ONE).values()
    assert answer is not None
    assert (4, 200) == (answer.attempts, answer.http_status)
    most = most_usd(endpoints(raw.url)["small"], next(units(1, ONE)).calls[0].messages)
    assert answer.possibly_usd == pytest.approx(most)  # the one that was cut off
    assert 1 == len(set(raw.keys()))
    assert 4 == len(raw.requests)


def test_what_no_waiting_mends_is_asked_once(tmp_path: Path) -> None:
    bodies = {0: (b"{}", "400 No"), 1: (b"{}", "401 No"), 2: (b"{}", "404 No")}
    quota = json.dumps({"error": {"code": "insufficient_quota"}}).encode()

    def respond(number: int, _request: bytes) -> bytes:
        return http(*bodies.get(number, (quota, "429 No")))

    with raw_server(respond) as raw:
        summary = run(raw.url, tmp_path, 4, names=ONE, concurrency=1, fields={"max_attempts": 5})
    assert {"rate_limited": 1, "rejected": 1, "unauthorized": 1, "unknown_model": 1} == summary.by_status
    assert 4 == len(raw.requests)


@pytest.mark.parametrize("how", ["retry-after-ms: 400", "retry-after: 1", "date"])
def test_a_storm_of_429_pauses_the_endpoint(tmp_path: Path, how: str) -> None:
    calm = threading.Event()
    header = how

    def respond(number: int, _request: bytes) -> bytes:
        if number < 4:
            name = f"retry-after: {formatdate(time.time() + 2, usegmt=True)}" if how == "date" else header
            return http(b"{}", "429 Slow down", name)
        calm.set()
        return http(completion())

    with raw_server(respond) as raw:
        summary = run(raw.url, tmp_path, 12, names=ONE, concurrency=4, fields={"max_attempts": 3})
    assert {"answered": 12} == summary.by_status
    assert calm.is_set()
    assert 4 + 12 == len(raw.requests)
    least = {"retry-after-ms: 400": 0.4, "retry-after: 1": 1.0, "date": 0.9}[how]
    assert raw.times[4] - raw.times[0] >= least


def test_an_endpoint_that_lets_nobody_in_is_closed_and_says_what_to_do(tmp_path: Path) -> None:
    with standin("--api-key", "right") as server:
        with pytest.raises(EndpointClosed) as closed:
            run(server.url, tmp_path, 100, concurrency=4)
        assert server.bill()["requests"] == 0
    host = server.url.split("/")[2]
    text = str(closed.value)
    assert f"at {host}: 5 calls in a row came to unauthorized (HTTP 401, invalid_api_key)" in text
    assert "check that TIERWISE_TEST_KEY holds a key" in text
    assert "what was answered is kept" in text
    summary = closed.value.summary
    assert {"unauthorized"} == set(summary.by_status)
    assert 5 <= summary.made <= 5 * 3 + 4
    assert ("closed", 0.0) == (summary.stopped, summary.spent_usd)


def test_the_others_answers_are_kept_when_one_endpoint_is_closed(tmp_path: Path) -> None:
    with standin(faults=[{"kind": "unknown_model", "models": ["standin-medium"]}]) as server:
        with pytest.raises(
            EndpointClosed, match=r"medium at .* unknown_model .* check the model's name, standin-medium"
        ):
            run(server.url, tmp_path, 50, concurrency=3)
        bill = server.bill()
        kept = [answer for answer in answers(tmp_path, 50).values() if answer is not None]
        assert bill["calls"] == sum(answer.status is Status.ANSWERED for answer in kept) > 0
        server.fail()
        assert 150 == run(server.url, tmp_path, 50).made + bill["calls"]
        assert 0 == server.bill()["keys_billed_twice"]


def test_an_endpoint_that_has_answered_is_given_time(tmp_path: Path) -> None:
    def respond(number: int, _request: bytes) -> bytes:
        return http(completion()) if number == 0 or number > 20 else http(b"{}", "401 No")

    with raw_server(respond) as raw:
        summary = run(raw.url, tmp_path, 30, names=ONE, concurrency=1)
    assert {"answered": 10, "unauthorized": 20} == summary.by_status


def test_a_provider_that_is_down_for_good_is_left(tmp_path: Path) -> None:
    with (
        raw_server(lambda number, _request: http(b"{}", "503 Down") if number else http(completion())) as raw,
        pytest.raises(EndpointClosed, match="100 calls in a row came to server_error"),
    ):
        run(raw.url, tmp_path, 400, names=ONE, concurrency=4)
    assert len(raw.requests) <= 1 + 100 + 4


def test_nobody_reads_ahead(tmp_path: Path) -> None:
    taken = 0

    def counted() -> Iterator[Unit]:
        nonlocal taken
        for unit in units(40, ONE):
            taken += 1
            yield unit

    ahead = []

    def respond(number: int, _request: bytes) -> bytes:
        ahead.append(taken - number)
        return http(completion())

    with raw_server(respond) as raw:
        run(raw.url, tmp_path, 40, names=ONE, units=counted(), concurrency=4)
    assert 40 == taken
    assert max(ahead) <= 4 + 1


def test_a_call_that_stands_twice_in_the_plan_is_made_once(tmp_path: Path) -> None:
    twice = [unit for unit in units(5, ONE) for _ in range(2)]
    with standin() as server:
        summary = run(server.url, tmp_path, 10, names=ONE, units=iter([*twice, Unit(twice[0].calls * 2)]))
        assert 5 == server.bill()["requests"]
    assert (5, 7) == (summary.made, summary.resumed)


def test_what_a_killed_run_sent(tmp_path: Path) -> None:
    calls = [unit.calls[0] for unit in units(4, ONE)]
    with standin() as server:
        with Journal.open(tmp_path) as journal:
            journal.commit([Intent(call.key, "small", 0.001) for call in calls[:2]])
            journal.commit([Intent(calls[2].key, "small", 0.002, via="batch 1")])
            skipped = run(server.url, tmp_path, 4, names=ONE, journal=journal, unsettled="skip")
            assert (1, 2, 1) == (skipped.made, skipped.unsettled, skipped.in_batch)
            assert {call.key for call in calls[:3]} == set(journal.unsettled)
            sent = run(server.url, tmp_path, 4, names=ONE, journal=journal)
            assert (2, 2, 0, 1, 1) == (sent.made, sent.resent, sent.unsettled, sent.in_batch, sent.resumed)
            assert {calls[2].key} == set(journal.unsettled)
            # The batch's; of the other two what was set aside beyond one request each: a key is billed once.
            most = [most_usd(endpoints(server.url)["small"], call.messages) for call in calls[:2]]
            assert journal.possibly_usd == pytest.approx(0.002 + sum(0.001 - each for each in most))
        assert 3 == server.bill()["calls"]


def test_what_is_asked_for_again(tmp_path: Path) -> None:
    with raw_server(
        lambda number, _request: http(completion("")) if number < 2 else http(completion())
    ) as raw:
        assert {"empty": 2} == run(raw.url, tmp_path, 2, names=ONE).by_status
        assert 0 == run(raw.url, tmp_path, 2, names=ONE).made
        assert {"answered": 2} == run(
            raw.url, tmp_path, 2, names=ONE, retry=frozenset({Status.EMPTY})
        ).by_status
    assert 4 == len(set(raw.keys()))  # or a provider would repeat the empty answer


def test_a_timeout_that_is_asked_for_again_has_its_old_key(tmp_path: Path) -> None:
    with raw_server(lambda number, _request: None if number == 0 else http(completion())) as raw:
        fields = {"timeout_s": 0.2}
        assert {"timeout": 1} == run(raw.url, tmp_path, 1, names=ONE, fields=fields).by_status
        run(raw.url, tmp_path, 1, names=ONE, retry=frozenset({Status.TIMEOUT}))
    assert 1 == len(set(raw.keys()))
    assert 2 == len(raw.requests)


def test_a_plan_that_fails_midway_leaves_a_good_journal(tmp_path: Path) -> None:
    def failing() -> Iterator[Unit]:
        yield from units(3, ONE)
        raise ConfigError("row 4 is bad")

    with standin() as server:
        with pytest.raises(ConfigError, match="row 4 is bad"):
            run(server.url, tmp_path, 5, names=ONE, units=failing(), concurrency=1)
        assert 3 + run(server.url, tmp_path, 5, names=ONE).made == 5
        assert 5 == server.bill()["requests"]


@pytest.mark.parametrize("concurrency", [0, 1001])
def test_a_concurrency_out_of_range(tmp_path: Path, concurrency: int) -> None:
    with pytest.raises(
        ConfigError, match=f"--concurrency is a whole number from 1 to 1000; found {concurrency}"
    ):
        run("http://127.0.0.1:9/v1", tmp_path, 1, concurrency=concurrency)


# The budget.


def _uneven(seed: int, lost: float = 0.0) -> object:
    """Answers of uneven cost, after uneven times; some requests are cut off."""
    chance = random.Random(seed)  # noqa: S311
    costs = {f"What is {i} + {i}?": chance.randint(0, 100) for i in range(50)}
    dice, lock = random.Random(seed + 1), threading.Lock()  # noqa: S311

    def respond(_number: int, request: bytes) -> bytes:
        prompt = json.loads(request.partition(b"\r\n\r\n")[2])["messages"][0]["content"]
        with lock:
            wait, cut = dice.random() * 0.01, dice.random() < lost
        time.sleep(wait)  # the order in which answers come is what is tried
        usage = {"prompt_tokens": 10, "completion_tokens": costs[prompt], "total_tokens": 0}
        return b"" if cut else http(completion(usage=usage))

    return respond


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 999), calls=st.floats(0.5, 60), concurrency=st.sampled_from([1, 3, 16]))
def test_what_is_admitted_depends_on_costs_and_not_on_time(
    tmp_path_factory: pytest.TempPathFactory, seed: int, calls: float, concurrency: int
) -> None:
    """The unit is admitted if what those before it cost and the most that it can cost fit together."""
    most = sum(most_usd(each, next(units(1)).calls[0].messages) for each in endpoints("http://x").values())
    folder = tmp_path_factory.mktemp("run")
    with raw_server(_uneven(seed)) as raw:  # type: ignore[arg-type]
        summary = run(raw.url, folder, 20, budget_usd=calls * most / 3, concurrency=concurrency)
    made = answers(folder, 20)
    spent, expected = 0, []
    whole = {tier.name: tier for tier in LADDER.tiers}
    chance = random.Random(seed)  # noqa: S311
    outputs = [chance.randint(0, 100) for _ in range(50)]
    for i, unit in enumerate(units(20)):
        needed = sum(
            picos(most_usd(endpoints("http://x")[call.endpoint], call.messages)) for call in unit.calls
        )
        if spent + needed > int(calls * most / 3 * 1e12):
            break
        expected.append(f"q-{i}")
        spent += sum(picos(whole[call.endpoint].cost_usd(10, outputs[i], 0)) for call in unit.calls)
    assert [f"prompt {name}, tier {tier}" for name in expected for tier in whole] == [
        label for label, answer in made.items() if answer is not None
    ]
    assert ("budget" if len(expected) < 20 else None) == summary.stopped
    assert summary.spent_usd == pytest.approx(spent / 1e12)


@pytest.mark.pipeline
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 999), calls=st.floats(4, 40), share=st.floats(0, 1))
def test_killed_at_any_line_a_budget_admits_the_same_where_a_key_is_billed_once(
    tmp_path_factory: pytest.TempPathFactory, seed: int, calls: float, share: float
) -> None:
    most = most_usd(endpoints("http://x")["large"], next(units(1)).calls[0].messages)
    whole, killed = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("killed")
    with raw_server(_uneven(seed)) as raw:  # type: ignore[arg-type]
        run(raw.url, whole, 15, budget_usd=calls * most)
        lines = (whole / JOURNAL_FILE).read_bytes().splitlines(keepends=True)
        (killed / JOURNAL_FILE).write_bytes(b"".join(lines[: 1 + int(share * (len(lines) - 1))]))
        run(raw.url, killed, 15, budget_usd=calls * most)
    found, expected = (
        {
            label: answer and (answer.response, answer.cost_usd)
            for label, answer in answers(folder, 15).items()
        }
        for folder in (killed, whole)
    )
    assert expected == found
    with Journal.open(killed) as journal:
        assert 0.0 == journal.possibly_usd
        assert not journal.unsettled


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 999),
    calls=st.floats(0.5, 40),
    concurrency=st.sampled_from([1, 4, 16]),
    lost=st.sampled_from([0.2, 0.6, 1.0]),
)
def test_whatever_is_lost_the_budget_holds(
    tmp_path_factory: pytest.TempPathFactory, seed: int, calls: float, concurrency: int, lost: float
) -> None:
    """Also when requests that may have been billed are made again, and over several runs."""
    retries.FIRST_BACKOFF_S = 0.001
    most = most_usd(endpoints("http://x")["large"], next(units(1)).calls[0].messages)
    budget = calls * most
    folder = tmp_path_factory.mktemp("run")
    with raw_server(_uneven(seed, lost)) as raw:  # type: ignore[arg-type]
        for _ in range(2):
            summary = run(
                raw.url,
                folder,
                15,
                budget_usd=budget,
                concurrency=concurrency,
                fields={"max_attempts": 3},
                retry=frozenset({Status.CUT_OFF}),
            )
            with Journal.open(folder) as journal:
                assert journal.committed_picos <= int(budget * 1e12)
                assert not journal.unsettled
            assert summary.made == sum(summary.by_status.values())
        with Journal.open(folder) as journal:
            asked = len(raw.requests)
            worst = asked * most_usd(endpoints("http://x")["large"], next(units(1)).calls[0].messages)
            assert journal.spent_usd + journal.possibly_usd <= worst


def test_a_budget_of_nothing(tmp_path: Path) -> None:
    with raw_server(lambda _n, _request: http(completion())) as raw:
        summary = run(raw.url, tmp_path, 3, budget_usd=0.0)
    assert ("budget", 0) == (summary.stopped, summary.made)
    assert not raw.requests
