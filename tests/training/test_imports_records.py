"""Reading: any of the usual forms of file, record by record; what is broken is counted, what would grow is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ConfigError
from training.imports import opening, records
from training.imports.records import read_records
from training.imports.tally import Tally

ROWS = [
    {"a": 1, "text": 'braces } ] { [ and "quotes" \\ é 日'},
    {"a": 2, "in": {"b": [1, {"c": "]"}]}},
    {"a": 3},
]
WORDS = "the secret words of a prompt"
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def read(path: Path) -> tuple[list[dict[str, Any]], Tally]:
    tally = Tally()
    return [record.value for record in read_records(path, tally)], tally


def lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


FORMS = {
    "lines.jsonl": lines(ROWS),
    "no-end.jsonl": lines(ROWS)[:-1],
    "windows.jsonl": b"\xef\xbb\xbf" + lines(ROWS).replace(b"\n", b"\r\n"),
    "gaps.jsonl": b"\n \n" + lines(ROWS).replace(b"\n", b"\n\n"),
    "list.json": json.dumps(ROWS).encode(),
    "pretty.json": json.dumps(ROWS, indent=2).encode(),
    "page.json": json.dumps({"data": ROWS, "meta": {"page": 1}}).encode(),
    "pretty-page.json": json.dumps({"data": ROWS, "meta": {"page": 1}}, indent=4).encode(),
    "lists.jsonl": json.dumps(ROWS[:2]).encode() + b"\n" + json.dumps(ROWS[2:]).encode() + b"\n",
    "no-extension": lines(ROWS),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", [name for name in FORMS if name != "lists.jsonl"])
def test_every_form_gives_the_same_records(name: str, packed: bool, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(FORMS[name]) if packed else FORMS[name])
    found, tally = read(path)
    assert found == ROWS
    assert ({}, []) == (tally.bad, tally.cut_off)


def test_a_single_document_is_one_record(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text(json.dumps(ROWS[1], indent=2), encoding="utf-8")
    assert read(path)[0] == [ROWS[1]]


def test_csv_leaves_empty_cells_out_and_takes_lines_within_them(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('a,b,c\n1,"two\nlines, and ""quotes""",\n2,x,y\n', encoding="utf-8")
    assert read(path)[0] == [{"a": "1", "b": 'two\nlines, and "quotes"'}, {"a": "2", "b": "x", "c": "y"}]


def test_parquet_leaves_nulls_out(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": [1, None], "b": [{"c": 1}, {"c": 2}]}), path)
    assert read(path)[0] == [{"a": 1, "b": {"c": 1}}, {"b": {"c": 2}}]
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ConfigError, match="expected Parquet, found a damaged file"):
        read(path)


@given(
    st.lists(st.dictionaries(st.text(max_size=4), values, max_size=3), max_size=6),
    st.integers(1, 40),
    st.data(),
)
def test_a_list_is_read_the_same_however_its_bytes_come(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], chunk: int, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("list") / "list.json"
    indent = data.draw(st.sampled_from([None, 1]))
    path.write_text("[" + ",".join(json.dumps(row, indent=indent) for row in rows) + "]", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "_CHUNK", chunk)
        found, tally = read(path)
    assert rows == found
    assert ({}, []) == (tally.bad, tally.cut_off)


