"""What the tests of reports, held-out rows and benchmarks share; made by `tests/runs.py`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from runs import ROOT, Run, draw_score, run_eval, run_here, start_eval, write_history

from training.synthetic import generate, write_demo


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
def histories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """A synthetic history of 300 prompts, the same with 100 more, and another."""
    folder = tmp_path_factory.mktemp("histories")
    return {
        "first": write_demo(folder / "first", n_prompts=300, seed=7),
        "grown": write_demo(folder / "grown", n_prompts=400, seed=7),
        "other": write_demo(folder / "other", n_prompts=150, seed=8),
    }


@pytest.fixture(scope="session")
def model(histories: dict[str, tuple[Path, Path]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artefact fitted on the first of them with seed 2, divided by group; not to be changed."""
    from training.fit import fit  # five seconds that the other tests here need not spend

    history, tiers = histories["first"]
    out = tmp_path_factory.mktemp("model") / "model"
    fit([history], tiers, out, seed=2, split_method="group", embedding=ROOT / "models" / "default")
    return out
