"""Toy artefacts: real graphs, tokenizers and files, small enough to be made on the spot.

They need only what the router itself needs, and onnx to write the graph. `tests/conftest.py` offers them as
fixtures.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from router.artifact import GOLDEN_FILE, MANIFEST_FILE, MODEL_FILE, sha256_of
from router.embedding import EMBEDDING_FILES, StaticEmbedding
from router.extractor import Extractor
from router.features import FEATURE_NAMES
from router.lexicon import LEXICON_FILE, Lexicon
from router.scorer import ANSWER, INPUT, NOVELTY, P_PASS, SPREAD, Scorer

ROOT = Path(__file__).resolve().parents[1]
DIMENSION = 8
CARD_FILE = "MODEL_CARD.md"

WORDS = [
    "the",
    "a",
    "of",
    "hello",
    "please",
    "sum",
    "list",
    "write",
    "code",
    "prove",
    "translate",
    "invoice",
    "number",
    "review",
    "train",
]
GLYPHS = "abcdefghijklmnopqrstuvwxyz0123456789.,?!:()=+-"

TIERS: dict[str, Any] = {
    "pass_score": 0.5,
    "tier": [
        {
            "name": "small",
            "models": ["tiny-1", "tiny-2"],
            "input_usd_per_mtok": 0.2,
            "output_usd_per_mtok": 0.4,
            "context_window": 1000,
            "capabilities": [],
        },
        {
            "name": "medium",
            "model": "middling",
            "input_usd_per_mtok": 1.0,
            "output_usd_per_mtok": 4.0,
            "context_window": 4000,
            "capabilities": ["tools"],
        },
        {
            "name": "large",
            "model": "giant",
            "input_usd_per_mtok": 5.0,
            "output_usd_per_mtok": 20.0,
            "cached_input_usd_per_mtok": 0.5,
            "context_window": 100_000,
            "capabilities": ["tools", "vision", "json"],
        },
    ],
}

DECISION: dict[str, Any] = {
    "default_epsilon": 0.05,
    "default_loss": "regret",
    "default_max_regret": 0.05,
    "basis": "certificate",
    "reference": "large",
    "dominated": False,
    "unit_usd": 0.004,
    "novelty_threshold": 0.8,
    "novelty_false_alarm": 0.01,
    "spend": [
        {"epsilon": 0.0, "usd": 0.004},
        {"epsilon": 0.05, "usd": 0.002},
        {"epsilon": 1.0, "usd": 0.0001},
    ],
}

CERTIFICATE: dict[str, Any] = {
    "kind": "regret",
    "delta": 0.05,
    "n": 400,
    "date": "2025-01-31",
    "split": "calibration part, by group (group)",
    "reference": "large",
    "table": [
        {
            "alpha": a,
            "epsilon": e,
            "observed": a / 2,
            "bound": a,
            "saving": s,
            "share_per_tier": [s, 0.0, 1 - s],
        }
        for a, e, s in ((0.02, 0.01, 0.1), (0.05, 0.05, 0.3), (0.1, 0.15, 0.5))
    ],
    "quality": [
        {"min_quality": q, "epsilon": e, "observed": q, "saving": s, "share_per_tier": [s, 0.0, 1 - s]}
        for q, e, s in ((0.97, 0.02, 0.2), (0.9, 0.2, 0.6))
    ],
    "slices": [
        {
            "name": "task=sums",
            "n": 120,
            "delta": 0.025,
            "table": [{"alpha": 0.1, "epsilon": 0.05, "observed": 0.04, "bound": 0.1, "saving": 0.3}],
        }
    ],
    "needed": {},
}

GOLDEN: list[Any] = [
    "",
    "Hello",
    "Prove that the sum of two odd numbers is even.",
    "世界",
    "word " * 900,
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "List the planets."}],
]


def write_embedding(folder: Path) -> Path:
    """Write the four files of an embedding: WordPiece over words and letters, random int8 rows."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces = ["[PAD]", "[UNK]", *WORDS, *GLYPHS, *(f"##{glyph}" for glyph in GLYPHS)]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106 - no password
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]"])
    tokenizer.save(str(folder / "tokenizer.json"))
    rng = np.random.default_rng(11)
    np.save(
        folder / "embedding.int8.npy", rng.integers(-127, 128, (len(vocabulary), DIMENSION), dtype=np.int8)
    )
    np.save(folder / "embedding.scale.npy", rng.uniform(0.001, 0.02, len(vocabulary)).astype(np.float32))
    identity = {"name": "toy", "version": 1, "dimension": DIMENSION}
    (folder / "embedding.json").write_text(json.dumps(identity), encoding="utf-8")
    return folder


