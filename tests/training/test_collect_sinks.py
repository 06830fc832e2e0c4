"""Rows to a file: three formats that read back the same, whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eval.table import is_missing, read_table
from router.errors import ConfigError, RouterError
from training.collect.sinks import FORMATS, Block, require_format, type_of, write_blocks

TEXT = 'quoted "text", with a comma,\r\na line end, a nul-free é and \u2028'
TYPES = {"prompt_id": pa.string(), "n": pa.int64(), "usd": pa.float64(), "flag": pa.bool_()}
BLOCKS: list[Block] = [
    {"prompt_id": ["a", TEXT], "n": [1, None], "usd": [0.1, None], "flag": [True, None]},
    {"prompt_id": ["c"], "n": [3], "usd": [1e-9], "flag": [False]},
]


@pytest.mark.parametrize("name", [f"h{suffix}" for suffix in FORMATS])
def test_what_is_written_is_read_back(tmp_path: Path, name: str) -> None:
    path = tmp_path / "new" / name
    write_blocks(path, TYPES, BLOCKS)
    table = read_table(path)
    assert ["a", TEXT, "c"] == table.cells("prompt_id")
    assert [1.0, None, 3.0] == [None if is_missing(cell) else float(cell) for cell in table.cells("n")]
    assert [0.1, None, 1e-9] == [None if is_missing(cell) else float(cell) for cell in table.cells("usd")]
    assert ["true", "", "false"] == [
        "" if is_missing(cell) else str(cell).lower() for cell in table.cells("flag")
    ]
    assert [name] == [each.name for each in path.parent.iterdir()]


@pytest.mark.parametrize("name", [f"h{suffix}" for suffix in FORMATS])
def test_no_rows_leave_the_columns(tmp_path: Path, name: str) -> None:
    write_blocks(tmp_path / name, TYPES, [])
    assert (tmp_path / name).exists()
    if name.endswith("csv"):
        assert b"prompt_id,n,usd,flag\r\n" == (tmp_path / name).read_bytes()


@pytest.mark.parametrize("suffix", FORMATS)
@given(cell=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
@example("a lone\rcarriage return")
def test_any_text_is_read_back(tmp_path_factory: pytest.TempPathFactory, suffix: str, cell: str) -> None:
    path = tmp_path_factory.mktemp("any") / f"h{suffix}"
    write_blocks(path, {"prompt_id": pa.string(), "n": pa.int64()}, [{"prompt_id": [cell], "n": [1]}])
    assert [cell] == read_table(path).cells("prompt_id")


def test_what_a_link_points_to_is_written(tmp_path: Path) -> None:
    kept = tmp_path / "elsewhere" / "kept.jsonl"
    kept.parent.mkdir()
    link = tmp_path / "latest.jsonl"
    link.symlink_to(kept)
    for _ in range(2):  # the file is not there at first
        write_blocks(link, TYPES, BLOCKS)
        assert (True, 3) == (link.is_symlink(), len(read_table(kept).places))


@pytest.mark.parametrize("name", [f"h{suffix}" for suffix in FORMATS])
def test_a_failure_leaves_what_was_there(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_blocks(path, TYPES, BLOCKS)
    before = path.read_bytes()

    def broken() -> Iterator[Block]:
        yield BLOCKS[0]
        raise OSError(28, os.strerror(28))

    with pytest.raises(
        RouterError, match=r"cannot be written \(No space left on device\); make room, then run the same"
    ):
        write_blocks(path, TYPES, broken())
    assert before == path.read_bytes()
    assert [name] == [each.name for each in tmp_path.iterdir()]


def test_a_folder_that_is_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(RouterError, match="cannot be written"):
        write_blocks(tmp_path / "f" / "h.csv", TYPES, BLOCKS)


@pytest.mark.parametrize("name", ["h", "h.txt", "h.jsonl.gz", "h.parquet.tmp"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"expected a name that ends in \.parquet, \.jsonl, \.csv, found"):
        require_format(Path(name))


def test_half_characters_are_replaced(tmp_path: Path) -> None:
    block: Block = {"prompt_id": ["broken \ud83d", "whole \ud83d\ude00"]}
    for suffix in FORMATS:
        path = tmp_path / f"h{suffix}"
        write_blocks(path, {"prompt_id": pa.string()}, [block])
        assert ["broken \ufffd", "whole \U0001f600"] == read_table(path).cells("prompt_id"), suffix


def test_nested_cells_stay_nested_in_jsonl_and_are_json_elsewhere(tmp_path: Path) -> None:
    cells = [{"a": [1, None]}, ["x", "é"], None]
    types = {"prompt_id": pa.string(), "tests": type_of(cells)}
    for suffix in FORMATS:
        path = tmp_path / f"h{suffix}"
        write_blocks(path, types, [{"prompt_id": ["a", "b", "c"], "tests": cells}])
        found = read_table(path).cells("tests")
        assert cells[:2] == (found[:2] if suffix == ".jsonl" else [json.loads(cell) for cell in found[:2]])
        assert is_missing(found[2])


def test_times_are_written_in_iso(tmp_path: Path) -> None:
    stamp = datetime(2026, 1, 5, 1, 2, 3, tzinfo=UTC)
    types = {"timestamp": type_of([stamp, None])}
    for suffix in (".jsonl", ".csv"):
        write_blocks(tmp_path / f"h{suffix}", types, [{"timestamp": [stamp]}])
        assert ["2026-01-05T01:02:03+00:00"] == read_table(tmp_path / f"h{suffix}").cells("timestamp")
    write_blocks(tmp_path / "h.parquet", types, [{"timestamp": [stamp, None]}])
    assert [stamp, None] == pq.read_table(tmp_path / "h.parquet")["timestamp"].to_pylist()


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([], pa.string()),
        ([None, None], pa.string()),
        ([1, None], pa.int64()),
        ([1, 2.5], pa.float64()),
        (["a", 1], pa.string()),
        ([True, 2], pa.string()),
        ([2**70], pa.string()),
        (["\ud83d"], pa.string()),
        ([[1], [2]], pa.string()),
        ([b"x"], pa.binary()),
    ],
)
def test_a_column_has_the_type_that_holds_it(tmp_path: Path, cells: list[Any], expected: pa.DataType) -> None:
    assert expected == type_of(cells)
    for suffix in FORMATS:
        write_blocks(tmp_path / f"h{suffix}", {"c": expected}, [{"c": cells}])
    assert len(cells) == pq.read_table(tmp_path / "h.parquet").num_rows


CELL = st.one_of(
    st.none(), st.text(max_size=4), st.integers(), st.booleans(), st.lists(st.integers(0, 9), max_size=2)
)


@given(cells=st.lists(CELL, min_size=1, max_size=6))
def test_any_cells_can_be_written(cells: list[Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("s")
    names = [f"{i}" for i in range(len(cells))]
    types = {"prompt_id": pa.string(), "c": type_of(cells)}
    for suffix in FORMATS:
        write_blocks(folder / f"h{suffix}", types, [{"prompt_id": names, "c": cells}])
        assert names == read_table(folder / f"h{suffix}").cells("prompt_id")
