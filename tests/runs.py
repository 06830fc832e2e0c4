"""Small histories as files, and `python -m eval` run on them: shared by the tests of its commands."""

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
from numpy.typing import NDArray

from eval.__main__ import main
from eval.history import read_history
from eval.outcomes import Outcomes, tabulate
from router.tiers import read_tiers

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("small", "medium", "large")
USD = (0.0001, 0.001, 0.01)
FILES = ["report.html", "report.json", "report.md"]
EXIT_CODES = {"ROUTE": 0, "TIE": 10, "DO NOT ROUTE": 11, "CANNOT TELL": 12}


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


def report(run: Callable[..., Any], files: tuple[Path, Path], out: Path, *more: str | Path) -> Any:
    """Run the report on a history and its tiers, with one process unless another number is asked for."""
    workers = () if "--workers" in more else ("--workers", "1")
    return run("report", "--history", files[0], "--tiers", files[1], "--out", out, *workers, *more)


def read_report(out: Path) -> Any:
    assert FILES == sorted(path.name for path in out.iterdir())
    return json.loads((out / "report.json").read_bytes())


def outcomes_of(files: tuple[Path, Path]) -> Outcomes:
    return tabulate(read_history(files[0]), read_tiers(files[1]))


def require_readable(done: Any, out: Path) -> Any:
    """Check all that a finished run says and writes, whatever its verdict; return the document."""
    document, result = read_report(out), done.result
    verdict = document["verdict"]
    assert "Traceback" not in done.err
    assert 1 == len(done.out.splitlines())
    assert EXIT_CODES[verdict["word"]] == done.code == result["exit_code"]
    for key, name in (("verdict", "word"), ("headline", "headline"), ("reason", "reason"), ("lead", "lead")):
        assert verdict[name] == result[key]
    assert str(out / "report.html") == result["report"]
    assert FILES == sorted(result["files"])
    for text in (
        done.err,
        (out / "report.html").read_text(encoding="utf-8"),
        (out / "report.md").read_text(encoding="utf-8"),
    ):
        assert verdict["word"] in text
    assert (out / "report.html").read_text(encoding="utf-8").lower().startswith("<!doctype html>")
    assert (out / "report.md").read_text(encoding="utf-8").startswith("# history")
    return document
