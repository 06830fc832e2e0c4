"""A service that is given a new model drops no request, and no answer is of two models."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from replacing import hammered, model_ids, put, reloads
from served import Reply, Served, Wire, ask, session, start, wait_until
from toys import reseal

ADMIN = "an-admin-key-0123456789"
ASK = {"authorization": f"Bearer {ADMIN}"}


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "workers"])
def served(
    request: pytest.FixtureRequest, toy_artifact: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    place = tmp_path_factory.mktemp("place") / "model"
    shutil.copytree(toy_artifact, place)
    options = ("--model", str(place), "--workers", str(request.param), "--log-prompts")
    with start(*options, environment={"TIERWISE_ADMIN_KEYS": ADMIN}) as served:
        yield served
        assert [] == served.events("failure")
        assert "Traceback" not in served.log


@pytest.fixture
def place(served: Served, toy_artifact: Path) -> Iterator[Path]:
    """Where the model is that the service opens; at the end it serves the first one again."""
    yield served.model
    put(toy_artifact, served.model)
    wait_until(lambda: 200 == reload(served).status, "reloads of the test's signals do not end")


def reload(served: Served) -> Reply:
    return ask(served, "POST", "/v1/model/reload", **ASK)


def test_the_new_model_is_taken_over_amid_requests(
    served: Served, place: Path, toy_artifact: Path, second: Path
) -> None:
    with hammered(served, toy_artifact, second) as seen:
        for model, name, before in [
            (second, "tw-second", "tw-toy"),
            (toy_artifact, "tw-toy", "tw-second"),
        ] * 2:
            put(model, place)
            reply = reload(served)
            assert 200 == reply.status
            expected = {"model_id": name, "previous_model_id": before, "reloaded": True}
            assert expected == {key: reply.json[key] for key in expected}
            assert {name} == model_ids(served)
            assert name == ask(served, "GET", "/readyz").json["model_id"]
            assert name == ask(served, "GET", "/v1/model").json["model_id"]
    assert {"tw-toy", "tw-second"} == set(seen)


def test_a_signal_does_it_too(served: Served, place: Path, second: Path, toy_artifact: Path) -> None:
    before, counted = len(served.events("reload")), reloads(served).get("changed", 0.0)
    with hammered(served, toy_artifact, second):
        put(second, place)
        served.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(served.events("reload")) > before, "nothing happens")
        assert {"tw-second"} == model_ids(served)
    told = served.events("reload")[-1]
    expected = {"outcome": "changed", "model_id": "tw-second", "previous_model_id": "tw-toy"}
    assert expected == {key: told[key] for key in expected}
    assert counted + 1 == reloads(served)["changed"]


def test_what_has_not_changed_is_told(served: Served) -> None:
    reply = reload(served)
    assert (200, False, "tw-toy") == (reply.status, reply.json["reloaded"], reply.json["model_id"])
    assert served.events("listening")[0]["workers"] == reply.json["workers"]


def damage(folder: Path, how: str) -> None:
    model = folder / "model.onnx"
    if how == "a file is missing":
        model.unlink()
    elif how == "a byte is flipped":
        content = model.read_bytes()
        model.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    elif how == "a later schema":
        reseal(folder, schema=1)
    elif how == "other scores":
        reseal(folder, features={"version": 99})
    elif how == "no manifest":
        (folder / "manifest.json").unlink()
    elif how == "an empty manifest":
        (folder / "manifest.json").write_bytes(b"")
    elif how == "a manifest of something else":
        (folder / "manifest.json").write_text('["' + "x" * 10_000 + '"]', encoding="utf-8")
    else:
        shutil.rmtree(folder)
        folder.write_text("not a folder", encoding="utf-8")


KINDS = [
    "a file is missing",
    "a byte is flipped",
    "a later schema",
    "other scores",
    "no manifest",
    "an empty manifest",
    "a manifest of something else",
    "not a folder",
]


@pytest.mark.parametrize("how", KINDS)
def test_a_broken_artefact_is_refused_and_the_old_one_serves_on(
    served: Served, place: Path, second: Path, how: str, toy_artifact: Path
) -> None:
    before = reloads(served).get("refused", 0.0)
    put(second, place)
    damage(place, how)
    reply = reload(served)
    assert (503, "model-refused") == (reply.status, reply.problem)
    detail = reply.json["detail"]
    assert detail.endswith("; the old model tw-toy serves on")
    assert len(detail) < 600
    assert "Traceback" not in detail
    assert {"tw-toy"} == model_ids(served)
    assert 200 == ask(served, "GET", "/readyz").status
    assert before + 1 == reloads(served)["refused"]
    told = served.events("reload")[-1]
    assert ("refused", "tw-toy") == (told["outcome"], told["model_id"])
    told_before = len(served.events("reload"))
    served.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(served.events("reload")) > told_before, "the signal's reload is not told of")
    assert "refused" == served.events("reload")[-1]["outcome"]
    assert {"tw-toy"} == model_ids(served)
    if place.is_file():
        place.unlink()
        shutil.copytree(toy_artifact, place)


def test_of_reloads_at_a_time_each_is_done_or_refused(
    served: Served, place: Path, second: Path, toy_artifact: Path
) -> None:
    with hammered(served, toy_artifact, second), ThreadPoolExecutor(8) as pool:
        for model, name in ((second, "tw-second"), (toy_artifact, "tw-toy")):
            put(model, place)
            replies = [*pool.map(lambda _: reload(served), range(8))]
            assert {200} <= {reply.status for reply in replies} <= {200, 503}
            refused = [reply.json["detail"] for reply in replies if reply.status == 503]
            assert all("another reload is under way; ask again when it is done" in each for each in refused)
            assert {name} == model_ids(served)
    assert 200 == reload(served).status


def test_signals_that_come_in_a_row(served: Served, place: Path, second: Path) -> None:
    put(second, place)
    for _ in range(10):
        served.process.send_signal(signal.SIGHUP)
        time.sleep(0.005)
    wait_until(lambda: {"tw-second"} == model_ids(served), "none of them is heeded")
    assert served.process.poll() is None


def test_a_stream_stays_with_the_model_that_it_began_with(served: Served, place: Path, second: Path) -> None:
    line = b"13\r\n" + b'{"prompt":"hello"}\n' + b"\r\n"
    head = b"POST /v1/route/batch HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"
    with Wire(served) as wire:
        wire.send(head, line)
        wire.wait()
        put(second, place)
        assert 200 == reload(served).status
        wire.send(line, b"0\r\n\r\n")
        lines: list[dict[str, Any]] = [json.loads(each) for each in wire.read().body.splitlines()]
    assert ["tw-toy", "tw-toy"] == [each["model_id"] for each in lines]
    assert {"tw-second"} == model_ids(served)


def test_models_that_were_replaced_are_freed(
    served: Served, place: Path, second: Path, toy_artifact: Path
) -> None:
    for model in (second, toy_artifact) * 3:
        put(model, place)
        assert 200 == reload(served).status
    workers = served.events("listening")[0]["workers"]
    wait_until(lambda: [1] * workers == maps_of_tables(served), "tables of old models stay mapped")


def maps_of_tables(served: Served) -> list[int]:
    """Return how many token tables each process maps that maps any, be their files deleted."""
    maps = [Path(f"/proc/{pid}/maps").read_text() for pid in session(served.process.pid)]
    return [text.count("embedding.int8.npy") for text in maps if "embedding.int8.npy" in text]


def test_only_an_admin_may(served: Served) -> None:
    for headers in ({}, {"authorization": "Bearer of-nothing-0123456789"}):
        reply = ask(served, "POST", "/v1/model/reload", **headers)
        assert 401 == reply.status
    assert 405 == ask(served, "GET", "/v1/model/reload", **ASK).status


def test_all_workers_take_a_model_or_none(toy_artifact: Path, second: Path, tmp_path: Path) -> None:
    """One of them cannot open what the others can: it has no file descriptors left."""
    place = Path(shutil.copytree(toy_artifact, tmp_path / "model"))
    environment = {
        "TIERWISE_ADMIN_KEYS": ADMIN,
        "MARK": str(tmp_path / "mark"),
        "PYTHONPATH": f"{tmp_path}{os.pathsep}.",
    }
    (tmp_path / "sitecustomize.py").write_text(ONE_FAILS, encoding="utf-8")
    with start("--model", str(place), "--workers", "3", environment=environment) as served:
        put(second, place)
        (tmp_path / "mark").touch()
        for _ in range(3):
            reply = reload(served)
            assert (503, "model-refused") == (reply.status, reply.problem)
            assert {"tw-toy"} == model_ids(served)
            (tmp_path / "mark").touch()
        (tmp_path / "mark").unlink()
        assert (200, 3) == (lambda reply: (reply.status, reply.json["workers"]))(reload(served))
        assert {"tw-second"} == model_ids(served)
        (failure, *_) = served.events("failure")
        assert "MemoryError" == failure["error"]


ONE_FAILS = """
import os
from router import Router

load = Router.load

def load_or_fail(location=None, policy=None):
    try:
        os.unlink(os.environ["MARK"])  # one of all finds it
    except OSError:
        return load(location, policy)
    raise MemoryError

Router.load = staticmethod(load_or_fail)
"""
