"""Writes the rows of an import as a history: Parquet, JSON lines or CSV, aside and then renamed."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from router.errors import ConfigError, RouterError

__all__ = ["COLUMNS", "SUFFIXES", "check_out", "write_history"]

SUFFIXES = (".parquet", ".jsonl", ".csv")
COLUMNS: dict[str, pa.DataType] = {
    "prompt_id": pa.string(),
    "prompt": pa.string(),
    "messages": pa.string(),
    "model": pa.string(),
    "score": pa.float64(),
    "response": pa.string(),
    "status": pa.string(),
    "finish_reason": pa.string(),
    "input_tokens": pa.int64(),
    "output_tokens": pa.int64(),
    "cached_input_tokens": pa.int64(),
    "cost_usd": pa.float64(),
    "latency_ms": pa.float64(),
    "timestamp": pa.string(),
    "group": pa.string(),
    "task": pa.string(),
    "session": pa.string(),
    "user": pa.string(),
    "propensity": pa.float64(),
    "repeats": pa.int64(),
}
"""The columns of the output, in their order."""
_ROWS = 2048  # of a row group


def check_out(out: Path, logs: Sequence[Path]) -> None:
    """Refuse a place that cannot be written, before anything is read.

    Raises
    ------
    ConfigError
        It has another extension, is one of the logs, or its folder cannot be made.
    """
    if out.suffix.lower() not in SUFFIXES:
        found = out.suffix or "no extension"
        raise ConfigError(f"--out {out}: expected {', '.join(SUFFIXES)}, found {found}; name the file so")
    if any(out.exists() and log.exists() and out.samefile(log) for log in logs):
        raise ConfigError(
            f"--out {out}: expected another file than the logs, found one of them; name another"
        )
    if out.is_dir():
        raise ConfigError(f"--out {out}: expected a file, found a folder; name a file in it")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {out}: {error.strerror}; choose another folder") from None


def write_history(out: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> int:
    """Write rows under these columns and return how many.

    Raises
    ------
    RouterError
        The disk is full or the folder cannot be written; what was there before is still there.
    """
    write = {".parquet": _parquet, ".jsonl": _jsonl, ".csv": _csv}[out.suffix.lower()]
    try:
        with _aside(out) as path:
            return write(path, columns, rows)
    except OSError as error:
        raise RouterError(
            f"{out}: {error.strerror or 'it cannot be written'}; make room or choose another folder"
        ) from None


@contextmanager
def _aside(out: Path) -> Iterator[Path]:
    path = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        yield path
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        path.replace(out)
    finally:
        path.unlink(missing_ok=True)


def _parquet(path: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> int:
    schema = pa.schema([(name, COLUMNS[name]) for name in columns])
    written, source = 0, iter(rows)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while batch := list(islice(source, _ROWS)):
            cells = [pa.array([row.get(name) for row in batch], COLUMNS[name]) for name in columns]
            writer.write_table(pa.Table.from_arrays(cells, schema=schema))
            written += len(batch)
    return written


def _jsonl(path: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> int:
    written = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for written, row in enumerate(rows, start=1):  # noqa: B007 - counted
            file.write(json.dumps({name: row.get(name) for name in columns}, ensure_ascii=False) + "\n")
    return written


def _csv(path: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> int:
    written = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        # Lines end in \r\n: else a lone \r in a cell is not quoted, and nobody can read the file.
        writer = csv.writer(file)
        writer.writerow(columns)
        for written, row in enumerate(rows, start=1):  # noqa: B007
            writer.writerow([row.get(name) for name in columns])
    return written