def build_graph(
    width: int,
    n_tiers: int = 3,
    *,
    input_name: str = INPUT,
    element: int = TensorProto.FLOAT,
    rows: str | int = "n",
    answer_columns: int | None = None,
    spread_columns: int | None = None,
    novelty_columns: int = 1,
    without: str | None = None,
    extra_input: bool = False,
    reads_lexicon: bool = False,
) -> bytes:
    """Return a graph: one logistic unit per tier, a line in the question marks, and one minus the greatest
    cosine to the 2d half axes.

    Where it reads a lexicon, the last columns, one per tier, are added to the log odds.

    A text with a known token is at most 1 - 1/sqrt(d) from an axis, one without is at 1. The cheaper a tier,
    the more a long prompt costs it. A prompt without a question mark gets an answer of half the mean from the
    cheapest tier and of one and a half from the dearest; each question makes it longer, on cheap tiers most.
    How far a tier's lead is uncertain: a hundredth of the distance between two cosines, none for the dearest.
    An output named by `without` is left out.
    """
    rng = np.random.default_rng(5)
    weights = np.zeros((width, n_tiers), np.float32)
    weights[:DIMENSION] = rng.normal(0.0, 1.5, (DIMENSION, n_tiers))
    weights[DIMENSION] = np.linspace(-0.9, -0.1, n_tiers)  # log_chars
    if reads_lexicon:
        weights[-n_tiers:] = np.eye(n_tiers)
    bias = np.linspace(4.0, 2.5, n_tiers).astype(np.float32)
    answer_columns = n_tiers if answer_columns is None else answer_columns
    lengths = np.zeros((width, answer_columns), np.float32)
    lengths[DIMENSION + FEATURE_NAMES.index("log_questions")] = np.linspace(0.75, 0.25, answer_columns)
    axes = np.zeros((width, 2 * DIMENSION), np.float32)
    axes[:DIMENSION] = np.concatenate([np.eye(DIMENSION), -np.eye(DIMENSION)], axis=1)
    nodes = [
        helper.make_node("Cast", [input_name], ["read"], to=TensorProto.FLOAT),
        helper.make_node("Split", ["read", "parts"], ["embedding", "features"], axis=1),
        helper.make_node("LpNormalization", ["embedding"], ["unit"], axis=1, p=2),
        helper.make_node("Concat", ["unit", "features"], ["rows"], axis=1),
        helper.make_node("Gemm", ["rows", "weights", "bias"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], [P_PASS]),
        helper.make_node("Gemm", ["rows", "lengths", "length"], [ANSWER]),
        helper.make_node("Gemm", ["rows", "doubts"], ["doubt"]),
        helper.make_node("Abs", ["doubt"], [SPREAD]),
        helper.make_node("MatMul", ["rows", "axes"], ["cosines"]),
        helper.make_node("ReduceMax", ["cosines"], ["nearest"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["one", "nearest"], [NOVELTY]),
    ]
    spread_columns = n_tiers if spread_columns is None else spread_columns
    doubts = np.zeros((width, spread_columns), np.float32)
    doubts[:2] = 0.01 * np.array([[1.0], [-1.0]]) * np.linspace(1.0, 0.0, spread_columns)
    constants = {
        "weights": weights,
        "doubts": doubts,
        "bias": bias,
        "lengths": lengths,
        "length": np.linspace(0.5, 1.5, answer_columns).astype(np.float32),
        "axes": axes,
        "one": np.ones((1, novelty_columns), np.float32),
        "parts": np.array([DIMENSION, width - DIMENSION]),
    }
    inputs = [helper.make_tensor_value_info(input_name, element, [rows, width])]
    if extra_input:
        inputs.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["n", 1]))
    columns = {P_PASS: n_tiers, SPREAD: spread_columns, ANSWER: answer_columns, NOVELTY: novelty_columns}
    graph = helper.make_graph(
        nodes,
        "toy",
        inputs,
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, n])
            for name, n in columns.items()
            if name != without
        ],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def write_golden(folder: Path, cases: list[dict[str, Any]]) -> None:
    lines = "\n".join(json.dumps(case) for case in cases)
    (folder / GOLDEN_FILE).write_bytes(gzip.compress(lines.encode(), mtime=0))


