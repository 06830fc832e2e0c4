"""How much memory a serving process holds, how much of it two share, and how soon the first decision comes.

Linux only, but for the start: sizes are read from /proc, of children that run bench/service.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.footprint import FIRST_DECISION
from bench.measuring import ROOT, run_child

__all__ = ["measure_memory", "measure_start"]

TABLE = "embedding.int8.npy"
MB = 1e6
_WORDS = 5000  # distinct ones, most frequent first: few, for the child's list counts as the router's memory
_TOGETHER = 3000


def measure_memory(folder: Path, texts: Sequence[str], n: int) -> dict[str, Any]:
    """Return the resident size after n distinct prompts, and what two processes share of the token table."""
    counts: dict[str, int] = {}
    for word in " ".join(texts).split():
        counts[word] = counts.get(word, 0) + 1
    words = sorted(counts, key=lambda word: (-counts[word], word))[:_WORDS]
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "words.json"
        file.write_text(json.dumps(words), encoding="utf-8")
        child = [sys.executable, "-m", "bench.service"]
        folder = folder.resolve()
        many = run_child(*child, "many", folder, str(n), file).last_json
        assert many["prompts"] == n, "not all prompts were routed"
        return {**many, **_measure_shared([*child, "together", str(folder), str(_TOGETHER), str(file)])}


def _measure_shared(command: Sequence[str]) -> dict[str, Any]:
    children = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603 - a command of our own
        for _ in range(2)
    ]
    try:
        for child in children:
            assert child.stdout is not None
            assert json.loads(child.stdout.readline()) == _TOGETHER, "a child did not route its prompts"
        kb = [_mapping_kb(child.pid) for child in children]  # both are alive and have routed
    finally:
        for child in children:
            child.communicate()
    rss, pss, shared = (sum(each[name] for each in kb) for name in ("Rss", "Pss", "Shared"))
    return {
        "table_rss_mb": round(rss * 1024 / MB, 2),
        "table_pss_mb": round(pss * 1024 / MB, 2),
        "table_shared_share": round(shared / rss, 3),
    }


def _mapping_kb(pid: int) -> dict[str, int]:
    """Return Rss, Pss and Shared of the token table in a process, in KiB (proc(5), smaps)."""
    kb = {"Rss": 0, "Pss": 0, "Shared": 0}
    inside = False
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        name, *values = line.split()
        if not name.endswith(":"):  # the head of a mapping
            inside = line.endswith(TABLE)
        elif inside and (key := name[:-1].removesuffix("_Clean").removesuffix("_Dirty")) in kb:
            kb[key] += int(values[0])
    assert kb["Rss"], "the process has no such mapping"
    return kb


def measure_start(repeats: int) -> dict[str, Any]:
    """Return the seconds from the start of a process to its first decision."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "TIERWISE"))}
    taken = []
    for i in range(repeats + 1):
        start = time.monotonic()
        found = run_child(sys.executable, "-c", FIRST_DECISION, environment=environment).last_json
        assert Path(found["file"]).is_relative_to(ROOT), "another router than the checkout's"
        if i:  # the first process fills the page cache
            taken.append(found["at"] - start)
    return {"first_decision_s": round(median(taken), 3), "worst_s": round(max(taken), 3), "repeats": repeats}
