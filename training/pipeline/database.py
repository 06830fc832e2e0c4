"""A history in a database: the rows of one SELECT become a Parquet file.

The rule: the database is asked one query and all is rolled back, the memory needed does not grow with the rows, and the
same rows give the same file in whatever order and from whatever database they come. A password is never shown, and
neither is what a row holds. PostgreSQL and SQLite are told to refuse whatever would write; elsewhere only the rights of
the account keep a query from what no rollback takes back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sqlalchemy import create_engine
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.pool import NullPool

from eval.history import COLUMNS
from eval.table import bad, is_missing, shown
from router.errors import ConfigError, RouterError
from router.masking import mask, secrets_of
from training.pipeline.settings import Query

__all__ = ["export_rows"]

_ROWS = 2_000
"""Rows in memory at once: of prompts of 100 kB each, a few hundred MB."""
_CONNECT_TIMEOUT_S = 10
_TIMED_DRIVERS = ("mysqldb", "psycopg", "psycopg2", "pymysql")  # their connect_timeout is in seconds
_KEY = ("prompt_id", "model")
_FLAGS = ("passed", "usage_is_estimate")
_FIX = "correct it, or leave the row out of the query"


def export_rows(query: Query, out: Path) -> int:
    """Write the rows of a query to a Parquet file, sorted by prompt_id and model; return how many there are.

    They are written aside first: the file appears whole or not at all.

    Raises
    ------
    ConfigError
        The database cannot be reached, the query fails, or its rows are no history.
    RouterError
        The file cannot be written.
    """
    text = _url_of(query)
    url = _parse_url(text)
    place = mask(text)
    hidden = [*secrets_of(text), *filter(None, [url.password])]
    spilled, sorted_rows = out.with_name(f"{out.name}.rows"), out.with_name(f"{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with (
            _connected(url, place, hidden) as connection,
            closing(_read(connection, query.query, place, hidden)) as chunks,
        ):
            n = _spill(chunks, spilled, place)
        _write_sorted(spilled, sorted_rows)
        sorted_rows.replace(out)
    except OSError as error:
        raise RouterError(
            f"history {out}: cannot be written ({error.strerror or error}); make room, then run it again"
        ) from error
    finally:
        for path in (spilled, sorted_rows):
            with suppress(OSError):  # its folder may be what could not be made
                path.unlink()
    return n


# Where to ask.


def _url_of(query: Query) -> str:
    if query.url_env is None:
        return query.url or ""
    text = os.environ.get(query.url_env, "")
    if "://" not in text:
        found = "something else" if text else "nothing"
        raise ConfigError(
            f"history: expected a database's URL in the environment variable {query.url_env}, found {found}; set it"
        )
    return text


def _parse_url(text: str) -> URL:
    where = f"history {mask(text)}"
    try:
        url = make_url(text)
        dialect = url.get_dialect()
        dialect.import_dbapi()
    except (ArgumentError, ValueError) as error:
        if isinstance(error, NoSuchModuleError):
            raise ConfigError(
                f"{where}: SQLAlchemy knows no database {url.drivername}; correct it, or install its dialect"
            ) from None
        raise ConfigError(
            f"{where}: not a URL that SQLAlchemy can read; write driver://user:password@host:port/database, with "
            "percent signs for what is special in the password"
        ) from None
    except ImportError as error:
        raise ConfigError(
            f"{where}: needs {error.name}, which is not installed: install it, or name a driver that is, such as "
            "postgresql+psycopg (pip install 'psycopg[binary]')"
        ) from None
    if dialect.is_async:
        raise ConfigError(f"{where}: {url.drivername} is asynchronous; name another driver of this database")
    return _existing(url, where) if url.get_backend_name() == "sqlite" else url


def _existing(url: URL, where: str) -> URL:
    """Return the URL of a SQLite file that is there; SQLite would make an empty one where there is none."""
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise ConfigError(f"{where}: expected a file, as in sqlite:////srv/logs/history.db; name one")
    path = Path(url.database).expanduser()
    if not path.is_file():
        raise ConfigError(f"{where}: expected a file, found none at {path}; check the path")
    return url.set(database=str(path))


# Asking.


@contextmanager
def _connected(url: URL, place: str, hidden: Sequence[str]) -> Iterator[Connection]:
    """Connect, and roll back whatever happens; PostgreSQL is asked for a transaction that only reads."""
    timed = url.get_driver_name() in _TIMED_DRIVERS and "connect_timeout" not in url.query
    arguments = {"connect_timeout": _CONNECT_TIMEOUT_S} if timed else {}
    try:
        engine = create_engine(url, poolclass=NullPool, connect_args=arguments)
        connection = engine.connect().execution_options(postgresql_readonly=True)
    except (
        SQLAlchemyError,
        ValueError,
        TypeError,
        OverflowError,
    ) as error:  # a driver reads its parameters itself
        raise ConfigError(
            f"history {place}: cannot be reached ({_told(error, hidden)}); check the URL, and that the database runs"
        ) from None
    with connection:  # its end is a rollback
        yield connection


def _read(
    connection: Connection, query: str, place: str, hidden: Sequence[str]
) -> Generator[tuple[list[str], Sequence[Sequence[Any]]], None, None]:
    """Give the names of the columns and some rows, again and again."""
    try:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA query_only = ON")
        # As the driver takes it: colons and percent signs are the query's own.
        options = {"stream_results": True, "max_row_buffer": _ROWS, "no_parameters": True}
        result = connection.exec_driver_sql(query, execution_options=options)
    except (SQLAlchemyError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"history {place}: the query fails ({_told(error, hidden)}); correct it, or what the database complains of"
        ) from None
    try:
        with closing(result):
            for rows in result.partitions(_ROWS):
                yield list(result.keys()), rows
    except (SQLAlchemyError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"history {place}: the query fails at some row ({_kind(error)}); see whether the database still runs, and "
            "what the query computes from its rows"
        ) from None


def _told(error: Exception, hidden: Sequence[str]) -> str:
    """Return what the driver says, without a secret; only its kind where it may be about a row."""
    if not isinstance(error, OperationalError | ProgrammingError | InterfaceError) and (
        type(error) is not DatabaseError
    ):
        return _kind(error)
    text = next(iter(str(error.orig).strip().splitlines()), "")
    for secret in hidden:
        text = text.replace(secret, "***")
    return f"{text:.300}" or _kind(error)


def _kind(error: Exception) -> str:
    if not isinstance(error, DBAPIError):
        return type(error).__name__
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    return f"{type(error.orig).__name__}{f', SQLSTATE {state}' if state else ''}"


# From cells to columns.


def _spill(chunks: Iterator[tuple[list[str], Sequence[Sequence[Any]]]], path: Path, place: str) -> int:
    """Write rows as they come to a file that can be mapped into memory; return how many there are."""
    writer, n = None, 0
    try:
        for names, rows in chunks:
            if writer is None:
                readers = _readers(names, place)
                schema = pa.schema([(name, kind) for name, (_, _, kind) in readers.items()])
                writer = pa.ipc.new_file(str(path), schema)
            writer.write_batch(_batch(readers, rows, schema, f"{place}, row", n))
            n += len(rows)
    finally:
        if writer is not None:
            writer.close()
    if not n:
        raise ConfigError(
            f"history {place}: expected rows, and the query returns none; see what it selects from"
        )
    return n


Reader = tuple[Callable[[Any], Any], str, pa.DataType]


def _readers(names: list[str], place: str) -> dict[str, Reader]:
    """Return how each column is read; refuse columns that make no history before their rows are fetched."""
    for name in names:
        if names.count(name) > 1:
            raise bad(place, "each column once", f"{shown(name)} twice", "rename or drop one in the query")
    for choice in (("prompt_id",), ("prompt", "messages"), ("model",), ("score", "passed")):
        if not any(name in names for name in choice):
            raise bad(
                place,
                f"a column {' or '.join(choice)}",
                f"the columns {', '.join(map(shown, names))}",
                "name it in the query, such as SELECT id AS prompt_id",
            )
    return {name: _reader(name) for name in names}


def _reader(name: str) -> Reader:
    if name not in COLUMNS:
        return (_prompt if name == "prompt" else _anything), "text", pa.string()
    parse, expected, dtype = COLUMNS[name]
    kinds = {"datetime64[ns]": pa.timestamp("us", tz="UTC"), "float64": pa.float64(), "object": pa.string()}
    kind = pa.bool_() if name in _FLAGS else kinds[dtype]

    def read(cell: Any) -> Any:  # noqa: ANN401 - a cell holds anything
        value = parse(_as_contract(cell))
        if is_missing(value):  # NaN is what the contract says for nothing
            return None
        return value == 1.0 if name in _FLAGS else value

    return read, expected, kind


def _as_contract(cell: Any) -> Any:  # noqa: ANN401
    """Return a cell as a history's file could hold it."""
    if isinstance(cell, UUID):
        return str(cell)
    if isinstance(cell, date) and not isinstance(cell, datetime):
        return datetime(cell.year, cell.month, cell.day)
    return cell