def reseal(folder: Path, **changes: Any) -> None:
    """Write the manifest again, with the hashes of the files as they are now and some keys changed."""
    document = json.loads((folder / MANIFEST_FILE).read_bytes())
    document["files"] = {
        name: sha256_of(folder / name) for name in document["files"] if (folder / name).is_file()
    }
    (folder / MANIFEST_FILE).write_text(json.dumps(document | changes), encoding="utf-8")


def draw_lexicon(n_ids: int, n_tiers: int = 3) -> NDArray[np.float32]:
    """Return token weights for all ids but every seventh, which no prompt of a history held."""
    rng = np.random.default_rng(7)
    table = rng.normal(0.0, 2.0, (n_ids, 1 + n_tiers)).astype(np.float32)
    table[:, 0] = rng.uniform(1.0, 20.0, n_ids)
    table[::7] = 0.0
    return table


def write_artifact(folder: Path, *, lexicon: bool = False) -> Path:
    """Write a whole artefact whose golden scores are those that its graph gives, with or without a lexicon."""
    write_embedding(folder)
    embedding = StaticEmbedding.load(folder)
    if lexicon:
        np.save(folder / LEXICON_FILE, draw_lexicon(embedding.n_ids))
    extractor = Extractor(embedding, Lexicon.load(folder, embedding.n_ids) if lexicon else None)
    model = build_graph(extractor.width, reads_lexicon=lexicon)
    (folder / MODEL_FILE).write_bytes(model)
    p_pass = Scorer(model, extractor.width, 3).score(extractor.extract_many(GOLDEN)).p_pass
    write_golden(
        folder, [{"prompt": g, "p_pass": row} for g, row in zip(GOLDEN, p_pass.tolist(), strict=True)]
    )
    (folder / CARD_FILE).write_text("# A toy\n", encoding="utf-8")
    files = [MODEL_FILE, *EMBEDDING_FILES, GOLDEN_FILE, CARD_FILE, *([LEXICON_FILE] if lexicon else [])]
    document = {
        "schema": 2,
        "name": "toy",
        "model_id": "tw-toy",
        "created": "2025-01-31T12:00:00+00:00",
        "files": dict.fromkeys(files, "unsealed"),
        "features": extractor.identity,
        "tiers": TIERS,
        "cost": {"usd_per_answer": [2e-5, 4e-4, 4e-3]},
        "decision": DECISION,
        "certificate": CERTIFICATE,
    }
    (folder / MANIFEST_FILE).write_text(json.dumps(document), encoding="utf-8")
    reseal(folder)
    return folder


def run_python(*arguments: str, cwd: Path = ROOT, stdin: bytes = b"", **environment: str) -> Any:
    """Run a fresh interpreter without the caller's model; its output is bytes."""
    env = {key: value for key, value in os.environ.items() if key != "TIERWISE_MODEL"}
    env |= {"PYTHONWARNINGS": "error", "PYTHONDONTWRITEBYTECODE": "1"} | environment
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=env, input=stdin, capture_output=True, check=False
    )
