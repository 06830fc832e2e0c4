"""Where rows go: a Parquet, JSONL or CSV file that is there whole or not at all.

Writes one file beside its place, a block of rows at a time, and renames it once all are on the disk.
"""

from __future__ import annotations

import csv
import errno
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from router.errors import ConfigError, RouterError

__all__ = ["FORMATS", "Block", "require_format", "type_of", "write_blocks"]

Block = dict[str, list[Any]]
"""Rows by column, all columns of the same length."""

_UNICODE = "utf-8"


def require_format(path: Path) -> None:
    """Refuse a file of which the name does not say how to write it.

    Raises
    ------
    ConfigError
        It ends in something else.
    """
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(
            f"--out {path}: expected a name that ends in {', '.join(FORMATS)}, found {path.suffix or 'no extension'}; name another file"
        )


def write_blocks(path: Path, types: Mapping[str, pa.DataType], blocks: Iterable[Block]) -> None:
    """Write rows, replacing the file once they are all there; where it is a link, the file that it points to.

    Parameters
    ----------
    types : mapping
        The columns in their order, with their types in Parquet; the text formats write a cell as it is.

    Raises
    ------
    RouterError
        The disk is full, or the file cannot be written; what was there before is still there.
    """
    target = Path(os.path.realpath(path))
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with aside.open("wb") as file:
                FORMATS[path.suffix.lower()](file, types, blocks)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(target)
            _sync_folder(target.parent)
        finally:
            with suppress(OSError):
                aside.unlink()
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        todo = "make room" if full else "check that its folder may be written"
        raise RouterError(
            f"{path}: cannot be written ({error.strerror or type(error).__name__}); {todo}, then run the same command again: the "
            "answers are in the journal, and nothing is paid twice"
        ) from None


def type_of(cells: Sequence[Any]) -> pa.DataType:
    """Return the Parquet type that holds all cells of a column; text where nothing else does."""
    given = [cell for cell in cells if cell is not None]
    if any(isinstance(cell, dict | list) for cell in given):
        return pa.string()
    try:
        kind = pa.array(given).type
    except (pa.ArrowException, UnicodeEncodeError, OverflowError):
        return pa.string()
    return pa.string() if pa.types.is_null(kind) or pa.types.is_nested(kind) else kind


def _write_parquet(file: BinaryIO, types: Mapping[str, pa.DataType], blocks: Iterable[Block]) -> None:
    schema = pa.schema(list(types.items()))
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for block in blocks:
            arrays = [_arrow(block[name], kind) for name, kind in types.items()]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
    # Arrow keeps what it freed, and a long run has no more use for it.
    pa.default_memory_pool().release_unused()


def _arrow(cells: list[Any], kind: pa.DataType) -> pa.Array:
    return pa.array(
        [_text(cell) if cell is not None else None for cell in cells] if pa.types.is_string(kind) else cells,
        kind,
    )


def _write_jsonl(file: BinaryIO, types: Mapping[str, pa.DataType], blocks: Iterable[Block]) -> None:
    names = list(types)
    for block in blocks:
        lines = []
        for cells in zip(*(block[name] for name in names), strict=True):
            row = dict(zip(names, cells, strict=True))
            lines.append(json.dumps(row, ensure_ascii=False, default=_json) + "\n")
        file.write(_whole("".join(lines)).encode(_UNICODE))


def _write_csv(file: BinaryIO, types: Mapping[str, pa.DataType], blocks: Iterable[Block]) -> None:
    names = list(types)
    # RFC 4180's line ends; and the writer quotes a cell for what they hold alone, a lone carriage return among it.
    rows = csv.writer(_Encoded(file), lineterminator="\r\n")
    rows.writerow(names)
    for block in blocks:
        for cells in zip(*(block[name] for name in names), strict=True):
            rows.writerow([None if cell is None else _text(cell) for cell in cells])


class _Encoded:
    """The text file that a CSV writer expects, without one that would close the file below it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        self._file.write(text.encode(_UNICODE))


def _text(cell: Any) -> str:  # noqa: ANN401 - a cell holds anything
    """Return a cell as text: JSON but for text itself and times."""
    if isinstance(cell, str):
        return _whole(cell)
    if isinstance(cell, date | bytes):
        return _json(cell)
    return _whole(json.dumps(cell, ensure_ascii=False, default=_json))


def _json(cell: Any) -> str:  # noqa: ANN401
    if isinstance(cell, date):
        return cell.isoformat()
    return cell.decode(_UNICODE, "replace") if isinstance(cell, bytes) else str(cell)


def _whole(text: str) -> str:
    """Return text without half characters (lone surrogates), which no file in UTF-8 can hold."""
    try:
        text.encode(_UNICODE)
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


FORMATS = {".parquet": _write_parquet, ".jsonl": _write_jsonl, ".csv": _write_csv}
"""How a history is written, by the end of its name."""
