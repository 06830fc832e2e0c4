"""Designs, histories and artefacts that the tests of training share; all made on the spot, from seeds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from eval.outcomes import UNKNOWN
from router.features import FEATURE_NAMES
from router.scorer import INPUT
from training.fit import fit
from training.graph import Graph
from training.members import Design, Member
from training.synthetic import write_demo

ROOT = Path(__file__).resolve().parents[2]
DIMENSION, WIDTH = 12, 12 + len(FEATURE_NAMES)


def labels_of(passed: NDArray[np.float32]) -> NDArray[np.int8]:
    """Walk up the ladder: the first pass is the label, an unobserved tier before it makes it unknown."""
    labels = []
    for row in passed.tolist():
        label = len(row)
        for k, outcome in enumerate(row):
            if outcome != 0.0:
                label = k if outcome == 1.0 else UNKNOWN
                break
        labels.append(label)
    return np.array(labels, np.int8)


def draw_rows(n: int, seed: int) -> NDArray[np.float32]:
    """Rows as the extractor gives them: unit vectors, a few of them zero, then lengths and shares."""
    rng = np.random.default_rng(seed)
    X = np.empty((n, WIDTH), np.float32)
    vectors = rng.normal(size=(n, DIMENSION))
    X[:, :DIMENSION] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    X[rng.random(n) < 0.03, :DIMENSION] = 0.0
    X[:, DIMENSION:] = rng.gamma(2.0, 1.5, (n, WIDTH - DIMENSION)) * (
        rng.random((n, WIDTH - DIMENSION)) < 0.6
    )
    return X


def draw_design(n: int, seed: int, n_tiers: int = 3, unobserved: float = 0.1) -> Design:
    """Outcomes that follow the embedding and the length, with gaps; dearer tiers pass more often."""
    rng = np.random.default_rng(seed + 1)
    X = draw_rows(n, seed)
    logit = 2.5 * X[:, :1] - 0.4 * (X[:, DIMENSION : DIMENSION + 1] - 2.0) + np.linspace(0.0, 2.0, n_tiers)
    passed = (rng.random((n, n_tiers)) < 1.0 / (1.0 + np.exp(-logit))).astype(np.float32)
    passed[rng.random((n, n_tiers)) < unobserved] = np.nan
    return Design(X, DIMENSION, passed, labels_of(passed))


def with_passed(design: Design, passed: NDArray[Any]) -> Design:
    """The same rows with other outcomes."""
    passed = np.asarray(passed, np.float32)
    return Design(design.X, design.dimension, passed, labels_of(passed))


def run_member(member: Member, X: NDArray[np.float32], scale: NDArray[np.float64]) -> NDArray[np.float32]:
    """What ONNX Runtime makes of a member's export."""
    graph = Graph()
    graph.add("Identity", member.export(graph, INPUT, scale), output="z")
    model = graph.build({INPUT: X.shape[1]}, {"z": len(scale)}).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(("z",), {INPUT: X})[0])


def start_training(*arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
    """Start `python -m training` from the checkout, its warnings errors, without the caller's model."""
    env = {key: value for key, value in os.environ.items() if key != "TIERWISE_MODEL"}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "training", *map(str, arguments)],
        cwd=ROOT,
        env=env | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Linear algebra on one thread, as in a fit: more would fight over the cores that the tests share."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def make_rows() -> Callable[..., NDArray[np.float32]]:
    """`draw_rows`."""
    return draw_rows


@pytest.fixture(scope="session")
def make_design() -> Callable[..., Design]:
    """`draw_design`."""
    return draw_design


@pytest.fixture(scope="session")
def relabel() -> Callable[..., Design]:
    """`with_passed`."""
    return with_passed


@pytest.fixture(scope="session")
def export() -> Callable[..., NDArray[np.float32]]:
    """`run_member`."""
    return run_member


@pytest.fixture(scope="session")
def training() -> Callable[..., subprocess.Popen[str]]:
    """`start_training`."""
    return start_training


@pytest.fixture(scope="session")
def committed_embedding() -> Path:
    """The embedding of the default model, in the checkout."""
    return ROOT / "models" / "default"


@pytest.fixture(scope="session")
def history_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A synthetic history of 500 prompts and its tiers file; not to be changed."""
    return write_demo(tmp_path_factory.mktemp("demo"), n_prompts=500, seed=7)


@pytest.fixture(scope="session")
def fitted(
    history_files: tuple[Path, Path], committed_embedding: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """An artefact fitted on that history, and what the fit returned; not to be changed."""
    history, tiers = history_files
    out = tmp_path_factory.mktemp("fitted") / "model"
    return out, fit([history], tiers, out, seed=0, embedding=committed_embedding)


@pytest.fixture(scope="session")
def artefact(fitted: tuple[Path, dict[str, Any]]) -> Path:
    """The folder of `fitted`."""
    return fitted[0]
