"""The journal: who served when, and what a rollback goes back to, whatever crashed and whatever was done by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.pipeline.champions import BY_HAND, Event, predecessor, predecessors, read_journal, terms

VERSIONS = st.integers(1, 5)
MOVES = st.one_of(
    st.tuples(st.sampled_from(["promote", "demote"]), VERSIONS, st.sampled_from(["whole", "early", "late"])),
    st.tuples(st.just("rollback"), st.none(), st.sampled_from(["whole", "early", "late"])),
    st.tuples(st.just("hand"), VERSIONS, st.none()),
    st.tuples(st.just("removed"), st.none(), st.none()),
)


class World:
    """The plainest account of what happens: an alias, the truth as a stack and a list, and the journal beside.

    A crash is "early" (the alias has not moved) or "late" (it has, and the entry is not marked).
    """

    def __init__(self) -> None:
        self.alias: int | None = None
        self.stack: list[int] = []
        self.served: list[int] = []
        self.tags: dict[str, str] = {}
        self.unseen = False

    @property
    def events(self) -> list[Event]:
        return read_journal(self.tags).events

    def do(self, move: str, version: int | None, crash: str | None) -> None:
        if move == "hand":
            self.by_hand(version)
        elif move == "removed":
            self.by_hand(None)
        else:
            if move == "rollback":
                version = predecessor(self.events, self.alias)
            if version is not None and version != self.alias:
                self.by_command(move, version, crash)

    def by_command(self, kind: Any, version: int, crash: str | None) -> None:
        number = read_journal(self.tags).next_number
        event = Event(number, version, self.alias, f"t{number}", kind, "me@here", "why")
        self.tags[event.key] = event.to_json()
        self.unseen = crash != "whole"
        if crash == "early":
            return
        if kind == "rollback":
            if self.alias is not None:
                self.stack.pop()
            assert self.stack[-1] == version
        elif self.stack[-1:] != [version]:
            self.stack.append(version)
        self.set_alias(version)
        if crash == "whole":
            self.tags[event.key] = replace(event, moved=f"m{number}").to_json()

    def by_hand(self, version: int | None) -> None:
        # What no journal can tell, and is left out: an entry that is open, and then a move that nobody wrote down;
        # of two such moves, the first. The commands close open entries before they do anything else.
        if self.unseen or version == self.alias:
            return
        self.unseen = True
        if version is not None:
            if self.stack[-2:-1] == [version]:
                self.stack.pop()
            elif self.stack[-1:] != [version]:
                self.stack.append(version)
        self.set_alias(version)

    def set_alias(self, version: int | None) -> None:
        if version is not None:
            self.served.append(version)
        self.alias = version

    @property
    def below(self) -> list[int]:
        return (self.stack[:-1] if self.alias is not None else self.stack)[::-1]


def distinct(versions: list[int]) -> list[int]:
    """A list without immediate repetitions."""
    return [v for i, v in enumerate(versions) if i == 0 or versions[i - 1] != v]


@settings(max_examples=400, deadline=None)
@given(st.lists(MOVES, max_size=25))
def test_the_stack_is_right_after_any_commands_crashes_and_moves_by_hand(moves: list[Any]) -> None:
    world = World()
    for move in moves:
        world.do(*move)
        assert world.below == predecessors(world.events, world.alias)
        served = terms(world.events, world.alias)
        assert distinct(world.served) == distinct([term.version for term in served])
        if world.alias is not None:
            assert (world.alias, None) == (served[-1].version, served[-1].until)


@settings(max_examples=200, deadline=None)
@given(st.lists(MOVES.filter(lambda move: move[0] != "rollback"), min_size=1, max_size=12))
def test_rollbacks_go_back_one_by_one_to_the_first(moves: list[Any]) -> None:
    world = World()
    for move in moves:
        world.do(*move)
    expected, found = predecessors(world.events, world.alias), []
    while (target := predecessor(world.events, world.alias)) is not None:
        assert target != world.alias
        world.do("rollback", None, "whole")
        assert target == world.alias
        found.append(target)
    assert expected == found


def journal(*rows: tuple[Any, ...]) -> list[Event]:
    """Entries of (version, previous, kind, moved or not)."""
    return [
        Event(i, version, previous, f"t{i}", kind, "me@here", moved=f"m{i}" if moved else None)
        for i, (version, previous, kind, moved) in enumerate(rows, start=1)
    ]


def test_rollback_twice_goes_two_back() -> None:
    events = journal((1, None, "promote", 1), (2, 1, "promote", 1), (3, 2, "promote", 1))
    assert 2 == predecessor(events, 3)
    events += [Event(4, 2, 3, "t4", "rollback", "me@here", moved="m4")]
    assert 1 == predecessor(events, 2)
    events += [Event(5, 1, 2, "t5", "rollback", "me@here", moved="m5")]
    assert predecessor(events, 1) is None


def test_a_demotion_can_be_taken_back() -> None:
    events = journal((1, None, "promote", 1), (2, 1, "promote", 1), (1, 2, "demote", 1))
    assert 2 == predecessor(events, 1)


def test_what_did_not_happen_does_not_count() -> None:
    events = journal((1, None, "promote", 1), (2, 1, "promote", 0))
    assert [1] == [term.version for term in terms(events, 1)]
    assert predecessor(events, 1) is None
    events += journal((3, 1, "promote", 1))
    assert [1, 3] == [term.version for term in terms(events, 3)]


def test_what_happened_unmarked_counts() -> None:
    events = journal((1, None, "promote", 1), (2, 1, "promote", 0))
    assert [(1, "m1", "t2"), (2, "t2", None)] == [
        (term.version, term.since, term.until) for term in terms(events, 2)
    ]
    assert 1 == predecessor(events, 2)


def test_an_open_entry_before_a_move_by_hand_does_not_count() -> None:
    events = journal((1, None, "promote", 1), (2, 1, "promote", 0))
    assert [1, 3] == [term.version for term in terms(events, 3)]
    assert 1 == predecessor(events, 3)


def test_a_move_by_hand_is_said_and_its_time_is_not_made_up() -> None:
    events = journal((1, None, "promote", 1), (2, 1, "promote", 1), (4, 3, "promote", 1))
    assert [
        (1, "m1", "m2", "promote"),
        (2, "m2", None, "promote"),
        (3, None, "m3", BY_HAND),
        (4, "m3", None, "promote"),
    ] == [(term.version, term.since, term.until, term.kind) for term in terms(events, 4)]
    assert [3, 2, 1] == predecessors(events, 4)


def test_back_by_hand_is_a_rollback() -> None:
    events = journal((1, None, "promote", 1), (2, 1, "promote", 1), (3, 2, "promote", 1))
    assert [1] == predecessors(events, 2)
    assert (2, BY_HAND) == (terms(events, 2)[-1].version, terms(events, 2)[-1].kind)


def test_without_a_champion_a_rollback_brings_the_last_one_back() -> None:
    events = journal((1, None, "promote", 1), (2, 1, "promote", 1))
    assert [2, 1] == predecessors(events, None)
    assert [1, 2] == [term.version for term in terms(events, None)]


def test_a_rollback_past_a_deleted_version_takes_it_off() -> None:
    events = journal(
        (1, None, "promote", 1), (2, 1, "promote", 1), (3, 2, "promote", 1), (1, 3, "rollback", 1)
    )
    assert predecessor(events, 1) is None


def test_an_empty_journal_knows_the_alias_only() -> None:
    assert ([], None) == (terms([], None), predecessor([], None))
    assert [(7, BY_HAND)] == [(term.version, term.kind) for term in terms([], 7)]
    assert predecessor([], 7) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"version": "2", "previous": 1, "at": "t", "kind": "promote", "by": "b"}',
        '{"version": true, "previous": 1, "at": "t", "kind": "promote", "by": "b"}',
        '{"version": 2, "previous": 1, "at": "t", "kind": "stroll", "by": "b"}',
        '{"version": 2, "previous": 1, "at": 5, "kind": "promote", "by": "b"}',
        '{"version": 2, "previous": 1, "at": "t", "kind": "promote", "by": "b", "more": 1}',
        "[" * 100_000,
    ],
)
def test_a_damaged_entry_is_left_out_and_named(text: str) -> None:
    good = journal((1, None, "promote", 1))[0]
    tags = {good.key: good.to_json(), "tierwise.served.000002": text, "other": "x"}
    found = read_journal(tags)
    assert ([good], ["tierwise.served.000002"]) == (found.events, found.unreadable)
    assert 3 == found.next_number


@given(
    st.builds(
        Event,
        number=st.integers(1, 999_999),
        version=VERSIONS,
        previous=st.none() | VERSIONS,
        at=st.text(),
        kind=st.sampled_from(["promote", "rollback", "demote"]),
        by=st.text(),
        reason=st.text(),
        moved=st.none() | st.text(),
    )
)
def test_an_entry_is_read_as_it_was_written(event: Event) -> None:
    assert [event] == read_journal({event.key: event.to_json()}).events
