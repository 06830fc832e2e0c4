"""What a decision takes: time by length, threads and processes, memory, hostile input, and other routers.

`python -m bench.latency [--data ../shared/data] [--peers PYTHON] [--write [--docs docs]]`. One run of the default
model on one machine; ratios come first, for they hold on others. Every timed text is distinct and seen for the first
time, by a router that has served `--served` other texts of 220 characters before ("a process that has served for a
while"), cut from other prompts. Texts are the prompts of the histories in the data folder, joined and cut;
synthetic ones where there is no folder. `--peers` is the interpreter of an environment with other routers
(bench/peers.py says how to make it). `--write` puts the document and a section into the documents.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.latency_page import SECTION, TARGETS, render_tables
from bench.measuring import describe_machine, report, run_child
from bench.targets import judge
from bench.texts import cut_passages, cut_texts, divide, read_texts

LENGTHS = (220, 500, 2_000, 32_000)
LEAST_PROMPTS = 3000
HUGE_CHARS = 10_000_000
_HUGE_PROMPTS, _HUGE_ROUNDS = 10, 20
_LONG = 10_000  # characters; a third of the texts where the tokenizer takes milliseconds
_HOSTILE = 1000  # prompts of each family


def measure_peers(python: Path, folder: Path, served: list[str], texts: dict[str, list[str]]) -> Any:  # noqa: ANN401 - a document
    """Return what bench/peers.py finds under another interpreter."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "texts.json"
        given = {"folder": str(folder.resolve()), "served": served, "texts": texts}
        file.write_text(json.dumps(given), encoding="utf-8")
        # Not resolved: a link to an interpreter is what makes an environment.
        return run_child(python.absolute(), "-m", "bench.peers", file).last_json


def _tell(part: str) -> None:
    print(f"{part}: done", file=sys.stderr)


def main() -> None:
    """Measure, compare with the targets, and tell."""
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with histories")
    parser.add_argument("--prompts", type=int, default=LEAST_PROMPTS, help="texts per length, 3000 or more")
    parser.add_argument(
        "--served", type=int, default=12_000, help="texts routed before (default %(default)s)"
    )
    parser.add_argument(
        "--repeats", type=int, default=7, help="rounds of the throughput (default %(default)s)"
    )
    parser.add_argument("--starts", type=int, default=9, help="cold starts, 9 or more (default %(default)s)")
    parser.add_argument(
        "--million", type=int, default=1_000_000, help="prompts before memory is read (default %(default)s)"
    )
    parser.add_argument(
        "--grown",
        type=int,
        default=5_000,  # fills every memory of the router many times over
        help="hostile prompts per family before it is (default %(default)s)",
    )
    parser.add_argument("--peers", type=Path, metavar="PYTHON", help="interpreter with other routers")
    parser.add_argument(
        "--write", action="store_true", help="write latency.json and a section of BENCHMARKS.md"
    )
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder to write to")
    options = parser.parse_args()
    if options.prompts < LEAST_PROMPTS or options.starts < 9:
        parser.error("--prompts is 3000 or more and --starts 9 or more: fewer are noise")
    if options.write:
        SECTION.check(options.docs)
    machine = describe_machine()

    prompts, source = read_texts(options.data)
    before, timed = divide(prompts)
    served = cut_passages(before, 220, options.served)
    texts = {
        length: cut_texts(
            timed, length, options.prompts if length < _LONG else options.prompts // 3, known=served
        )
        for length in LENGTHS
    }
    # Memory first: while this process maps no table, what two children share is theirs alone.
    from bench import resident

    document: dict[str, Any] = {
        "bench": "latency",
        "machine": machine,
        "model_id": "",
        "texts": source,
        "served": len(served),
    }
    document["start"] = resident.measure_start(options.starts)

    from router.artifact import find_artifact, read_manifest

    folder = find_artifact()
    document["model_id"] = read_manifest(folder).model_id
    document["memory"] = resident.measure_memory(folder, served, options.million)
    _tell("start and memory")

    from bench.decisions import measure_huge, measure_length, measure_onnx
    from bench.hostile import measure_hostile
    from bench.throughput import measure_throughput

    lengths = {str(length): measure_length(folder, served, texts[length]) for length in LENGTHS}
    huge_texts = cut_texts(timed, 2_000, _HUGE_PROMPTS, seed=1)
    lengths[str(HUGE_CHARS)] = measure_huge(folder, served, huge_texts, timed, HUGE_CHARS, _HUGE_ROUNDS)
    shortest = lengths["220"]["route"]["p50_us"]
    for each in lengths.values():
        each["over_220"] = round(each["route"]["p50_us"] / shortest, 2)
    document["lengths"] = lengths
    document["onnx"] = measure_onnx(folder, served, texts[220])
    _tell("lengths")
    many = cut_texts(timed, 220, 2 * options.prompts, known=served)
    document["throughput"] = measure_throughput(folder, served, many, options.repeats)
    _tell("throughput")
    ordinary = texts[220][:_HOSTILE], texts[2_000][:_HOSTILE]
    document["hostile"] = measure_hostile(folder, served, *ordinary, options.grown)
    _tell("hostile input")
    document["peers"] = None
    if options.peers is not None:
        compared = {str(length): texts[length] for length in (220, 500)}
        document["peers"] = measure_peers(options.peers, folder, served, compared)
    document["targets"] = judge(document, TARGETS)
    assert len(document["targets"]) == len(TARGETS), "a target without its figure"
    if options.write:
        SECTION.write(options.docs, document)
    report(document, *render_tables(document))


if __name__ == "__main__":
    main()
