"""One endpoint's calls on their way through batches: spooled, submitted, looked at, and their results written down.

Every step is in the journal before the next (`training.calls.batch_ledger`). What the provider refuses or does not answer
closes the sender and nothing else: batches that were submitted go on, and the next run takes them up.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from eval.progress import Progress
from eval.status import Status
from training.calls.answer import Answer
from training.calls.batch_ledger import Order, ended, keys_of, prepared, submitted, uploaded
from training.calls.batch_provider import Provider, Refused, Seen, Stopping, Unreached
from training.calls.batch_results import is_cut, judge_gone, judge_missing, judge_rejected, read_results
from training.calls.batch_spool import (
    BatchLimits,
    Spool,
    most_in_batch,
    read_keys_of,
    read_units,
    spool_path,
    write_line,
)
from training.calls.budget import usd
from training.calls.call import Call, Unit
from training.calls.endpoints import Endpoint
from training.calls.journal import Journal
from training.calls.records import Answered, Intent, Own, Void

__all__ = ["Sender"]

_ENDED = ("completed", "failed", "expired", "cancelled")
_QUEUE_FULL = "token_limit_exceeded"
"""OpenAI's code of a batch that holds more tokens than may wait at a time: a smaller or a later one passes."""
_DOWNLOADS = 3
"""How often a file of results is fetched that ends within a line."""


