"""What the supervisor makes of its workers' words, in any order: a model is taken in all of them or in none."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from multiprocessing import Process
from multiprocessing.connection import Connection, Pipe
from typing import Any

import pytest

from router.serving.channel import receive, send
from router.serving.settings import Settings
from router.serving.workers import _Supervisor, _Worker

CHANGED = "the artefact changed while it was being opened; ask again"


class Team:
    """A supervisor, and workers of which there are only the pipes: a test says what they say."""

    def __init__(self, listener: socket.socket) -> None:
        self.supervisor = _Supervisor(Settings(workers=2, log="off"), listener)
        self.supervisor._model_id = "A"
        self.supervisor._is_listening = True
        self.workers: list[_Worker] = []
        self.pipes: list[Connection] = []

    def join(self, model_id: str = "A") -> None:
        """Have one more worker, that is ready."""
        ours, theirs = Pipe()
        self.workers.append(_Worker(Process(), ours))
        self.supervisor._workers.append(self.workers[-1])
        self.pipes.append(theirs)
        self.say(len(self.workers) - 1, "ready", model_id=model_id)

    def leave(self, i: int) -> None:
        """Have a worker die."""
        self.supervisor._workers.remove(self.workers[i])
        self.supervisor._without(self.workers[i])

    def say(self, i: int, what: str, **fields: str) -> None:
        """Have a worker say something, and the supervisor act on it."""
        send(self.pipes[i], what, **fields)
        assert self.supervisor._hear(self.workers[i])

    def heard(self, i: int) -> list[dict[str, Any]]:
        """Return what a worker was told since it was asked last."""
        found = []
        while self.pipes[i].poll():
            found.append(receive(self.pipes[i]))
        return found

    def told(self, i: int) -> list[str]:
        return [message["say"] for message in self.heard(i)]


@pytest.fixture
def team() -> Iterator[Team]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        team = Team(listener)
        team.join()
        team.join()
        yield team
        for pipe in (*team.pipes, *(worker.pipe for worker in team.workers)):
            pipe.close()


@pytest.mark.parametrize("opened", [("A", "B"), ("B", "A"), ("B", "C")])
def test_workers_that_opened_different_models_keep_the_old_one(team: Team, opened: tuple[str, str]) -> None:
    team.say(0, "reload")
    for i, model_id in enumerate(opened):
        assert ["prepare"] == team.told(i)
        team.say(i, "prepared", model_id=model_id)
    assert [{"say": "forget"}, {"say": "refused", "detail": CHANGED}] == team.heard(0)
    assert ["forget"] == team.told(1)
    assert ["A", "A"] == [worker.model_id for worker in team.workers]
    assert "A" == team.supervisor._model_id


@pytest.mark.parametrize("opened", ["A", "B"])
def test_workers_that_opened_one_model_take_it(team: Team, opened: str) -> None:
    team.say(1, "reload")
    for say, answer in (("prepare", "prepared"), ("commit", "committed")):
        for i in (1, 0):
            assert [say] == team.told(i)
        team.say(0, answer, model_id=opened)
        team.say(1, answer, model_id=opened)
    assert [] == team.told(0)
    (reloaded,) = team.heard(1)
    assert {"say": "reloaded", "model_id": opened, "previous_model_id": "A", "workers": 2} == reloaded
    assert [opened, opened] == [worker.model_id for worker in team.workers]
    assert opened == team.supervisor._model_id


def test_a_worker_that_came_meanwhile_is_not_taken_to_have_the_new_model(team: Team) -> None:
    team.say(0, "reload")
    team.say(0, "prepared", model_id="B")
    team.join("A")  # it opened the place before it was exchanged
    team.say(1, "prepared", model_id="B")
    assert [] == team.told(2)
    for i in (0, 1):
        assert ["prepare", "commit"] == team.told(i)
        team.say(i, "committed")
    assert ["B", "B", "A"] == [worker.model_id for worker in team.workers]
    assert ["reloaded", "ask"] == team.told(0)  # for another reload, by which all come to have one model


def test_workers_that_all_die_leave_no_reload_under_way(team: Team) -> None:
    team.say(0, "reload")
    team.leave(0)
    team.leave(1)
    team.join()
    team.say(2, "reload")
    assert ["prepare"] == team.told(2)


class Wishing:
    """A pipe whose reader's watch wants another reload as soon as the first is asked for."""

    def __init__(self, supervisor: _Supervisor) -> None:
        self._supervisor = supervisor
        self.sent: list[bytes] = []

    def send_bytes(self, message: bytes) -> None:
        self.sent.append(message)
        if len(self.sent) == 1:
            self._supervisor._want_reload()


def test_a_wish_that_comes_while_one_is_acted_on_is_not_lost(team: Team) -> None:
    supervisor = team.supervisor
    supervisor._waker, other = socket.socketpair()
    with supervisor._waker, other:
        pipe = Wishing(supervisor)
        supervisor._workers = [_Worker(Process(), pipe)]  # type: ignore[arg-type]
        supervisor._workers[0].is_ready = True
        supervisor._want_reload()
        for n in (1, 2, 2):
            supervisor._act_on_watch()
            assert n == len(pipe.sent)
