"""How long a retrain takes and how much memory it needs: a first run, a run with a champion, and a rerun.

`python -m bench.retrain [--sizes 6000 100000] [--write [--docs docs]]`. Synthetic histories of 13 weeks; a run sees 12 of
them. The first run sees weeks 1 to 12 and finds no champion; the second sees weeks 2 to 13 and compares with what the first
promoted; the third is the second again, which is recognised. Each is `python -m training retrain` as a process of its own,
so start-up and imports count. Memory is that of the process and all its children at once, sampled; Linux only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.measuring import ROOT, describe_machine, render_table, report
from bench.sections import Section, render_markdown
from training.synthetic import START, TIERS_TOML, generate_period
from training.synthetic_conditions import STANDING

WEEKS = 12
"""A run's window."""
LIMITS = {6_000: 180.0, 100_000: 1200.0}
"""Seconds that a run of so many prompts may take."""
MOST_MB = 6000.0
MOST_TRACKING_S = 15.0
MB = 1e6
_EVERY_S = 0.1

RUNS = {"first": "no champion", "second": "with a champion, one week later", "again": "the same again"}


class Memory:
    """What a process and its children hold together, sampled while it runs."""

    def __init__(self, pid: int) -> None:
        self.peak_mb = 0.0
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop looking."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_EVERY_S):
            found = [_sizes_kb(pid) for pid in _family(self._pid)]
            # A process's own peak may fall between two samples, so the kernel's count of it is taken, too.
            together, alone = sum(pss for pss, _ in found), max((peak for _, peak in found), default=0)
            self.peak_mb = max(self.peak_mb, max(together, alone) * 1024 / MB)


def _family(pid: int) -> list[int]:
    """Return a process and all that descend from it (proc(5), task/children)."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            try:
                found += map(int, task.read_text(encoding="ascii").split())
            except OSError:
                continue  # it ended meanwhile
    return found


def _sizes_kb(pid: int) -> tuple[int, int]:
    """Return proportional size and peak resident size of a process, in KiB; zero once it has ended."""
    sizes = []
    for file, key in (("smaps_rollup", "Pss:"), ("status", "VmHWM:")):
        try:
            lines = Path(f"/proc/{pid}/{file}").read_text(encoding="utf-8").splitlines()
        except OSError:
            lines = []
        sizes.append(next((int(line.split()[1]) for line in lines if line.startswith(key)), 0))
    return sizes[0], sizes[1]


def write_history(size: int, folder: Path) -> tuple[list[Path], Path]:
    """Write 13 weeks with `size` prompts in any 12 of them, up to rounding; return the weeks' files and the tiers."""
    tiers, files = folder / "tiers.toml", []
    tiers.write_text(TIERS_TOML, encoding="utf-8")
    for week in range(WEEKS + 1):
        start = START + np.timedelta64(7 * week, "D")
        n = size // WEEKS + (week < size % WEEKS)
        history, _ = generate_period(n, [0, week], STANDING, start, 7, f"w{week:02d}-")
        files.append(folder / f"week-{week:02d}.parquet")
        history.to_parquet(files[-1], index=False, compression="zstd")
    return files, tiers


def run_once(files: list[Path], tiers: Path, home: Path) -> dict[str, Any]:
    """Run the pipeline in a child process; return what it said and what it used."""
    command = [sys.executable, "-m", "training", "retrain", "--tiers", str(tiers), "--home", str(home)]
    command += ["--window", f"{WEEKS}w", "--history", *map(str, files)]
    start = time.monotonic()
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S603 - a command of our own
    memory = Memory(child.pid)
    said, _ = child.communicate()
    wall_s = time.monotonic() - start
    memory.stop()
    if child.returncode:
        sys.exit(f"bench: exit code {child.returncode} of {' '.join(command)}")
    result = json.loads(said.strip().splitlines()[-1])
    return {
        "wall_s": round(wall_s, 1),
        "peak_mb": round(memory.peak_mb),
        "tracking_s": round(result["tracking_s"], 1),
        "verdict": result["verdict"],
        "promoted": result["promoted"],
        "repeated": result["repeated"],
        "seconds": {step: round(seconds, 2) for step, seconds in result["seconds"].items()},
    }


