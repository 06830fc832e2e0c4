"""Graded histories made by hand, to measure and to look at: ordinary, sampled, censored, tiny, and of the worst names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eval.history import History, read_history
from eval.labels_document import describe_labels
from eval.labels_rows import Labels, read_labels
from router.tiers import Ladder, parse_tiers

TIERS = ("small", "medium", "large")


def ladder(names: tuple[str, ...] = TIERS) -> Ladder:
    """A ladder whose tiers are answered by models m-0, m-1, ..."""
    tables = [
        {"name": name, "model": f"m-{k}", "input_usd_per_mtok": 1.0 + k, "output_usd_per_mtok": 2.0 + k}
        for k, name in enumerate(names)
    ]
    return parse_tiers({"tier": tables})


def history_of(rows: list[dict[str, Any]], folder: Path) -> History:
    """Rows as a history, read from a file as a command does."""
    path = folder / "history.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return read_history(path)


def labels_of(rows: list[dict[str, Any]], folder: Path, names: tuple[str, ...] = TIERS) -> Labels:
    """Rows as labels."""
    return read_labels(history_of(rows, folder), ladder(names))


def row(prompt: str, k: int, score: float | None, **columns: Any) -> dict[str, Any]:
    """A row of tier k."""
    return {
        "prompt_id": prompt,
        "prompt": f"Question {prompt}",
        "model": f"m-{k}",
        "score": score,
        "cost_usd": 0.001 * 10**k,
        **columns,
    }


def table(passes: dict[str, str], **columns: Any) -> list[dict[str, Any]]:
    """Rows of prompts, each with a letter per tier: 1 passed, 0 failed, - unobserved (no row)."""
    return [
        row(name, k, float(mark), **columns)
        for name, marks in passes.items()
        for k, mark in enumerate(marks)
        if mark != "-"
    ]


def plausible_rows(n: int = 600, seed: int = 0) -> list[dict[str, Any]]:
    """Prompts of three tasks, graded by rules and a noisy judge, a few calls failed, a reference wrong here and there."""
    rng = np.random.default_rng(seed)
    tasks = ("arithmetic", "extraction", "chat")
    rows = []
    for i in range(n):
        task = tasks[i % 3]
        hard = rng.normal()
        wrong_reference = task == "arithmetic" and rng.random() < 0.04
        wrong_format = rng.random() < 0.04
        taste = rng.random(5)
        for k in range(3):
            right = bool(hard + 0.6 * rng.normal() < 0.1 + 0.75 * k)
            response = f"The answer is {i}." if right else f"The answer is {i + 1 + int(rng.integers(3))}."
            shared = {
                "task": task,
                "group": f"user-{i // 2}",
                "response": response + " " * int(rng.integers(2)),
                "status": "answered",
                "input_tokens": 40 + i % 50,
                "output_tokens": 20,
            }
            if rng.random() < 0.015:
                status = ("timeout", "refused", "length")[int(rng.integers(3))]
                rows.append(row(f"q-{i:04d}", k, None, **shared | {"status": status, "response": None}))
                continue
            if task == "chat":
                verdict = right if rng.random() > 0.08 else not right
                score = 0.91 if verdict else 0.07
                form = float(len(response.strip()) < 19)
                grades = {"judge": {"score": score}, "length": {"score": form}}
                extra = {"label_error": 0.09 if verdict else 0.07, "grading_usd": 0.0004}
            else:
                score = float(right and not wrong_reference)
                grades = {"answer": {"score": score}, "format": {"score": float(not wrong_format)}}
                if rng.random() < 0.05:
                    grades["similar"] = {"score": None, "why": "no reference"}
                else:
                    grades["similar"] = {
                        "score": float(right if taste[len(response) % 5] > 0.1 else not right)
                    }
                extra = {"label_error": 0.0, "grading_usd": 0.0}
            rows.append(row(f"q-{i:04d}", k, score, **shared, grades=json.dumps(grades), **extra))
    return rows


def sampled_rows() -> list[dict[str, Any]]:
    """The same, where hard prompts were sampled more than others."""
    rows = plausible_rows(300, 1)
    weight = {each["prompt_id"]: 1.0 + 3.0 * (i % 3 == 0) for i, each in enumerate(rows[::3])}
    return [each | {"weight": weight.get(each["prompt_id"], 1.0)} for each in rows]


def censored_rows(n: int = 500, *, propensity: bool = True) -> list[dict[str, Any]]:
    """A log in which one tier served each prompt, by a known chance."""
    rng = np.random.default_rng(5)
    rows = []
    for i in range(n):
        hard = rng.random()
        chance = np.array([0.6 - 0.5 * hard, 0.25, 0.15 + 0.5 * hard])
        k = int(rng.choice(3, p=chance))
        extra = {"propensity": float(chance[k])} if propensity else {}
        rows.append(
            row(
                f"q-{i}",
                k,
                float(rng.random() < 0.95 - 0.5 * hard + 0.2 * k * hard),
                task=("sums", "chat")[i % 2],
                **extra,
            )
        )
    return rows


def tiny_rows() -> list[dict[str, Any]]:
    """Four prompts that somebody else graded."""
    return table({"a": "011", "b": "111", "c": "001", "d": "101"})


WORST = ("<script>alert(1)</script>", "שכבה ארוכה " * 12, "\u202eevil\ud800&\"'", "m" * 120)


def worst_rows() -> list[dict[str, Any]]:
    """Names that would break a page which trusted them, and long ones."""
    rng = np.random.default_rng(3)
    rows = []
    for i in range(160):
        for k in range(4):
            said = {name: {"score": float(rng.random() < 0.6)} for name in ("<b>json</b>", "g" * 90)}
            said["| [x](http://a) |"] = {"score": 0.0}
            task = ("<img src=x>", "t" * 58, "| `a` |", "none")[i % 4]
            rows.append(
                row(
                    f"p<{i}>" + "x" * 60,
                    k,
                    float(rng.random() < 0.3 + 0.15 * k),
                    task=task,
                    grades=json.dumps(said),
                    label_error=0.3,
                    status="answered",
                )
            )
    return rows


SAMPLES: dict[str, tuple[Callable[[], list[dict[str, Any]]], tuple[str, ...], str]] = {
    "plausible": (plausible_rows, TIERS, "look"),
    "sampled": (sampled_rows, TIERS, "look"),
    "censored": (censored_rows, TIERS, "censored"),
    "tiny": (tiny_rows, TIERS, "few"),
    "worst": (worst_rows, WORST, "look"),
}
"""Rows, tiers, and the word that a report of them has."""


def document(sample: str, folder: Path) -> dict[str, Any]:
    """The document of a sample, as the command makes it."""
    make, names, _ = SAMPLES[sample]
    title = "history.jsonl" if sample != "worst" else WORST[0]
    head = {
        "title": title,
        "created": "2026-03-02T00:00:00+00:00",
        "command": f"python -m eval labels --history {title}",
    }
    return head | describe_labels(labels_of(make(), folder, names))


def shuffled(rows: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """The same rows in another order."""
    return pd.Series(rows).sample(frac=1.0, random_state=seed).tolist()
