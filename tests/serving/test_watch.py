"""A service that watches its model's place takes over what is put there, and nothing that is broken."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from replacing import hammered, model_ids, put, reloads
from served import Reply, Served, Wire, ask, request, start, wait_until
from toys import reseal

from router.serving.log import Log
from router.serving.watch import Folder, Watch
from training.void import void


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "workers"])
def served(
    request: pytest.FixtureRequest, toy_artifact: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    place = Path(shutil.copytree(toy_artifact, tmp_path_factory.mktemp("place") / "model"))
    with start("--model", str(place), "--workers", str(request.param), "--watch", "0.1") as served:
        yield served
        assert [] == served.events("failure")
        assert [] == served.events("watch")
        assert "Traceback" not in served.log


@pytest.fixture
def place(served: Served, toy_artifact: Path) -> Iterator[Path]:
    """Where the model is that the service watches; at the end it serves the first one again."""
    yield served.model
    put(toy_artifact, served.model)
    await_model(served, "tw-toy")

    def is_told() -> bool:  # which is a moment later, and would be counted with the next test's
        return all("tw-toy" == event["model_id"] for event in served.events("reload")[-1:])

    wait_until(is_told, "the last reload is not logged")


def await_model(served: Served, name: str) -> None:
    wait_until(lambda: {name} == model_ids(served), f"{name} is not taken over")


def asking(policy: dict[str, Any]) -> bytes:
    return request("POST", "/v1/route", json.dumps({"prompt": "hello", "policy": policy}).encode())


def told(served: Served, outcome: str) -> list[str]:
    """Return what the log says of reloads that came out so: the new model's id, or why it was refused."""
    events = [event for event in served.events("reload") if event["outcome"] == outcome]
    return [event.get("detail", event["model_id"]) for event in events]


def test_a_new_model_is_taken_over_amid_requests(
    served: Served, place: Path, toy_artifact: Path, second: Path
) -> None:
    before = len(served.events("reload"))
    with hammered(served, toy_artifact, second) as seen:
        for model, name in ((second, "tw-second"), (toy_artifact, "tw-toy"), (second, "tw-second")):
            wait_until(lambda: seen, "no one asks")
            put(model, place)
            await_model(served, name)
    assert {"tw-toy", "tw-second"} == set(seen)
    events = wait_until(lambda: served.events("reload")[before + 2 :], "not all is logged")
    assert ("changed", "tw-second", "tw-toy") == tuple(
        events[-1][key] for key in ("outcome", "model_id", "previous_model_id")
    )
    assert "tw-second" == ask(served, "GET", "/readyz").json["model_id"]


def test_a_broken_one_is_refused_once_and_a_good_one_taken_then(
    served: Served, place: Path, toy_artifact: Path, second: Path, tmp_path: Path
) -> None:
    broken = Path(shutil.copytree(second, tmp_path / "broken"))
    with (broken / "model.onnx").open("ab") as file:
        file.write(b"\0")
    before, counted = len(told(served, "refused")), reloads(served).get("refused", 0.0)
    with hammered(served, toy_artifact, second) as seen:
        put(broken, place)
        wait_until(lambda: told(served, "refused")[before:], "it is not refused")
        for i in (1, 2):  # each time it looks otherwise, it is tried again; there is nothing new to say
            wait_until(lambda i=i: counted + i <= reloads(served)["refused"], "it is not tried again")
            os.utime(place / "manifest.json")
        assert {"tw-toy"} == set(seen)
        put(second, place)
        await_model(served, "tw-second")
    (why,) = told(served, "refused")[before:]
    assert "model.onnx is not the file that the manifest describes" in why


def test_a_folder_that_is_gone_for_a_while_and_comes_back(served: Served, place: Path, second: Path) -> None:
    before, changed = len(told(served, "refused")), len(told(served, "changed"))
    place.rename(place.with_name("away"))
    wait_until(lambda: told(served, "refused")[before:], "it is not missed")
    assert {"tw-toy"} == model_ids(served)
    place.with_name("away").rename(place)
    put(second, place)
    await_model(served, "tw-second")
    (why,) = told(served, "refused")[before:]
    assert "no model: expected a folder with manifest.json" in why
    assert ["tw-second"] == told(served, "changed")[changed:]


def test_a_folder_that_is_copied_bit_by_bit_is_taken_when_it_is_whole(
    served: Served, place: Path, second: Path
) -> None:
    before = len(told(served, "refused"))
    shutil.rmtree(place)
    place.mkdir()
    shutil.copy(second / "manifest.json", place)
    wait_until(lambda: told(served, "refused")[before:], "half a model is not refused")
    assert {"tw-toy"} == model_ids(served)
    for path in second.iterdir():
        shutil.copy(path, place)
    await_model(served, "tw-second")


def test_what_was_touched_and_holds_the_same_model_is_left_alone(
    served: Served, place: Path, toy_artifact: Path, second: Path, tmp_path: Path
) -> None:
    before = len(served.events("reload"))
    os.utime(place / "manifest.json")
    put(toy_artifact, place)
    named = Path(shutil.copytree(toy_artifact, tmp_path / "named"))
    reseal(named, name="another name")
    put(named, place)
    put(second, place)
    await_model(served, "tw-second")
    wait_until(lambda: served.events("reload")[before:], "it is not logged")
    assert ["changed"] == [event["outcome"] for event in served.events("reload")[before:]]


