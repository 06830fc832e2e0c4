"""How many decisions a second: on one thread and several, in two processes, and in batches.

`python -m bench.throughput FOLDER TEXTS` is the child of the two processes: it takes orders on its input.
Every measurement has a fresh router that has served other texts, and sees each timed text for the first time.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.decisions import serve
from bench.measuring import ROOT
from router import Router

__all__ = ["BATCH", "measure_throughput"]

BATCH = 256
THREADS = (1, 2, 4)


def measure_throughput(
    folder: Path, served: Sequence[str], texts: Sequence[str], repeats: int
) -> dict[str, Any]:
    """Return decisions a second, medians of rounds in which all ways take turns, and ratios within a round."""
    rates: dict[str, list[float]] = {}
    for _ in range(repeats):
        for n in THREADS:
            rates.setdefault(f"threads_{n}", []).append(_rate_of_threads(serve(folder, served), texts, n))
        rates.setdefault("route_many", []).append(_rate_of_batches(serve(folder, served), texts))
    rates |= _rates_of_processes(folder, served, texts, repeats)

    def ratio(a: str, b: str) -> float:
        return round(median(x / y for x, y in zip(rates[a], rates[b], strict=True)), 3)

    return {
        "texts": len(texts),
        "repeats": repeats,
        "batch": BATCH,
        "per_s": {name: round(median(values)) for name, values in rates.items()},
        "route_us": round(1e6 / median(rates["threads_1"]), 1),
        "route_many_us": round(1e6 / median(rates["route_many"]), 1),
        "two_threads_over_one": ratio("threads_2", "threads_1"),
        "four_threads_over_one": ratio("threads_4", "threads_1"),
        "two_processes_over_one": ratio("processes_2", "processes_1"),
        "route_many_over_route": ratio("route_many", "threads_1"),
    }


def _rate_of_threads(router: Router, texts: Sequence[str], n: int) -> float:
    ready = threading.Barrier(n + 1)

    def work(part: Sequence[str]) -> None:
        route = router.route
        ready.wait()
        for text in part:
            route(text)

    threads = [threading.Thread(target=work, args=(texts[i::n],)) for i in range(n)]
    for thread in threads:
        thread.start()
    ready.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    return len(texts) / (time.perf_counter() - start)


def _rate_of_batches(router: Router, texts: Sequence[str]) -> float:
    decided = 0
    start = time.perf_counter()
    for i in range(0, len(texts), BATCH):
        decided += len(router.route_many(texts[i : i + BATCH]))
    taken = time.perf_counter() - start
    assert decided == len(texts), "prompts without a decision"
    return len(texts) / taken


def _rates_of_processes(
    folder: Path, served: Sequence[str], texts: Sequence[str], repeats: int
) -> dict[str, list[float]]:
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "texts.json"
        file.write_text(json.dumps({"served": list(served), "texts": list(texts)}), encoding="utf-8")
        command = [sys.executable, "-m", "bench.throughput", str(folder.resolve()), str(file)]
        children = [
            subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603 - a command of our own
            for _ in range(2)
        ]
        try:
            rates: dict[str, list[float]] = {"processes_1": [], "processes_2": []}
            for i in range(repeats):
                rates["processes_1"].append(_rate_together([children[i % 2]], len(texts)))
                rates["processes_2"].append(_rate_together(children, len(texts)))
            return rates
        finally:
            for child in children:
                child.communicate()  # the end of its input is the end of the child


def _rate_together(children: Sequence[subprocess.Popen[str]], n: int) -> float:
    for order in ("load", "go"):
        for child in children:
            assert child.stdin is not None
            child.stdin.write(f"{order}\n")
            child.stdin.flush()
        answers = []
        for child in children:
            assert child.stdout is not None
            answers.append(json.loads(child.stdout.readline()))
    # The clock is the machine's, alike in all processes.
    seconds: float = max(end for _, end in answers) - min(start for start, _ in answers)
    return len(children) * n / seconds


def main() -> None:
    """Be a child: at `load` make a router that has served, at `go` route all texts and tell start and end."""
    given = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    router: Router | None = None
    for line in sys.stdin:
        if line.strip() == "load":
            router = serve(Path(sys.argv[1]), given["served"])
            print(json.dumps(router.model_id), flush=True)
        elif router is not None:
            start = time.monotonic()
            for text in given["texts"]:
                router.route(text)
            print(json.dumps([start, time.monotonic()]), flush=True)


if __name__ == "__main__":
    main()
