"""Histories that the tests of reports, held-out rows and benchmarks share: real files, made on the spot, from seeds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from eval.__main__ import main
from training.synthetic import generate

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("small", "medium", "large")
USD = (0.0001, 0.001, 0.01)


def strict(text: str | bytes) -> Any:
    """Parse JSON as other languages do: without NaN and Infinity."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def write_tiers(path: Path, names: Sequence[str]) -> Path:
    """Write a ladder whose tiers are answered by models m-NAME, at prices that rise."""
    tables = [
        f'[[tier]]\nname = "{name}"\nmodel = "m-{name}"\ninput_usd_per_mtok = {k}.0\noutput_usd_per_mtok = {k}.0\n'
        for k, name in enumerate(names, 1)
    ]
    path.write_text("\n".join(["pass_score = 0.5\n", *tables]), encoding="utf-8")
    return path


def write_history(
    folder: Path,
    prompts: Sequence[str],
    score: NDArray[Any],
    *,
    names: Sequence[str] = NAMES,
    cost_usd: NDArray[Any] | None = None,
    **columns: Sequence[Any],
) -> tuple[Path, Path]:
    """Write history.parquet and tiers.toml: score and cost (n, k), NaN where unanswered; columns hold n values."""
    folder.mkdir(parents=True, exist_ok=True)
    cost = np.tile(USD[: len(names)], (len(prompts), 1)) if cost_usd is None else cost_usd
    rows = [
        {
            "prompt_id": f"p{i}",
            "prompt": prompts[i],
            "model": f"m-{name}",
            "score": float(score[i, k]),
            "cost_usd": float(cost[i, k]),
            **{column: values[i] for column, values in columns.items()},
        }
        for i in range(len(prompts))
        for k, name in enumerate(names)
        if not np.isnan(score[i, k])
    ]
    pd.DataFrame(rows).to_parquet(folder / "history.parquet", index=False)
    return folder / "history.parquet", write_tiers(folder / "tiers.toml", names)


def draw_score(n: int, rates: Sequence[float], seed: int) -> NDArray[np.float64]:
    """Passes (1) and failures (0) that nothing in a prompt tells, (n, k)."""
    drawn = np.random.default_rng(seed).random((n, len(rates)))
    return (drawn < np.array(rates)).astype(np.float64)


@dataclass(frozen=True)
class Run:
    """A finished command: its exit code and all that it said."""

    code: int
    out: str
    err: str

    @property
    def result(self) -> Any:
        """The document on the last line of stdout."""
        return strict(self.out.splitlines()[-1])


def start_eval(*arguments: str | Path, **more: Any) -> subprocess.Popen[str]:
    """Start `python -m eval` from the checkout, its warnings errors, without the caller's model."""
    env = {key: value for key, value in os.environ.items() if key != "TIERWISE_MODEL"}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "eval", *map(str, arguments)],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def run_eval(*arguments: str | Path) -> Run:
    """Run `python -m eval` in a process of its own."""
    process = start_eval(*arguments)
    out, err = process.communicate()
    return Run(process.returncode, out, err)


def run_here(*arguments: str | Path) -> Run:
    """Run `python -m eval` in this process: four seconds of imports less."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Run(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def evaluate_here() -> Callable[..., Run]:
    """`run_here`."""
    return run_here


@pytest.fixture(scope="session")
def evaluate_apart() -> Callable[..., Run]:
    """`run_eval`."""
    return run_eval


@pytest.fixture(scope="session")
def start() -> Callable[..., subprocess.Popen[str]]:
    """`start_eval`."""
    return start_eval


@pytest.fixture(scope="session")
def write() -> Callable[..., tuple[Path, Path]]:
    """`write_history`."""
    return write_history


@pytest.fixture(scope="session")
def draw() -> Callable[..., NDArray[np.float64]]:
    """`draw_score`."""
    return draw_score


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """600 different prompts."""
    history = generate(1000, seed=3)
    return history.prompt.dropna().drop_duplicates().tolist()[:600]


@pytest.fixture(scope="session")
def parse() -> Callable[[str | bytes], Any]:
    """`strict`."""
    return strict
