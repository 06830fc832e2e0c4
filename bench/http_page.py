"""The HTTP bench's figures against their targets, as tables for a terminal and a section of BENCHMARKS.md. Pure."""

from __future__ import annotations

from typing import Any

from bench.measuring import render_table
from bench.sections import Section, render_markdown
from bench.targets import Target, target_rows

__all__ = ["SECTION", "TARGETS", "render_tables"]

TARGETS = (
    Target("throughput / floor, 1 connection", "rounds ratios throughput_1", 0.75, at_least=True),
    Target("throughput / floor, 32 connections", "rounds ratios throughput_32", 0.75, at_least=True),
    Target("p50 / floor, 1 connection", "rounds ratios p50_1", 1.35),
    Target("p50 / floor, 32 connections", "rounds ratios p50_32", 1.35),
    Target("batch of 256 / single, prompts, 1 connection", "rounds ratios batch_1", 8, at_least=True),
    Target("batch of 256 / single, prompts, 32 connections", "rounds ratios batch_32", 8, at_least=True),
    Target("resident, growth from 20,000 to 500,000 requests, MB", "memory grown_mb", 2),
    Target("overload: answers that are neither 200 nor a proper refusal", "overload_failures", 0),
)
"""What is promised; the other figures are only told."""

_RATIOS = {
    "throughput_1": "throughput / floor, 1 connection",
    "throughput_32": "throughput / floor, 32 connections",
    "throughput_full_32": "throughput / floor, 32 connections, full request",
    "p50_1": "p50 / floor, 1 connection",
    "p50_32": "p50 / floor, 32 connections",
    "p50_full_32": "p50 / floor, 32 connections, full request",
    "p99_1": "p99 / floor, 1 connection",
    "p99_32": "p99 / floor, 32 connections",
    "p99_full_32": "p99 / floor, 32 connections, full request",
    "cpu_1": "server CPU a request / floor, 1 connection",
    "cpu_32": "server CPU a request / floor, 32 connections",
    "cpu_full_32": "server CPU a request / floor, 32 connections, full request",
    "batch_1": "batch / single, prompts a second, both on 1 connection",
    "batch_32": "batch / single, prompts a second, both on 32 connections",
    "batch_best": "batch / single, prompts a second, each at its best",
}
_WAYS = {
    "floor_1": "floor, 1 connection",
    "route_1": "service, 1 connection",
    "floor_32": "floor, 32 connections",
    "route_32": "service, 32 connections",
    "floor_full_32": "floor, 32 connections, full request",
    "route_full_32": "service, 32 connections, full request",
    "batch_1": "service, batches of 256, 1 connection",
    "batch_32": "service, batches of 256, 32 connections",
}
_WORKER_WAYS = {
    "route_1": "one worker, single",
    "route_2": "two workers, single",
    "batch_1": "one worker, batches of 256",
    "batch_2": "two workers, batches of 256",
}
_WAY = (
    "way", "prompts/s", "p50 us", "p99 us", "server CPU, us a prompt", "server, cores", "generator, cores",
)  # fmt: skip

Table = tuple[str, tuple[str, ...], list[tuple[object, ...]], str]


def _way_rows(names: dict[str, str], ways: dict[str, dict[str, float]]) -> list[tuple[object, ...]]:
    return [
        (
            title, f"{ways[name]['per_s']:,}", f"{ways[name]['p50_us']:,}", f"{ways[name]['p99_us']:,}",
            ways[name]["server_cpu_us"], ways[name]["server_cpu_share"], ways[name]["generator_cpu_share"],
        )
        for name, title in names.items()
    ]  # fmt: skip


def _overload_rows(overload: dict[str, dict[str, Any]]) -> list[tuple[object, ...]]:
    def ms(us: float) -> str:
        return f"{us / 1000:,.1f}"

    rows: list[tuple[object, ...]] = []
    for name, title in (
        ("capacity_per_s", "capacity C, 32 connections, requests/s"),
        ("asked_per_s", "intended rate, 10 C, requests/s"),
        ("offered_per_s", "rate reached, requests/s"),
        ("offered_over_capacity", "rate reached / C"),
        ("accepted_per_s", "accepted, requests/s"),
    ):
        rows.append((title, *(f"{m[name]:,}" for m in overload.values())))
    spreads = [m["goodput_over_capacity"] for m in overload.values()]
    rows.append(("accepted / C", *(f"{s['median']} ({s['lowest']} to {s['highest']})" for s in spreads)))
    rows.append(("share rejected", *(m["rejected_share"] for m in overload.values())))
    for name, title in (
        ("p50_us", "accepted, from sending, p50 ms"),
        ("p99_us", "the same, p99"),
        ("max_us", "the same, highest"),
        ("due_p50_us", "accepted, from the intended time, p50 ms"),
        ("due_p99_us", "the same, p99"),
        ("rejected_p50_us", "rejected, from sending, p50 ms"),
        ("rejected_p99_us", "the same, p99"),
    ):
        rows.append((title, *(ms(m[name]) for m in overload.values())))
    for name, title in (
        ("failures", "neither 200 nor a proper refusal"),
        ("lost", "connections closed by the service"),
        ("server_cpu_share", "server, cores"),
        ("generator_cpu_share", "generator, cores"),
    ):
        rows.append((title, *(m[name] for m in overload.values())))
    return rows


