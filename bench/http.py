"""The HTTP service beside an endpoint that decides nothing; in batches, overloaded, with two workers, and for long.

`python -m bench.http [--data ../shared/data] [--quick] [--write [--docs docs]]`. Service, floor (bench/http_floor.py)
and load generator (bench/http_load.py) share one machine. Service and floor take turns in short rounds and get the
same bytes: ratios within a round come first, for they hold on other machines. The service has keys, metrics and its
JSON log on; the log goes to a file. Texts are passages of the prompts of the histories in the data folder, or
synthetic ones where there is no folder; each is distinct within its round, and the service has routed `served` others
before. `--quick` is for trying it: its figures are noise. `--write` puts the document and a section into the documents.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.http_page import SECTION, TARGETS, render_tables
from bench.http_requests import Order
from bench.http_served import Generator, Served, floor_command, measure_start, send, serve, server_command
from bench.http_sums import expect_all_well, sum_up, sum_up_overload, take_medians, take_ratio, take_spread
from bench.measuring import describe_machine, report
from bench.targets import judge
from bench.texts import cut_passages, cut_texts, divide, read_texts

BATCH = 256
CONNECTIONS = 32  # enough to keep one worker busy
OVERLOAD = 10  # times the capacity
_LIBRARIES = ("fastapi", "pydantic", "uvicorn", "uvloop", "httptools")
_POOL, _LONG_POOL, _WORDS = 20_000, 3000, 5000


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    starts: int = 7
    served: int = 12_000
    rounds: int = 15
    requests: int = 2500  # of a round on one connection; twice as many on several
    batches: int = 32  # of a round on one connection; twice as many on several
    lines: int = 50_000
    stream_rounds: int = 3
    worker_rounds: int = 9
    overload_rounds: int = 3
    overload_s: float = 4.0
    capacity_s: float = 1.5
    requests_in_memory: int = 500_000


QUICK = Plan(
    starts=2,
    served=1000,
    rounds=2,
    requests=600,
    batches=16,
    lines=5000,
    stream_rounds=1,
    worker_rounds=2,
    overload_rounds=1,
    overload_s=1.5,
    capacity_s=0.8,
    requests_in_memory=25_000,
)


def measure_rounds(
    generator: Generator, service: Served, floor: Served, key: str, plan: Plan
) -> dict[str, Any]:
    """Return what each way of asking took, medians of rounds in which all take turns, and ratios within a round."""
    n, many = plan.requests, 2 * plan.requests
    ways: dict[str, tuple[Served, Order]] = {}
    for name, server in (("floor", floor), ("route", service)):
        at = Order(server.url, key, watch=server.pids)
        ways[f"{name}_1"] = server, replace(at, count=n)
        ways[f"{name}_{CONNECTIONS}"] = server, replace(at, count=many, connections=CONNECTIONS)
        ways[f"{name}_full_{CONNECTIONS}"] = (
            server,
            replace(at, kind="full", count=n, connections=CONNECTIONS),
        )
    batch = Order(service.url, key, kind="batch", items=BATCH, watch=service.pids)
    ways["batch_1"] = service, replace(batch, count=plan.batches)
    ways[f"batch_{CONNECTIONS}"] = service, replace(batch, count=2 * plan.batches, connections=CONNECTIONS)

    order = sorted(ways, key=lambda name: name.partition("_")[2])  # a way and its floor follow each other
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for i in range(plan.rounds):
        for name in order if i % 2 else reversed(order):
            asked = replace(ways[name][1], start=i * many)  # the same texts for all ways
            figures[name].append(sum_up(send([generator], [asked]), asked.items))
    ratios = {}
    for connections in (1, CONNECTIONS, f"full_{CONNECTIONS}"):
        route, base = figures[f"route_{connections}"], figures[f"floor_{connections}"]
        ratios[f"throughput_{connections}"] = take_ratio(route, base, "per_s")
        ratios[f"p50_{connections}"] = take_ratio(route, base, "p50_us")
        ratios[f"p99_{connections}"] = take_ratio(route, base, "p99_us")
        ratios[f"cpu_{connections}"] = take_ratio(route, base, "server_cpu_us")
    for connections in (1, CONNECTIONS):
        batched, single = figures[f"batch_{connections}"], figures[f"route_{connections}"]
        ratios[f"batch_{connections}"] = take_ratio(batched, single, "per_s")
    best = {
        way: [
            {"per_s": max(a["per_s"], b["per_s"])}
            for a, b in zip(figures[f"{way}_1"], figures[f"{way}_{CONNECTIONS}"], strict=True)
        ]
        for way in ("batch", "route")
    }
    ratios["batch_best"] = take_ratio(best["batch"], best["route"], "per_s")
    return {"rounds": plan.rounds, "ways": {name: take_medians(each) for name, each in figures.items()}, "ratios": ratios}  # fmt: skip


def measure_stream(generator: Generator, service: Served, key: str, plan: Plan) -> dict[str, Any]:
    """Return prompts a second of one streamed request of many lines, and the service's memory meanwhile."""
    at = Order(service.url, key, texts="made", connections=1, watch=service.pids)
    figures: dict[str, list[dict[str, float]]] = {"route": [], "stream": []}
    resident: list[tuple[float, float]] = []
    for i in range(plan.stream_rounds):
        single = replace(at, count=plan.requests, connections=CONNECTIONS, start=2 * i)
        figures["route"].append(sum_up(send([generator], [single])))
        (found,) = send([generator], [replace(at, kind="stream", count=plan.lines, start=2 * i + 1)])
        if found["results"] != plan.lines:
            raise SystemExit(
                f"bench: {found['results']} results of a stream of {plan.lines} lines; {found['failures']}"
            )
        cpu = {"cpu_us": sum(found["watched_cpu_s"]) / plan.lines * 1e6}
        figures["stream"].append({"per_s": plan.lines / found["wall_s"], **cpu})
        resident.append((found["resident_before_mb"], max(mb for _, mb in found["resident"])))
    return {
        "lines": plan.lines,
        "rounds": plan.stream_rounds,
        **take_medians(figures["stream"]),
        f"over_route_{CONNECTIONS}": take_ratio(figures["stream"], figures["route"], "per_s"),
        "resident_before_mb": resident[0][0],
        "resident_peak_mb": max(peak for _, peak in resident),
        "grown_mb": round(max(peak - before for before, peak in resident), 2),
    }


