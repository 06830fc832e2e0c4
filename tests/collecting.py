"""`python -m training collect` as its user has it: prompts in files, a stand-in that answers, a history to read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from standin import MODELS, TIERS
from toys import ROOT

from eval.table import is_missing, read_table
from training.__main__ import main

MOST_SECONDS = 120.0
SMALL, MEDIUM, LARGE = MODELS
OUTCOMES = [
    "model", "score", "response", "status", "finish_reason", "input_tokens", "output_tokens", "cached_input_tokens",
    "cost_usd", "latency_ms", "usage_is_estimate",
]  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def result(self) -> dict[str, Any]:
        """The document that is the last line of stdout."""
        return dict(json.loads(self.out.strip().splitlines()[-1]))


class Collect:
    """The command, run in this process; a folder of its own for what it writes."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    @property
    def out(self) -> Path:
        return self.folder / "history.jsonl"

    @property
    def journal(self) -> Path:
        return journal_of(self.out)

    def write(self, rows: Sequence[Mapping[str, Any]], name: str = "prompts.jsonl") -> Path:
        path = self.folder / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    def __call__(self, prompts: Path, *flags: object, out: Path | None = None, tiers: Path = TIERS) -> Ended:
        self._capsys.readouterr()
        command = ["collect", "--prompts", prompts, "--tiers", tiers, "--out", out or self.out, *flags]
        code = main([*map(str, command)])
        return Ended(code, *self._capsys.readouterr())


def start(prompts: Path, out: Path, url: str, *flags: object, **options: Any) -> subprocess.Popen[str]:
    """Start the command in a process of its own, to be killed."""
    command = ["collect", "--prompts", prompts, "--tiers", TIERS, "--out", out, "--base-url", url, *flags]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT, **options}
    environment = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    return subprocess.Popen(
        [sys.executable, "-m", "training", *map(str, command)], env=environment, **options
    )


def finish(process: subprocess.Popen[str]) -> Ended:
    """Wait for it to end by itself, or by a signal that it was sent."""
    try:
        out, err = process.communicate(timeout=MOST_SECONDS)
    finally:
        process.kill()
    return Ended(process.returncode, out, err)


def journal_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.collect")


def rows_of(history: Path, *but: str) -> list[dict[str, Any]]:
    """The rows of a history in any format, less some columns, missing cells as None."""
    table = read_table(history)
    names = [name for name in table.columns if name not in but]
    cells = zip(*(table.cells(name) for name in names), strict=True)
    return [dict(zip(names, (None if is_missing(c) else c for c in row), strict=True)) for row in cells]


def letters_of(out: Path) -> list[dict[str, Any]]:
    text = (journal_of(out) / "dead_letters.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def simple_prompts(n: int, start: int = 0, **more: Any) -> list[dict[str, Any]]:
    """Prompts that differ, with ids in order."""
    return [
        {"prompt_id": f"q{i:03d}", "prompt": f"What is {i} plus {i + 1}? Answer with the number.", **more}
        for i in range(start, start + n)
    ]
