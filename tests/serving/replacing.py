"""A service whose model is replaced while it is asked: two models that can be told apart, and clients that tell them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from prometheus_client.parser import text_string_to_metric_families
from served import Served, Wire, ask, connect, request, route
from toys import reseal, write_artifact

from router import Router
from training.package import publish

__all__ = ["PROMPTS", "hammered", "model_ids", "put", "reloads", "write_second"]

PROMPTS = [f"hello {i}" for i in range(20)]
NAMES = {"tw-toy": ["small", "medium", "large"], "tw-second": ["mini", "midi", "maxi"]}


def write_second(folder: Path) -> Path:
    """Write a model of other scores and other tiers than the toy artefact."""
    write_artifact(folder, lexicon=True)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    tiers = manifest["tiers"]
    for tier, name in zip(tiers["tier"], NAMES["tw-second"], strict=True):
        tier["name"] = name
    best = {"reference": NAMES["tw-second"][-1]}
    certificate, decision = (manifest[part] | best for part in ("certificate", "decision"))
    reseal(folder, model_id="tw-second", tiers=tiers, certificate=certificate, decision=decision)
    return folder


def put(model: Path, place: Path) -> None:
    """Put a copy of a model in another's place, as a fit does."""
    publish(Path(shutil.copytree(model, place.with_name("next"))), place)


def model_ids(served: Served) -> set[str]:
    """Return the models that decide, in as many answers as reach all workers."""
    with connect(served, 30) as wires:
        for wire in wires:
            wire.send(route())
        return {wire.read().json["model_id"] for wire in wires}


def reloads(served: Served) -> dict[str, float]:
    text = ask(served, "GET", "/metrics").body.decode()
    samples = (s for f in text_string_to_metric_families(text) for s in f.samples)
    return {s.labels["outcome"]: s.value for s in samples if s.name == "tierwise_reloads_total"}


@contextmanager
def hammered(served: Served, *models: Path) -> Iterator[list[str]]:
    """Have clients ask on and on; each answer must be one that one of the models gives. Gives the ids in order."""
    routers = {router.model_id: router for router in map(Router.load, models)}
    singly = {name: {p: router.route(p).to_dict() for p in PROMPTS} for name, router in routers.items()}
    together = {name: [d.to_dict() for d in router.route_many(PROMPTS)] for name, router in routers.items()}
    batch = request(
        "POST", "/v1/route/batch", json.dumps({"items": [{"prompt": p} for p in PROMPTS]}).encode()
    )
    done, seen = Event(), list[str]()

    def ask_on() -> None:
        with Wire(served) as wire:
            while not done.is_set():
                for prompt in PROMPTS:
                    reply = wire.ask(route(prompt))
                    assert 200 == reply.status, reply
                    name = reply.json["model_id"]
                    assert NAMES[name] == reply.json["tiers"]
                    assert singly[name][prompt] == {key: reply.json[key] for key in singly[name][prompt]}
                    seen.append(name)

    def ask_for_batches() -> None:
        with Wire(served) as wire:
            while not done.is_set():
                reply = wire.ask(batch)
                assert 200 == reply.status, reply
                name = reply.json["model_id"]
                assert NAMES[name] == reply.json["tiers"]
                assert [d | {"item": i} for i, d in enumerate(together[name])] == reply.json["results"]

    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(call) for call in (ask_on, ask_on, ask_for_batches)]
        try:
            yield seen
        finally:
            done.set()
        for each in running:
            each.result()
