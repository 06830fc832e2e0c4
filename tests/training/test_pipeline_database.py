"""A SELECT becomes one file, whatever order its rows have; what is wrong with it is said without showing a row."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eval.history import read_history
from router.errors import ConfigError, RouterError
from training.pipeline import database
from training.pipeline.settings import Query
from training.pipeline.sources import QUERIED_FILE, require_unchanged, resolve

PROMPT = "Zanzibar parrots whisper, quietly"
COLUMNS = ("prompt_id", "prompt", "model", "score")


def table(path: Path, rows: Iterable[tuple[Any, ...]], columns: tuple[str, ...] = COLUMNS) -> Query:
    """A SQLite database with one table, and the query for all of it."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE history ({', '.join(columns)})")
        connection.executemany(f"INSERT INTO history VALUES ({', '.join('?' * len(columns))})", rows)  # noqa: S608 - the test's own
    return Query("SELECT * FROM history", f"sqlite:///{path}")


def rows_of(n: int, models: tuple[str, ...] = ("large", "small")) -> list[tuple[Any, ...]]:
    return [
        (f"p{i}", f"{PROMPT} {i}", model, k / len(models)) for i in range(n) for k, model in enumerate(models)
    ]


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refusal(act: Callable[[], Any], kind: type[RouterError] = ConfigError) -> str:
    with pytest.raises(RouterError) as caught:
        act()
    assert kind is type(caught.value)
    assert "Zanzibar" not in str(caught.value)
    return str(caught.value)


CONTRACT = {
    "prompt_id": (7, "7"),
    "prompt": ("Name a prime.", "Name a prime."),
    "model": ("m", "m"),
    "score": (1, 1.0),
    "input_tokens": (12, 12.0),
    "cost_usd": ("0.25", 0.25),
    "latency_ms": (None, None),
    "usage_is_estimate": (1, True),
    "group": (3.0, "3"),
    "task": ("", None),
    "timestamp": ("2026-01-31 12:00:00+02:00", "2026-01-31T10:00:00+00:00"),
    "split": ("train", "train"),
    "note": (5, "5"),
    "blob": (b"\x01\xff", "01ff"),
}


def test_what_sqlite_holds_becomes_what_a_history_is(tmp_path: Path) -> None:
    cells = tuple(found for found, _ in CONTRACT.values())
    query = table(tmp_path / "h.db", [cells], tuple(f'"{name}"' for name in CONTRACT))
    [found] = pq.read_table(resolve(query, tmp_path).files[0]).to_pylist()
    found["timestamp"] = found["timestamp"].isoformat()
    assert {name: expected for name, (_, expected) in CONTRACT.items()} == found
    history = read_history(tmp_path / QUERIED_FILE)
    assert ["2026-01-31T10:00:00+00:00"] == [at.isoformat() for at in history.prompts["timestamp"]]
    assert [True] == history.rows["usage_is_estimate"].tolist()


def test_messages_and_passed_are_a_history_too(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "Grüße"}, {"role": "assistant", "content": "?"}]
    query = table(
        tmp_path / "h.db",
        [("a", json.dumps(chat), "m", "true"), ("a", json.dumps(chat), "n", 0)],
        ("prompt_id", "messages", "model", "passed"),
    )
    history = read_history(resolve(query, tmp_path).files)
    assert [chat] == history.prompts["prompt"].tolist()
    assert [1.0, 0.0] == history.rows["score"].tolist()


def test_colons_and_percent_signs_are_the_querys_own(tmp_path: Path) -> None:
    query = table(tmp_path / "h.db", [("a", ":x 100%", "m", 1), ("b", "other", "m", 1)])
    query = Query("SELECT *, '%s :y' AS note FROM history WHERE prompt LIKE ':x%%'", query.url)
    history = read_history(resolve(query, tmp_path).files)
    assert (["a"], ["%s :y"]) == (history.prompts["prompt_id"].tolist(), history.rows["note"].tolist())


CELLS = st.tuples(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=4).filter(str.strip),
    st.sampled_from(["a", "b", "ä"]),
    st.none() | st.floats(0.0, 1.0),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(CELLS, min_size=1, max_size=12, unique_by=lambda row: row[:2]), st.randoms(use_true_random=False)
)
def test_the_same_rows_in_any_order_are_the_same_file(
    tmp_path: Path, cells: list[tuple[str, str, float | None]], order: random.Random
) -> None:
    # A few rows at a time, so that blocks meet: what is tried is the order, not the number.
    rows = [(key, f"text of {key}", model, score) for key, model, score in cells]
    shuffled = order.sample(rows, len(rows))
    digests = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "_ROWS", 3)
        for name, given_rows in (("one", rows), ("other", shuffled)):
            path = tmp_path / f"{name}.db"
            path.unlink(missing_ok=True)
            loaded = resolve(table(path, given_rows), tmp_path / name)
            digests.append(loaded.described)
    assert digests[0] == digests[1]
    found = pq.read_table(loaded.files[0]).to_pylist()
    expected = sorted(rows, key=lambda row: (row[0].encode(), row[2].encode()))
    assert expected == [(row["prompt_id"], row["prompt"], row["model"], row["score"]) for row in found]