def _prompt(cell: Any) -> str | None:  # noqa: ANN401
    if cell is not None and not isinstance(cell, str):
        raise TypeError
    return cell


def _anything(cell: Any) -> str | None:  # noqa: ANN401
    """Return what a history passes through, and chat messages, as text."""
    if cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, dict | list):
        return json.dumps(cell, ensure_ascii=False)
    if isinstance(cell, date):
        return cell.isoformat()
    return bytes(cell).hex() if isinstance(cell, bytes | bytearray | memoryview) else str(cell)


def _batch(
    readers: dict[str, Reader], rows: Sequence[Sequence[Any]], schema: pa.Schema, place: str, before: int
) -> pa.RecordBatch:
    columns = []
    for column, (name, (read, expected, kind)) in enumerate(readers.items()):
        values = []
        for i, row in enumerate(rows):
            try:
                values.append(read(row[column]))
                if values[-1] is None and name in _KEY:
                    raise ValueError
            except (ValueError, TypeError, ArithmeticError, LookupError):
                where = f"{place} {before + i + 1}, column {name}"
                raise bad(where, expected, shown(row[column]), _FIX) from None
        columns.append(pa.array(values, kind))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _write_sorted(spilled: Path, out: Path) -> None:
    """Write the rows of a file to another one in the order of their keys, a few at a time."""
    with pa.memory_map(str(spilled)) as mapped:
        reader = pa.ipc.open_file(mapped)
        batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        keys = pa.Table.from_batches([batch.select(_KEY) for batch in batches])
        order = (
            pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in _KEY])
            .to_numpy()
            .astype(np.int64)
        )
        starts = np.cumsum([0, *(batch.num_rows for batch in batches)])
        with out.open("wb") as file:
            with pq.ParquetWriter(file, reader.schema) as writer:
                for first in range(0, len(order), _ROWS):
                    writer.write_table(_take(batches, starts, order[first : first + _ROWS]))
            file.flush()
            os.fsync(file.fileno())  # a power cut must not leave the name without the rows


def _take(batches: list[pa.RecordBatch], starts: NDArray[np.int64], rows: NDArray[np.int64]) -> pa.Table:
    """Return some rows of many batches. Table.take would join all of them into one first."""
    of = np.searchsorted(starts, rows, side="right") - 1
    by_batch = np.argsort(of, kind="stable")
    parts = [
        batches[b].take(pa.array(rows[by_batch][of[by_batch] == b] - starts[b]))
        for b in np.unique(of).tolist()
    ]
    back = np.empty(len(rows), np.int64)
    back[by_batch] = np.arange(len(rows))
    return pa.Table.from_batches(parts).take(pa.array(back))
