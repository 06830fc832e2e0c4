"""A design is the history as rows: the texts that decisions read, tokens as they are counted, rows as they are taken."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import sparse

from eval.design import Design, count_tokens, describe
from eval.history import read_history
from eval.outcomes import UNKNOWN, Outcomes, tabulate
from router.embedding import StaticEmbedding
from router.extractor import Extractor
from router.features import FEATURE_NAMES
from router.prompt import read_prompt
from router.tiers import Ladder, Tier

LADDER = Ladder((Tier("small", ("s",), 1.0, 2.0), Tier("large", ("l",), 10.0, 20.0)))

ROWS: list[dict[str, Any]] = [
    {"prompt_id": "a", "prompt": "hello the sum", "s": 1.0, "l": 1.0, "task": "sum", "group": "g1"},
    {"prompt_id": "b", "prompt": "", "s": 0.0, "l": 0.0, "task": None, "group": "g1"},
    {"prompt_id": "c", "prompt": "the the the", "s": None, "l": 1.0, "task": "list", "group": "g2"},
    {
        "prompt_id": "d",
        "prompt": [{"role": "system", "content": "code"}, {"role": "user", "content": "list please"}],
        "s": 0.0,
        "l": 1.0,
        "task": "list",
        "group": "g3",
    },
]


def outcomes_of(folder: Path, rows: list[dict[str, Any]]) -> Outcomes:
    lines = []
    for row in rows:
        for model in ("s", "l"):
            if row[model] is not None:
                key = "prompt" if isinstance(row["prompt"], str) else "messages"
                named = {name: row[name] for name in row if name not in ("s", "l", "prompt")}
                lines.append({**named, key: row["prompt"], "model": model, "score": row[model]})
    path = folder / "history.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return tabulate(read_history(path), LADDER)


@pytest.fixture(scope="module")
def extractor(toy_embedding: Path) -> Extractor:
    return Extractor(StaticEmbedding.load(toy_embedding))


@pytest.fixture
def outcomes(tmp_path: Path) -> Outcomes:
    return outcomes_of(tmp_path, ROWS)


def design_of(outcomes: Outcomes, extractor: Extractor) -> Design:
    return describe(outcomes, extractor.extract_many(outcomes.prompts), extractor)


# From outcomes to rows


def test_every_column_is_that_of_the_history(outcomes: Outcomes, extractor: Extractor) -> None:
    design = design_of(outcomes, extractor)
    n = len(outcomes)
    assert (n, 2) == (len(design), design.n_tiers)
    np.testing.assert_array_equal(extractor.extract_many(outcomes.prompts), design.X)
    assert (8, 8 + len(FEATURE_NAMES)) == (design.dimension, design.X.shape[1])
    np.testing.assert_array_equal(outcomes.passed, design.passed)
    np.testing.assert_array_equal(outcomes.label(), design.label)
    assert design.cost_usd is not None
    np.testing.assert_array_equal(outcomes.cost_usd, design.cost_usd)
    assert outcomes.groups.tolist() == (design.groups.tolist() if design.groups is not None else None)
    assert design.answer_usd is not None
    assert (design.answer_usd > 0).all()
    assert not np.any(design.answer_seen)  # nothing of an answer was logged: these are estimates
    assert design.tasks is not None
    by_id = dict(zip(outcomes.prompt_ids, design.tasks, strict=True))
    assert {row["prompt_id"]: row["task"] for row in ROWS if row["prompt_id"] in by_id} == by_id
    assert UNKNOWN in design.label


def test_texts_and_tokens_are_what_a_decision_reads(outcomes: Outcomes, extractor: Extractor) -> None:
    design = design_of(outcomes, extractor)
    assert design.tokens is not None
    assert (len(design), extractor.embedding.n_ids) == design.tokens.shape
    for prompt, text, counts in zip(outcomes.prompts, design.texts, design.tokens.toarray(), strict=True):
        assert read_prompt(prompt).text == text
        ids = extractor.embedding.token_ids(text)
        np.testing.assert_array_equal(np.bincount(ids, minlength=extractor.embedding.n_ids), counts)
    assert design.tokens.max() == 3  # the the the


def test_long_prompts_are_read_at_both_ends_alone(tmp_path: Path, extractor: Extractor) -> None:
    prompt = "sum " + "the " * 20_000 + "list"
    outcomes = outcomes_of(tmp_path, [{**ROWS[0], "prompt": prompt}, *ROWS[2:]])
    design = design_of(outcomes, extractor)
    (row,) = np.flatnonzero(outcomes.prompt_ids == "a")
    assert design.tokens is not None
    assert len(design.texts[row]) < len(prompt) / 4
    assert design.tokens[[row]].sum() < 20_000 / 4
    assert (design.texts[row].startswith("sum"), design.texts[row].endswith("list")) == (True, True)


def test_equal_texts_are_still_one_dimension(tmp_path: Path, extractor: Extractor) -> None:
    rows = [{**ROWS[0], "prompt_id": f"p{i}", "group": f"g{i}"} for i in range(3)]
    design = design_of(outcomes_of(tmp_path, rows), extractor)
    assert ((3,), object) == (design.texts.shape, design.texts.dtype)
    assert ["hello the sum"] * 3 == design.texts.tolist()


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"task": ["a", None], "feature": ["x", "y"]}, ["a", None]),
        ({"task": [None, None], "feature": ["x", None]}, ["x", None]),
        ({"feature": ["x", "y"]}, ["x", "y"]),
        ({"task": [None, None], "feature": [None, None]}, None),
        ({"source": ["x", "y"]}, None),
        ({}, None),
    ],
)
def test_tasks_are_the_task_tags_or_else_the_features(
    tags: dict[str, list[str | None]], expected: list[str | None] | None, tmp_path: Path, extractor: Extractor
) -> None:
    two = outcomes_of(tmp_path, ROWS).take(np.arange(2))
    design = design_of(
        replace(two, tags={name: np.array(values, object) for name, values in tags.items()}), extractor
    )
    assert expected == (None if design.tasks is None else design.tasks.tolist())


# What answers cost: per character of the prompt and per token of an answer, small costs 0.25 and 2
# millionths of a USD, large 2.5 and 20.


def answers_of(
    folder: Path, extractor: Extractor, *rows: dict[str, Any], ladder: Ladder = LADDER
) -> tuple[Any, Any]:
    """Lay out rows of a prompt of 8 characters, 2 tokens; return what their answers cost, and where that was seen."""
    path = folder / "history.jsonl"
    lines = [json.dumps({"prompt": f"sum {row['prompt_id']:>4}", "score": 1.0} | row) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    outcomes = tabulate(read_history(path), ladder)
    design = design_of(outcomes, extractor)
    assert design.answer_usd is not None
    assert design.answer_seen is not None
    assert (len(outcomes), 2) == design.answer_usd.shape == design.answer_seen.shape
    assert (np.float64, bool) == (design.answer_usd.dtype, design.answer_seen.dtype)
    return design.answer_usd, design.answer_seen.tolist()


def test_answers_by_hand_are_what_is_beyond_the_prompt(tmp_path: Path, extractor: Extractor) -> None:
    found, seen = answers_of(
        tmp_path,
        extractor,
        {"prompt_id": "a", "model": "s", "input_tokens": 2, "output_tokens": 30},
        {"prompt_id": "b", "model": "s", "input_tokens": 2, "output_tokens": 10},
        # 6 input tokens more than the characters say: what they cost counts as the answer's.
        {"prompt_id": "c", "model": "s", "input_tokens": 8, "output_tokens": 20},
        {"prompt_id": "a", "model": "l", "cost_usd": 2 * 10e-6 + 50 * 20e-6, "output_tokens": 50},
        {"prompt_id": "b", "model": "l", "cost_usd": 2 * 10e-6 + 75 * 20e-6},  # the tokens are not needed
        {"prompt_id": "c", "model": "l", "cost_usd": 1 * 10e-6},  # less than the prompt alone
    )
    np.testing.assert_allclose([[60e-6, 1e-3], [20e-6, 1.5e-3], [46e-6, 0.0]], found, rtol=1e-9)
    assert [[True, True]] * 3 == seen


def test_an_answer_of_which_nothing_was_logged_is_an_estimate(tmp_path: Path, extractor: Extractor) -> None:
    found, seen = answers_of(
        tmp_path,
        extractor,
        {"prompt_id": "a", "model": "s", "input_tokens": 2, "output_tokens": 30},
        {"prompt_id": "b", "model": "s", "output_tokens": 10},  # its prompt alone is estimated
        {"prompt_id": "c", "model": "s", "input_tokens": 2},
        {"prompt_id": "d", "model": "s"},
        {"prompt_id": "a", "model": "l", "cost_usd": 2 * 10e-6 + 70 * 20e-6},
        {"prompt_id": "b", "model": "l", "score": None, "cost_usd": 0.1},  # not graded
    )
    assert [[True, True], [True, False], [False, False], [False, False]] == seen
    # The estimates are of 20 tokens, as many as small wrote in the mean; large logged none.
    by_hand = [[60e-6, 1.4e-3], [20e-6, 0.4e-3], [40e-6, 0.4e-3], [40e-6, 0.4e-3]]
    np.testing.assert_allclose(by_hand, found, rtol=1e-9)


@pytest.mark.parametrize("said", [True, False])
def test_where_nobody_says_what_was_seen_it_is_what_was_not_estimated(
    said: bool, outcomes: Outcomes, extractor: Extractor
) -> None:
    estimated = np.zeros_like(outcomes.cost_estimated)
    estimated[0, 0] = True
    # What was seen is no matter of whether the cost was estimated: from the text of the answer, it was.
    seen = np.ones_like(estimated) if said else None
    design = design_of(replace(outcomes, answer_seen=seen, cost_estimated=estimated), extractor)
    expected = ~np.isnan(outcomes.passed) & (said | ~estimated)
    assert expected[0, 0] == said
    np.testing.assert_array_equal(expected, design.answer_seen)


def test_a_free_answer_costs_nothing_or_what_was_logged(tmp_path: Path, extractor: Extractor) -> None:
    free = Ladder((Tier("small", ("s",), 1.0, 0.0), LADDER.tiers[1]))
    rows = [
        {"prompt_id": name, "model": model, "input_tokens": 2, "output_tokens": 10}
        for name in "ab"
        for model in "sl"
    ]
    found, seen = answers_of(tmp_path, extractor, *rows, ladder=free)
    np.testing.assert_allclose([[0.0, 200e-6]] * 2, found, rtol=1e-9, atol=1e-18)
    assert [[True, True]] * 2 == seen
    found, seen = answers_of(tmp_path, extractor, {**rows[0], "cost_usd": 0.5}, *rows[1:], ladder=free)
    np.testing.assert_allclose([[0.5 - 2e-6, 200e-6], [0.0, 200e-6]], found, rtol=1e-9, atol=1e-18)
    assert [[True, True]] * 2 == seen


@given(st.floats(0, 1), st.integers(0, 2000))
def test_no_answer_is_negative(extractor: Extractor, cost: float, n_chars: int) -> None:
    ids = np.array(["a"], dtype=object)
    one = np.ones((1, 2), np.float32)
    outcomes = Outcomes(
        LADDER, ids, ["x" * n_chars], ids, one, one, np.full((1, 2), cost), one == 0, {}, None, (9.0, 0.5), {}
    )
    design = design_of(outcomes, extractor)
    assert design.answer_usd is not None
    assert (design.answer_usd >= 0).all()
    assert (design.answer_usd <= cost).all()
    assert np.all(np.asarray(design.answer_seen))  # also of an answer that cost nothing


# Some of the rows


@pytest.mark.parametrize(
    "rows",
    [np.array([2, 0]), np.array([True, False, True, True]), np.array([], np.intp), np.array([1, 1, 1])],
    ids=["order", "mask", "none", "again"],
)
def test_take_takes_the_same_rows_of_every_column(rows: Any, tmp_path: Path, extractor: Extractor) -> None:
    base = outcomes_of(tmp_path, [{**row, "prompt": row["prompt"] or "a"} for row in ROWS])
    rng = np.random.default_rng(0)
    answer, seen = rng.random(base.passed.shape), rng.random(base.passed.shape) < 0.5
    weight = rng.random(base.passed.shape)
    design = replace(design_of(base, extractor), answer_usd=answer, answer_seen=seen, weight=weight)
    part = design.take(rows)
    index = np.arange(len(design))[rows]
    assert (len(index), design.dimension, 2) == (len(part), part.dimension, part.n_tiers)
    for field in fields(Design):
        whole, taken = getattr(design, field.name), getattr(part, field.name)
        if field.name == "tokens":
            assert isinstance(taken, sparse.csr_array)
            np.testing.assert_array_equal(whole.toarray()[index], taken.toarray())
        elif field.name != "dimension":
            assert whole.dtype == taken.dtype
            np.testing.assert_array_equal(whole[index], taken)


def test_what_is_missing_stays_missing(outcomes: Outcomes, extractor: Extractor) -> None:
    names = ("tokens", "tasks", "groups", "cost_usd", "answer_usd", "answer_seen", "weight")
    bare = replace(design_of(outcomes, extractor), **dict.fromkeys(names))
    for part in (bare.take(np.array([0])), bare.blind()):
        assert [None] * 7 == [getattr(part, name) for name in names]


def test_blind_hides_all_that_happened_and_keeps_the_rest(outcomes: Outcomes, extractor: Extractor) -> None:
    design = design_of(outcomes, extractor)
    before = {field.name: getattr(design, field.name) for field in fields(Design)}
    passed, label = design.passed.copy(), design.label.copy()
    blind = design.blind()
    assert np.isnan(blind.passed).all()
    assert (blind.label == UNKNOWN).all()
    for name in ("passed", "label"):
        shown, hidden = before[name], getattr(blind, name)
        assert (shown.shape, shown.dtype) == (hidden.shape, hidden.dtype)
        assert not np.shares_memory(shown, hidden)
    assert (None,) * 4 == (blind.cost_usd, blind.answer_usd, blind.answer_seen, blind.weight)
    # By name, so that a new column has to be put on one side or the other.
    kept = {"X", "dimension", "texts", "tokens", "tasks", "groups"}
    assert {*kept, "passed", "label", "cost_usd", "answer_usd", "answer_seen", "weight"} == set(before)
    assert all(before[name] is getattr(blind, name) for name in kept)
    assert (len(design), design.n_tiers) == (len(blind), blind.n_tiers)
    # And the design itself is none the poorer.
    assert all(before[name] is getattr(design, name) for name in before)
    np.testing.assert_array_equal(passed, design.passed)
    np.testing.assert_array_equal(label, design.label)


# Counting


def test_counts_by_hand() -> None:
    counts = count_tokens([[2, 0, 2], [], [3]], 5)
    assert [[1, 0, 2, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 1, 0]] == counts.toarray().tolist()
    assert 3 == counts.nnz
    assert (np.float64, np.int32, np.int32) == (counts.dtype, counts.indices.dtype, counts.indptr.dtype)


@given(ids=st.lists(st.lists(st.integers(0, 6), max_size=30), max_size=8))
@example(ids=[])
@example(ids=[[]])
def test_counts_are_those_of_each_prompt(ids: list[list[int]]) -> None:
    counts = count_tokens(ids, 7)
    assert (len(ids), 7) == counts.shape
    for row, found in zip(ids, counts.toarray(), strict=True):
        assert [row.count(i) for i in range(7)] == found.tolist()
    assert counts.has_canonical_format
    assert (counts.data > 0).all()


def test_an_id_beyond_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="index"):
        count_tokens([[0, 5]], 5)
