"""How long grading 30,000 responses by rule takes, and what each kind of grader costs.

`python -m bench.grade [--rows 30000] [--check]`. A made history of three models, prompts of ten tasks and responses of some
hundred characters, is written as Parquet and graded by `python -m training grade` as a process of its own, so start-up,
reading and writing count. Then each kind is timed alone, in this process. Code is timed apart: each run is a process.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.measuring import describe_machine, render_table, report, run_child
from bench.targets import Target, judge, target_rows
from training.grade.config import read_grading
from training.grade.grades import Row

ROWS = 30_000
MODELS = ("small", "medium", "large")
TARGETS = (Target("30,000 responses by rule, seconds", "wall_s", 30.0),)
_ALONE = 300  # responses per kind
_RUNS = 40  # of code
_WORDS = [
    "the",
    "invoice",
    "of",
    "march",
    "was",
    "paid",
    "on",
    "friday",
    "because",
    "our",
    "bank",
    "had",
    "been",
    "closed",
    "and",
    "nobody",
    "noticed",
    "it",
    "in",
    "time",
]

GRADERS = """
[[grader]]
name = "exact"
kind = "exact"
after = "answer is"
[[grader]]
name = "normalised"
kind = "normalised"
after = "answer is"
[[grader]]
name = "choice"
kind = "choice"
[[grader]]
name = "number"
kind = "number"
[[grader]]
name = "regex"
kind = "regex"
pattern = '(?i)\\banswer\\s+is\\b'
[[grader]]
name = "contains"
kind = "contains"
[[grader]]
name = "json"
kind = "json"
[[grader]]
name = "schema"
kind = "json_schema"
schema = { type = "object", required = ["answer", "why"], properties = { answer = { type = "integer" } } }
[[grader]]
name = "length"
kind = "length"
max_words = 400
max_sentences = 60
[[grader]]
name = "language"
kind = "language"
language = "en"
[[grader]]
name = "f1"
kind = "similarity"
[[grader]]
name = "rouge"
kind = "similarity"
measure = "rouge_l"
[[grader]]
name = "cosine"
kind = "similarity"
measure = "cosine"
[[grader]]
name = "same"
kind = "same_as_top"
by = "number"
"""
KINDS = [
    "exact",
    "normalised",
    "choice",
    "number",
    "regex",
    "contains",
    "json",
    "schema",
    "length",
    "language",
    "f1",
    "rouge",
    "cosine",
    "same",
]
TIERS = "".join(
    f'[[tier]]\nname = "{model}"\nmodel = "{model}"\ninput_usd_per_mtok = {price}\noutput_usd_per_mtok = {price}\n'
    for model, price in zip(MODELS, (0.1, 1.0, 10.0), strict=True)
)


def make_rows(n: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return n rows: three answers to each prompt, right or wrong by chance. Pure."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    rows: list[dict[str, Any]] = []
    while len(rows) < n:
        number, kind = draw.randrange(2000), KINDS[len(rows) // len(MODELS) % len(KINDS)]
        letter = "ABCD"[number % 4]
        for model in MODELS:
            said = number if draw.random() < 0.7 else number + 1
            prose = ". ".join(
                " ".join(draw.choices(_WORDS, k=12)).capitalize() for _ in range(draw.randint(2, 16))
            )
            if kind in ("json", "schema"):
                response = json.dumps({"answer": said, "why": prose})
            elif kind == "choice":
                response = f"{prose}.\n\nSo A is wrong. The answer is **({'ABCD'[said % 4]})**."
            else:
                response = f"{prose}.\n\nThe answer is {said:,}."
            rows.append(
                {
                    "prompt_id": f"q{len(rows) // len(MODELS)}",
                    "prompt": f"What is number {number}?",
                    "model": model,
                    "score": None,
                    "response": response,
                    "status": "answered",
                    "task": kind,
                    "reference": letter if kind == "choice" else f"{number:,}",
                }
            )
    return rows[:n]


def write_graders(path: Path) -> None:
    """Write graders of all kinds, each with a rule for its task, and a check of length beside it."""
    rules = [
        f'[[rule]]\nwhen = {{ task = "{kind}" }}\ngraders = {json.dumps(list(dict.fromkeys([kind, "length"])))}\n'
        for kind in KINDS
    ]
    path.write_text(GRADERS + "".join(rules), encoding="utf-8")


def time_kinds(graders: Path, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return microseconds per response of each kind, alone."""
    grading, found = read_grading(graders), {}
    for kind in KINDS:
        mine = [row for row in rows if row["task"] == kind][:_ALONE]
        seen = [
            Row(i, "", row, row["response"], row["response"], row["model"] == "large")
            for i, row in enumerate(mine)
        ]
        grade = grading.graders[kind].grade
        grade(seen[0])  # what is read at first use
        start = time.perf_counter()
        for row in seen:
            grade(row)
        found[kind] = round(1e6 * (time.perf_counter() - start) / len(seen), 1)
    return found


def time_code(folder: Path) -> float:
    """Return seconds per run of code, one after the other."""
    graders = folder / "code.toml"
    graders.write_text(
        '[[grader]]\nname = "code"\nkind = "code"\n[[rule]]\ngraders = ["code"]\n', encoding="utf-8"
    )
    grader = read_grading(graders).graders["code"]
    grader.prepare("bench")
    row = Row(0, "", {"tests": "assert f(2) == 4"}, "```python\ndef f(x):\n    return 2 * x\n```")
    start = time.perf_counter()
    for _ in range(_RUNS):
        assert grader.grade(row).score == 1.0
    return (time.perf_counter() - start) / _RUNS


def main() -> None:
    """Measure and report; with --check, fail where the target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    options = parser.parse_args()
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rows = make_rows(options.rows)
        history, graders, tiers, out = (
            folder / name for name in ("h.parquet", "g.toml", "t.toml", "out.parquet")
        )
        pq.write_table(pa.Table.from_pylist(rows), history)
        write_graders(graders)
        tiers.write_text(TIERS, encoding="utf-8")
        command: list[str | Path] = [
            "--history",
            history,
            "--graders",
            graders,
            "--tiers",
            tiers,
            "--out",
            out,
        ]
        child = run_child(sys.executable, "-m", "training", "grade", *command)
        summary = child.last_json
        assert summary["graded"] == options.rows, "rows without a score"
        per_kind, code_s = time_kinds(graders, rows), time_code(folder)
    document = {
        "machine": machine,
        "rows": options.rows,
        "mean_characters": round(sum(len(row["response"]) for row in rows) / len(rows)),
        "wall_s": round(child.wall_s, 2),
        "cpu_s": round(child.user_s + child.system_s, 2),
        "peak_mb": round(child.peak_mb),
        "us_per_response": per_kind,
        "code_s_per_run": round(code_s, 3),
    }
    document["targets"] = judge(document, TARGETS)
    report(
        document,
        render_table(("kind", "us a response"), list(per_kind.items())),
        render_table(("figure", "measured", "target", ""), target_rows(document["targets"])),
    )
    if options.check and not all(target["met"] for target in document["targets"]):
        sys.exit(1)


if __name__ == "__main__":
    main()
