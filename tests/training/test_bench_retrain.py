"""The bench of a retrain: bounds are judged by the slowest run of each size, and the section says all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from bench.retrain import RUNS, SECTION, WEEKS, judge, write_history

MACHINE = {"cpu": "a CPU", "cores": 2, "python": "3.11", "load_1_min": 0.1, "versions": {}}


def retrained(wall_s: float, **more: Any) -> dict[str, Any]:
    told = {"peak_mb": 900, "tracking_s": 9.0, "verdict": "KEEP", "repeated": False, "seconds": {"fit": 15.0}}
    return {**told, "wall_s": wall_s, **more}


def measured(prompts: int, first: float, second: float, **more: Any) -> dict[str, Any]:
    again = retrained(7.0, repeated=True, seconds={"total": 2.0})
    return {
        "prompts": prompts,
        "first": retrained(first),
        "second": retrained(second, **more),
        "again": again,
    }


def test_bounds_are_judged_by_the_slowest_run() -> None:
    met = judge([measured(6000, 100.0, 181.0)])
    assert {"6,000 prompts in 180 s": False, "6 GB": True, "MLflow's part 15 s": True} == met


def test_each_size_has_its_own_bound() -> None:
    both = [measured(6000, 100.0, 110.0), measured(100_000, 1201.0, 900.0)]
    met = judge(both)
    assert {"6,000 prompts in 180 s": True, "100,000 prompts in 1200 s": False}.items() <= met.items()
    met = judge([both[0], measured(100_000, 900.0, 1100.0, peak_mb=6001, tracking_s=16.0)])
    assert {
        "100,000 prompts in 1200 s": True,
        "6 GB": False,
        "MLflow's part 15 s": False,
    }.items() <= met.items()
    assert {"6 GB", "MLflow's part 15 s"} == set(judge([measured(500, 1.0, 1.0)]))


def test_the_section_says_what_was_missed(tmp_path: Path) -> None:
    sizes = [measured(6000, 100.0, 181.0)]
    (tmp_path / "BENCHMARKS.md").write_text("# Benchmarks\n", encoding="utf-8")
    SECTION.write(tmp_path, {"machine": MACHINE, "sizes": sizes, "met": judge(sizes)})
    text = (tmp_path / "BENCHMARKS.md").read_text(encoding="utf-8")
    assert "`python -m bench.retrain --sizes 6000`" in text
    assert "at most 6,000 prompts in 180 s: **missed**" in text
    assert "| 6,000 | the same again | 7.0 | 9.0 | 900 | done already |" in text


def test_the_section_has_both_sizes_side_by_side(tmp_path: Path) -> None:
    seconds = {"fit": 200.0, "drift": 9.0}
    sizes = [measured(6000, 100.0, 110.0), measured(100_000, 800.0, 900.0, seconds=seconds)]
    (tmp_path / "BENCHMARKS.md").write_text("# Benchmarks\n", encoding="utf-8")
    SECTION.write(tmp_path, {"machine": MACHINE, "sizes": sizes, "met": judge(sizes)})
    text = (tmp_path / "BENCHMARKS.md").read_text(encoding="utf-8")
    assert "`python -m bench.retrain --sizes 6000 100000`" in text
    assert all(f"| {size} | {run} |" in text for size in ("6,000", "100,000") for run in RUNS.values())
    assert "Bounds: at most 6,000 prompts in 180 s: met; at most 100,000 prompts in 1200 s: met" in text
    assert "| step | 6,000 prompts | 100,000 prompts |" in text
    assert "| fit | 15.0 | 200.0 |" in text
    assert "| drift | 0.0 | 9.0 |" in text


def test_a_history_has_so_many_prompts_in_a_window_up_to_rounding(tmp_path: Path) -> None:
    files, tiers = write_history(100, tmp_path)
    counts = [pd.read_parquet(file)["prompt_id"].nunique() for file in files]
    assert (WEEKS + 1, 100) == (len(files), sum(counts[:-1]))
    assert sum(counts[1:]) == 99
    assert tiers.is_file()
