"""Bad input to `python -m eval report`: a sentence, and a report that says why wherever there is anything to judge."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from runs import outcomes_of, report, require_readable

Command = Callable[..., Any]
Write = Callable[..., tuple[Path, Path]]
Draw = Callable[..., NDArray[np.float64]]

N = 60


def case(name: str, texts: list[str], draw: Draw) -> dict[str, Any]:
    """Return what to write for a bad history."""
    score, prompts = draw(N, (0.4, 0.6, 0.8), seed=0), texts[:N]
    usual: dict[str, Any] = {"prompts": prompts, "score": score}
    apart = np.where(np.arange(3) == np.arange(N)[:, None] % 3, score, np.nan)
    sparse = draw(400, (0.4, 0.6, 0.8), seed=0)
    sparse[25:, 1] = np.nan
    return {
        "one tier": usual | {"score": score[:, :1], "names": ("only",)},
        "no overlap": usual | {"score": apart},
        "all pass": usual | {"score": np.ones((N, 3))},
        "all fail": usual | {"score": np.zeros((N, 3))},
        "ten rows": {"prompts": prompts[:10], "score": score[:10]},
        "one group": usual | {"group": ["all"] * N},
        "same text": usual | {"prompts": ["Same question."] * N},
        "same text in groups": usual | {"prompts": ["Same question."] * N, "group": [f"g{i}" for i in range(N)]},
        "hardly a tier": {"prompts": texts[:400], "score": sparse},
        "no cost": usual | {"cost_usd": np.zeros((N, 3))},
        "one cost": usual | {"cost_usd": np.full((N, 3), 0.002)},
        "middling scores": usual | {"score": 0.4 + 0.2 * np.random.default_rng(0).random((N, 3))},
        "half empty": usual | {"prompts": ["" if i % 2 else prompts[i] for i in range(N)], "score": score},
        "few prompts": {"prompts": prompts[:35], "score": score[:35], "group": [f"g{i % 12}" for i in range(35)]},
    }[name]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("one tier", "fewer than two tiers"),
        ("no overlap", "no overlap between tiers"),
        ("all pass", "Every tier passes every prompt"),
        ("all fail", "No tier passes any prompt"),
        ("ten rows", "Only 10 prompts"),
        ("one group", "All prompts are of one group; 10 groups are the least"),
        ("same text", "the same to a router"),
        ("same text in groups", "the same to a router"),
        ("hardly a tier", "Only 25 prompts"),
        ("no cost", "costs the same here, 0 USD"),
        ("one cost", "costs the same here, 0.002 USD"),
    ],
)
def test_what_cannot_be_judged_gets_a_report_that_says_why(
    evaluate_here: Command, write: Write, draw: Draw, texts: list[str], tmp_path: Path, name: str, reason: str
) -> None:
    files = write(tmp_path, **case(name, texts, draw))
    done = report(evaluate_here, files, tmp_path / "out")
    document = require_readable(done, tmp_path / "out")
    assert 12 == done.code
    assert reason in document["verdict"]["reason"]
    assert document["comparison"] is None
    assert {} == done.result["gap_closed"]
    assert " ".join(document["verdict"]["reason"].split()) in " ".join(done.err.split())
    assert len(outcomes_of(files)) == document["data"]["prompts"]


@pytest.mark.parametrize("name", ["middling scores", "half empty", "few prompts"])
def test_what_is_poor_is_judged_and_not_routed(
    evaluate_here: Command, write: Write, draw: Draw, texts: list[str], tmp_path: Path, name: str
) -> None:
    files = write(tmp_path, **case(name, texts, draw))
    done = report(evaluate_here, files, tmp_path / "out")
    document = require_readable(done, tmp_path / "out")
    assert document["verdict"]["word"] in ("TIE", "DO NOT ROUTE")
    left_out = document["data"]["dropped"]["blank prompt"]
    assert {"half empty": 30}.get(name, 0) == left_out
    assert (f"left out: {left_out} prompts (blank prompt)" in done.err) == bool(left_out)


def test_broken_characters_are_judged_like_any_other(
    evaluate_here: Command, draw: Draw, write: Write, tmp_path: Path
) -> None:
    """JSON can say half of a character, which no file in UTF-8 can hold."""
    score = draw(40, (0.5, 0.8), seed=0)
    _, tiers = write(tmp_path, ["a"] * 40, score, names=("small", "large"))
    rows = [
        {"prompt_id": f"p{i}", "prompt": f"\ud800 {i} \udfff", "model": model, "score": float(score[i, k])}
        for i in range(40)
        for k, model in enumerate(("m-small", "m-large"))
    ]
    history = tmp_path / "history.jsonl"
    history.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    done = report(evaluate_here, (history, tiers), tmp_path / "out", "--show-prompts")
    document = require_readable(done, tmp_path / "out")
    assert 40 == document["comparison"]["prompts"]


# What is refused: one sentence, and nothing is written


def damaged(model: Path, place: Path) -> Path:
    shutil.copytree(model, place)
    (place / "model.onnx").write_bytes(b"no model")
    return place


def test_what_is_refused_is_one_sentence(
    evaluate_here: Command,
    write: Write,
    draw: Draw,
    texts: list[str],
    model: Path,
    histories: dict[str, tuple[Path, Path]],
    tmp_path: Path,
) -> None:
    history, tiers = histories["first"]
    score = draw(40, (0.5, 0.8), seed=0)
    empty, _ = write(tmp_path / "empty", ["  "] * 40, score, names=("small", "large"))
    _, others = write(tmp_path / "others", texts[:40], score, names=("tiny", "huge"))
    table = pd.read_parquet(history)
    bare, wrong = tmp_path / "bare.parquet", tmp_path / "wrong.parquet"
    table.drop(columns="score").to_parquet(bare)
    table.assign(score=2.0).to_parquet(wrong)
    (tmp_path / "file").write_text("taken", encoding="utf-8")
    typo, gone = tmp_path / "histroy.parquet", tmp_path / "no-model"
    text = tiers.read_text(encoding="utf-8")
    (tmp_path / "renamed.toml").write_text(text.replace('"medium"', '"middle"'), encoding="utf-8")
    out = tmp_path / "out"
    cases = [
        (history, tiers, ["--unseen"], 3, "--unseen says what a model has seen"),
        (history, tiers, ["--seed", "-1"], 3, "--seed is 0 to 4294967295 and --workers 1 or more; found -1"),
        (history, tiers, ["--seed", str(2**32)], 3, "found 4294967296 and 1"),
        (history, tiers, ["--workers", "0"], 3, "--workers 1 or more"),
        (history, tiers, ["--out", tmp_path / "file"], 3, "file is a file; name a folder"),
        (history, tiers, ["--out", tmp_path / "file" / "deeper"], 3, "file is a file; name a folder"),
        (history, tiers, ["--model", gone], 1, "no-model"),
        (history, tiers, ["--model", damaged(model, tmp_path / "damaged")], 1, "model.onnx"),
        (history, tmp_path / "renamed.toml", ["--model", model], 3, "(small, medium, large), found small, middle"),
        (typo, tiers, [], 3, "histroy.parquet"),
        (history, tmp_path / "tires.toml", [], 3, "tires.toml: cannot be read"),
        (bare, tiers, [], 3, "expected a column score or passed"),
        (wrong, tiers, [], 3, "column score: expected a number from 0 to 1"),
        (history, others, [], 3, "expected rows of the tiers' models (m-tiny, m-huge)"),
        (empty, others, [], 3, "expected"),
    ]  # fmt: skip
    for path, ladder, more, code, sentence in cases:
        done = report(evaluate_here, (path, ladder), out, *more)
        said = [line for line in done.err.splitlines() if not line.startswith("[")]
        assert (code, "", 1) == (done.code, done.out, len(said)), (more, done.err)
        assert said[0].startswith("error: ")
        assert sentence in said[0]
        assert not out.exists()
    assert "taken" == (tmp_path / "file").read_text(encoding="utf-8")


def test_prompts_that_are_all_empty_are_refused(
    evaluate_here: Command, write: Write, draw: Draw, tmp_path: Path
) -> None:
    done = report(evaluate_here, write(tmp_path, [""] * 40, draw(40, (0.5, 0.6, 0.7), 0)), tmp_path / "out")
    assert 3 == done.code
    assert "blank prompt: 40" in done.err
    assert not (tmp_path / "out").exists()
