"""A file of any format becomes raw columns with a place for every row, or one error that names the place."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eval.table import read_table
from router.errors import ConfigError

PROMPT = "Zanzibar parrots whisper, quietly"
LINE = json.dumps({"prompt_id": "p", "prompt": PROMPT, "model": "m", "score": 1.0})


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_table(path)
    message = str(caught.value)
    assert "Zanzibar" not in message
    return message


@pytest.mark.parametrize(("name", "content", "places", "cells"), [
    ("h.csv", "a, b\n\n007,\nNA,x\n", ["row 1", "row 2"], {"a": ["007", "NA"], "b": ["", "x"]}),
    ("h.JSONL", '{"a": 7}\n\n{"b": [1]}\n', ["line 1", "line 3"], {"a": [7, None], "b": [None, [1]]}),
    ("h.ndjson", '{"a": null}', ["line 1"], {"a": [None]}),
])  # fmt: skip
def test_cells_are_raw_and_every_row_has_a_place(
    tmp_path: Path, name: str, content: str, places: list[str], cells: dict[str, list[Any]]
) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    table = read_table(path)
    assert [f"{path}, {place}" for place in places] == table.places
    assert cells == {column: table.cells(column) for column in table.columns}
    assert [None] * len(places) == table.cells("absent")


def test_parquet_keeps_what_is_named_as_text_or_time(tmp_path: Path) -> None:
    path = tmp_path / "h.parquet"
    noon = datetime(2025, 1, 31, 12, tzinfo=UTC)
    columns = {
        "id": [2**60 + 1, None],
        "rank": [1, 2],
        "at": pa.array([noon, None], pa.timestamp("ns", "UTC")),
    }
    pq.write_table(pa.table(columns), path)
    table = read_table(path, texts=["id"], times=["at"])
    assert ["1152921504606846977", None] == table.cells("id")
    assert [1, 2] == table.cells("rank")
    assert [noon.replace(tzinfo=None), None] == table.cells("at")
    assert [f"{path}, row 1", f"{path}, row 2"] == table.places


def test_line_separators_inside_json_do_not_cut_the_line(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text('{"prompt": "a\u2028b"}', encoding="utf-8")
    assert "a\u2028b" == read_table(path).cells("prompt")[0]


def test_long_csv_cells_are_read(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    path.write_text(f"prompt\n{'x' * 200_000}\n", encoding="utf-8")
    limit = csv.field_size_limit()
    assert 200_000 == len(read_table(path).cells("prompt")[0])
    assert limit == csv.field_size_limit()


@pytest.mark.parametrize(("name", "content", "says"), [
    ("h.csv", b"", "found an empty file (0 bytes)"), ("h.parquet", b"", "found an empty file (0 bytes)"),
    ("h.jsonl", b"\n \n", "expected rows, found none"), ("h.csv", b"prompt_id,prompt,model,score\n", "found none"),
    ("h.csv.gz", gzip.compress(b"", mtime=0), "found an empty file (0 bytes)"),
    ("h.jsonl.gz", b"plain", "found a damaged gzip file"), ("h.jsonl.gz", gzip.compress(b"{}" * 99, mtime=0)[:-9], "found a dam"),
    ("h.parquet", b"PAR1 no", "expected Parquet, found 7 bytes, cut off or damaged"),
    ("h.xlsx", b"x", "expected .parquet, .jsonl, .ndjson or .csv, found .xlsx;"), ("h", b"x", "found no extension"),
    ("h.parquet.gz", b"x", "found .parquet.gz"),
])  # fmt: skip
def test_bad_file(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    message = refusal(path)
    assert message.startswith(f"history {path}: ")
    assert says in message


def test_missing_file_and_directory(tmp_path: Path) -> None:
    gone, folder = tmp_path / "no.csv", tmp_path / "d.csv"
    assert f"history {gone}: expected a file to read, found No such file" in refusal(gone)
    folder.mkdir()
    assert f"history {folder}: expected a file, found a directory" in refusal(folder)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_truncated_parquet(tmp_path: Path, share: float) -> None:
    path = tmp_path / "h.parquet"
    pq.write_table(pa.table({"prompt_id": [str(i) for i in range(500)], "prompt": [PROMPT] * 500}), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert f"history {path}: expected Parquet, found " in refusal(path)


def test_half_written_last_line(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text(f"{LINE}\n{LINE}\n"[:-20], encoding="utf-8")
    message = refusal(path)
    assert f"history {path}, line 2: expected one JSON object per line, found broken JSON" in message
    assert "the last line is half-written" in message


@pytest.mark.parametrize(
    ("line", "found"), [("[1]", "found a list"), ('"Zanzibar"', "found a str"), ("{,}", "broken JSON")]
)
def test_line_that_is_no_object(tmp_path: Path, line: str, found: str) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text(f"{LINE}\n\n{line}\n{LINE}\n", encoding="utf-8")
    message = refusal(path)
    assert message.startswith(f"history {path}, line 3: ")
    assert found in message


@pytest.mark.parametrize("name", ["h.csv", "h.jsonl"])
def test_wrong_encoding_names_line_and_byte(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"good line\nZanzibar caf\xe9 \n")
    assert f"history {path}, line 2, byte 13: expected UTF-8, found byte 0xe9;" in refusal(path)


@pytest.mark.parametrize(("tail", "says"), [
    ("q,a,b,m,1", "row 2: expected 4 cells, found 5"), ("q,Zanz", "row 2: expected 4 cells, found 2"),
    ('q,"Zanz', "row 2: expected CSV, found broken quoting"),
])  # fmt: skip
def test_broken_csv(tmp_path: Path, tail: str, says: str) -> None:
    path = tmp_path / "h.csv"
    path.write_text(f"prompt_id,prompt,model,score\np,x,m,1\n{tail}", encoding="utf-8")
    assert f"history {path}, {says}" in refusal(path)


@pytest.mark.parametrize("make", [
    lambda path: path.write_text("prompt_id,prompt,model,score,score\np,x,m,1,1\n", encoding="utf-8"),
    lambda path: pq.write_table(pa.Table.from_arrays([pa.array(["x"])] * 2, names=["score"] * 2), path),
], ids=["h.csv", "h.parquet"])  # fmt: skip
def test_column_that_stands_twice(
    tmp_path: Path, make: Callable[[Path], None], request: pytest.FixtureRequest
) -> None:
    path = tmp_path / request.node.callspec.id
    make(path)
    assert f"history {path}: expected each column once, found 'score' twice" in refusal(path)
