"""What a service counts is what it was asked, in a form that Prometheus reads, under names that do not multiply."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from served import Served, Wire, ask, connect, request, route, start, wait_until

from router import Policy, Router
from router.serving.gate import ENDPOINTS
from router.serving.problems import PROBLEMS

BODY = b'{"prompt":"hello"}'
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "workers"])
def served(request: pytest.FixtureRequest, toy_artifact: Path) -> Iterator[Served]:
    options = ("--model", str(toy_artifact), "--workers", str(request.param), "--max-body-bytes", "20000")
    with start(*options) as served:
        yield served
        assert [] == served.events("failure")


def scrape(served: Served) -> Samples:
    text = ask(served, "GET", "/metrics").body.decode()
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found, "told twice"
            found[key] = sample.value
    return found


def difference(served: Served, act: Callable[[], Any], until: Callable[[Samples], bool]) -> Samples:
    """Return by how much counts grow while something happens."""
    before = scrape(served)
    act()

    def grown() -> Samples | None:
        found = {key: value - before.get(key, 0.0) for key, value in scrape(served).items()}
        return found if until(found) else None

    return dict(wait_until(grown, "it is not counted"))


def of(samples: Samples, name: str, label: str) -> dict[str, float]:
    return {dict(labels)[label]: value for (each, labels), value in samples.items() if each == name and value}


def test_the_form(served: Served) -> None:
    reply = ask(served, "GET", "/metrics")
    assert "text/plain; version=0.0.4; charset=utf-8" == reply.headers["content-type"]
    families = {f.name: f.type for f in text_string_to_metric_families(reply.body.decode())}
    expected = {
        "tierwise_decisions": "counter",
        "tierwise_request_seconds": "histogram",
        "tierwise_novelty": "histogram",
        "tierwise_errors": "counter",
        "tierwise_reloads": "counter",
        "tierwise_in_flight": "gauge",
        "tierwise_connections": "gauge",
        "tierwise_model_info": "gauge",
    }
    ask(served, "POST", "/v1/route", BODY)
    ask(served, "POST", "/v1/route", b"{}")
    ask(served, "POST", "/v1/model/reload")
    families = {
        f.name: f.type for f in text_string_to_metric_families(ask(served, "GET", "/metrics").body.decode())
    }
    assert expected == families
    assert 1.0 == scrape(served)[("tierwise_model_info", (("model_id", "tw-toy"),))]


def test_decisions_are_counted(served: Served, toy_router: Router) -> None:
    prompts = [*["hello"] * 3, "", "世界", "Prove that the sum of two odd numbers is even."]
    policy = {"floor": "medium"}
    batch = {"items": [{"prompt": p} for p in prompts]}
    ndjson = {"content_type": "application/x-ndjson"}

    def act() -> None:
        for prompt in prompts:
            assert 200 == ask(served, "POST", "/v1/route", json.dumps({"prompt": prompt}).encode()).status
            body = json.dumps({"prompt": prompt, "policy": policy}).encode()
            assert 200 == ask(served, "POST", "/v1/route", body).status
        assert 200 == ask(served, "POST", "/v1/route/batch", json.dumps(batch).encode()).status
        lines = b"\n".join(json.dumps(item).encode() for item in batch["items"])
        assert 200 == ask(served, "POST", "/v1/route/batch", lines, **ndjson).status

    n = 4 * len(prompts)
    asked = {"route": 2.0 * len(prompts), "batch": 2.0}

    def requests_in(found: Samples) -> dict[str, float]:
        counts = of(found, "tierwise_request_seconds_count", "endpoint")
        return {name: count for name, count in counts.items() if name != "metrics"}

    # A stream's decisions are counted as they are made, and the request when its answer has gone.
    grown = difference(served, act, lambda found: sum(requests_in(found).values()) >= sum(asked.values()))
    decisions = 3 * [toy_router.route(p) for p in prompts]
    decisions += [toy_router.route(p, Policy(floor="medium")) for p in prompts]
    expected = Counter((d.tier, d.reason.value) for d in decisions)
    found = {
        (dict(labels)["tier"], dict(labels)["reason"]): value
        for (name, labels), value in grown.items()
        if name == "tierwise_decisions_total" and value
    }
    assert expected == found
    novelty = sum(d.novelty for d in decisions)
    assert pytest.approx(novelty, abs=1e-4) == grown[("tierwise_novelty_sum", ())]
    assert n == grown[("tierwise_novelty_bucket", (("le", "+Inf"),))]
    assert asked == requests_in(grown)


def test_problems_are_counted(served: Served) -> None:
    sent = {
        "malformed-json": request("POST", "/v1/route", b"{"),
        "invalid-utf8": request("POST", "/v1/route", b"\xff"),
        "invalid-request": request("POST", "/v1/route", b"{}"),
        "too-large": request("POST", "/v1/route", b" " * 20_001),
        "unsupported-media-type": request("POST", "/v1/route", BODY, content_type="text/plain"),
        "not-found": request("GET", "/nothing"),
        "method-not-allowed": request("DELETE", "/v1/route"),
        "forbidden": request("POST", "/v1/route", BODY, host="evil.example"),
        "headers-too-large": request("GET", "/healthz", x="a" * 40_000),
        "bad-http": b"hello there\r\n\r\n",
        "too-many-items": request(
            "POST", "/v1/route/batch", b'{"items":[' + b",".join([b"{}"] * 1025) + b"]}"
        ),
    }

    def act() -> None:
        for name, each in sent.items():
            for _ in range(2):
                with Wire(served) as wire:
                    assert name == wire.ask(each).problem
        items = json.dumps({"items": [{"prompt": "a"}, {}, {}]}).encode()
        assert 200 == ask(served, "POST", "/v1/route/batch", items).status

    def is_all(found: Samples) -> bool:
        return sum(of(found, "tierwise_errors_total", "type").values()) >= 2 * len(sent) + 2

    grown = difference(served, act, is_all)
    expected = dict.fromkeys(sent, 2.0)
    expected["invalid-request"] += 2
    assert expected == of(grown, "tierwise_errors_total", "type")
    assert 1.0 == sum(value for (name, _), value in grown.items() if name == "tierwise_decisions_total")


def test_no_client_makes_a_label(served: Served) -> None:
    """Paths, methods, tiers, tags and ids that are made up leave nothing behind."""
    before = 0
    with Wire(served) as wire:
        for i in range(50):
            if i == 5:  # from now on, nothing is the first of its kind
                before = len(scrape(served))
            for sent in (
                request("GET", f"/nothing-{i}"),
                request("POST", f"/v1/route/{i}", BODY),
                route(f"word-{i}", x_request_id=f"id-{i}"),
                request(
                    "POST",
                    "/v1/route",
                    json.dumps({"prompt": "a", "metadata": {f"tag_{i}": f"v{i}"}}).encode(),
                ),
                request(
                    "POST", "/v1/route", json.dumps({"prompt": "a", "policy": {"floor": f"t{i}"}}).encode()
                ),
                request("GET", "/healthz", origin=f"https://{i}.example"),
            ):
                wire.ask(sent)
    after = scrape(served)
    assert len(after) <= before + 20  # the scrape itself, if it was the first
    values: dict[str, set[str]] = {}
    for name, labels in after:
        for label, value in labels:
            values.setdefault(label, set()).add(value)
        assert name.startswith("tierwise_")
    assert {"tier", "reason", "endpoint", "type", "outcome", "le", "model_id"} >= values.keys()
    assert {*ENDPOINTS.values(), "unknown"} >= values["endpoint"]
    assert PROBLEMS.keys() >= values["type"]
    assert {"small", "medium", "large"} >= values["tier"]
    assert {"tw-toy"} == values["model_id"]


def test_load_comes_and_goes(served: Served) -> None:
    stream = b"POST /v1/route/batch HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"
    with connect(served, 3) as streams, connect(served, 4) as idle:
        for wire in streams:
            wire.send(stream)
        for wire in idle:
            assert 200 == wire.ask(request("GET", "/healthz")).status
        wait_until(lambda: scrape(served)[("tierwise_connections", ())] >= 7, "connections are not told")
        wait_until(lambda: scrape(served)[("tierwise_in_flight", ())] >= 3, "streams under way are not told")
        for wire in streams:
            assert 200 == wire.ask(b"0\r\n\r\n").status
    wait_until(lambda: scrape(served)[("tierwise_connections", ())] <= 2, "closed connections still count")
    wait_until(lambda: scrape(served)[("tierwise_in_flight", ())] <= 1, "ended requests still count")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_folder_for_the_counts_of_another_program_is_left_alone(
    toy_artifact: Path, tmp_path: Path, workers: str
) -> None:
    """The library's variable may be inherited, and name what is not there."""
    for folder in (tmp_path, tmp_path / "nowhere"):
        options = ("--model", str(toy_artifact), "--workers", workers)
        with start(*options, environment={"PROMETHEUS_MULTIPROC_DIR": str(folder)}) as served:
            for _ in range(3):
                assert 200 == ask(served, "POST", "/v1/route", BODY).status
            wait_until(
                lambda served=served: 3.0 == scrape(served).get(("tierwise_novelty_count", ())), "not counted"
            )
    assert [] == [*tmp_path.iterdir()]