@given(st.data())
def test_a_list_that_is_cut_gives_what_was_whole(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = json.dumps(ROWS).encode()
    cut = data.draw(st.integers(1, len(whole) - 1))
    path = tmp_path_factory.mktemp("cut") / "list.json"
    path.write_bytes(whole[:cut])
    found, tally = read(path)
    assert ROWS[: len(found)] == found
    assert tally.n_bad == 0
    assert len(tally.cut_off) <= 1


def test_what_is_broken_is_counted_by_reason_with_its_first_place(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    good = json.dumps(ROWS[0]).encode()
    broken = [
        b'{"a": "' + WORDS.encode() + b"}",
        b'{"a": "\xff\xfe"}',
        b'"' + WORDS.encode() + b'"',
        b"17",
        b"nonsense",
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a": 1}{"a": 2}',
        b'{"a": ' + b"9" * 5000 + b"}",
    ]
    path.write_bytes(b"\n".join([good, *broken, good]) + b"\n")
    found, tally = read(path)
    assert found == [ROWS[0], ROWS[0]]
    assert tally.n_bad == len(broken)
    assert {
        "broken JSON",
        "text that is not UTF-8",
        "JSON that is no object",
        "JSON nested too deeply",
    } == set(tally.bad)
    assert tally.bad["text that is not UTF-8"] == [1, f"{path}, line 3"]
    assert WORDS not in json.dumps(tally.to_dict())


def test_a_first_line_that_is_broken_does_not_hide_the_others(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"half": "of a li\n' + lines(ROWS))
    found, tally = read(path)
    assert found == ROWS
    assert tally.n_bad == 1


def test_a_last_line_that_is_half_written_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(lines(ROWS) + b'{"a": "half of it')
    found, tally = read(path)
    assert found == ROWS
    assert ({}, [f"{path}, line 4"]) == (tally.bad, tally.cut_off)


def test_a_packed_log_that_is_cut_gives_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl.gz"
    rows = [{"a": i, "b": str(i * 7919) * 3} for i in range(5000)]
    path.write_bytes(gzip.compress(lines(rows))[:-2000])
    found, tally = read(path)
    assert rows[: len(found)] == found
    assert 0 < len(found) < len(rows)
    assert len(tally.cut_off) == 1


def test_a_row_of_csv_with_cells_missing_is_counted_and_the_last_one_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"a,b\n1,2\n3\n4,5\n\xff\xfe,6\n7")
    found, tally = read(path)
    assert found == [{"a": "1", "b": "2"}, {"a": "4", "b": "5"}]
    assert {"a row with cells missing or too many", "text that is not UTF-8"} == set(tally.bad)
    assert tally.cut_off == [f"{path}, row 5"]


def test_a_line_that_is_too_long_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LONGEST", 200)
    monkeypatch.setattr(records, "_CHUNK", 64)
    path = tmp_path / "log.jsonl"
    path.write_bytes(lines([ROWS[2], {"a": "x" * 5000}, ROWS[2]]))
    found, tally = read(path)
    assert found == [ROWS[2], ROWS[2]]
    assert tally.n_bad == 1
    (tmp_path / "list.json").write_text(json.dumps([{"a": "x" * 5000}]), encoding="utf-8")
    with pytest.raises(ConfigError, match="found more"):
        read(tmp_path / "list.json")


def test_a_bomb_is_refused_before_it_has_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_FREE_BYTES", 2**20)
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 2_000_000))
    with pytest.raises(ConfigError, match="unpacks to more than"):
        read(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file"),
        (b" \n\n", "nothing that can be read"),
        (b"PK\x03\x04xxxx", "a zip archive"),
        (b"\x28\xb5\x2f\xfdxxxx", "a zstd file"),
        ('{"a": 1}\n'.encode("utf-16"), "UTF-16"),
        (b"\x1f\x8bxxxxxxxxxxxxxx", "a damaged file"),
        (b"just one line of prose\n", "none of these"),
    ],
)
def test_a_file_that_is_no_log_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_a_path_with_a_typing_error_names_the_file_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "spend_logs.csv").write_text("a,b\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"No such file.*did you mean .*spend_logs.csv"):
        read(tmp_path / "spend_log.csv")
    with pytest.raises(ConfigError, match="found a folder"):
        read(tmp_path)


@pytest.mark.parametrize("value", [{"custom_id": "1", "data": [1]}, {"messages": [], "data": [{}]}])
def test_a_record_that_has_a_list_of_its_own_stays_whole(value: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(lines([value]))
    assert read(path)[0] == [value]