def measure(size: int) -> dict[str, Any]:
    """Return the three runs on histories of one size."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files, tiers = write_history(size, folder)
        first = run_once(files[:-1], tiers, folder / "data")
        second = run_once(files, tiers, folder / "data")
        again = run_once(files, tiers, folder / "data")
    assert first["promoted"], "the first run left no champion for the second"
    assert not second["repeated"], "the second run took one week more for the same data"
    assert again["repeated"], "the same run was done twice"
    return {"prompts": size, "first": first, "second": second, "again": again}


def judge(sizes: list[dict[str, Any]]) -> dict[str, bool]:
    """Return whether each bound was met. Pure."""
    runs = [(each["prompts"], each[name]) for each in sizes for name in ("first", "second")]
    met = {
        f"{prompts:,} prompts in {LIMITS[prompts]:g} s": all(
            run["wall_s"] <= LIMITS[prompts] for n, run in runs if n == prompts
        )
        for prompts in dict.fromkeys(n for n, _ in runs if n in LIMITS)
    }
    met[f"{MOST_MB / 1000:g} GB"] = all(run["peak_mb"] <= MOST_MB for _, run in runs)
    met[f"MLflow's part {MOST_TRACKING_S:g} s"] = all(run["tracking_s"] <= MOST_TRACKING_S for _, run in runs)
    return met


_HEADER = ("prompts", "run", "seconds", "MLflow's part, s", "peak memory, MB", "verdict")


def _rows(sizes: list[dict[str, Any]]) -> list[tuple[object, ...]]:
    return [
        (
            f"{each['prompts']:,}", text, each[name]["wall_s"], each[name]["tracking_s"], f"{each[name]['peak_mb']:,}",
            "done already" if each[name]["repeated"] else each[name]["verdict"],
        )
        for each in sizes
        for name, text in RUNS.items()
    ]  # fmt: skip


def _steps(sizes: list[dict[str, Any]]) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    names = list(dict.fromkeys(step for each in sizes for step in each["second"]["seconds"]))
    rows = [(step, *(f"{each['second']['seconds'].get(step, 0.0):.1f}" for each in sizes)) for step in names]
    return ("step", *(f"{each['prompts']:,} prompts" for each in sizes)), [*rows]


def _render_paragraphs(document: dict[str, Any]) -> list[str]:
    """Return the section of BENCHMARKS.md. Pure."""
    machine, sizes = document["machine"], document["sizes"]
    told = " ".join(f"{each['prompts']}" for each in sizes)
    steps = _steps(sizes)
    return [
        f"`python -m bench.retrain --sizes {told}`, one run: {machine['cpu']}, {machine['cores']} cores, load {machine['load_1_min']:g} before it; "
        f"Python {machine['python']}.",
        render_markdown(_HEADER, _rows(sizes)),
        "Synthetic prompts of 12 weeks, each run a process of its own, imports included; memory of it and its children at once. Bounds: "
        + "; ".join(
            f"at most {name}: {'met' if ok else '**missed**'}" for name, ok in document["met"].items()
        )
        + ".",
        "Where the seconds of the run with a champion go:",
        render_markdown(*steps),
    ]


SECTION = Section("retrain", "## Retraining", _render_paragraphs)


def main() -> None:
    """Measure every size, and compare with the bounds."""
    parser = argparse.ArgumentParser(prog="python -m bench.retrain", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[6_000, 100_000], help="prompts")
    parser.add_argument(
        "--write", action="store_true", help="write retrain.json and the section of BENCHMARKS.md"
    )
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder to write to")
    options = parser.parse_args()
    if options.write:
        SECTION.check(options.docs)
    document: dict[str, Any] = {"bench": "retrain", "machine": describe_machine()}
    document["sizes"] = [measure(size) for size in options.sizes]
    document["met"] = judge(document["sizes"])
    if options.write:
        SECTION.write(options.docs, document)
    report(
        document,
        render_table(_HEADER, _rows(document["sizes"])),
        render_table(*_steps(document["sizes"])),
        "\n".join(f"at most {name}: {'met' if ok else 'MISSED'}" for name, ok in document["met"].items()),
    )


if __name__ == "__main__":
    main()
