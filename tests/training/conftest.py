"""Designs, histories and artefacts that the tests of training share; all made on the spot, from seeds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from eval.design import Design, count_tokens
from eval.outcomes import UNKNOWN
from router.features import FEATURE_NAMES
from router.lexicon import Lexicon
from router.scorer import INPUT
from training.fit import fit
from training.graph import Graph, Total
from training.members import Member
from training.synthetic import write_demo
from training.words import Words

ROOT = Path(__file__).resolve().parents[2]
DIMENSION, WIDTH = 12, 12 + len(FEATURE_NAMES)
# Of 50 tokens, ten occur in hard prompts, ten in easy ones, twenty anywhere, nine never and one in one prompt.
N_IDS, ONCE = 50, 49
TASKS = ("prove", "sum", "translate")


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


def draw_tokens(hard: NDArray[np.float64], rng: np.random.Generator) -> sparse.csr_array:
    """Token counts per prompt that tell how hard each is; a few prompts have none."""
    rate = np.zeros((len(hard), N_IDS))
    rate[:, :10] = 0.4 * np.exp(hard)[:, None]
    rate[:, 10:20] = 0.4 * np.exp(-hard)[:, None]
    rate[:, 20:40] = 0.4
    counts = rng.poisson(rate)
    counts[0, ONCE] = 3
    counts[rng.random(len(hard)) < 0.03] = 0
    return count_tokens([np.repeat(np.arange(N_IDS), row).tolist() for row in counts], N_IDS)


def draw_design(n: int, seed: int, n_tiers: int = 3, unobserved: float = 0.1) -> Design:
    """Outcomes that follow embedding, length, tokens and task, with gaps; dearer tiers pass more often.

    The task can be told from the embedding; a tenth of the prompts is not tagged with it. Two prompts are a group.
    """
    rng = np.random.default_rng(seed + 1)
    X, hard = draw_rows(n, seed), rng.normal(size=n)
    task = X[:, :3].argmax(1)
    logit = 2.5 * X[:, :1] - 0.4 * (X[:, DIMENSION : DIMENSION + 1] - 2.0) + np.linspace(0.0, 2.0, n_tiers)
    logit = logit - 0.7 * hard[:, None] + np.array([0.5, 0.0, -0.5])[task][:, None]
    passed = (rng.random((n, n_tiers)) < 1.0 / (1.0 + np.exp(-logit))).astype(np.float32)
    passed[rng.random((n, n_tiers)) < unobserved] = np.nan
    tags = np.array([*TASKS, None], object)[np.where(rng.random(n) < 0.1, 3, task)]
    return Design(
        X,
        DIMENSION,
        np.array([f"text {i}" for i in range(n)], object),
        passed,
        labels_of(passed),
        draw_tokens(hard, rng),
        tags,
        np.array([f"g{i // 2}" for i in range(n)], object),
        np.geomspace(0.001, 0.1, n_tiers) * rng.lognormal(0.0, 0.3, (n, 1)),
        draw_answers(X, passed.shape, rng),
        ~np.isnan(passed),
    )


def draw_answers(
    X: NDArray[np.float32], shape: tuple[int, ...], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Answers that cost the more, the more a direction of the embedding is in the prompt; 1, 2, ... USD in the mean."""
    length = np.exp(1.5 * X[:, 1:2] + rng.normal(0.0, 0.3, shape))
    return np.asarray(length / length.mean(axis=0) * np.arange(1.0, shape[1] + 1.0))


def draw_unseen(X: NDArray[np.float32], seed: int, n_tiers: int = 3) -> Design:
    """Prompts of which nothing is known but the rows given and tokens of any kind: no outcome, task or group.

    Their tokens are worse than any that a history holds: none, one a thousand times, all at once, strangers only.
    """
    rng = np.random.default_rng(seed)
    ids = [rng.integers(0, N_IDS, rng.integers(0, 60)).tolist() for _ in X]
    for i, extreme in enumerate(([], [3] * 1000, list(range(N_IDS)) * 5, [45, 46], [ONCE], [12] * 1000)):
        ids[i::31] = [extreme] * len(ids[i::31])
    passed = np.full((len(X), n_tiers), np.nan, np.float32)
    return Design(
        X, DIMENSION, np.full(len(X), "", object), passed, labels_of(passed), count_tokens(ids, N_IDS)
    )


def with_passed(design: Design, passed: NDArray[Any]) -> Design:
    """The same rows with other outcomes."""
    passed = np.asarray(passed, np.float32)
    return replace(design, passed=passed, label=labels_of(passed))


def ids_in(rows: Design) -> list[list[int]]:
    """The token ids of each prompt, as serving reads them."""
    assert rows.tokens is not None
    counts = rows.tokens.toarray().astype(int)
    return [np.repeat(np.arange(counts.shape[1]), row) for row in counts]


def served_rows(member: Member, rows: Design) -> NDArray[np.float32]:
    """Rows as serving extracts them for a model with words: a column per tier from the lexicon.

    For any other member these columns hold what it must not read.
    """
    lexicon = np.full((len(rows), rows.n_tiers), 7.0, np.float32)
    if isinstance(member, Words):
        lexicon = np.array([Lexicon(member.lexicon).margins(ids) for ids in ids_in(rows)], np.float32)
    return np.hstack([rows.X, lexicon])


def run_member(member: Member, rows: Design, scale: NDArray[np.float64]) -> NDArray[np.float32]:
    """What ONNX Runtime makes of a member's export."""
    x = served_rows(member, rows)
    graph = Graph(INPUT, x.shape[1], rows.dimension)
    total = Total(graph, len(scale))
    member.export(total, np.diag(scale))
    graph.add("Identity", total.close(), output="z")
    model = graph.build({"z": len(scale)}).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(("z",), {INPUT: x})[0])


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
def make_unseen() -> Callable[..., Design]:
    """`draw_unseen`."""
    return draw_unseen


@pytest.fixture(scope="session")
def relabel() -> Callable[..., Design]:
    """`with_passed`."""
    return with_passed


@pytest.fixture(scope="session")
def export() -> Callable[..., NDArray[np.float32]]:
    """`run_member`."""
    return run_member


@pytest.fixture(scope="session")
def serve() -> Callable[..., NDArray[np.float32]]:
    """`served_rows`."""
    return served_rows


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