# Anonymous memory: pages of a mapped file are the system's to take back.
WATCHED = """
import sys, threading
from pathlib import Path
from training.pipeline import database
from training.pipeline.settings import Query
from training.pipeline.sources import resolve

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1])

def watch():
    while not done.wait(0.002):
        seen.append(anonymous())

database._ROWS = 100
done, seen = threading.Event(), [anonymous()]
threading.Thread(target=watch, daemon=True).start()
resolve(Query("SELECT * FROM history", sys.argv[1]), Path(sys.argv[2]))
done.set()
print(max(seen) - seen[0])
"""


def test_many_rows_keep_memory_bounded(tmp_path: Path, python: Callable[..., Any]) -> None:
    n, length = 5_000, 20_000  # 100 MB of text
    path = tmp_path / "h.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "CREATE TABLE history AS WITH RECURSIVE i(k) AS (SELECT 0 UNION ALL SELECT k + 1 FROM i WHERE k < ?1 - 1) "
            "SELECT printf('%05d', (k * 7919) % ?1) AS prompt_id, hex(zeroblob(?2)) || k AS prompt, 'm' AS model, "
            "1 AS score FROM i",
            (n, length // 2),
        )
    kilobytes = int(python("-c", WATCHED, f"sqlite:///{path}", str(tmp_path)).stdout)
    keys = pq.read_table(tmp_path / QUERIED_FILE, columns=["prompt_id"])["prompt_id"].to_pylist()
    assert [f"{i:05d}" for i in range(n)] == keys
    assert kilobytes < 40_000  # a block of 2 MB, a few times over, and not all of it


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (("id", "prompt", "model", "score"), "expected a column prompt_id, found the columns 'id', 'prompt'"),
        (("prompt_id", "text", "model", "score"), "expected a column prompt or messages"),
        (("prompt_id", "prompt", "model", "grade"), "expected a column score or passed"),
    ],
)
def test_columns_that_are_no_history_are_refused(
    tmp_path: Path, columns: tuple[str, ...], expected: str
) -> None:
    query = table(tmp_path / "h.db", rows_of(1), columns)
    message = refusal(lambda: resolve(query, tmp_path))
    assert expected in message
    assert "SELECT id AS prompt_id" in message


def test_a_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    query = table(tmp_path / "h.db", rows_of(1))
    twice = Query("SELECT *, prompt_id FROM history", query.url)
    assert "expected each column once, found 'prompt_id' twice" in refusal(lambda: resolve(twice, tmp_path))


@pytest.mark.parametrize(
    ("column", "cell", "expected"),
    [
        ("prompt_id", None, "row 2, column prompt_id: expected text, found nothing"),
        ("model", " ", "row 2, column model: expected text, found nothing"),
        ("score", 1.5, "row 2, column score: expected a number from 0 to 1, or nothing, found 1.5"),
        ("score", PROMPT, "column score: expected a number from 0 to 1, or nothing, found text of 33 characters"),
        ("prompt", b"Zanzibar", "column prompt: expected text, found a bytes"),
        ("prompt_id", 1.5, "column prompt_id: expected text, found 1.5"),
    ],
)  # fmt: skip
def test_a_cell_that_breaks_the_contract_is_named(
    tmp_path: Path, column: str, cell: Any, expected: str
) -> None:
    bad = dict(zip(COLUMNS, ("p9", PROMPT, "m", 1.0), strict=True)) | {column: cell}
    query = table(tmp_path / "h.db", [*rows_of(1, ("m",)), tuple(bad.values())])
    message = refusal(lambda: resolve(query, tmp_path / "work"))
    assert expected in message
    assert "leave the row out of the query" in message
    assert [] == listed(tmp_path / "work")  # nothing half-written stays


