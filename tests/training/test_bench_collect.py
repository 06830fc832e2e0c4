"""The bench of collect: bounds are judged by what was measured, and the section says all of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.collect import SECTION, SHARES, judge, rss_at, strip, write_prompts

MACHINE = {"cpu": "a CPU", "cores": 2, "python": "3.11", "load_1_min": 0.1, "versions": {}}


def measured(calls_per_s: float = 612.0, growth: float = 7.0, **killed: Any) -> dict[str, Any]:
    speed = {
        "prompts": 10_000, "calls": 30_000, "concurrency": 64, "seconds": 50.0, "calls_per_s": calls_per_s,
        "cpu_ms_per_call": 1.52, "sdk_calls_per_s": [491.0, 502.0], "of_sdk": 1.23, "peak_mb": 218.0,
        "rss_mb": {f"{share:g}": 130.0 + growth * (share > 0.5) for share in SHARES},
    }  # fmt: skip
    whole = {
        "prompts": 1000, "kills": 20, "same_history": True, "billed_calls": 3000, "billed_twice": 0,
        "repeats_not_billed": 95, "usd": 0.3, "unkilled_usd": 0.3,
    }  # fmt: skip
    document = {"machine": MACHINE, "speed": speed, "killed": {**whole, **killed}}
    return {**document, "met": judge(document)}


def test_all_bounds_can_be_met_and_each_missed() -> None:
    speed, memory, history, bill = measured()["met"]
    assert {speed: True, memory: True, history: True, bill: True} == measured()["met"]
    assert [speed] == missed(measured(calls_per_s=499.9))
    assert [memory] == missed(measured(growth=30.1))
    assert [history] == missed(measured(same_history=False))
    assert [bill] == missed(measured(billed_twice=1)) == missed(measured(usd=0.31))


def missed(document: dict[str, Any]) -> list[str]:
    return [name for name, ok in document["met"].items() if not ok]


def test_the_section_says_what_was_measured_and_missed(tmp_path: Path) -> None:
    (tmp_path / "BENCHMARKS.md").write_text("# Benchmarks\n", encoding="utf-8")
    SECTION.write(tmp_path, measured(calls_per_s=410.0))
    text = (tmp_path / "BENCHMARKS.md").read_text(encoding="utf-8")
    assert "`python -m bench.collect --prompts 10000 --kills 20 --killed-prompts 1000`" in text
    assert (
        "| 10,000 | 30,000 | 64 | 410 | 1.52 | 491 and 502 | 1.23 | 130 | 130 | 130 | 137 | 137 | 218 |"
        in text
    )
    assert "| 1,000 | 20 | yes | 3,000 | 0 | 95 |" in text
    assert "at least 500 calls/s: **missed**" in text
    assert "nothing billed twice: met" in text


def test_memory_is_that_of_the_first_sample_with_so_many_calls() -> None:
    samples = [(0, 80.0), (90, 100.0), (210, 120.0), (300, 130.0), (300, 0.0)]
    assert [100.0, 120.0, 130.0] == [rss_at(samples, calls) for calls in (30, 100, 300)]
    assert 130.0 == rss_at(samples, 301)


def test_histories_are_compared_but_for_their_latency(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text(json.dumps({"prompt_id": "a", "latency_ms": 3.1}) + "\n", encoding="utf-8")
    assert [{"prompt_id": "a"}] == strip(path)


@pytest.mark.parametrize("n", [3, 12])
def test_prompts_are_the_stand_in_s(tmp_path: Path, n: int) -> None:
    assert n == len(write_prompts(n, tmp_path).read_text(encoding="utf-8").splitlines())
