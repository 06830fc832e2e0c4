"""Several processes behave as one service, whatever becomes of one of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from served import Served, Wire, ask, connect, refuse, request, route, session, start, wait_until
from toys import reseal

BODY = b'{"prompt":"hello"}'
TABLE = "embedding.int8.npy"


def commands(served: Served) -> dict[int, str]:
    """Return what each process of a service runs, that which was started left out."""
    found = {}
    for pid in session(served.process.pid):
        with suppress(OSError):
            found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    found.pop(served.process.pid, None)
    return found


def workers(served: Served) -> list[int]:
    return [pid for pid, command in commands(served).items() if "spawn_main" in command]


def zombies(parent: int) -> list[int]:
    """Return a process's children that have ended and were not asked how."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            pid, rest = path.parent.name, path.read_text().rpartition(")")[2].split()
            if (rest[0], int(rest[1])) == ("Z", parent):
                found.append(int(pid))
    return found


def is_served(served: Served) -> bool:
    with suppress(OSError, AssertionError):
        return 200 == ask(served, "POST", "/v1/route", BODY).status
    return False


def total(served: Served, name: str) -> float:
    text = ask(served, "GET", "/metrics").body.decode()
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    )


def use_all(served: Served, n: int = 40) -> None:
    """Ask on so many connections at a time that each worker gets some."""
    with connect(served, n) as wires:
        for wire in wires:
            wire.send(route())
        assert {200} == {wire.read().status for wire in wires}


@pytest.fixture(scope="module")
def served(toy_artifact: Path) -> Iterator[Served]:
    with start("--model", str(toy_artifact), "--workers", "2") as served:
        yield served
        assert [] == served.events("failure")
        assert "Traceback" not in served.log


def test_one_line_says_that_all_are_ready(served: Served) -> None:
    (listening,) = served.events("listening")
    assert (2, "tw-toy", False) == tuple(listening[key] for key in ("workers", "model_id", "keys"))
    assert 2 == len(workers(served))


def test_the_token_table_is_there_once(served: Served) -> None:
    """Each worker maps the file itself, so that the system keeps one copy of its pages."""
    use_all(served)
    inodes = set()
    for pid in workers(served):
        lines = Path(f"/proc/{pid}/smaps").read_text().splitlines()
        found = [(i, line.split()) for i, line in enumerate(lines) if line.endswith(TABLE)]
        assert found, "the table is not mapped"
        for i, (_, rights, _, _, inode, _) in found:
            inodes.add(inode)
            assert "w" not in rights
            dirty = next(line for line in lines[i:] if line.startswith("Private_Dirty"))
            assert "0" == dirty.split()[1]
    assert 1 == len(inodes)


def test_metrics_are_summed(served: Served) -> None:
    before = total(served, "tierwise_decisions_total"), total(served, "tierwise_novelty_count")
    use_all(served, 50)
    wait_until(lambda: before[0] + 50 == total(served, "tierwise_decisions_total"), "some are not counted")
    assert before[1] + 50 == total(served, "tierwise_novelty_count")
    assert 1.0 == total(served, "tierwise_model_info")
    with connect(served, 30) as wires:
        assert {200} == {wire.ask(request("GET", "/healthz")).status for wire in wires}
        wait_until(lambda: 30 <= total(served, "tierwise_connections") <= 32, "connections are not summed")
    wait_until(lambda: total(served, "tierwise_connections") <= 2, "closed connections still count")


