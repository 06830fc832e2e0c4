"""Who served when: the journal of promotions, read against what the alias says. Pure.

The alias `champion` is the truth; the journal says how it came there. An entry is written before the alias moves and
marked after it has moved, so that a crash leaves an entry of which it is open whether it happened: the next entry,
which holds what the alias was by then, or the alias itself, tells. A version that the alias stands for and that no
entry explains was put there by hand.

What a rollback goes back to is a stack: a promotion or a demotion puts a version on it, a rollback takes one off. A move
by hand does the same: back to the version below, it took one off; to any other, it put one on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, get_args

__all__ = [
    "BY_HAND",
    "Event",
    "Journal",
    "Kind",
    "Term",
    "predecessor",
    "predecessors",
    "read_journal",
    "terms",
]

Kind = Literal["promote", "rollback", "demote"]
BY_HAND = "by hand"
"""How a version came to serve that no entry of the journal explains."""

_PREFIX = "tierwise.served."


@dataclass(frozen=True)
class Event:
    """An entry of the journal: a move of the alias, meant or done.

    Attributes
    ----------
    number : int
        Its place in the journal, from 1.
    version, previous : int, int or None
        What the alias was to stand for, and what it stood for when this was written.
    at : str
        When, ISO 8601 in UTC.
    kind : {"promote", "rollback", "demote"}
    by : str
        user@host.
    reason : str
    moved : str or None
        When the alias had moved; None: the process did not get that far.
    run : str or None
        The run of MLflow that moved it; None: a person did, by a command.
    """

    number: int
    version: int
    previous: int | None
    at: str
    kind: Kind
    by: str
    reason: str = ""
    moved: str | None = None
    run: str | None = None

    @property
    def key(self) -> str:
        """The tag that holds it."""
        return f"{_PREFIX}{self.number:06d}"

    def to_json(self) -> str:
        """Return what the tag holds."""
        document = asdict(self)
        del document["number"]
        return json.dumps(document, ensure_ascii=False)


class Journal(NamedTuple):
    """The entries in order, and the tags that should be entries and cannot be read."""

    events: list[Event]
    unreadable: list[str]

    @property
    def next_number(self) -> int:
        """The number of the entry that comes next; a tag that cannot be read keeps its own."""
        taken = [event.number for event in self.events]
        taken += [int(end) for key in self.unreadable if (end := key.removeprefix(_PREFIX)).isdecimal()]
        return max(taken, default=0) + 1


class Term(NamedTuple):
    """A version that served.

    `since` and `until` are ISO 8601 in UTC, and None where nothing tells, as around a move by hand; so is `until` of the
    one that serves. `kind` is what brought it: an event's kind, or "by hand".
    """

    version: int
    since: str | None
    until: str | None
    kind: str
    by: str
    reason: str


def read_journal(tags: Mapping[str, str]) -> Journal:
    """Return the journal that a registered model's tags hold."""
    events, unreadable = [], []
    for key in sorted(key for key in tags if key.startswith(_PREFIX)):
        event = _parse(key, tags[key])
        if event is None:
            unreadable.append(key)
        else:
            events.append(event)
    return Journal(sorted(events, key=lambda event: event.number), unreadable)


def terms(events: Iterable[Event], champion: int | None) -> list[Term]:
    """Return who served from when to when, the first one first, up to the champion that the alias stands for."""
    return _Replay(events, champion).terms


def predecessors(events: Iterable[Event], champion: int | None) -> list[int]:
    """Return what a rollback goes back to: the nearest first, then what that one's rollback would go back to."""
    return _Replay(events, champion).below()


def predecessor(events: Iterable[Event], champion: int | None) -> int | None:
    """Return what a rollback goes back to, or None where nobody served before."""
    return next(iter(predecessors(events, champion)), None)


class _Replay:
    """The journal gone through from its start: the stack of champions, and the terms."""

    def __init__(self, events: Iterable[Event], champion: int | None) -> None:
        self.terms: list[Term] = []
        self._stack: list[int] = []
        self._serving: int | None = None
        self._champion = champion
        events = list(events)
        seen_after = [event.previous for event in events[1:]] + [champion] * bool(events)
        for event, after in zip(events, seen_after, strict=True):
            self._notice(event.previous)
            if event.moved is not None or (after == event.version and after != event.previous):
                self._move(event)
        self._notice(champion)

    def below(self) -> list[int]:
        """Return the stack without the champion, from the top."""
        stack = self._stack[:-1] if self._champion is not None else self._stack
        return stack[::-1]

    def _move(self, event: Event) -> None:
        if event.kind == "rollback":
            self._back_to(event.version)
        elif event.version != self._serving:
            self._push(event.version)
        self._begin(Term(event.version, event.moved or event.at, None, event.kind, event.by, event.reason))

    def _notice(self, found: int | None) -> None:
        """Take in what the alias stands for, where that is not what was last known: a move by hand, some time ago."""
        if found == self._serving:
            return
        self._end(None)
        if found is None:
            self._serving = None  # the alias was deleted; who served before is still who served before
            return
        if self._stack[-2:-1] == [found]:
            self._back_to(found)
        elif self._stack[-1:] != [found]:
            self._push(found)
        self._begin(Term(found, None, None, BY_HAND, "", ""))

    def _push(self, version: int) -> None:
        if self._stack[-1:] != [version]:
            self._stack.append(version)

    def _back_to(self, version: int) -> None:
        """Take off what is above the version; one that is not on the stack is put on it."""
        below = self._stack[:-1] if self._serving is not None else list(self._stack)
        while below and below[-1] != version:
            below.pop()
        self._stack = below or [version]

    def _begin(self, term: Term) -> None:
        if term.version != self._serving:
            self._end(term.since)
            self.terms.append(term)
            self._serving = term.version

    def _end(self, at: str | None) -> None:
        if self.terms and self._serving is not None:
            self.terms[-1] = self.terms[-1]._replace(until=at)


def _parse(key: str, text: str) -> Event | None:
    """Return an entry, or None if it is not one: a person can edit tags."""
    try:
        document: dict[str, Any] = json.loads(text)
        number = int(key.removeprefix(_PREFIX))
        event = Event(number, **document)
    except (ValueError, TypeError, RecursionError):
        return None
    whole = [event.version] if event.previous is None else [event.version, event.previous]
    texts = [
        event.at,
        event.by,
        event.reason,
        *(text for text in (event.moved, event.run) if text is not None),
    ]
    sound = (
        all(type(value) is int for value in whole)
        and all(isinstance(value, str) for value in texts)
        and event.kind in get_args(Kind)
    )
    return event if sound else None
