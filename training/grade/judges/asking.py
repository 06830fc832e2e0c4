"""Asks judges through the engine for paid calls: one more try for what is off format, and nothing paid twice.

All is in the journal: what was asked before is read from there, in this run or in the one after a crash.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from eval.progress import Progress
from training.calls.budget import most_usd
from training.calls.call import Call, Unit
from training.calls.endpoints import Endpoint
from training.calls.engine import run_calls
from training.calls.journal import Journal
from training.grade.grades import Why
from training.grade.judges.bill import DEFAULT_OUTPUT_TOKENS, Bill
from training.grade.judges.questions import Said, Task, call_of, name_of, questions, read_reply, said

__all__ = ["Asker", "Heard"]


class Heard(NamedTuple):
    """What the journal holds of a row.

    Attributes
    ----------
    said : Said
        The verdict, or why there is none.
    usd : dict
        What each call cost, by its key; rows with the same question share calls.
    off_format : int
        Answers without a verdict in them, first and second tries.
    """

    said: Said
    usd: dict[str, float]
    off_format: int


class Asker:
    """Judges that can be asked, with one journal and one budget.

    Parameters
    ----------
    journal : Journal
        Open, and of judges alone.
    endpoints : mapping
        By the judge's name.
    budget_usd : float or None
        Of the whole journal, earlier runs included.
    """

    def __init__(
        self,
        journal: Journal,
        endpoints: Mapping[str, Endpoint],
        *,
        budget_usd: float | None,
        concurrency: int,
        progress: Progress,
    ) -> None:
        self._journal = journal
        self._endpoints = endpoints
        self._budget_usd = budget_usd
        self._concurrency = concurrency
        self._progress = progress
        self._outputs: dict[
            str, tuple[int, int]
        ] = {}  # by judge: answers that were counted, and their tokens

    @property
    def left_usd(self) -> float | None:
        """What is left of the budget; None without one."""
        if self._budget_usd is None:
            return None
        return max(0.0, self._budget_usd - self._journal.spent_usd - self._journal.possibly_usd)

    def bills(self, tasks: Sequence[Task]) -> dict[str, Bill]:
        """Return by judge what asking about these rows will cost."""
        bills = {name: Bill() for name in self._endpoints}
        seen: set[str] = set()
        for task in tasks:
            bill, endpoint = bills[task.judge.name], self._endpoints[task.judge.name]
            n, tokens = self._outputs.get(task.judge.name, (0, 0))
            for first, second in zip(questions(task), questions(task, again=True), strict=True):
                call = call_of(task, first)
                if call.key in seen:
                    continue
                seen.add(call.key)
                if self._journal.settled(call.key):
                    bill.calls += 1
                    bill.done += 1
                    continue
                characters = sum(len(message["content"]) for message in first.messages)
                most = most_usd(endpoint, first.messages) + most_usd(endpoint, second.messages)
                bill.add(endpoint, characters, tokens / n if n else DEFAULT_OUTPUT_TOKENS, most)
        return bills

    def ask(self, tasks: Sequence[Task]) -> str | None:
        """Ask about each row, and once more where an answer is off format; return why it stopped early, or None."""
        stopped = self._run(tasks, again=False)
        if stopped is not None:
            return stopped
        off_format = [task for task in tasks if self._is_off_format(task)]
        if off_format:
            self._progress.step(
                f"ask again about {len(off_format):,} rows, of which the verdict was off format"
            )
        return self._run(off_format, again=True)

    def hear(self, task: Task) -> Heard:
        """Return what the judge said of a row, out of the journal."""
        replies, usd, off_format = [], {}, 0
        for first, second in zip(questions(task), questions(task, again=True), strict=True):
            for asked in (first, second):
                key = call_of(task, asked).key
                answer = self._journal.answer(key)
                reply = read_reply(task.judge, asked, answer)
                if answer is not None:
                    usd[key] = answer.cost_usd
                if reply.why is not Why.OFF_FORMAT:
                    break
                off_format += 1
            replies.append(reply)
        return Heard(said(replies), usd, off_format)

    def _units(self, tasks: Sequence[Task], *, again: bool) -> Iterator[Unit]:
        """Yield the calls of each prompt: the budget admits a prompt with all its rows, or leaves it."""
        seen: set[str] = set()
        for _, rows in groupby(tasks, key=lambda task: (task.judge.name, name_of(task.row)[0])):
            calls: list[Call] = []
            for task in rows:
                for call in self._calls(task, again=again):
                    if call.key not in seen:
                        seen.add(call.key)
                        calls.append(call)
            if calls:
                yield Unit(tuple(calls))

    def _calls(self, task: Task, *, again: bool) -> Iterator[Call]:
        first = questions(task)
        if not again:
            yield from (call_of(task, asked) for asked in first)
            return
        for asked, second in zip(first, questions(task, again=True), strict=True):
            answer = self._journal.answer(call_of(task, asked).key)
            if read_reply(task.judge, asked, answer).why is Why.OFF_FORMAT:
                yield call_of(task, second)

    def _is_off_format(self, task: Task) -> bool:
        """Tell whether a first try came to no verdict, and note how long its answer is."""
        found = False
        for asked in questions(task):
            answer = self._journal.answer(call_of(task, asked).key)
            found |= read_reply(task.judge, asked, answer).why is Why.OFF_FORMAT
            if answer is not None and answer.output_tokens:
                n, tokens = self._outputs.get(task.judge.name, (0, 0))
                self._outputs[task.judge.name] = n + 1, tokens + answer.output_tokens
        return found

    def _run(self, tasks: Sequence[Task], *, again: bool) -> str | None:
        total = sum(len(unit.calls) for unit in self._units(tasks, again=again))
        if not total:
            return None
        return run_calls(
            self._units(tasks, again=again),
            self._endpoints,
            self._journal,
            budget_usd=self._budget_usd,
            concurrency=self._concurrency,
            progress=self._progress,
            total=total,
        ).stopped
