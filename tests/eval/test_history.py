"""A history reads the same from every format, and bad input is named by file, row and column."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eval.history import History, read_history
from router.errors import ConfigError

PROMPT = "Zanzibar parrots whisper, quietly"
ROWS: list[dict[str, Any]] = [
    {"prompt_id": "007", "prompt": "Name a prime.\nOnly one, please.", "model": "a", "score": 0.25, "cost_usd": 0.1,
     "input_tokens": 5, "timestamp": "2025-01-31T12:00:00+02:00", "split": "train", "note": "x"},
    {"prompt_id": "007", "prompt": "Name a prime.\nOnly one, please.", "model": "b", "score": None, "cost_usd": None,
     "input_tokens": None, "timestamp": None, "split": None, "note": "y"},
    {"prompt_id": "8", "prompt": "NA", "model": "a", "score": 1.0, "cost_usd": 0.0,
     "input_tokens": 1, "timestamp": None, "split": "test", "note": "null"},
]  # fmt: skip


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return path


def row(**changes: Any) -> dict[str, Any]:
    return {"prompt_id": "p", "prompt": PROMPT, "model": "m", "score": 1.0} | changes


def refusal(paths: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read_history(paths)
    message = str(caught.value)
    assert PROMPT not in message
    assert "Zanzibar" not in message
    return message


def read(tmp_path: Path, rows: list[dict[str, Any]], name: str = "h.jsonl") -> History:
    return read_history(write(tmp_path / name, rows))


@pytest.mark.parametrize("name", ["h.parquet", "h.csv"])
def test_formats_agree(tmp_path: Path, name: str) -> None:
    expected = read(tmp_path, ROWS)
    found = read(tmp_path, ROWS, name)
    pd.testing.assert_frame_equal(expected.rows, found.rows)
    pd.testing.assert_frame_equal(expected.prompts, found.prompts)


@pytest.mark.parametrize("name", ["h.parquet", "h.jsonl", "h.csv"])
def test_values_are_those_written(tmp_path: Path, name: str) -> None:
    history = read(tmp_path, ROWS, name)
    rows, prompts = history.rows, history.prompts
    assert ["007", "007", "8"] == rows["prompt_id"].tolist()
    assert [0.25, 1.0] == rows["score"].dropna().tolist()
    assert [False, True, False] == rows["score"].isna().tolist()
    assert rows["latency_ms"].isna().all()
    assert ["h"] * 3 == rows["source"].tolist()
    assert ["x", "y", "null"] == rows["note"].tolist()
    assert ["007", "8"] == prompts["prompt_id"].tolist()
    assert ["Name a prime.\nOnly one, please.", "NA"] == prompts["prompt"].tolist()
    assert ["train", "test"] == prompts["split"].tolist()
    assert [None, None] == prompts["task"].tolist()
    assert pd.Timestamp("2025-01-31T10:00:00Z") == prompts["timestamp"].iat[0]
    assert "datetime64[ns, UTC]" == str(prompts["timestamp"].dtype)
    assert "prompt:" + hashlib.sha256(b"NA").hexdigest()[:16] == prompts["group"].iat[1]


@pytest.mark.parametrize("name", ["h.jsonl", "h.csv"])
def test_gzip_and_byte_order_mark_are_read(tmp_path: Path, name: str) -> None:
    plain = write(tmp_path / name, ROWS)
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + plain.read_bytes()))
    pd.testing.assert_frame_equal(read_history(plain).rows, read_history(packed).rows)


def test_parquet_keeps_integer_ids_and_dictionary_nulls(tmp_path: Path) -> None:
    table = pa.table({
        "prompt_id": pa.array([7, 2**60 + 1]),
        "prompt": ["x", "y"],
        "model": pa.array(["m", "m"]).dictionary_encode(),
        "score": [0, 1],
        "task": pa.array(["t", None]).dictionary_encode(),
        "group": pa.array([2**60 + 1, None]),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "h.parquet")
    prompts = read_history(tmp_path / "h.parquet").prompts
    assert ["7", "1152921504606846977"] == prompts["prompt_id"].tolist()
    assert ["t", None] == prompts["task"].tolist()
    assert "1152921504606846977" == prompts["group"].iat[0]


@pytest.mark.parametrize(
    ("value", "score"), [(True, 1.0), ("false", 0.0), (0, 0.0), ("True", 1.0), (None, None)]
)
def test_passed_becomes_a_score(tmp_path: Path, value: object, score: float | None) -> None:
    changed = {key: item for key, item in row(passed=value).items() if key != "score"}
    found = read(tmp_path, [changed]).rows["score"].iat[0]
    assert pd.isna(found) if score is None else score == found


def test_score_wins_and_passed_fills_its_gaps(tmp_path: Path) -> None:
    rows = [row(score=0.4, passed=True), row(prompt_id="q", score=None, passed=True)]
    assert [0.4, 1.0] == read(tmp_path, rows).rows["score"].tolist()


def test_json_nan_is_unobserved(tmp_path: Path) -> None:
    assert read(tmp_path, [row(score=float("nan"))]).rows["score"].isna().all()


CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(("name", "value"), [("h.jsonl", CHAT), ("h.jsonl", json.dumps(CHAT)),
                                             ("h.csv", json.dumps(CHAT)), ("h.parquet", CHAT)])  # fmt: skip
def test_messages_win_over_the_prompt(tmp_path: Path, name: str, value: object) -> None:
    history = read(tmp_path, [row(messages=value)], name)
    assert CHAT == history.prompts["prompt"].iat[0]


def test_parquet_structs_lose_their_null_fields(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "Hi", "name": None}, {"role": "tool", "content": "4", "name": "sum"}]
    found = read(tmp_path, [row(messages=chat)], "h.parquet").prompts["prompt"].iat[0]
    assert [{"role": "user", "content": "Hi"}, {"role": "tool", "content": "4", "name": "sum"}] == found


def test_duplicates_share_a_group_also_as_a_lone_user_message(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": PROMPT}]
    rows = [
        row(),
        row(prompt_id="q"),
        row(prompt_id="r", prompt=None, messages=chat),
        row(prompt_id="s", prompt="x"),
    ]
    groups = read(tmp_path, rows).prompts["group"].tolist()
    assert 2 == len(set(groups))
    assert 1 == len(set(groups[:3]))


def test_group_is_taken_from_any_row_of_the_prompt(tmp_path: Path) -> None:
    rows = [
        row(group=None, task=None),
        row(model="n", group="g", task="t"),
        row(model="o", group="", task="u"),
    ]
    prompts = read(tmp_path, rows).prompts
    assert (["g"], ["t"]) == (prompts["group"].tolist(), prompts["task"].tolist())


def test_blank_prompts_and_lone_surrogates_are_read(tmp_path: Path) -> None:
    history = read(tmp_path, [row(prompt="  "), row(prompt_id="q\ud800", prompt="\ud800")])
    assert ["  ", "\ud800"] == history.prompts["prompt"].tolist()
    assert ["p", "q\ud800"] == history.rows["prompt_id"].tolist()


def test_several_files_are_one_history(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "one.csv", [row(rank="1")]),
        write(tmp_path / "two.v2.parquet", [row(model="n", rank=2), row(prompt_id="q", prompt="x", rank=3)]),
    ]
    history = read_history(paths)
    assert ["one", "two.v2", "two.v2"] == history.rows["source"].tolist()
    assert ["1", 2, 3] == history.rows["rank"].tolist()
    assert ["one", "two.v2"] == history.prompts["source"].tolist()


def test_column_that_one_file_lacks_is_missing_there(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.csv", [row()]), write(tmp_path / "b.csv", [row(model="n", note="x")])]
    assert [None, "x"] == read_history(paths).rows["note"].tolist()


# Bad input. Each case: the cell changed in the second row, and what the message has to say.


@pytest.mark.parametrize("name", ["h.parquet", "h.jsonl", "h.csv"])
@pytest.mark.parametrize(("column", "value", "found"), [
    ("score", 1.5, "found 1.5"), ("score", -0.1, "found -0.1"), ("score", float("inf"), "found inf"),
    ("cost_usd", -1.0, "found -1.0"), ("input_tokens", float("inf"), "found inf"), ("latency_ms", -5.0, "found -5.0"),
])  # fmt: skip
def test_number_out_of_range(tmp_path: Path, name: str, column: str, value: float, found: str) -> None:
    first = row() | {column: 1.0}
    path = write(tmp_path / name, [first, row(model="n") | {column: value}])
    place = "line 2" if name == "h.jsonl" else "row 2"
    message = refusal(path)
    assert message.startswith(f"history {path}, {place}, column {column}: expected a ")
    assert found.removesuffix(".0") in message.replace("'", "")  # a CSV cell is text


@pytest.mark.parametrize(("changes", "says"), [
    ({"score": "abc"}, "column score: expected a number from 0 to 1, or nothing, found 'abc'"),
    ({"score": "NA"}, "column score: expected a number from 0 to 1, or nothing, found 'NA'"),
    ({"score": True}, "column score: expected a number from 0 to 1, or nothing, found True"),
    ({"score": [1]}, "column score: expected a number from 0 to 1, or nothing, found a list"),
    ({"score": PROMPT}, f"found text of {len(PROMPT)} characters"),
    ({"cost_usd": "1_0"}, "column cost_usd: expected a finite number of 0 or more, or nothing, found '1_0'"),
    ({"passed": "maybe"}, "column passed: expected true, false or nothing, found 'maybe'"),
    ({"timestamp": "yesterday"}, "column timestamp: expected ISO 8601 such as 2025-01-31T12:00:00Z, or nothing, "
     "found 'yesterday'"),
    ({"timestamp": "now"}, "column timestamp"), ({"timestamp": 1700000000}, "found 1700000000"),
    ({"timestamp": "9999-01-01"}, "column timestamp"), ({"timestamp": "2025-13-01"}, "column timestamp"),
    ({"split": "validation"}, "column split: expected train, test or nothing, found 'validation'"),
    ({"prompt_id": None}, "column prompt_id: expected text, found nothing"),
    ({"prompt_id": 1.5}, "column prompt_id: expected text, found 1.5"),
    ({"prompt_id": True}, "column prompt_id: expected text, found True"),
    ({"model": " "}, "column model: expected text, found nothing"),
    ({"group": {"user": 1}}, "column group: expected text, found a dict"),
    ({"prompt": None}, "column prompt: expected text, found nothing; fill prompt or messages"),
    ({"prompt": 42}, "column prompt: expected text, found a int"),
    ({"messages": "Zanzibar"}, "column messages: expected a JSON list of chat messages, found text that is not JSON"),
    ({"messages": '"Zanzibar"'}, "column messages: expected a JSON list of chat messages, found no messages"),
    ({"messages": []}, "found no messages"), ({"messages": [{"content": PROMPT}]}, "found a message without a role"),
    ({"messages": [{"role": 5, "content": PROMPT}]}, "found a message without a role"),
    ({"messages": [PROMPT]}, "found the wrong type"), ({"messages": {"role": "user"}}, "found the wrong type"),
    ({"messages": [{"role": "user", "content": 5}]}, "found the wrong type"),
    ({"messages": [{"role": "user", "content": [PROMPT]}]}, "found the wrong type"),
])  # fmt: skip
def test_bad_cell(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    path = write(tmp_path / "h.jsonl", [row(prompt_id="first"), row() | changes])
    message = refusal(path)
    assert message.startswith(f"history {path}, line 2, column {next(iter(changes))}: ")
    assert says in message


@pytest.mark.parametrize(("missing", "says"), [
    ("prompt_id", "expected a column prompt_id, found the columns prompt, model, score;"),
    ("prompt", "expected a column prompt or messages, found the columns prompt_id, model, score;"),
    ("model", "expected a column model"), ("score", "expected a column score or passed"),
])  # fmt: skip
@pytest.mark.parametrize("name", ["h.parquet", "h.jsonl", "h.csv"])
def test_missing_column(tmp_path: Path, name: str, missing: str, says: str) -> None:
    path = write(tmp_path / name, [{key: value for key, value in row().items() if key != missing}])
    assert f"history {path}: {says}" in refusal(path)


def test_csv_without_header_shows_no_prompt(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    path.write_text(f'p,"{PROMPT}",m,1\nq,x,m,1\n', encoding="utf-8")
    assert f"found the columns p, text of {len(PROMPT)} characters, m, 1;" in refusal(path)


def test_duplicate_keys_name_both_places(tmp_path: Path) -> None:
    one = write(tmp_path / "one.csv", [row(prompt_id="q", prompt="x"), row()])
    two = write(tmp_path / "two.jsonl", [row(model="n"), row()])
    message = refusal([one, two])
    assert message.startswith(f"history {two}, line 2, columns prompt_id and model: ")
    assert f"found p with m already in {one}, row 2;" in message


@pytest.mark.parametrize(("column", "value"), [("prompt", "another"), ("group", "h"), ("split", "test")])
def test_rows_of_one_prompt_may_not_disagree(tmp_path: Path, column: str, value: str) -> None:
    path = write(
        tmp_path / "h.csv",
        [row(group="g", split="train"), row(model="n", group="g", split="train") | {column: value}],
    )
    message = refusal(path)
    assert message.startswith(f"history {path}, row 2, column {column}: expected one {column} per prompt_id")
    assert f"than in {path}, row 1;" in message


def test_no_file_and_unreadable_file(tmp_path: Path) -> None:
    assert "history: expected .parquet, .jsonl or .csv files, found none;" in refusal([])
    good, gone = write(tmp_path / "h.csv", [row()]), tmp_path / "no.csv"
    assert refusal([good, gone]).startswith(f"history {gone}: expected a file to read, found No such file")