class Sender:
    """Batches of one endpoint.

    Attributes
    ----------
    closed : str or None
        Why no more goes through it.
    under_way : dict of str to Order
        Batches that were submitted and have not ended, by tag.
    undone : int
        Calls that the provider left undone, because a batch expired or was cancelled.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        provider: Provider,
        journal: Journal,
        limits: BatchLimits,
        stop: threading.Event,
        progress: Progress,
        note: Callable[[Answer], None],
        patience_s: float,
    ) -> None:
        self.endpoint = endpoint
        self.closed: str | None = None
        self.under_way: dict[str, Order] = {}
        self.undone = 0
        self._provider = provider
        self._journal = journal
        self._limits = limits
        self._stop = stop
        self._progress = progress
        self._note = note
        self._spool: Spool | None = None
        self._ready: deque[Spool] = deque()
        self._alone = False  # the provider's queue is short: one batch at a time
        self._told: dict[str, str] = {}
        self._patience_s = patience_s
        self._heard = time.monotonic()

    def close(self) -> None:
        """Let go of what is spooled and not submitted."""
        if self._spool is not None:
            self._spool.close()

    # From calls to batches.

    @property
    def spooled(self) -> int:
        """The most that calls can cost that are spooled and have no intent yet, in picodollars."""
        return 0 if self.closed else sum(spool.total for spool in self._spools())

    def holds(self, key: str) -> bool:
        """Return whether a call is spooled and has no intent yet."""
        return any(key in spool.most for spool in self._spools())

    def add(self, call: Call) -> None:
        """Spool a call; one that is longer than any batch is given up."""
        line = write_line(self.endpoint, call)
        if len(line) > self._limits.bytes:
            self._write([Answered(call.key, Answer(Status.REJECTED, code="longer_than_a_batch"))])
            return
        if self._spool is not None and not self._spool.has_room(line, self._limits):
            self.flush()
            self.submit()
        if self._spool is None:
            self._spool = Spool(self._journal.folder)
        self._spool.add(call.key, line, most_in_batch(self.endpoint, call.messages))

    def flush(self) -> None:
        """Close the batch that is being filled."""
        if self._spool is not None:
            self._spool.close()
            self._ready.append(self._spool)
            self._spool = None

    def submit(self) -> None:
        """Submit what is ready."""
        while self._ready and self.closed is None and not (self._alone and self.under_way):
            with self._closing():
                self._send(self._ready.popleft())

    def take_up(self, order: Order, settle_s: float) -> None:
        """Go on with a batch that an earlier run left, however far it had come."""
        with self._closing():
            if order.file_id is None:
                self._withdraw(order, "abandoned")
                return
            if order.batch_id is None:
                seen = self._provider.find(order.tag, order.at)
                wait = order.at + settle_s - time.time()
                if seen is None and wait > 0:  # it may have been on its way as the run was killed
                    self._say(order, f"may exist; it is looked for again in {wait:.0f} s")
                    if self._stop.wait(min(wait, settle_s)):
                        raise Stopping
                    seen = self._provider.find(order.tag, order.at)
                order = self._create(order, seen)
            self.under_way[order.tag] = order
            self._say(order, "is taken up again")

    def _spools(self) -> Iterator[Spool]:
        yield from self._ready
        if self._spool is not None:
            yield self._spool

    def _send(self, spool: Spool) -> None:
        order = Order(spool.tag, self.endpoint.name, len(spool.most), time.time())
        intents = (Intent(key, self.endpoint.name, usd(most), spool.tag) for key, most in spool.most.items())
        self._journal.commit(prepared(order, intents))
        try:
            order = replace(order, file_id=self._provider.upload(spool.path))
        except (Refused, Unreached):
            self._withdraw(order, "not uploaded")
            raise
        order = replace(order, at=time.time())
        self._journal.commit([uploaded(order)])
        order = self._create(order, None)
        self.under_way[order.tag] = order
        self._say(order, f"is submitted with {order.calls:,} calls")

    def _create(self, order: Order, seen: Seen | None) -> Order:
        """Return the order with its id; the batch is created if it is not there."""
        if seen is None:
            try:
                seen = self._provider.create(str(order.file_id), order.tag, order.at)
            except Refused:
                self._withdraw(order, "refused")
                raise
        order = replace(order, batch_id=seen.id)
        self._journal.commit([submitted(order)])
        return order

    def _withdraw(self, order: Order, why: str) -> None:
        """End a batch that surely does not exist."""
        voids = [Void(key) for key in keys_of(self._journal, order.tag)]
        self._journal.commit([*voids, ended(order, why)])
        spool_path(self._journal.folder, order.tag).unlink(missing_ok=True)

    # From batches to answers.

    def look(self) -> tuple[bool, list[Iterator[Unit]]]:
        """Look at all batches once; return whether any went on, and calls to admit again."""
        moved, again = False, []
        for order in list(self.under_way.values()):
            if self.closed is not None:
                break
            with self._closing(self._patience_s):
                seen = self._provider.look(str(order.batch_id))
                self._heard = time.monotonic()
                moved |= self._tell(order, seen)
                if seen.status == "failed":
                    again += self._fail(order, seen)
                elif seen.status in _ENDED:
                    self._finish(order, seen)
        return moved, again

    def _finish(self, order: Order, seen: Seen) -> None:
        """Write down what came of a batch that was run, wholly or in part."""
        spool = spool_path(self._journal.folder, order.tag)
        results = spool.with_suffix(".results")
        waiting = self._waiting(order)
        for file_id in filter(None, (seen.output_file_id, seen.error_file_id)):
            if not self._fetch(file_id, results):
                self._say(
                    order, "has results that the provider does not keep any more; they may have been billed"
                )
                self._write([judge_gone(key, most) for key, most in waiting.items()])
                waiting = {}
                break
            for records in read_results(results, spool, self.endpoint, waiting):
                self._write(records)
                for record in records:
                    del waiting[record.key]
        missing = [judge_missing(key, seen.status, most) for key, most in waiting.items()]
        self._write(missing, ended(order, seen.status))
        results.unlink(missing_ok=True)
        spool.unlink(missing_ok=True)
        del self.under_way[order.tag]

    def _fail(self, order: Order, seen: Seen) -> list[Iterator[Unit]]:
        """Write down that a batch did not pass validation: nothing of it was run. Return the calls to submit again.

        Calls whose lines are at fault are given up; the others go into another batch. Where the provider's queue is full,
        smaller batches go one at a time.
        """
        spool = spool_path(self._journal.folder, order.tag)
        waiting = self._waiting(order)
        keys = read_keys_of(spool)
        at_fault = {keys[line - 1]: code for code, line in seen.errors if line and 0 < line <= len(keys)}
        rejected = [judge_rejected(key, code) for key, code in at_fault.items() if key in waiting]
        rest = waiting.keys() - at_fault.keys()
        self._journal.commit([*rejected, *map(Void, rest), ended(order, "failed")])
        for record in rejected:
            self._note(record.answer)
        again = spool.with_suffix(".again")
        if spool.exists():
            spool.replace(again)
        del self.under_way[order.tag]
        code = seen.errors[0][0] if seen.errors else "unknown"
        if code == _QUEUE_FULL and (order.calls > 1 or self.under_way):
            if not self.under_way:
                self._limits = self._limits._replace(requests=min(order.calls // 2, self._limits.requests))
            self._alone = True
        elif not rejected:
            self.closed = (
                f"tier {self.endpoint.name}: batch {order.batch_id} of {order.calls:,} calls did not pass the provider's "
                f"validation ({code}); nothing of it was run or billed; see what the provider says of it, then run again"
            )
        if self.closed is not None or not rest:
            again.unlink(missing_ok=True)
            return []
        return [read_units(again, self.endpoint.name, rest)]

    def _waiting(self, order: Order) -> dict[str, float]:
        unsettled = self._journal.unsettled
        return {key: unsettled[key].most_usd for key in keys_of(self._journal, order.tag)}

    def _fetch(self, file_id: str, path: Path) -> bool:
        """Download a file of results; False where it is not there any more."""
        try:
            for _ in range(_DOWNLOADS):
                self._provider.download(file_id, path)
                if not is_cut(path):
                    break
        except Refused as refused:
            if not refused.gone:
                raise
            return False
        return True

    def _write(self, records: Sequence[Answered | Void], *more: Own) -> None:
        self._journal.commit([*records, *more])
        for record in records:
            if isinstance(record, Answered):
                self._note(record.answer)
            else:
                self.undone += 1

    # What it says.

    @contextmanager
    def _closing(self, patience_s: float = 0.0) -> Iterator[None]:
        """Close where the provider refuses, or has not answered for so long."""
        try:
            yield
        except Refused as refused:
            self.closed = str(refused)
        except Unreached as unreached:
            silent = time.monotonic() - self._heard
            if silent >= patience_s:
                self.closed = str(unreached)
            else:
                self._progress.step(
                    f"{unreached}; it is asked again for another {(patience_s - silent) / 60:.0f} minutes"
                )

    def _tell(self, order: Order, seen: Seen) -> bool:
        now = f"is {seen.status.replace('_', ' ')}, {seen.done:,} of {order.calls:,} calls done"
        if self._told.get(order.tag) == now:
            return False
        self._told[order.tag] = now
        self._say(order, now)
        return True

    def _say(self, order: Order, text: str) -> None:
        self._progress.step(f"tier {self.endpoint.name}: batch {order.batch_id or order.tag} {text}")
