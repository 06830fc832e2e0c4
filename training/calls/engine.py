"""Makes calls: many at a time, each written down before and after, within limits and a budget.

The rule: an intent is on disk before its request leaves, and an answer before the next request of whoever waited for it
does; so a run that is killed at any moment knows what may have been paid. Units are admitted strictly in order and taken
from their iterator one by one, and answers go to the journal alone: memory does not grow with the number of calls.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

from eval.progress import Progress
from eval.status import Status
from router.errors import ConfigError
from router.tiers import CHARS_PER_TOKEN
from training.calls.answer import Answer
from training.calls.asked import Asked
from training.calls.budget import Budget, most_usd, picos, usd
from training.calls.call import Call, Unit
from training.calls.client import Attempt, open_client, send
from training.calls.endpoints import Endpoint, read_keys
from training.calls.journal import Journal
from training.calls.outcome import CallsSummary, EndpointClosed, Interrupted
from training.calls.reading import input_chars
from training.calls.records import Answered, Intent
from training.calls.retries import backoff_s, idempotency_key, may_be_billed, worth_another
from training.calls.signals import caught
from training.calls.ticker import Ticker

__all__ = ["MOST_AT_ONCE", "UNSETTLED", "CallsSummary", "EndpointClosed", "Interrupted", "run_calls"]

MOST_AT_ONCE = 1000
"""Connections that one client of the SDK opens."""
UNSETTLED: tuple[str, ...] = ("retry", "skip")
"""What may become of calls that a killed run had sent."""


def run_calls(
    units: Iterable[Unit],
    endpoints: Mapping[str, Endpoint],
    journal: Journal,
    *,
    budget_usd: float | None = None,
    concurrency: int = 16,
    progress: Progress,
    total: int,
    unsettled: str = "retry",
    retry: Set[Status] = frozenset(),
    command: str = "the same command",
) -> CallsSummary:
    """Make the calls that the journal has no final answer to, and return what they came to.

    In the main thread, SIGINT and SIGTERM end it: the first lets what is in flight end, the second does not.

    Parameters
    ----------
    units : iterable of Unit
        In the order in which the budget admits them; taken one by one.
    endpoints : mapping of str to Endpoint
        By the name that a call gives.
    journal : Journal
        Open. All that it holds counts against the budget.
    budget_usd : float or None
        What all calls of the journal may cost together; None is no limit.
    concurrency : int
        How many requests may be under way at a time.
    progress : Progress
        Where it is told.
    total : int
        How many calls `units` hold, for the progress.
    unsettled : str
        What becomes of calls that a killed run had sent. "retry": sent again with the same Idempotency-Key, for providers that
        bill a key once; then the budget admits what it would have admitted had nobody killed the run. "skip": left alone,
        and counted at their most.
    retry : set of Status
        Answers to ask for again, beside those that always are.
    command : str
        What goes on where this run stops, for messages.

    Raises
    ------
    ConfigError
        A key is not set, or `concurrency` is out of range.
    EndpointClosed
        An endpoint let nobody in.
    Interrupted
        A signal came.
    RouterError
        The journal cannot be written.
    """
    if not 1 <= concurrency <= MOST_AT_ONCE:
        raise ConfigError(f"--concurrency is a whole number from 1 to {MOST_AT_ONCE}; found {concurrency}")
    keys = read_keys(endpoints)
    budget = Budget(budget_usd, journal.committed_picos)
    with Ticker(progress, total) as ticker:
        run = _Run(iter(units), journal, budget, ticker, progress, unsettled, retry)
        begun = time.monotonic()
        try:
            asyncio.run(run.go(endpoints, keys, concurrency))
        finally:
            run.summary.seconds = round(time.monotonic() - begun, 3)
    return run.concluded(command)


class _Admitted(NamedTuple):
    """A call that the budget has room for.

    Attributes
    ----------
    most : int
        What one request of it can cost, in picodollars.
    held : int
        What the budget counts of it already, in picodollars: a killed run had sent it, and the provider bills its key once.
    """

    call: Call
    most: int
    held: int = 0

    @property
    def wanted(self) -> int:
        """What is to be reserved for it."""
        return max(self.most - self.held, 0)


class _Run:
    """One run; all in one event loop."""

    def __init__(
        self,
        units: Iterator[Unit],
        journal: Journal,
        budget: Budget,
        ticker: Ticker,
        progress: Progress,
        unsettled: str,
        retry: Set[Status],
    ) -> None:
        self.summary = CallsSummary()
        self._units = units
        self._journal = journal
        self._budget = budget
        self._ticker = ticker
        self._progress = progress
        self._unsettled = unsettled
        self._retry = retry
        self._asked: dict[str, Asked] = {}
        self._waiting: list[_Admitted] | None = None  # a unit that the budget has no room for yet
        self._ready: deque[_Admitted] = deque()
        self._flying: set[str] = set()  # keys that are admitted and not answered
        self._running = self._stalled = 0  # calls under way, and those of them that wait for the budget
        self._spent = self._possibly = 0
        self._counts: Counter[str] = Counter()
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._at_once = asyncio.Event()

    async def go(self, endpoints: Mapping[str, Endpoint], keys: Mapping[str, str], concurrency: int) -> None:
        """Make the calls."""
        self._asked = {name: Asked(each, open_client(each, keys[name])) for name, each in endpoints.items()}
        workers = [asyncio.create_task(self._work()) for _ in range(concurrency)]
        all_work = asyncio.gather(*workers)
        at_once = asyncio.create_task(self._at_once.wait())
        with caught(self._interrupt):
            try:
                ends: set[asyncio.Future[Any]] = {all_work, at_once}
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (*workers, at_once):
                    task.cancel()
                await asyncio.gather(*workers, at_once, return_exceptions=True)
                await self._journal.drain()
                for asked in self._asked.values():
                    await asked.client.close()
        with suppress(asyncio.CancelledError):  # at once
            await all_work

    def concluded(self, command: str) -> CallsSummary:
        """Return the summary, or raise what ended the run."""
        summary = self.summary
        summary.by_status = dict(sorted(self._counts.items()))
        summary.made = self._counts.total()
        summary.spent_usd, summary.possibly_usd = usd(self._spent), usd(self._possibly)
        if self._journal.full is not None:
            raise self._journal.full
        if summary.stopped == "interrupted":
            left = sum(intent.via is None for intent in self._journal.unsettled.values())
            cut = f", {left:,} sent and not answered, which it sends again with the same key" if left else ""
            raise Interrupted(
                f"interrupted: {summary.made:,} calls made{cut}; what was answered is kept in {self._journal.folder}; run "
                f"{command} again to go on",
                summary,
            )
        for asked in self._asked.values():
            if asked.closed is not None:
                raise EndpointClosed(asked.closed, summary)
        return summary

    def _interrupt(self) -> None:
        if self.summary.stopped == "interrupted":
            self._at_once.set()
            return
        self._stop("interrupted")
        self._progress.step(
            f"stopping: {self._running:,} calls are under way, and end first; interrupt again to leave them"
        )

    def _stop(self, why: str) -> None:
        if self.summary.stopped is None or why == "interrupted":
            self.summary.stopped = why
        self._stopping.set()
        self._wake()

    def _wake(self) -> None:
        """Have all who wait for the budget look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    # Admission.

    async def _work(self) -> None:
        while (admitted := await self._next()) is not None:
            self._running += 1
            reserved, spent = await self._make(admitted)
            self._running -= 1
            self._flying.discard(admitted.call.key)
            self._budget.settle(reserved, spent)
            self._wake()

    async def _next(self) -> _Admitted | None:
        """Return the next call that the budget has room for; None if there is no more."""
        while True:
            if self._journal.full is not None:
                self._stop("full")
            if self._stopping.is_set():
                return None
            if self._ready:
                return self._ready.popleft()
            if self._waiting is None:
                self._waiting = self._pull()
                if self._waiting is None:
                    return None
            # An attempt that must be made again goes first: it stands before this unit in the order.
            if not self._stalled and self._budget.reserve(sum(each.wanted for each in self._waiting)):
                self._ready.extend(self._waiting)
                self._waiting = None
            elif self._running:
                await self._changed.wait()
            else:
                self.summary.next_usd = usd(sum(each.wanted for each in self._waiting))
                self._stop("budget")

    def _pull(self) -> list[_Admitted] | None:
        """Return what is to be made of the next unit that is not settled; None if there is none."""
        for unit in self._units:
            wanted = []
            for call in unit.calls:
                if self._wants(call):
                    self._flying.add(call.key)
                    endpoint = self._asked[call.endpoint].endpoint
                    most = picos(most_usd(endpoint, call.messages))
                    wanted.append(_Admitted(call, most, self._held(call)))
                else:
                    self._ticker.skip()
            if wanted:
                return wanted
        return None

    def _wants(self, call: Call) -> bool:
        summary = self.summary
        if call.key in self._flying:
            summary.resumed += 1
            return False
        intent = self._journal.unsettled.get(call.key)
        if intent is None:
            settled = self._journal.settled(call.key, self._retry)
            summary.resumed += settled
            return not settled
        if intent.via is not None:
            summary.in_batch += 1
            return False
        if self._unsettled == "skip":
            summary.unsettled += 1
            return False
        summary.resent += 1
        return True

    def _held(self, call: Call) -> int:
        intent = self._journal.unsettled.get(call.key)
        return picos(intent.most_usd) if intent is not None else 0

    # One call.

    async def _make(self, admitted: _Admitted) -> tuple[int, int]:
        """Make a call, and return in picodollars what was reserved for it, and what it cost or may have cost."""
        call, most, held = admitted
        asked = self._asked[call.endpoint]
        endpoint = asked.endpoint
        key = idempotency_key(call.key, self._journal.status(call.key), self._journal.answer_place(call.key))
        tokens = input_chars(call.messages) / CHARS_PER_TOKEN + endpoint.max_output_tokens
        lost = max(held - most, 0)  # what requests may have cost that brought nothing
        for number in range(1, endpoint.max_attempts + 1):
            if not await self._turn(asked, tokens):
                if number == 1:
                    return admitted.wanted, 0
                break
            if number == 1:
                await self._write(Intent(call.key, call.endpoint, usd(lost + most), again=held > 0))
            attempt = await send(asked.client, endpoint, call, key)
            answer = replace(attempt.answer, attempts=number)
            billed = may_be_billed(answer)
            lost += most * billed
            asked.pace.settle(tokens, tokens if billed else _tokens_of(answer))
            if number == endpoint.max_attempts or not worth_another(answer):
                break
            if not await self._wait_after(asked, attempt, number):
                break
            if billed:
                if not await self._cover(most):
                    return lost, self._settle(call, asked, answer, lost)
                await self._write(Intent(call.key, call.endpoint, usd(lost + most), again=True))
        if billed and self._stopping.is_set() and number < endpoint.max_attempts:
            self._possibly += lost
            return lost, lost  # left unsettled: the next run sends it again
        return lost + most * (not billed), self._settle(call, asked, answer, lost)

    def _settle(self, call: Call, asked: Asked, answer: Answer, lost: int) -> int:
        """Write down what a call came to, and return what it cost or may have cost, in picodollars."""
        answer = replace(answer, possibly_usd=answer.possibly_usd + usd(lost))
        # Not waited for: the next intent of this worker is, and stands behind it; the end waits for all.
        self._journal.put(Answered(call.key, answer))
        spent, possibly = picos(answer.cost_usd), picos(answer.possibly_usd)
        self._spent += spent
        self._possibly += possibly
        self._counts[answer.status.value] += 1
        self._ticker.made(usd(self._spent))
        asked.note(answer)
        if asked.closed is not None:
            self._stop("closed")
        return spent + possibly

    async def _write(self, record: Intent) -> None:
        await self._journal.wait(self._journal.put(record))

    async def _turn(self, asked: Asked, tokens: float) -> bool:
        """Wait until an endpoint may be asked; False if the run stops before."""
        loop = asyncio.get_running_loop()
        wait = asked.pace.book(tokens, loop.time())
        while True:
            if wait <= 0.0:
                wait = (asked.paused_until - loop.time()) * random.uniform(1.0, 1.1)  # noqa: S311 - spreads load
                if wait <= 0.0:
                    return True
            if await self._stops_within(wait):
                return False
            wait = 0.0

    async def _wait_after(self, asked: Asked, attempt: Attempt, number: int) -> bool:
        """Wait before another attempt; False if the run stops before."""
        wait = attempt.retry_after_s
        if wait is None:
            wait = backoff_s(number)
        if attempt.answer.status is Status.RATE_LIMITED:
            until = asyncio.get_running_loop().time() + wait
            asked.paused_until = max(asked.paused_until, until)
        return not await self._stops_within(wait)

    async def _stops_within(self, seconds: float) -> bool:
        """Wait, and return whether the run was stopped meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True

    async def _cover(self, most: int) -> bool:
        """Reserve what one more request may cost; False if it will never fit."""
        while not self._budget.reserve(most):
            self._stalled += 1
            try:
                if self._stalled == self._running:  # nobody is left who could give anything back
                    return False
                await self._changed.wait()
            finally:
                self._stalled -= 1
        return True


def _tokens_of(answer: Answer) -> int:
    return (answer.input_tokens or 0) + (answer.output_tokens or 0)