def measure_workers(
    generators: Sequence[Generator], one: Served, two: Served, key: str, plan: Plan
) -> dict[str, Any]:
    """Return the throughput of two workers over one's, from as many generators as workers at most."""
    from bench.resident import TABLE, _mapping_kb

    halves = CONNECTIONS // len(generators)
    figures: dict[str, list[dict[str, float]]] = {}
    for i in range(plan.worker_rounds):
        for workers, server in ((1, one), (2, two)) if i % 2 else ((2, two), (1, one)):
            at = Order(server.url, key, connections=halves, watch=server.pids)
            for name, order in (
                ("route", replace(at, count=plan.requests)),
                ("batch", replace(at, kind="batch", items=BATCH, count=plan.batches)),
            ):
                orders = [
                    replace(order, start=(i * len(generators) + g) * order.count * order.items)
                    for g in range(len(generators))
                ]
                summary = sum_up(send(generators, orders), order.items)
                figures.setdefault(f"{name}_{workers}", []).append(summary)
    kb = [
        _mapping_kb(pid) for pid in two.pids if TABLE in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
    ]
    rss, pss = (sum(each[name] for each in kb) * 1024 / 1e6 for name in ("Rss", "Pss"))
    return {
        "rounds": plan.worker_rounds,
        "generators": len(generators),
        "ways": {name: take_medians(each) for name, each in figures.items()},
        "route_two_over_one": take_ratio(figures["route_2"], figures["route_1"], "per_s"),
        "batch_two_over_one": take_ratio(figures["batch_2"], figures["batch_1"], "per_s"),
        "table_processes": len(kb),
        "table_rss_mb": round(rss, 2),
        "table_pss_mb": round(pss, 2),
    }