def test_a_certificate_that_was_found_void_is_taken_over(
    served: Served, place: Path, toy_artifact: Path
) -> None:
    said = {"date": "2026-11-22", "why": "Of 400 new prompts 61 fail where large passes"}
    cheap = asking({"epsilon": 1e9})
    with Wire(served) as wire:
        assert ("small", "sufficient") == decided(wire.ask(cheap))
        model_id = void(toy_artifact, place, **said)["model_id"]
        await_model(served, model_id)
        assert ("large", "uncertified") == decided(wire.ask(cheap))
        assert ("large", "uncertified") == decided(wire.ask(asking({})))
        assert ("small", "uncertified") == decided(wire.ask(asking({"ceiling": "small"})))
        assert said == wire.ask(request("GET", "/v1/model")).json["certificate"]["void"]


def decided(reply: Reply) -> tuple[str, str]:
    return reply.json["tier"], reply.json["reason"]


def test_a_folder_looks_the_same_until_something_in_it_is_replaced_touched_or_added(
    toy_artifact_copy: Path,
) -> None:
    place, model = Folder(toy_artifact_copy), toy_artifact_copy / "model.onnx"
    looks = [place.look()]
    assert looks[0] == place.look()
    content, states = model.read_bytes(), model.stat()
    for change in (
        lambda: os.utime(model),
        lambda: (
            shutil.copy(model, toy_artifact_copy / "copy") and (toy_artifact_copy / "copy").replace(model)
        ),
        lambda: (toy_artifact_copy / "more").touch(),
        lambda: model.write_bytes(content[:-1]),
        # As long and as old as it was: only the system knows.
        lambda: (model.write_bytes(content), os.utime(model, ns=(states.st_atime_ns, states.st_mtime_ns))),
        lambda: shutil.rmtree(toy_artifact_copy),
        lambda: toy_artifact_copy.write_text("a file", encoding="utf-8"),
    ):
        time.sleep(0.01)  # a file system's clock may tick so slowly
        change()
        looks.append(place.look())
        assert looks[-1] == place.look()
    assert len(looks) == len(set(looks))


def test_a_folder_names_its_model_where_it_has_one(toy_artifact_copy: Path) -> None:
    place = Folder(toy_artifact_copy)
    assert "tw-toy" == place.model_id()
    (toy_artifact_copy / "manifest.json").write_text("{", encoding="utf-8")
    assert None is place.model_id()
    shutil.rmtree(toy_artifact_copy)
    assert None is place.model_id()


def test_a_link_is_followed(toy_artifact: Path, second: Path, tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(toy_artifact)
    place = Folder(link)
    before = place.look()
    link.unlink()
    link.symlink_to(second)
    assert before != place.look()
    assert "tw-second" == place.model_id()


class Turning:
    """A place that goes back to its first model as soon as its second one is taken."""

    def __init__(self) -> None:
        self.version = "1"
        self.serving = "model 1"
        self.taken: list[str] = []

    def look(self) -> str:
        return self.version

    def model_id(self) -> str:
        return f"model {self.version}"

    def take(self) -> None:
        self.serving = self.model_id()
        self.taken.append(self.serving)
        self.version = "1"


def test_a_model_that_comes_back_before_the_next_look_is_taken_again() -> None:
    place = Turning()
    watch = Watch(place, 0.01, Log("off"))
    watch.begin()
    watch.start(lambda: place.serving, place.take)
    place.version = "2"
    wait_until(lambda: ["model 2", "model 1"] == place.taken, "the first model is not taken again")
    watch.stop()


class Refused:
    """A place whose second model is refused until it is mended."""

    def __init__(self) -> None:
        self.version = "1"
        self.serving = "model 1"
        self.is_mended = False
        self.looks = 0
        self.tries = 0

    def look(self) -> str:
        self.looks += 1
        return self.version

    def model_id(self) -> str:
        return f"model {self.version}"

    def take(self) -> None:
        self.tries += 1
        if self.is_mended:
            self.serving = self.model_id()


def test_a_model_that_was_refused_is_tried_at_once_when_it_comes_back() -> None:
    place, now = Refused(), [0.0]
    watch = Watch(place, 0.01, Log("off"), lambda: now[0])
    watch.begin()
    watch.start(lambda: place.serving, place.take)

    def look_on() -> None:
        looks = place.looks
        wait_until(lambda: looks + 3 <= place.looks, "it does not look")

    place.version = "2"
    for i in range(1, 8):  # an hour, so that the next try is ten minutes away
        wait_until(lambda i=i: i <= place.tries, "it is not tried again")
        look_on()
        assert i == place.tries
        now[0] += 600.0
    wait_until(lambda: 8 <= place.tries, "it is not tried again")
    place.version = "1"
    look_on()
    place.version, place.is_mended = "2", True
    wait_until(lambda: "model 2" == place.serving, "it is not tried again after a rollback")
    assert 9 == place.tries
    watch.stop()
