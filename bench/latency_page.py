"""The latency bench's figures against their targets, as tables for a terminal and a section of BENCHMARKS.md. Pure."""

from __future__ import annotations

from typing import Any

from bench.measuring import render_table
from bench.sections import Section, render_markdown
from bench.targets import Target, target_rows

__all__ = ["SECTION", "TARGETS", "render_tables"]

TARGETS = (
    Target("route / tokenizer, 220 characters", "lengths 220 route_over_tokenizer", 0.55),
    Target("route / tokenizer, 500 characters", "lengths 500 route_over_tokenizer", 0.35),
    Target("p50 at 32,000 characters / at 220", "lengths 32000 over_220", 5),
    Target("p50 at 10 MB / at 220", "lengths 10000000 over_220", 10),
    *(
        Target(f"p99 / p50, {int(n):,} characters", f"lengths {n} route p99_over_p50", 3)
        for n in ("220", "500", "2000", "32000")
    ),
    Target("ONNX call in a row, p50 us", "onnx in_a_row p50_us", 12),
    Target("decisions a second, one thread", "throughput per_s threads_1", 25_000, at_least=True),
    Target("two threads / one", "throughput two_threads_over_one", 1, at_least=True),
    Target("two processes / one", "throughput two_processes_over_one", 1.9, at_least=True),
    Target("route_many / route, per prompt", "throughput route_many_over_route", 2, at_least=True),
    Target("resident after a million prompts, MB", "memory resident_mb", 110),
    Target("process start to first decision, s", "start first_decision_s", 0.35),
    Target("worst hostile p50 / ordinary of 220", "hostile worst_over_ordinary_220", 20),
    Target("resident after hostile prompts, MB", "hostile resident_worst_mb", 110),
)
"""What is promised; the other figures are only told."""

_LENGTHS = (
    "characters", "route / tokenizer", "again / tokenizer", "route p50 us", "p99", "p99 / p50", "again p50", "tokenizer p50",
    "/ p50 at 220", "texts",
)  # fmt: skip
_HOSTILE = (
    "hostile input",
    "/ ordinary 220",
    "/ ordinary 2,000",
    "p50 us",
    "p99 us",
    "resident after, MB",
    "prompts",
)
_WAYS = {
    "threads_1": "one thread", "threads_2": "two threads", "threads_4": "four threads", "route_many": "route_many",
    "processes_1": "a process of its own", "processes_2": "two processes",
}  # fmt: skip
_PEERS = ("router", "/ tierwise", "/ tokenizer", "p50 us", "p99 us", "texts")


def _tables(document: dict[str, Any]) -> list[tuple[str, tuple[str, ...], list[tuple[object, ...]]]]:
    """Return a title, a header and rows for each table."""
    onnx, throughput, memory = (document[name] for name in ("onnx", "throughput", "memory"))
    lengths = []
    for length, m in document["lengths"].items():
        again, library = m.get("again", {}).get("p50_us", "–"), m.get("tokenizer", {}).get("p50_us", "–")
        ratios = m.get("route_over_tokenizer", "–"), m.get("again_over_tokenizer", "–")
        lengths.append(
            (f"{int(length):,}", *ratios, *m["route"].values(), again, library, m["over_220"], m["texts"])
        )
    others = [
        ("10 MB just made, caches cold, p50 us", document["lengths"]["10000000"]["just_made"]["p50_us"]),
        ("ONNX call within a decision, p50 us", onnx["within_a_decision"]["p50_us"]),
        *((f"decisions a second, {_WAYS[name]}", f"{rate:,}") for name, rate in throughput["per_s"].items()),
        ("four threads / one", throughput["four_threads_over_one"]),
        (f"route_many of {throughput['batch']}, us a prompt", throughput["route_many_us"]),
        ("resident after the first decision, MB", memory["resident_first_mb"]),
        (f"seconds for {memory['prompts']:,} prompts", memory["seconds"]),
        ("token table in two processes: resident, MB", memory["table_rss_mb"]),
        ("the same, counted once where shared, MB", memory["table_pss_mb"]),
        ("share of it that is shared", memory["table_shared_share"]),
        ("worst of the starts, s", document["start"]["worst_s"]),
    ]
    hostile = [
        (name, m["over_ordinary_220"], m["over_ordinary_2000"], m["p50_us"], m["p99_us"], m["resident_after_mb"], m["prompts"])
        for name, m in document["hostile"]["families"].items()
    ]  # fmt: skip
    tables: list[tuple[str, tuple[str, ...], list[tuple[object, ...]]]] = [
        ("Against targets", ("figure", "measured", "target", ""), target_rows(document["targets"])),
        ("By length", _LENGTHS, [*lengths]),
        ("Other figures", ("figure", "measured"), [*others]),
        ("Hostile input", _HOSTILE, [*hostile]),
    ]
    for length, rows in (document["peers"] or {"lengths": {}})["lengths"].items():
        found = [
            (name, m["over_tierwise"], m["over_tokenizer"], m["p50_us"], m["p99_us"], m["texts"])
            for name, m in rows.items()
        ]
        tables.append((f"Other routers, {length} characters", _PEERS, [*found]))
    return tables


def render_tables(document: dict[str, Any]) -> list[str]:
    """Return the tables for a terminal. Pure."""
    texts = [f"{render_table((title, *header[1:]), rows)}\n" for title, header, rows in _tables(document)]
    absent = (document["peers"] or {"absent": {}})["absent"]
    return [*texts, *(f"{name}: not measured: {reason}" for name, reason in absent.items())]


def _render_paragraphs(document: dict[str, Any]) -> list[str]:
    """Return the section of BENCHMARKS.md. Pure."""
    machine = document["machine"]
    versions = ", ".join(
        f"{name} {machine['versions'][name]}" for name in ("numpy", "onnxruntime", "tokenizers")
    )
    parts = [
        f"`python -m bench.latency`, one run: {machine['cpu']}, {machine['cores']} cores, load {machine['load_1_min']:g} before it; "
        f"Python {machine['python']}, {versions}; model `{document['model_id']}`.",
        f"Every timed text is distinct and seen for the first time, by a router that has served {document['served']:,} "
        f"passages of other prompts ({document['texts']}). *Again* is a second sight of the same texts; those of 10 MB are a handful, repeated. Calls take turns "
        "with the `tokenizers` library's encode of the same whole text, so ratios hold where times do not.",
    ]
    for title, header, rows in _tables(document):
        parts += [f"### {title}", render_markdown(header, rows)]
        if title == "Hostile input":
            parts.append(
                f"{document['hostile']['chars']:,} characters, but for the word of 10 MB. Memory is that of one process after "
                f"{document['hostile']['grown_prompts']:,} prompts of each family, one after the other (200 of the long word)."
            )
    peers = document["peers"]
    if peers:
        named = ", ".join(f"{name} {number}" for name, number in peers["versions"].items())
        absent = "".join(f" Not measured: {name} ({reason})." for name, reason in peers["absent"].items())
        parts.append(
            f"In one process of an environment of their own ({named}), one thread; heads fitted on random labels, for their time alone.{absent}"
        )
    return parts


SECTION = Section("latency", "## Speed", _render_paragraphs)
"""Where the figures are kept."""