def measure_overload(
    generator: Generator, service: Served, key: str, plan: Plan
) -> dict[str, dict[str, Any]]:
    """Return, for three kinds of requests, what is answered at ten times the capacity, and how soon."""
    at = Order(service.url, key, watch=service.pids, seconds=plan.overload_s)
    kinds = {
        "route of 220 characters": replace(at, count=plan.requests),
        "route of 2,000 characters": replace(at, texts="long", count=plan.requests // 2),
        f"batch of {BATCH}": replace(at, kind="batch", items=BATCH, count=plan.batches),
    }
    measured = {}
    for name, order in kinds.items():
        rounds = []
        for _ in range(plan.overload_rounds):
            (calm,) = send([generator], [replace(order, connections=CONNECTIONS, seconds=plan.capacity_s)])
            expect_all_well(calm)
            capacity = calm["accepted_in_time"] / plan.capacity_s
            offered = replace(order, connections=OVERLOAD * CONNECTIONS, rate=OVERLOAD * capacity)
            (found,) = send([generator], [offered])
            rounds.append(sum_up_overload(found, capacity, OVERLOAD * capacity, plan.overload_s))
            failures = found["failures"]
            if failures:
                print(f"overload, {name}: {failures}", file=sys.stderr)
        goodput = [each["accepted_per_s"] / each["capacity_per_s"] for each in rounds]
        measured[name] = {
            **take_medians(rounds),
            "max_us": round(max(each["max_us"] for each in rounds)),
            "failures": sum(each["failures"] for each in rounds),
            "goodput_over_capacity": take_spread(goodput),
        }
    return measured


def measure_memory(generator: Generator, service: Served, key: str, plan: Plan) -> dict[str, Any]:
    """Return the service's resident size while it answers many requests, each of another text."""
    n, every = plan.requests_in_memory, plan.requests_in_memory // 25
    order = Order(service.url, key, texts="made", count=n, connections=CONNECTIONS // 2, every=every)
    (found,) = send([generator], [replace(order, watch=service.pids)])
    expect_all_well(found)
    readings = [mb for _, mb in found["resident"]]
    assert len(readings) == 25, "a reading is missing"
    return {
        "requests": n,
        "every": every,
        "connections": order.connections,
        "seconds": round(found["wall_s"], 1),
        "resident_ready_mb": found["resident_before_mb"],
        "resident_first_mb": readings[0],
        "resident_half_mb": readings[12],
        "resident_last_mb": readings[-1],
        "resident_highest_mb": max(readings),
        "grown_mb": round(readings[-1] - readings[0], 2),
        "readings_mb": readings,
    }


def _write_texts(data: Path, served: int, file: Path) -> str:
    """Write the texts of the generators to a file; return where they come from."""
    prompts, source = read_texts(data)
    before, timed = divide(prompts)
    # Over and over in another order, where they are few: passages that follow each other otherwise.
    shuffled = random.Random(0)  # noqa: S311 - no secret
    longer = [*timed]
    while sum(map(len, longer)) < 1.5 * 220 * _POOL:
        longer += shuffled.sample(timed, len(timed))
    counts: dict[str, int] = {}
    for word in " ".join(before).split():
        counts[word] = counts.get(word, 0) + 1
    given = {
        "short": cut_passages(longer, 220, _POOL),
        "long": cut_texts(timed, 2_000, _LONG_POOL),
        "served": cut_passages(before, 220, served),
        "words": sorted(counts, key=lambda word: (-counts[word], word))[:_WORDS],
    }
    file.write_text(json.dumps(given), encoding="utf-8")
    return source


def _expect_same_fields() -> None:
    """Make sure that the floor has not fallen behind the service."""
    from bench import http_floor as floor
    from router.serving import answers, schema

    pairs = (
        (floor.RouteRequest, schema.RouteRequest),
        (floor.Policy, schema.PolicyRequest),
        (floor.RouteResponse, answers.DecisionAnswer),
    )
    for ours, theirs in pairs:
        if {*ours.model_fields} != {*theirs.model_fields}:
            raise SystemExit(
                f"bench: {ours.__name__} of bench/http_floor.py has other fields than the service; mend it"
            )


def measure(data: Path, plan: Plan, tell: Callable[[str], None]) -> dict[str, Any]:
    """Return the whole document."""
    from router.artifact import find_artifact

    _expect_same_fields()
    versions = {name: version(name) for name in _LIBRARIES}
    machine = describe_machine()
    machine["versions"] |= versions
    document: dict[str, Any] = {"bench": "http", "machine": machine, "served": plan.served}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        key, keys, texts = secrets.token_urlsafe(24), scratch / "keys", scratch / "texts.json"
        keys.write_text(f"{key}\n", encoding="utf-8")
        commands = {"service": server_command(find_artifact(), keys), "floor": floor_command()}
        document["start"] = measure_start(commands, scratch, plan.starts)
        tell("start")
        document["texts"] = _write_texts(data, plan.served, texts)
        with Generator(texts) as one, Generator(texts) as other:
            with serve(commands["floor"], scratch / "floor.log") as floor, serve(
                commands["service"], scratch / "service.log"
            ) as service:  # fmt: skip
                document["model_id"] = service.ready["model_id"]
                for server in (floor, service):
                    warm = Order(server.url, key, texts="served", count=plan.served, connections=CONNECTIONS)
                    send([one], [warm])
                document["rounds"] = measure_rounds(one, service, floor, key, plan)
                tell("rounds")
            with serve(commands["service"], scratch / "service.log") as service:
                document["stream"] = measure_stream(one, service, key, plan)
                tell("stream")
                document["overload"] = measure_overload(one, service, key, plan)
                tell("overload")
                two_command = server_command(find_artifact(), keys, workers=2)
                with serve(two_command, scratch / "two.log") as two:
                    document["workers"] = measure_workers([one, other], service, two, key, plan)
                tell("workers")
            with serve(commands["service"], scratch / "service.log") as service:
                document["memory"] = measure_memory(one, service, key, plan)
                tell("memory")
    document["overload_failures"] = sum(each["failures"] for each in document["overload"].values())
    document["targets"] = judge(document, TARGETS)
    assert len(document["targets"]) == len(TARGETS), "a target without its figure"
    return document


def _tell(part: str) -> None:
    print(f"{part}: done", file=sys.stderr)


def main() -> None:
    """Measure, compare with the targets, and tell."""
    parser = argparse.ArgumentParser(prog="python -m bench.http", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with histories")
    parser.add_argument("--quick", action="store_true", help="a try of less than a minute")
    parser.add_argument("--write", action="store_true", help="write http.json and a section of BENCHMARKS.md")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder to write to")
    options = parser.parse_args()
    if options.quick and options.write:
        parser.error("--quick is for trying: its figures are not written")
    if options.write:
        SECTION.check(options.docs)
    document = measure(options.data, QUICK if options.quick else Plan(), _tell)
    if options.write:
        SECTION.write(options.docs, document)
    report(document, *render_tables(document))


if __name__ == "__main__":
    main()