def test_a_worker_that_is_killed_is_started_again(served: Served) -> None:
    use_all(served)
    wait_until(lambda: total(served, "tierwise_connections") <= 2, "connections are left")
    before, decisions = workers(served), total(served, "tierwise_decisions_total")
    with connect(served, 10) as wires:  # so that there is something to forget
        assert {200} == {wire.ask(request("GET", "/healthz")).status for wire in wires}
        os.kill(before[0], signal.SIGKILL)
        for _ in range(150):  # while the new one is loading, the other is asked
            assert is_served(served)
            time.sleep(0.01)
        wait_until(
            lambda: 2 == len([pid for pid in workers(served) if pid != before[0]]), "it is not started again"
        )
    (died,) = served.events("worker")
    assert ("died", before[0], -9) == tuple(died[key] for key in ("outcome", "pid", "exit_code"))
    assert before[1] in workers(served)
    # What the dead one had counted stays; what it was busy with does not.
    assert decisions <= total(served, "tierwise_decisions_total")
    wait_until(lambda: total(served, "tierwise_connections") <= 2, "connections of the dead one still count")
    assert [] == zombies(served.process.pid)


def test_when_the_supervisor_is_killed_its_workers_end(toy_artifact: Path, tmp_path: Path) -> None:
    options = ("--model", str(toy_artifact), "--workers", "2")
    with start(*options, environment={"TMPDIR": str(tmp_path)}) as served, Wire(served) as wire:
        assert 2 == len(workers(served))
        sent = route()
        wire.send(sent[:-1])
        time.sleep(0.3)
        assert -9 == served.stop(signal.SIGKILL)
        time.sleep(0.2)
        assert 200 == wire.ask(sent[-1:]).status  # what is under way is finished all the same
        wait_until(lambda: not session(served.process.pid), "a worker lives on", seconds=10)
        assert "Traceback" not in served.log


def test_nothing_is_left_in_the_folder_for_temporary_files(toy_artifact: Path, tmp_path: Path) -> None:
    options = ("--model", str(toy_artifact), "--workers", "2")
    with start(*options, environment={"TMPDIR": str(tmp_path)}) as served:
        use_all(served)
        assert [*tmp_path.iterdir()]
    assert [] == [*tmp_path.iterdir()]


@pytest.mark.parametrize("damage", ["flipped", "gone", "schema"])
def test_workers_that_cannot_start_end_it_with_one_sentence(toy_artifact_copy: Path, damage: str) -> None:
    model = toy_artifact_copy / "model.onnx"
    if damage == "flipped":
        content = model.read_bytes()
        model.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "gone":
        model.unlink()
    else:
        reseal(toy_artifact_copy, schema=1)
    code, out, err = refuse("--model", str(toy_artifact_copy), "--workers", "2")
    assert (1, "") == (code, out)
    assert 1 == len(err.splitlines())
    assert err.startswith("error: ")
    if damage == "flipped":
        assert (code, out, err) == refuse("--model", str(toy_artifact_copy))  # as with one process


def test_a_worker_started_later_does_not_serve_another_model(toy_artifact: Path, tmp_path: Path) -> None:
    """The folder was exchanged, no reload asked for, and a worker dies: all come to serve what is there now."""
    place = Path(shutil.copytree(toy_artifact, tmp_path / "model"))
    with start("--model", str(place), "--workers", "2") as served:
        following = Path(shutil.copytree(toy_artifact, tmp_path / "next"))
        reseal(following, model_id="tw-next")
        place.rename(tmp_path / "old")
        following.rename(place)
        victim = workers(served)[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: served.events("reload"), "the others stay with the old model")
        (reload,) = served.events("reload")
        assert ("changed", "tw-next") == (reload["outcome"], reload["model_id"])
        with connect(served, 30) as wires:
            for wire in wires:
                wire.send(route())
            assert {"tw-next"} == {json.loads(wire.read().body)["model_id"] for wire in wires}


def test_a_worker_that_stops_answering_the_pipe_takes_no_one_with_it(served: Served) -> None:
    """Stopped for a while, it goes on where it was; the others serve meanwhile."""
    victim = workers(served)[0]
    os.kill(victim, signal.SIGSTOP)
    try:
        statuses = set()
        for _ in range(20):
            with Wire(served) as wire:
                wire.socket.settimeout(0.2)
                wire.send(route())
                with suppress(TimeoutError):
                    statuses.add(wire.read().status)
        assert {200} == statuses
    finally:
        os.kill(victim, signal.SIGCONT)
    use_all(served)
    assert victim in workers(served)