def _tables(document: dict[str, Any]) -> list[Table]:
    """Return a title, a header, rows and a note for each table."""
    rounds, stream, workers, memory = (document[name] for name in ("rounds", "stream", "workers", "memory"))
    ratios: list[tuple[object, ...]] = [
        (title, *(f"{rounds['ratios'][name][key]:.3f}" for key in ("median", "lowest", "highest")))
        for name, title in _RATIOS.items()
    ]
    streamed = stream["over_route_32"]
    start = document["start"]
    others: list[tuple[object, ...]] = [
        (f"stream of {stream['lines']:,} lines in one request, prompts/s", f"{stream['per_s']:,}"),
        ("the same / single requests on 32 connections", f"{streamed['median']} ({streamed['lowest']} to {streamed['highest']})"),
        ("server CPU, us a line", stream["cpu_us"]),
        ("resident before the first stream, MB", stream["resident_before_mb"]),
        ("highest during a stream, MB", stream["resident_peak_mb"]),
        ("process start to ready, s (worst)", f"{start['service']['median_s']} ({start['service']['worst_s']})"),
        ("the same, floor", f"{start['floor']['median_s']} ({start['floor']['worst_s']})"),
    ]  # fmt: skip
    pairs = [(workers[f"{name}_two_over_one"], what) for name, what in (("route", "single"), ("batch", "batches"))]  # fmt: skip
    shared: list[tuple[object, ...]] = [
        *((f"two workers / one, {what}", f"{r['median']} ({r['lowest']} to {r['highest']})") for r, what in pairs),
        ("server CPU a prompt, two workers / one, single", round(workers["ways"]["route_2"]["server_cpu_us"] / workers["ways"]["route_1"]["server_cpu_us"], 3)),
        ("busiest of two workers, share of their CPU, single", workers["ways"]["route_2"]["busiest_share"]),
        (f"token table in {workers['table_processes']} processes: resident, MB", workers["table_rss_mb"]),
        ("the same, counted once where shared, MB", workers["table_pss_mb"]),
    ]  # fmt: skip
    grown: list[tuple[object, ...]] = [
        ("ready, after its start", memory["resident_ready_mb"]),
        (f"after {memory['every']:,} requests", memory["resident_first_mb"]),
        (f"after {13 * memory['every']:,}", memory["resident_half_mb"]),
        (f"after {memory['requests']:,}", memory["resident_last_mb"]),
        ("highest of 25 readings", memory["resident_highest_mb"]),
    ]
    return [
        ("Against targets", ("figure", "measured", "target", ""), target_rows(document["targets"]), "Ratios are medians of rounds."),
        (
            "Ratios", ("ratio within a round", "median", "lowest", "highest"), ratios,
            f"{rounds['rounds']} rounds. A full request has messages, a policy, needs and metadata.",
        ),
        (
            "Rates and times", _WAY, _way_rows(_WAYS, rounds["ways"]),
            "Medians of rounds. Where the server has a whole core, it is what limits; on one connection server and generator wait for each other.",
        ),
        ("Stream and start", ("figure", "measured"), others, ""),
        (
            f"Overload: {len(document['overload'])} kinds of requests", ("figure", *document["overload"]),
            _overload_rows(document["overload"]),
            "An open loop over 320 connections, ten times those of the capacity, none of which heeds Retry-After; a request that is due waits in the generator while all are busy, "
            "which only the time from the intended sending counts. Where the rate reached is short of 10 C, the service is what limits: a refusal takes it time too. Medians of rounds; the highest time is of all. A proper refusal is a 503, or a 429 of a batch, with Retry-After and a problem document.",
        ),
        (
            "Two workers", _WAY, _way_rows(_WORKER_WAYS, workers["ways"]),
            f"{workers['generators']} generators of {32 // workers['generators']} connections each, for one worker as for two; they share the machine's cores with the workers, which bounds what a second worker can add.",
        ),
        ("Two workers: what they share", ("figure", "measured"), shared, ""),
        (
            f"Resident memory of the service, {memory['requests']:,} requests", ("reading", "MB"), grown,
            f"A fresh service, {memory['connections']} connections, {memory['seconds']:g} s; each request is another text.",
        ),
    ]  # fmt: skip


def render_tables(document: dict[str, Any]) -> list[str]:
    """Return the tables for a terminal. Pure."""
    return [
        f"{render_table((title, *header[1:]), rows)}\n{note}\n" if note else f"{render_table((title, *header[1:]), rows)}\n"
        for title, header, rows, note in _tables(document)
    ]  # fmt: skip


def _render_paragraphs(document: dict[str, Any]) -> list[str]:
    """Return the section of BENCHMARKS.md. Pure."""
    machine = document["machine"]
    named = ("fastapi", "pydantic", "uvicorn", "uvloop", "httptools", "onnxruntime")
    versions = ", ".join(f"{name} {machine['versions'][name]}" for name in named)
    parts = [
        f"`python -m bench.http`, one run: {machine['cpu']}, {machine['cores']} cores, load {machine['load_1_min']:g} before it; "
        f"Python {machine['python']}, {versions}; model `{document['model_id']}`.",
        "The floor is a FastAPI endpoint of the same schema that decides nothing (`bench/http_floor.py`), without keys, log or metrics; "
        "the service has all three. One process each, on the same loop and parser; they take turns and get the same bytes. "
        f"Prompts are passages of 220 characters, distinct within a round, after {document['served']:,} others ({document['texts']}). "
        "The load generator runs on the same machine and checks every response.",
    ]
    for title, header, rows, note in _tables(document):
        parts += [f"### {title}", render_markdown(header, rows)]
        if note:
            parts.append(note)
    return parts


SECTION = Section("http", "## HTTP", _render_paragraphs)
"""Where the figures are kept."""