@pytest.mark.parametrize(
    ("cell", "column", "expected"),
    [
        ("soon", "timestamp", "expected ISO 8601 such as 2025-01-31T12:00:00Z, or nothing, found 'soon'"),
        (
            1769860800,
            "timestamp",
            "expected ISO 8601",
        ),  # seconds of some epoch: which one is not ours to guess
        ("yes", "passed", "expected true, false or nothing, found 'yes'"),
        (-1, "input_tokens", "expected a finite number of 0 or more, or nothing, found -1"),
        ("validation", "split", "expected train, test or nothing, found 'validation'"),
    ],
)
def test_a_cell_of_an_optional_column_is_named(tmp_path: Path, cell: Any, column: str, expected: str) -> None:
    query = table(tmp_path / "h.db", [(*rows_of(1)[0], cell)], (*COLUMNS, column))
    assert f"row 1, column {column}: {expected}" in refusal(lambda: resolve(query, tmp_path))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT * FROM histories", "the query fails (no such table: histories); correct it"),
        ("SELECT prompt_idd FROM history", "the query fails (no such column: prompt_idd)"),
        ("SELECT * FRM history", 'the query fails (near "FRM": syntax error)'),
        ("SELECT * FROM history WHERE 0", "expected rows, and the query returns none; see what it selects from"),
        ("SELECT CAST(x'ff' AS TEXT) || prompt AS prompt, prompt_id, model, score FROM history", "the query fails at some row (OperationalError)"),
        ("SELECT abs(-9223372036854775808), * FROM history", "integer overflow"),
        ("WITH x AS (SELECT 1) DELETE FROM history", "attempt to write a readonly database"),
        ("WITH x AS (SELECT 1) INSERT INTO history SELECT 1, 2, 3, 4 RETURNING *", "attempt to write a readonly database"),
    ],
)  # fmt: skip
def test_a_query_that_fails_says_how_and_shows_no_row(tmp_path: Path, query: str, expected: str) -> None:
    url = table(tmp_path / "h.db", rows_of(2)).url
    message = refusal(lambda: resolve(Query(query, url), tmp_path / "work"))
    assert expected in message
    assert f"history sqlite:///{tmp_path}/h.db: " in message
    with closing(sqlite3.connect(tmp_path / "h.db")) as connection:
        assert [(4,)] == connection.execute("SELECT count(*) FROM history").fetchall()


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    message = refusal(lambda: resolve(Query("SELECT 1", f"sqlite:///{tmp_path}/no.db"), tmp_path / "work"))
    assert f"expected a file, found none at {tmp_path}/no.db; check the path" in message
    assert not (tmp_path / "no.db").exists()


def test_a_database_that_another_holds_is_refused(tmp_path: Path) -> None:
    url = f"{table(tmp_path / 'h.db', rows_of(1)).url}?timeout=0.01"
    with closing(sqlite3.connect(tmp_path / "h.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        message = refusal(lambda: resolve(Query("SELECT * FROM history", url), tmp_path))
    assert "the query fails (database is locked); correct it, or what the database complains of" in message


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "h.db").write_text(PROMPT * 100)
    query = Query("SELECT * FROM history", f"sqlite:///{tmp_path}/h.db")
    assert "file is not a database" in refusal(lambda: resolve(query, tmp_path / "work"))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite://", "history sqlite://: expected a file, as in sqlite:////srv/logs/history.db"),
        ("sqlite:///:memory:", "expected a file"),
        ("sqlite:///file:x?mode=memory&uri=true", "expected a file"),
        ("oracel://me:s3cret@host/db", "history oracel://me:***@host/db: SQLAlchemy knows no database oracel"),
        ("mysql+pymysql://me:s3cret@host/db", "needs pymysql, which is not installed: install it"),
        ("postgresql+psycopg://me:s3cret@host:x/db", "not a URL that SQLAlchemy can read"),
        ("://me:s3cret@host", "not a URL that SQLAlchemy can read"),
        ("postgresql+psycopg_async://me:s3cret@host/db", "is asynchronous; name another driver"),
        ("sqlite:///{db}?timeout=s3cret", "/h.db?timeout=***: cannot be reached (ValueError); check the URL"),
        ("sqlite:///{db}?detect_types=99999999999999", "cannot be reached (OverflowError)"),
        ("postgresql+psycopg://me:s3cret@a..b/db", "cannot be reached (UnicodeError)"),
        ("postgresql+psycopg://me:s3cret@127.0.0.1:1/db", "history postgresql+psycopg://me:***@127.0.0.1:1/db: cannot be reached ("),
    ],
)  # fmt: skip
def test_a_url_that_leads_nowhere_is_refused_without_its_password(
    tmp_path: Path, url: str, expected: str
) -> None:
    (tmp_path / "h.db").touch()
    query = Query("SELECT 1", url.replace("{db}", f"{tmp_path}/h.db"))
    message = refusal(lambda: resolve(query, tmp_path))
    assert expected in message
    assert "s3cret" not in message


def test_a_place_that_cannot_be_written_is_a_failure_and_no_refusal(tmp_path: Path) -> None:
    query = table(tmp_path / "h.db", rows_of(1))
    (tmp_path / "work").write_text("in the way")
    message = refusal(lambda: resolve(query, tmp_path / "work"), RouterError)
    assert f"history {tmp_path / 'work' / QUERIED_FILE}: cannot be written" in message


# A limit on the size of a file fails as a full disk does, but for the words.
CRAMPED = """
import resource, signal, sys
from pathlib import Path
from router.errors import RouterError
from training.pipeline.settings import Query
from training.pipeline.sources import resolve

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    resolve(Query("SELECT * FROM history", sys.argv[1]), Path(sys.argv[2]))
except RouterError as error:
    print(error.exit_code, error)
"""


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, python: Callable[..., Any]) -> None:
    query = table(tmp_path / "h.db", rows_of(2000))
    before = resolve(table(tmp_path / "small.db", rows_of(1)), tmp_path / "work")
    told = python("-c", CRAMPED, query.url, str(tmp_path / "work")).stdout.decode()
    assert told.startswith(f"1 history {tmp_path / 'work' / QUERIED_FILE}: cannot be written (")
    assert "make room, then run it again" in told
    assert [QUERIED_FILE] == listed(tmp_path / "work")
    require_unchanged(before)
