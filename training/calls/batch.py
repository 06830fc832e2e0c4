"""Calls through the Batch API: half the price, and an answer within a day.

The rule is that of `training.calls.engine`: an intent is on disk before anything leaves, and each step of a batch before
the next (`training.calls.batch_ledger`). So whenever a run is killed, the next one knows which batches there are, or may be,
and submits nothing twice. Requests are spooled on disk; memory holds their keys alone.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import Any, NamedTuple

from eval.progress import Progress
from eval.status import Status
from router.errors import RouterError
from training.calls.answer import Answer
from training.calls.batch_ledger import open_orders
from training.calls.batch_provider import Provider, Stopping
from training.calls.batch_sender import Sender
from training.calls.batch_spool import BatchLimits, most_in_batch, sweep
from training.calls.budget import picos, usd
from training.calls.call import Call, Unit
from training.calls.endpoints import Endpoint, read_keys
from training.calls.engine import run_calls
from training.calls.journal import Journal
from training.calls.outcome import CallsSummary, EndpointClosed, Interrupted
from training.calls.ticker import Ticker

__all__ = ["BatchLimits", "Pace", "run_batches"]


class Pace(NamedTuple):
    """How often batches are looked at, in seconds: ever more seldom while nothing changes.

    `settle_s` is how long a request to create a batch that a crash cut off may take to show in the provider's list;
    `patience_s` how long a provider may be silent while its batches are waited for.
    """

    first_s: float = 2.0
    growth: float = 1.5
    most_s: float = 60.0
    settle_s: float = 60.0
    patience_s: float = 3600.0


def run_batches(
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
    limits: BatchLimits = BatchLimits(),  # noqa: B008 - it cannot change
    pace: Pace = Pace(),  # noqa: B008
) -> CallsSummary:
    """Make the calls that the journal has no final answer to by batches, and return what they came to.

    It returns when all batches have ended, which may take a day. In the main thread, SIGINT and SIGTERM end it: batches go on
    at the provider, and the next run takes them up. A unit is admitted where half of what its calls can cost at most fits the
    budget; where it does not, it waits for batches to end and to have cost less. Calls of a batch that expired or was cancelled
    before they were run cost nothing and are left for the next run.

    Parameters
    ----------
    units, endpoints, journal, budget_usd, progress, total, retry, command
        As of `training.calls.engine.run_calls`.
    concurrency, unsettled : int, str
        For calls that a killed run had sent by themselves: they cannot go into a batch, where they might be billed again, so
        they are sent again by themselves, after the batches.
    limits : BatchLimits
        The most that one batch may carry.
    pace : Pace
        How often to look.

    Returns
    -------
    CallsSummary
        `in_batch` are calls whose batch has not ended; `stopped` is "ended" where the provider left calls undone.

    Raises
    ------
    ConfigError
        A key is not set.
    EndpointClosed
        A provider refused a batch or did not answer; those of other endpoints were waited for.
    Interrupted
        A signal came.
    RouterError
        The journal or a spool cannot be written, or a batch belongs to an endpoint that there is not.
    """
    keys = read_keys(endpoints)
    begun = time.monotonic()
    stop = threading.Event()
    with Ticker(progress, total) as ticker, ExitStack() as stack:
        run = _Run(iter(units), journal, budget_usd, ticker, stop, unsettled, retry)
        for name, endpoint in endpoints.items():
            provider = stack.enter_context(Provider(endpoint, keys[name], stop))
            run.senders[name] = Sender(
                endpoint, provider, journal, limits, stop, progress, run.note, pace.patience_s
            )
            stack.callback(run.senders[name].close)
        with _signals(stop, progress):
            try:
                run.go(pace)
            except Stopping:
                stop.set()
    summary = run.concluded(command)
    if run.left:
        try:
            more = run_calls(
                [Unit((call,)) for call in run.left], endpoints, journal, budget_usd=budget_usd, concurrency=concurrency,
                progress=progress, total=len(run.left), unsettled=unsettled, retry=retry, command=command,
            )  # fmt: skip
        except (Interrupted, EndpointClosed) as stopped:
            stopped.summary = _add(summary, stopped.summary)
            raise
        _add(summary, more)
    summary.seconds = round(time.monotonic() - begun, 3)
    return summary


class _Run:
    """One run over all endpoints: what is admitted, and when to look."""

    def __init__(
        self,
        units: Iterator[Unit],
        journal: Journal,
        budget_usd: float | None,
        ticker: Ticker,
        stop: threading.Event,
        unsettled: str,
        retry: Set[Status],
    ) -> None:
        self.senders: dict[str, Sender] = {}
        self.left: list[Call] = []  # sent by themselves by a run that was killed
        self._summary = CallsSummary()
        self._units = units
        self._journal = journal
        self._limit = None if budget_usd is None else math.floor(budget_usd * 1e12)
        self._ticker = ticker
        self._stop = stop
        self._unsettled = unsettled
        self._retry = retry
        self._waiting: list[Call] | None = None  # a unit that the budget has no room for yet
        self._counts: Counter[str] = Counter()
        self._spent = self._possibly = 0

    def go(self, pace: Pace) -> None:
        """Take up what an earlier run left, submit what is new, and wait for all of it."""
        orders = open_orders(self._journal)
        sweep(self._journal.folder, {order.tag for order in orders})
        for order in orders:
            self._sender(order.endpoint).take_up(order, pace.settle_s)
        wait = pace.first_s
        while not self._stop.is_set() and self._journal.full is None:
            self._admit()
            for sender in self.senders.values():
                sender.flush()
                sender.submit()
            if not any(sender.under_way for sender in self._open()):
                break
            if self._stop.wait(wait):
                raise Stopping
            wait = pace.first_s if self._look() else min(wait * pace.growth, pace.most_s)
        if self._waiting is not None and not self._stop.is_set():
            self._summary.stopped, self._summary.next_usd = "budget", usd(self._most(self._waiting))

    def note(self, answer: Answer) -> None:
        """Take account of an answer that is in the journal."""
        self._counts[answer.status.value] += 1
        self._spent += picos(answer.cost_usd)
        self._possibly += picos(answer.possibly_usd)
        self._ticker.made(usd(self._spent))

    def concluded(self, command: str) -> CallsSummary:
        """Return the summary, or raise what ended the run."""
        summary = self._summary
        summary.made, summary.by_status = self._counts.total(), dict(sorted(self._counts.items()))
        summary.spent_usd, summary.possibly_usd = usd(self._spent), usd(self._possibly)
        summary.in_batch = sum(intent.via is not None for intent in self._journal.unsettled.values())
        if self._journal.full is not None:
            raise self._journal.full
        if self._stop.is_set():
            summary.stopped = "interrupted"
            raise Interrupted(
                f"interrupted: {summary.in_batch:,} calls are in batches, which go on at the provider and are billed; run "
                f"{command} again to wait for them",
                summary,
            )
        for sender in self.senders.values():
            if sender.closed is not None:
                summary.stopped = "closed"
                raise EndpointClosed(f"{sender.closed}; then run {command} again", summary)
        if summary.stopped is None and any(sender.undone for sender in self.senders.values()):
            summary.stopped = "ended"
        return summary

    def _open(self) -> list[Sender]:
        return [sender for sender in self.senders.values() if sender.closed is None]

    def _look(self) -> bool:
        moved = False
        for sender in self._open():
            went_on, again = sender.look()
            moved |= went_on
            self._units = chain(*again, self._units)
        return moved

    # Admission.

    def _admit(self) -> None:
        """Spool units in order as far as the budget allows."""
        while not self._stop.is_set() and self._journal.full is None:
            if self._waiting is None:
                self._waiting = self._pull()
                if self._waiting is None:
                    return
            most = self._most(self._waiting)
            spooled = sum(sender.spooled for sender in self.senders.values())
            if self._limit is not None and self._journal.committed_picos + spooled + most > self._limit:
                return
            for call in self._waiting:
                self._sender(call.endpoint).add(call)
            self._waiting = None

    def _most(self, calls: list[Call]) -> int:
        return sum(most_in_batch(self._sender(call.endpoint).endpoint, call.messages) for call in calls)

    def _pull(self) -> list[Call] | None:
        """Return what is to be made of the next unit that is not settled; None if there is none."""
        for unit in self._units:
            wanted = {call.key: call for call in unit.calls if self._wants(call)}
            if wanted:
                return list(wanted.values())
        return None

    def _wants(self, call: Call) -> bool:
        sender = self._sender(call.endpoint)
        intent = self._journal.unsettled.get(call.key)
        if intent is None:
            settled = self._journal.settled(call.key, self._retry)
            if not settled and sender.closed is None and not sender.holds(call.key):
                return True
            self._summary.resumed += settled or sender.holds(call.key)
        elif intent.via is not None:
            return False  # its batch is waited for
        elif self._unsettled == "skip":
            self._summary.unsettled += 1
        else:
            self.left.append(call)
        self._ticker.skip()
        return False

    def _sender(self, name: str) -> Sender:
        if name not in self.senders:
            raise RouterError(
                f"journal {self._journal.folder}: holds a batch of tier {name}, which is not among "
                f"{', '.join(self.senders)}; use the tiers file that it was submitted with"
            )
        return self.senders[name]


def _add(summary: CallsSummary, more: CallsSummary) -> CallsSummary:
    """Add what calls by themselves came to."""
    counts = Counter(summary.by_status) + Counter(more.by_status)
    summary.by_status = dict(sorted(counts.items()))
    summary.made += more.made
    summary.resent += more.resent
    summary.spent_usd += more.spent_usd
    summary.possibly_usd += more.possibly_usd
    summary.stopped = summary.stopped or more.stopped
    summary.next_usd = summary.next_usd or more.next_usd
    return summary


@contextmanager
def _signals(stop: threading.Event, progress: Progress) -> Iterator[None]:
    """Have the first signal set `stop`, and the second end it at once; in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: Any) -> None:  # noqa: ANN401 - a signal handler's own
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        progress.step("stopping; batches that were submitted go on")

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
