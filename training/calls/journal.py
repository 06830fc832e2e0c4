"""The journal: what was sent and what came back, on disk before anything counts.

A folder that one process at a time holds, with one file of lines that only grows (`training.calls.journal_file`); what a
line says is in `training.calls.records`. Whoever waits for a line shares one fsync with all that wait. Texts are not
kept in memory, only where they stand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from eval.status import AGAIN, Status
from router.errors import RouterError
from training.calls.answer import Answer
from training.calls.budget import picos, usd
from training.calls.index import Index
from training.calls.journal_file import JournalFile
from training.calls.records import Answered, Intent, Own, Record, read_record, write_record
from training.lock import hold

__all__ = ["JOURNAL_FILE", "LOCK_FILE", "Journal"]

JOURNAL_FILE, LOCK_FILE = "journal.jsonl", "lock"
"""What stands in the folder."""

_KIND = "tierwise journal"
_VERSION = 1


class _Batch:
    """Records that reach the disk together."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.lines: list[bytes] = []
        self.done = asyncio.Event()
        self.error: RouterError | None = None


class Journal:
    """An open journal; from `Journal.open`.

    What a call's records say of its cost: an intent counts at its most until its answer or its void follows; one that is
    followed by another intent of the same call, because a run was killed between, counts at its most for ever (unless the
    other says that it counts both).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / JOURNAL_FILE
        self._index = Index()
        self._fresh: dict[str, Status] = {}  # answered, and not yet on disk
        self._open: dict[str, Intent] = {}
        self._own: dict[str, list[int]] = {}
        self._spent = self._possibly = 0
        self._batch = _Batch()
        self._flusher: asyncio.Task[None] | None = None
        self._error: RouterError | None = None
        self._file = JournalFile(self._path, write_record(Own(_KIND, {"version": _VERSION}), _now()))
        try:
            self._read()
        except BaseException:
            self._file.close()
            raise

    @classmethod
    @contextmanager
    def open(cls, folder: Path, *, flag: str = "--out") -> Iterator[Journal]:
        """Open the journal of a folder, which is made if it is not there, and hold it until the end.

        Parameters
        ----------
        folder : Path
            The journal's own.
        flag : str
            The option that decides where it is, for messages.

        Raises
        ------
        Locked
            Another process holds it.
        ConfigError
            The folder is a file.
        RouterError
            It cannot be written, or its file is damaged; the message says where.
        """
        with hold(folder / LOCK_FILE, flag=flag):
            journal = cls(folder)
            try:
                yield journal
            finally:
                journal._file.close()

    # What it holds.

    def answer(self, key: str) -> Answer | None:
        """Return the call's last answer that is on disk."""
        offset = self._index.offset(key)
        if offset is None:
            return None
        record = self._read_at(offset)
        if not isinstance(record, Answered) or record.key != key:
            raise self._damaged(f"at byte {offset}")
        return record.answer

    def answer_place(self, key: str) -> int | None:
        """Return a number that tells the call's last answer from its earlier and later ones; None without any."""
        return self._index.offset(key)

    def status(self, key: str) -> Status | None:
        """Return what became of the call the last time that it was answered."""
        return self._fresh.get(key) or self._index.status(key)

    def settled(self, key: str, retry: Set[Status] = frozenset()) -> bool:
        """Return whether the call has an answer that stays.

        Parameters
        ----------
        key : str
            The call's.
        retry : set of Status
            Statuses that do not stay, beside those that never do.
        """
        status = self.status(key)
        return status is not None and status not in AGAIN and status not in retry

    @property
    def unsettled(self) -> Mapping[str, Intent]:
        """Calls with an intent that nothing followed, by key: they may have been paid."""
        return MappingProxyType(self._open)

    @property
    def spent_usd(self) -> float:
        """What all answers cost."""
        return usd(self._spent)

    @property
    def possibly_usd(self) -> float:
        """The most that requests without an answer may have cost beside it."""
        return usd(self._possibly)

    @property
    def committed_picos(self) -> int:
        """Both together, as a budget counts it."""
        return self._spent + self._possibly

    @property
    def full(self) -> RouterError | None:
        """Why nothing new should begin: the disk is full, and what is under way is written to the last room."""
        return self._file.full

    def own(self, kind: str) -> Iterator[dict[str, Any]]:
        """Yield the contents of another module's records, in the order written."""
        for offset in list(self._own.get(kind, ())):
            record = self._read_at(offset)
            if not isinstance(record, Own):
                raise self._damaged(f"at byte {offset}")
            yield dict(record.content)

    # What is written to it.

    def put(self, record: Record) -> _Batch:
        """Hand a record over to be written, in a running loop, and return what to `wait` for.

        Records reach the disk in the order in which they are put: who waits for one has waited for all before it.

        Raises
        ------
        RouterError
            Nothing can be written any more.
        """
        if self._error is not None:
            raise self._error
        batch = self._batch
        batch.records.append(record)
        batch.lines.append(write_record(record, _now()))
        if isinstance(record, Answered):
            self._fresh[record.key] = record.answer.status
        if self._flusher is None:
            self._flusher = asyncio.get_running_loop().create_task(self._flush())
        return batch

    async def wait(self, batch: _Batch) -> None:
        """Return once what was put is on disk.

        Raises
        ------
        RouterError
            It could not be written.
        """
        await batch.done.wait()
        if batch.error is not None:
            raise batch.error

    async def drain(self) -> None:
        """Return once all that was put is on disk, or has failed."""
        if self._flusher is not None:
            await asyncio.wait({self._flusher})

    def commit(self, records: Iterable[Record]) -> None:
        """Write records in order, with one fsync, and return once they are on disk. Needs no loop.

        Raises
        ------
        RouterError
            They could not be written; none of them was.
        """
        written = list(records)
        lines = [write_record(record, _now()) for record in written]
        self._enter(written, lines, self._file.append(b"".join(lines)))

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._batch.lines:
            batch, self._batch = self._batch, _Batch()
            if self._error is None:
                try:
                    start = await loop.run_in_executor(None, self._file.append, b"".join(batch.lines))
                except RouterError as error:
                    self._error = error
                else:
                    self._enter(batch.records, batch.lines, start)
            batch.error = self._error
            batch.done.set()
        self._flusher = None

    def _enter(self, records: Iterable[Record], lines: Iterable[bytes], offset: int) -> None:
        """Take account of records that are on disk."""
        for record, line in zip(records, lines, strict=True):
            self._account(record, offset)
            offset += len(line)

    def _account(self, record: Record, offset: int) -> None:
        if isinstance(record, Intent):
            if record.again and record.key in self._open:
                self._possibly -= picos(self._open[record.key].most_usd)
            self._open[record.key] = record
            self._possibly += picos(record.most_usd)
        elif isinstance(record, Own):
            self._own.setdefault(record.kind, []).append(offset)
        else:
            intent = self._open.pop(record.key, None)
            if intent is not None:
                self._possibly -= picos(intent.most_usd)
            if isinstance(record, Answered):
                self._index.put(record.key, offset, record.answer.status)
                self._fresh.pop(record.key, None)
                self._spent += picos(record.answer.cost_usd)
                self._possibly += picos(record.answer.possibly_usd)

    # What was written before.

    def _read(self) -> None:
        for number, (offset, line) in enumerate(self._file.lines(), start=1):
            try:
                record = read_record(line)
            except ValueError:
                raise self._damaged(f"in line {number}") from None
            if number == 1:
                self._check_header(record)
            else:
                self._account(record, offset)

    def _check_header(self, record: Record) -> None:
        if not isinstance(record, Own) or record.kind != _KIND:
            raise self._damaged("in line 1")
        if record.content.get("version") != _VERSION:
            raise RouterError(
                f"journal {self._path}: expected version {_VERSION}, found another; it was written by another release "
                "of tierwise, run that one"
            )

    def _read_at(self, offset: int) -> Record:
        try:
            return read_record(self._file.line_at(offset))
        except ValueError:
            raise self._damaged(f"at byte {offset}") from None

    def _damaged(self, where: str) -> RouterError:
        return RouterError(
            f"journal {self._path}: is damaged {where}: expected one record a line; put back a copy, or move the folder "
            f"{self.folder} away and begin anew, which pays for all calls again"
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
