"""Prompts to run: any format, a history as prompts, what is left out, and what is refused without a word of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ConfigError
from training.collect.prompts import Prompts, read_prompts

PHRASE = "the colour of the vault is green"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(*rows: dict[str, Any], name: str = "prompts.jsonl") -> Path:
        path = tmp_path / name
        if path.suffix == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        elif path.suffix == ".csv":
            pd.DataFrame(list(rows)).to_csv(path, index=False)
        else:
            pd.DataFrame(list(rows)).to_parquet(path, index=False)
        return path

    return write


def refusal(*paths: Path) -> str:
    with pytest.raises(ConfigError) as refused:
        read_prompts(paths)
    text = str(refused.value)
    assert PHRASE not in text
    return text


@pytest.mark.parametrize("name", ["p.jsonl", "p.csv", "p.parquet"])
def test_any_format_says_the_same(write: Write, name: str) -> None:
    rows = [{"prompt_id": f"q{i}", "prompt": f"question {i}", "task": "t", "size": i + 0.5} for i in range(3)]
    prompts = read_prompts([write(*rows, name=name)])
    assert ["q0", "q1", "q2"] == prompts.ids
    assert [{"role": "user", "content": "question 1"}] == prompts.messages(1)
    assert ["t"] * 3 == prompts.columns["task"]
    assert [0.5, 1.5, 2.5] == [float(cell) for cell in prompts.columns["size"]]
    assert (True, False, None, {}, 0) == (
        prompts.has_text, prompts.has_chat, prompts.weights, prompts.left_out, prompts.repeats,
    )  # fmt: skip


def test_numbers_serve_as_ids(write: Write) -> None:
    path = write(
        {"prompt_id": 7, "prompt": "a"}, {"prompt_id": 8.0, "prompt": "b"}, {"prompt_id": "08", "prompt": "c"}
    )
    assert ["7", "8", "08"] == read_prompts([path]).ids


def test_messages_go_before_text_and_lose_null_fields(write: Write) -> None:
    chat = [{"role": "system", "content": "be brief", "name": None}, {"role": "user", "content": "hi"}]
    as_text, nested = (
        read_prompts([write({"prompt_id": "a", "prompt": "shown", "messages": cell}, name=f"{n}.jsonl")])
        for n, cell in enumerate((json.dumps(chat), chat))
    )
    expected = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    assert expected == as_text.messages(0) == nested.messages(0)
    assert ["shown"] == as_text.texts
    assert expected == json.loads(as_text.chats[0] or "")


def test_nested_messages_of_parquet_are_those_of_jsonl(write: Write) -> None:
    rows = [
        {"prompt_id": "a", "messages": [{"role": "user", "content": "hi"}]},
        {
            "prompt_id": "b",
            "messages": [{"role": "system", "content": "x", "name": "n"}, {"role": "user", "content": "y"}],
        },
    ]
    found = [read_prompts([write(*rows, name=name)]) for name in ("p.jsonl", "p.parquet")]
    assert [prompts.messages(0) for prompts in found] == [rows[0]["messages"]] * 2
    assert [prompts.messages(1) for prompts in found] == [rows[1]["messages"]] * 2


def test_a_history_serves_and_leaves_its_outcomes(write: Write) -> None:
    path = write(
        {
            "prompt_id": "a",
            "prompt": "p",
            "model": "m1",
            "score": 1.0,
            "task": "t",
            "cost_usd": 0.1,
            "reference": "r",
        },
        {
            "prompt_id": "a",
            "prompt": "p",
            "model": "m2",
            "score": 0.0,
            "task": "u",
            "cost_usd": 0.2,
            "reference": "s",
        },
        {
            "prompt_id": "b",
            "prompt": "q",
            "model": "m1",
            "score": None,
            "task": "v",
            "cost_usd": 0.3,
            "reference": None,
        },
    )
    prompts = read_prompts([path])
    assert ["a", "b"] == prompts.ids
    assert {"task": ["t", "v"], "reference": ["r", None]} == prompts.columns


def test_several_files_are_one(write: Write) -> None:
    first = write({"prompt_id": "a", "prompt": "p", "task": "t"}, name="1.jsonl")
    second = write(
        {"prompt_id": "b", "messages": [{"role": "user", "content": "q"}], "level": 2, "weight": 3},
        name="2.jsonl",
    )
    prompts = read_prompts([first, second])
    assert {"task": ["t", None], "level": [None, 2]} == prompts.columns
    assert [1.0, 3.0] == prompts.weights
    assert (True, True) == (prompts.has_text, prompts.has_chat)


def test_what_cannot_be_asked_is_counted_and_left_out(write: Write) -> None:
    prompts = read_prompts(
        [
            write(
                {"prompt_id": "a", "prompt": "  \n "},
                {"prompt_id": "b", "prompt": None},
                {"prompt_id": "c", "messages": [{"role": "user", "content": ""}]},
                {"prompt_id": "d", "prompt": "half \ud83d"},
                {"prompt_id": "e", "messages": '[{"role": "user", "content": "\\ud83d"}]'},
                {"prompt_id": "f", "prompt": "whole \U0001f600", "task": "t"},
            )
        ]
    )
    assert (["f"], {"blank": 3, "not unicode": 2}, {"task": ["t"]}) == (
        prompts.ids,
        prompts.left_out,
        prompts.columns,
    )


def test_nothing_left_is_refused(write: Write) -> None:
    assert "found none (2 blank)" in refusal(
        write({"prompt_id": "a", "prompt": " "}, {"prompt_id": "b", "prompt": ""})
    )


def test_exact_repeats_are_counted(write: Write) -> None:
    path = write(*({"prompt_id": f"q{i}", "prompt": f"p{i % 3}"} for i in range(8)))
    assert (8, 5) == (len(read_prompts([path])), read_prompts([path]).repeats)


def test_times_and_whole_numbers_of_parquet_stay_what_they_are(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "prompt_id": ["a", "b"],
            "prompt": ["p", "q"],
            "timestamp": pd.to_datetime(["2026-01-05T01:02:03Z", None]),
            "level": pd.array([3, None], dtype="Int64"),
            "seen": pd.to_datetime(["2026-01-05", "2026-01-06"]),
        }
    )
    frame.to_parquet(tmp_path / "p.parquet", index=False)
    columns = read_prompts([tmp_path / "p.parquet"]).columns
    assert [datetime(2026, 1, 5, 1, 2, 3, tzinfo=UTC), None] == columns["timestamp"]
    assert ["3", "None"] == [str(cell) for cell in columns["level"]]
    assert datetime(2026, 1, 6, tzinfo=UTC) == columns["seen"][1]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": PHRASE}, "expected a column prompt_id, found the columns prompt; add it"),
        (
            {"prompt_id": "a", "text": PHRASE},
            "expected a column prompt or messages, found the columns prompt_id, text",
        ),
        ({"prompt_id": None, "prompt": PHRASE}, "line 1, column prompt_id: expected text, found nothing"),
        ({"prompt_id": True, "prompt": PHRASE}, "line 1, column prompt_id: expected text, found True"),
        ({"prompt_id": "\ud83d", "prompt": PHRASE}, "found half a character"),
        ({"prompt_id": "a", "prompt": [PHRASE]}, "line 1, column prompt: expected text, found a list"),
        (
            {"prompt_id": "a", "messages": PHRASE},
            "line 1, column messages: expected a JSON list of chat messages, found text",
        ),
        ({"prompt_id": "a", "messages": []}, "found no messages"),
        ({"prompt_id": "a", "messages": [{"content": PHRASE}]}, "found a message without a role"),
        ({"prompt_id": "a", "messages": [{"role": "user", "content": 5}]}, "found the wrong type"),
        (
            {"prompt_id": "a", "prompt": PHRASE, "weight": 0},
            "column weight: expected a number above 0, found 0",
        ),
        (
            {"prompt_id": "a", "prompt": PHRASE, "weight": "x"},
            "column weight: expected a number above 0, found 'x'",
        ),
    ],
)
def test_a_wrong_row_is_refused_by_file_row_and_column(write: Write, row: dict[str, Any], said: str) -> None:
    path = write(row)
    assert refusal(path).startswith(f"prompts {path}")
    assert said in refusal(path)


def test_one_id_for_two_prompts_is_refused(write: Write) -> None:
    path = write({"prompt_id": "a", "prompt": "one"}, {"prompt_id": "a", "prompt": PHRASE})
    assert (
        f"{path}, line 2, column prompt: expected one prompt per prompt_id, found another for a than in {path}, line 1"
        in refusal(path)
    )


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert f"prompts {tmp_path / 'promts.jsonl'}: expected a file to read" in refusal(
        tmp_path / "promts.jsonl"
    )


@given(
    rows=st.lists(
        st.tuples(st.text(max_size=3), st.one_of(st.none(), st.text(max_size=5))), min_size=1, max_size=8
    )
)
def test_every_prompt_is_asked_or_counted(
    rows: list[tuple[str, str | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("p") / "p.jsonl"
    named = [{"prompt_id": f"{i}", "prompt": text, "tag": tag} for i, (tag, text) in enumerate(rows)]
    path.write_text("".join(json.dumps(row) + "\n" for row in named), encoding="utf-8")
    prompts = Prompts(left_out={"all": len(rows)})
    with suppress(ConfigError):
        prompts = read_prompts([path])
    assert len(rows) == len(prompts) + sum(prompts.left_out.values())
    for i, name in enumerate(prompts.ids):
        assert rows[int(name)][1] == prompts.messages(i)[0]["content"]
        assert rows[int(name)][0] == prompts.columns["tag"][i]
