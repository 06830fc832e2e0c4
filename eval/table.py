"""A table: a file of any format becomes raw columns, with a place for every row.

The rule: all reading of eval is here, and nothing is written. A file that cannot be read stops with one
`ConfigError` that names file, row, column, what was found and what to do. What was found is quoted only where
it is one short word: any cell may hold a prompt, and no error ever shows one.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from router.errors import ConfigError

__all__ = ["Table", "bad", "is_missing", "objects", "read_table", "shown"]

_WORD = re.compile(r"[\w.+/:%-]{1,24}")


@dataclass(frozen=True, eq=False)
class Table:
    """The raw columns of one file, and the place of each of its rows, as errors name it."""

    path: Path
    places: list[str]
    columns: dict[str, NDArray[Any]]

    def names(self) -> str:
        """Return the names of the columns; one that is not a short word may be a prompt."""
        return ", ".join(name if _WORD.fullmatch(name) else shown(name) for name in self.columns)

    def cells(self, column: str) -> list[Any]:
        """Return the cells of a column, all missing where the file lacks it."""
        return self.columns[column].tolist() if column in self.columns else [None] * len(self.places)


def read_table(path: Path, *, texts: Collection[str] = (), times: Collection[str] = ()) -> Table:
    """Read one file into raw columns, not checked yet.

    Parameters
    ----------
    path : Path
        A .parquet, .jsonl, .ndjson or .csv file; the text formats also with .gz appended.
    texts, times : names of columns
        What Parquet's own types would lose: integers are read as text in `texts`, and any time as UTC to the
        microsecond in `times`.

    Raises
    ------
    ConfigError
        The file cannot be read; the message says where.
    """
    name = path.name.lower()
    packed = name.endswith(".gz")
    kind = Path(name.removesuffix(".gz")).suffix
    if kind not in (".parquet", *_READERS) or (packed and kind == ".parquet"):
        known, found = ".parquet, .jsonl, .ndjson or .csv", "".join(path.suffixes[-2:]) or "no extension"
        raise bad(path, known, found, "convert or rename the file (all but Parquet may also be .gz)")
    if path.is_dir():
        raise bad(path, "a file", "a directory", "name the files in it")
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if packed and data else data
    except (OSError, EOFError, zlib.error) as error:
        found = getattr(error, "strerror", None) or "a damaged gzip file"
        raise bad(path, "a file to read", found, "check the path, or write the file again") from None
    if not data:
        raise bad(path, "rows", "an empty file (0 bytes)", "check what wrote it")
    table = _READERS[kind](path, data) if kind in _READERS else _read_parquet(path, data, texts, times)
    if not table.places:
        raise bad(path, "rows", "none", "check what wrote the file")
    return table


def bad(where: str | Path, expected: str, found: str, todo: str, what: str = "history") -> ConfigError:
    """Return the error that says where, what was expected and found, and what to do; `what` is what the file holds."""
    return ConfigError(f"{what} {where}: expected {expected}, found {found}; {todo}")


def is_missing(value: object) -> bool:
    """Tell whether a cell holds nothing: none, NaN or blank text."""
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def shown(value: object) -> str:
    """Describe a value; quote it only if it is a number or one short word."""
    if is_missing(value):
        return "nothing"
    if isinstance(value, str):
        return repr(value) if _WORD.fullmatch(value.strip()) else f"text of {len(value)} characters"
    return f"{value!s:.24}" if isinstance(value, int | float) else f"a {type(value).__name__}"


def objects(values: Sequence[Any]) -> NDArray[np.object_]:
    """Return a column of cells as they are."""
    return np.fromiter(values, dtype=np.object_, count=len(values))  # np.array would unpack lists into axes


def _read_parquet(path: Path, data: bytes, texts: Collection[str], times: Collection[str]) -> Table:
    try:
        # Not pq.read_table: it takes a folder named key=value for a partition and invents a column.
        table = pq.ParquetFile(io.BytesIO(data)).read()
        _reject_twins(path, table.column_names)
        n, columns = table.num_rows, {}
        for name in table.column_names:  # one at a time: Arrow's copy goes as ours comes
            columns[name] = _from_arrow(table[name], text=name in texts, time=name in times)
            table = table.drop_columns(name)
        pa.default_memory_pool().release_unused()  # or it keeps the peak, 400 MB for 100,000 prompts
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        raise bad(path, "Parquet", f"{len(data)} bytes, cut off or damaged", "write it again") from None
    return Table(path, [f"{path}, row {i}" for i in range(1, n + 1)], columns)


def _from_arrow(column: pa.ChunkedArray, *, text: bool, time: bool) -> NDArray[Any]:
    if pa.types.is_dictionary(column.type):  # its to_numpy reads nulls as values (pyarrow 26)
        column = column.cast(column.type.value_type)
    if text and pa.types.is_integer(column.type):
        column = column.cast(pa.string())  # one null would make floats of all, and other ids of big ones
    if time and pa.types.is_temporal(column.type):
        column = column.cast(pa.timestamp("us"), safe=False)  # UTC, in the unit that datetime counts in
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        same: dict[Any, Any] = {}  # a prompt repeats for each model: keep one string for all
        parts = (column.slice(start, 4096).to_numpy() for start in range(0, len(column), 4096))
        return objects([same.setdefault(cell, cell) for part in parts for cell in part])
    return objects(column.to_pylist()) if pa.types.is_nested(column.type) else np.asarray(column.to_numpy())


def _decode(path: Path, data: bytes) -> str:
    data = data.removeprefix(b"\xef\xbb\xbf")  # a byte order mark is no content
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = error.start - data.rfind(b"\n", 0, error.start)
        where = f"{path}, line {line}, byte {byte}"
        raise bad(where, "UTF-8", f"byte 0x{data[error.start]:02x}", "save the file as UTF-8") from None


def _read_csv(path: Path, data: bytes) -> Table:
    # The csv module, not pandas: it leaves "NA" and "007" alone and lets us count the cells of each row.
    limit = csv.field_size_limit(2**31 - 1)
    rows: list[list[str]] = []
    todo = "quote cells that hold commas or quotes; write the file again if it is cut off"
    try:
        reader = csv.reader(io.StringIO(_decode(path, data), newline=""), strict=True)
        header = [name.strip() for name in next(filter(None, reader), [])]
        for row in filter(None, reader):
            rows.append(row)
            if len(row) != len(header):
                raise bad(f"{path}, row {len(rows)}", f"{len(header)} cells", str(len(row)), todo)
    except csv.Error as error:
        raise bad(f"{path}, row {len(rows) + 1}", "CSV", f"broken quoting ({error})", todo) from None
    finally:
        csv.field_size_limit(limit)
    _reject_twins(path, header)
    columns = {name: objects([row[i] for row in rows]) for i, name in enumerate(header)}
    return Table(path, [f"{path}, row {i}" for i in range(1, len(rows) + 1)], columns)


def _read_jsonl(path: Path, data: bytes) -> Table:
    lines = _decode(path, data).split("\n")  # splitlines also cuts at U+2028, which JSON texts may hold
    rows: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where, expected = f"{path}, line {number}", "one JSON object per line"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            found = f"broken JSON ({error.msg if isinstance(error, json.JSONDecodeError) else 'too big'})"
            todo = "the last line is half-written: write it again" if number == len(lines) else "correct it"
            raise bad(where, expected, found, todo) from None
        if not isinstance(row, dict):
            raise bad(where, expected, f"a {type(row).__name__}", "write objects such as {...}")
        rows[where] = row
    names = dict.fromkeys(chain.from_iterable(rows.values()))
    columns = {name: objects([row.get(name) for row in rows.values()]) for name in names}
    return Table(path, list(rows), columns)


def _reject_twins(path: Path, names: list[str]) -> None:
    for name in (name for name in names if names.count(name) > 1):
        raise bad(path, "each column once", f"{shown(name)} twice", "rename or drop one")


_READERS = {".jsonl": _read_jsonl, ".ndjson": _read_jsonl, ".csv": _read_csv}
