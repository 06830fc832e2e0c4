"""Patterns of grader errors: seen where they are, silent where they are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_labels import labels_of, plausible_rows, row, table

from eval.labels_slices import cut
from eval.labels_suspects import find_suspects


def suspects(rows: list[dict[str, Any]], folder: Path) -> dict[tuple[str, str | None], dict[str, Any]]:
    labels = labels_of(rows, folder)
    return {(each["kind"], each["about"]): each for each in find_suspects(labels, cut(labels))}


def answers(
    scores: list[tuple[float, ...]], responses: list[tuple[str, ...]] | None = None, **grader: str
) -> list[dict[str, Any]]:
    """Rows of prompts with a score per tier, given by one grader."""
    name = grader.get("name", "g")
    return [
        row(
            f"p{i:03d}",
            k,
            score,
            response=responses[i][k] if responses else f"answer {i} {k}",
            grades=json.dumps({name: {"score": score}}),
        )
        for i, marks in enumerate(scores)
        for k, score in enumerate(marks)
    ]


def difficulty(n: int, seed: int = 0) -> list[tuple[float, ...]]:
    """Scores of tiers that differ in ability alone: hard prompts are failed by all."""
    hard = np.random.default_rng(seed).random(n)
    return [tuple(float(h < limit) for limit in (0.4, 0.7, 0.9)) for h in hard]


@pytest.mark.parametrize("seed", range(5))
def test_hard_prompts_alone_are_no_error_of_a_grader(seed: int, tmp_path: Path) -> None:
    assert {} == suspects(answers(difficulty(300, seed)), tmp_path)


def test_independent_failures_are_no_error_of_a_grader(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scores = [tuple((rng.random(3) < 0.8).astype(float)) for _ in range(300)]
    assert {} == suspects(answers(scores), tmp_path)


def test_a_format_that_all_tiers_fail_together(tmp_path: Path) -> None:
    scores = [(0.0, 0.0, 0.0) if i % 20 == 0 else (float(i % 30 > 0), 1.0, 1.0) for i in range(300)]
    found = suspects(answers(scores), tmp_path)["all tiers fail", "g"]
    assert (15, 300, 0.05) == (found["count"], found["of"], found["share"])
    assert 15 / 20 == found["together"]  # five more where the small tier alone fails
    assert found["expected"] < 1
    assert ["p000", "p020"] == found["prompt_ids"][:2]


def test_a_grader_that_another_one_disputes(tmp_path: Path) -> None:
    rows = answers(difficulty(300))
    wrong = {f"p{i:03d}" for i in range(0, 300, 25)}
    for each in rows:
        score = each["score"]
        said = 0.0 if each["prompt_id"] in wrong else score
        each["score"], each["grades"] = said, json.dumps({"g": {"score": said}, "other": {"score": score}})
    found = suspects(rows, tmp_path)
    assert {("all tiers fail", "g")} == found.keys()
    assert 8 <= found["all tiers fail", "g"]["disputed"] <= 12


def test_the_same_answer_that_fails_everywhere_points_at_the_reference(tmp_path: Path) -> None:
    scores = difficulty(300)
    responses = [
        (f" The answer is {i}.", f"the  answer is {i}", f"The answer is {i}")
        if i % 2
        else (f"a{i}", f"b{i}", f"c{i}")
        for i in range(300)
    ]
    found = suspects(answers(scores, responses), tmp_path)["same answer, failed everywhere", None]
    failed = [i for i, marks in enumerate(scores) if not any(marks)]
    assert (sum(i % 2 for i in failed), len(failed)) == (found["count"], found["of"])
    assert found["prompt_ids"] == sorted(f"p{i:03d}" for i in failed if i % 2)[:20]


def test_a_grader_that_contradicts_itself(tmp_path: Path) -> None:
    responses = [("same", "same", "other")] * 3 + [("Same", "same", "other")]
    found = suspects(
        answers([(1.0, 0.0, 1.0), (1.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 1.0)], responses), tmp_path
    )
    assert {("contradicts itself", "g")} == found.keys()
    assert (1, 3, ["p000"]) == tuple(
        found["contradicts itself", "g"][key] for key in ("count", "of", "prompt_ids")
    )


def test_a_person_who_overrules_a_judge_is_no_contradiction(tmp_path: Path) -> None:
    rows = answers([(0.9, 0.0, 0.1), (0.9, 0.1, 0.9)], [("same", "same", "other")] * 2)
    found = suspects(rows, tmp_path)["contradicts itself", "g"]
    assert (1, 1, ["p001"]) == tuple(found[key] for key in ("count", "of", "prompt_ids"))


@pytest.mark.parametrize(("score", "verb"), [(1.0, "passes"), (0.0, "fails")])
def test_a_grader_that_says_one_thing(score: float, verb: str, tmp_path: Path) -> None:
    found = suspects(answers([(score,) * 3] * 20), tmp_path)
    assert 60 == found[f"{verb} everything", "g"]["count"]
    assert ("all tiers fail", "g") not in found
    assert {} == {
        key: each
        for key, each in suspects(answers([(score,) * 3] * 19), tmp_path).items()
        if "everything" in key[0]
    }


def test_a_grader_that_cannot_judge(tmp_path: Path) -> None:
    rows = answers(difficulty(40))
    for each in rows[:6]:
        each |= {
            "score": None,
            "grades": json.dumps(
                {"g": {"score": None, "why": "off format" if each["model"] == "m-0" else "error"}}
            ),
        }
    rows += [
        row(f"x{i}", 0, None, grades=json.dumps({"g": {"score": None, "why": "no reference"}}))
        for i in range(50)
    ]
    found = suspects(rows, tmp_path)["gives no score", "g"]
    assert (6, 170, "labels") == (found["count"], found["of"], found["unit"])
    assert "error 4, off format 2" in found["text"]
    assert ["p000", "p001"] == found["prompt_ids"]


def test_a_slice_that_nothing_passes(tmp_path: Path) -> None:
    rows = answers(difficulty(60))
    rows += [
        row(f"z{i}", k, 0.0, response=f"{i} {k}", task="impossible") for i in range(30) for k in range(3)
    ]
    found = suspects(rows, tmp_path)["no tier ever passes", "task impossible"]
    assert (30, 1.0) == (found["count"], found["share"])
    assert "at most 12%" in found["text"]  # 1 - .025 ** (1 / 30)


def test_the_dearest_tier_that_fails_what_all_others_pass(tmp_path: Path) -> None:
    scores = [(1.0, 1.0, 0.0) if i % 15 == 0 else (float(i % 3 > 0), 1.0, 1.0) for i in range(150)]
    found = suspects(answers(scores), tmp_path)["only the dearest tier fails", None]
    assert (10, 10) == (found["count"], found["of"])


def test_labels_that_their_judge_doubts(tmp_path: Path) -> None:
    rows = [
        each | {"label_error": 0.3 if each["prompt_id"] == "b" else 0.1}
        for each in table({"a": "011", "b": "111"})
    ]
    found = suspects(rows, tmp_path)["labels in doubt", None]
    assert (3, 6, ["b"]) == (found["count"], found["of"], found["prompt_ids"])


def test_a_score_without_an_answer(tmp_path: Path) -> None:
    rows = [*table({"a": "011"}, status="answered"), row("b", 0, 0.0, status="timeout")]
    found = suspects(rows, tmp_path)["score without an answer", None]
    assert (1, 4, ["b"]) == (found["count"], found["of"], found["prompt_ids"])


def test_a_plausible_history_with_faults_shows_them(tmp_path: Path) -> None:
    found = suspects(plausible_rows(), tmp_path)
    assert {
        ("contradicts itself", "judge"),
        ("same answer, failed everywhere", None),
        ("all tiers fail", "format"),
        ("passes everything", "length"),
    } <= found.keys()
    assert all(len(each["prompt_ids"]) <= 20 and 0 < each["count"] <= each["of"] for each in found.values())
