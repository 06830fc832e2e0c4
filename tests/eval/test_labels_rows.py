"""What grading wrote is read as it is meant, and what breaks it is refused with its row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sample_labels import TIERS, history_of, labels_of, ladder, row, table

from eval.history import read_history
from eval.labels_agreement import HUMAN
from eval.labels_human import with_human
from eval.labels_rows import read_labels
from router.errors import ConfigError


def graded(grades: Any, **columns: Any) -> list[dict[str, Any]]:
    """Four good rows, and a fifth with this in grades."""
    rows = table({"a": "011", "b": "1"})
    return [*rows, row("c", 2, 1.0, grades=grades, **columns)]


def test_grades_are_laid_out_by_grader(tmp_path: Path) -> None:
    said = json.dumps({"b": {"score": None, "why": "no reference"}, "a": {"score": 0.75}})
    labels = labels_of(graded(said), tmp_path)
    assert ["a", "b"] == list(labels.graders)
    assert 0.75 == labels.graders["a"].score[4]
    assert [False] * 4 + [True] == labels.graders["b"].asked.tolist()
    assert "no reference" == labels.graders["b"].why[4]
    assert np.isnan(labels.graders["b"].score[4])


def test_grades_may_be_objects_and_reasons_must_be_short(tmp_path: Path) -> None:
    long = "the answer said: my secret is 12345 and more of what nobody may see"
    labels = labels_of(graded({"a": {"score": None, "why": long}, "b": None}), tmp_path)
    assert "another reason" == labels.graders["a"].why[4]
    assert ["a"] == list(labels.graders)


def test_a_plain_history_has_labels_too(tmp_path: Path) -> None:
    labels = labels_of(table({"a": "011", "b": "1"}), tmp_path)
    assert {} == labels.graders
    assert 4 == labels.labelled.sum()
    assert np.isnan(labels.errors).all()
    assert [1.0, 1.0] == labels.weight.tolist()
    assert not labels.weighted


def test_the_label_of_a_tier_is_that_of_its_first_model(tmp_path: Path) -> None:
    rows = [row("a", 0, 0.0, label_error=0.2), row("a", 1, 1.0, label_error=0.1)]
    both = ladder().tiers[0]
    history = history_of(rows, tmp_path)
    one = type(both)("small", ("m-1", "m-0"), 1.0, 2.0)
    labels = read_labels(history, type(ladder())((one,)))
    assert [[1]] == labels.chosen.tolist()
    assert [[0.1]] == labels.errors.tolist()
    assert [0, 0] == labels.tier.tolist()


def test_a_tier_without_a_label_is_left_out(tmp_path: Path) -> None:
    labels = labels_of([*table({"a": "01", "b": "11"}), row("a", 2, None)], tmp_path)
    assert TIERS[:2] == labels.names
    assert TIERS == labels.ladder.names
    assert -1 == labels.tier[-1]


@pytest.mark.parametrize(
    "grades",
    ['{"a": ', "[1]", '"text"', '{"a": 1}', '{"a": {"score": 1.5}}', '{"a": {"score": true}}', '{"a": {"score": "x"}}', "a question of a user", 7],
)  # fmt: skip
def test_grades_that_are_none_are_refused_with_their_row(grades: Any, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"row 5 \(prompt_id c, model m-2\), column grades: expected JSON"
    ) as caught:
        labels_of(graded(grades), tmp_path)
    assert "question" not in str(caught.value)


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("label_error", 1.5, "a probability from 0 to 1"),
        ("label_error", "often", "a probability from 0 to 1"),
        ("label_error", True, "a probability from 0 to 1"),
        ("grading_usd", -1, "a number of USD"),
        ("grading_usd", float("inf"), "a number of USD"),
        ("status", "a long sentence about what came of this call, with words of it", "one word"),
        ("status", 3, "one word"),
    ],
)
def test_columns_of_grading_are_checked(column: str, value: Any, expected: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"row 5 .*column {column}: expected {expected}"):
        labels_of(graded(None, **{column: value}), tmp_path)


def test_numbers_of_a_csv_are_read(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    pd.DataFrame([each | {"label_error": 0.25, "grading_usd": None} for each in table({"a": "01"})]).to_csv(
        path, index=False
    )
    labels = read_labels(read_history(path), ladder())
    assert [[0.25, 0.25]] == labels.errors.tolist()
    assert np.isnan(labels.grading_usd).all()


def test_without_a_score_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"3 rows and none; grade them first: python -m training grade"):
        labels_of([each | {"score": None} for each in table({"a": "011"})], tmp_path)


def test_without_a_model_of_the_ladder_it_says_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected rows of the tiers' models .* but other"):
        labels_of([each | {"model": "other"} for each in table({"a": "1"})], tmp_path)


def human(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "human.jsonl"
    path.write_text("".join(f"{json.dumps(each)}\n" for each in rows), encoding="utf-8")
    return path


def test_human_grades_are_a_grader(tmp_path: Path) -> None:
    labels = labels_of(table({"a": "011", "b": "1"}), tmp_path)
    path = human(
        tmp_path,
        [
            {"prompt_id": "a", "model": "m-1", "passed": True},
            {"prompt_id": "z", "model": "m-1", "passed": True},
        ],
    )
    found = with_human(labels, path).graders[HUMAN]
    assert [False, True, False, False] == found.asked.tolist()
    assert 1.0 == found.score[1]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"prompt_id": "a", "passed": True}], "a column model"),
        ([{"prompt_id": "a", "model": "m-1"}], "a column passed or score"),
        (
            [{"prompt_id": "a", "model": "m-1", "score": 3}],
            "line 1, column score: expected a number from 0 to 1",
        ),
        (
            [{"prompt_id": "z", "model": "m-1", "score": 1}],
            "expected grades of answers in this history, found none among 1 rows",
        ),
        ([{"prompt_id": "a", "model": "m-1", "score": 1}] * 2, "line 2, .*: expected each answer once"),
    ],
)
def test_human_grades_that_fit_nothing_are_refused(
    rows: list[dict[str, Any]], said: str, tmp_path: Path
) -> None:
    labels = labels_of(table({"a": "011"}), tmp_path)
    with pytest.raises(ConfigError, match=said):
        with_human(labels, human(tmp_path, rows))
