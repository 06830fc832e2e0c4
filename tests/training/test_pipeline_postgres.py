"""A history in a real PostgreSQL: its types, its errors, and that nothing there is changed.

Run by `make test-postgres`. The server is started on a socket in a folder of its own, and listens to nothing else.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import URL, Engine

from eval.history import read_history
from router.errors import ConfigError
from training.pipeline import database
from training.pipeline.settings import Query
from training.pipeline.sources import QUERIED_FILE, resolve

pytestmark = pytest.mark.postgres

PASSWORD = "s3cret @:/?#% of it"  # noqa: S105 - the test's own
PROMPT = "Zanzibar parrots whisper, quietly"


def programs() -> Path:
    """The folder of initdb and pg_ctl: Debian keeps them off the path."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    assert folders, "these tests need PostgreSQL's server (Debian: apt-get install postgresql)"
    return folders[-1].parent


def as_another(*command: str | Path) -> None:
    """Run a command; as nobody where we are root, whom PostgreSQL refuses."""
    prefix = (
        ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"] if os.geteuid() == 0 else []
    )
    run = subprocess.run([*prefix, *command], capture_output=True, text=True, cwd="/", timeout=120)
    assert 0 == run.returncode, run.stdout + run.stderr


@pytest.fixture(scope="module")
def server() -> Iterator[URL]:
    """The URL of a server with an empty database."""
    # Not tmp_path: the path of a socket is at most about 100 characters, and another user must get there.
    folder = Path(tempfile.mkdtemp(prefix="tierwise-pg-"))
    data, password = folder / "data", folder / "password"
    password.write_text(PASSWORD + "\n")
    try:
        if os.geteuid() == 0:
            for path in (folder, password):
                shutil.chown(path, "nobody", "nogroup")
        bin_ = programs()
        as_another(
            bin_ / "initdb", "-D", data, "-U", "owner", "-A", "scram-sha-256", "--pwfile", password,
            "--encoding", "UTF8", "--locale", "C", "--no-sync",
        )  # fmt: skip
        settings = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        as_another(bin_ / "pg_ctl", "-D", data, "-o", settings, "-l", folder / "log", "--wait", "start")
        try:
            yield URL.create(
                "postgresql+psycopg", "owner", PASSWORD, database="postgres", query={"host": str(folder)}
            )
        finally:
            as_another(bin_ / "pg_ctl", "-D", data, "-m", "immediate", "--wait", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def engine(server: URL) -> Iterator[Engine]:
    """The server, to put things into; what a test leaves there is gone afterwards."""
    engine = create_engine(server)
    yield engine
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    engine.dispose()


def whole(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def fill(engine: Engine, statements: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(statements)


def refusal(act: Callable[[], Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        act()
    message = str(caught.value)
    for hidden in ("s3cret", "of it", "Zanzibar"):
        assert hidden not in message
    return message


TYPES = {  # column: type, value, what the file holds
    "prompt_id": ("uuid", "'7f9c24e5-2b1f-4a0f-9f53-000000000007'", "7f9c24e5-2b1f-4a0f-9f53-000000000007"),
    "prompt": ("text", "'Grüße, 100 % :x'", "Grüße, 100 % :x"),
    "model": ("varchar(20)", "'m'", "m"),
    "score": ("numeric(4, 3)", "0.125", 0.125),
    "passed": ("boolean", "true", True),
    "input_tokens": ("bigint", "12", 12.0),
    "output_tokens": ("real", "'NaN'", None),
    "cost_usd": ("numeric", "0.000123", 0.000123),
    "latency_ms": ("double precision", "NULL", None),
    "usage_is_estimate": ("smallint", "0", False),
    '"group"': ("bigint", "9007199254740993", "9007199254740993"),
    "task": ("char(4)", "'sum'", "sum "),
    "timestamp": ("timestamptz", "'2026-01-31 12:00:00.000001+02'", datetime(2026, 1, 31, 10, 0, 0, 1, UTC)),
    "split": ("text", "'test'", "test"),
    "tags": ("jsonb", """'{"b": [1, null], "a": "ü"}'""", '{"a": "ü", "b": [1, null]}'),
    "day": ("date", "'2026-01-31'", "2026-01-31"),
    "digest": ("bytea", r"'\x01ff'", "01ff"),
    "words": ("text[]", "'{a,b}'", '["a", "b"]'),
}


def test_its_types_become_those_of_a_history(engine: Engine, server: URL, tmp_path: Path) -> None:
    fill(
        engine,
        f"CREATE TABLE history ({', '.join(f'{name} {kind}' for name, (kind, _, _) in TYPES.items())})",
    )
    values = ", ".join(value for _, value, _ in TYPES.values()).replace("%", "%%")
    fill(engine, f"INSERT INTO history VALUES ({values})")  # noqa: S608 - the test's own
    loaded = resolve(Query("SELECT * FROM history", whole(server)), tmp_path)
    expected = {name.strip('"'): value for name, (_, _, value) in TYPES.items()}
    assert [expected] == pq.read_table(loaded.files[0]).to_pylist()
    history = read_history(loaded.files)
    assert ["9007199254740993"] == history.prompts["group"].tolist()
    assert [0.125] == history.rows["score"].tolist()


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("timestamp", "2026-01-31 12:00:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),  # names no zone: UTC
        ("date", "2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("text", "2026-01-31T12:00:00+02:00", datetime(2026, 1, 31, 10, tzinfo=UTC)),
    ],
)
def test_a_timestamp_of_any_type_is_utc(
    engine: Engine, server: URL, tmp_path: Path, kind: str, value: str, expected: datetime
) -> None:
    query = (
        f"SELECT 'a' AS prompt_id, 'x' AS prompt, 'm' AS model, 1 AS score, '{value}'::{kind} AS timestamp"
    )
    with engine.begin() as connection:  # a zone of the role, which must not move what names none
        connection.exec_driver_sql("ALTER ROLE owner SET timezone TO 'Asia/Tokyo'")
    try:
        found = pq.read_table(resolve(Query(query, whole(server)), tmp_path).files[0]).to_pylist()
    finally:
        fill(engine, "ALTER ROLE owner RESET timezone")
    assert [expected] == [row["timestamp"] for row in found]


@pytest.mark.parametrize("kind", ["json", "jsonb", "text"])
def test_chat_messages_of_any_type_are_read(server: URL, tmp_path: Path, kind: str) -> None:
    query = (
        f"""SELECT 'a' AS prompt_id, '[{{"role": "user", "content": "Hi"}}]'::{kind} AS messages, """
        "'m' AS model, false AS passed"
    )
    history = read_history(resolve(Query(query, whole(server)), tmp_path).files)
    assert [[{"role": "user", "content": "Hi"}]] == history.prompts["prompt"].tolist()
    assert [0.0] == history.rows["score"].tolist()


def test_the_same_rows_in_sqlite_are_the_same_file(
    engine: Engine, server: URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_ROWS", 7)
    rows = [
        (f"{'äaZz_'[i % 5]}{i}", f"{PROMPT} {i}", model, i / 50) for i in range(50) for model in ("b", "a")
    ]
    fill(engine, "CREATE TABLE history (prompt_id text, prompt text, model text, score double precision)")
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO history VALUES (%s, %s, %s, %s)", rows)
    with closing(sqlite3.connect(tmp_path / "h.db")) as other, other:
        other.execute("CREATE TABLE history (prompt_id, prompt, model, score)")
        other.executemany("INSERT INTO history VALUES (?, ?, ?, ?)", reversed(rows))
    text = "SELECT * FROM history ORDER BY md5(prompt_id)"
    ours = resolve(Query(text, whole(server)), tmp_path / "one")
    theirs = resolve(Query("SELECT * FROM history", f"sqlite:///{tmp_path}/h.db"), tmp_path / "other")
    assert theirs.described == ours.described


def test_rows_are_streamed(server: URL, tmp_path: Path) -> None:
    # Rows beyond the first few fail: what is fetched at once would fail before any is handed over.
    query = (
        "SELECT i::text AS prompt_id, 'x' AS prompt, 'm' AS model, 1 / (3000 - i) * 0 AS score "
        "FROM generate_series(1, 5000) AS i"
    )
    text = whole(server)
    with database._connected(server, "place", []) as connection:
        chunks = database._read(connection, query, "place", [])
        _, rows = next(chunks)
        assert database._ROWS == len(rows)
        assert "SQLSTATE 22012" in refusal(lambda: list(chunks))
    message = refusal(lambda: resolve(Query(query, text), tmp_path))
    assert "the query fails at some row (DivisionByZero, SQLSTATE 22012)" in message
    assert [] == list(tmp_path.iterdir())


def test_a_cell_in_an_error_is_not_shown(server: URL, tmp_path: Path) -> None:
    query = f"SELECT 'a' AS prompt_id, (p)::int AS prompt, 'm' AS model, 1 AS score FROM (VALUES ('{PROMPT}')) AS v(p)"  # noqa: S608
    message = refusal(lambda: resolve(Query(query, whole(server)), tmp_path))
    assert "SQLSTATE 22P02" in message


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT * FROM histories", 'the query fails (relation "histories" does not exist); correct it'),
        ("SELECT * FRM history", 'the query fails (syntax error at or near "FRM")'),
        ("SELECT * FROM history WHERE false", "the query returns none"),
        ("WITH x AS (DELETE FROM history RETURNING *) SELECT * FROM x", "the query fails ("),
        ("SELECT *, nextval('counter') FROM history", "ReadOnlySqlTransaction, SQLSTATE 25006"),
        ("SELECT * INTO copied FROM history", "the query fails ("),
    ],
)
def test_a_query_that_fails_says_how_and_changes_nothing(
    engine: Engine, server: URL, tmp_path: Path, query: str, expected: str
) -> None:
    fill(
        engine,
        "CREATE TABLE history (prompt_id text, prompt text, model text, score real); CREATE SEQUENCE counter",
    )
    fill(engine, f"INSERT INTO history VALUES ('a', '{PROMPT}', 'm', 1)")  # noqa: S608
    assert expected in refusal(lambda: resolve(Query(query, whole(server)), tmp_path))
    with engine.connect() as connection:
        assert [(1,)] == connection.exec_driver_sql("SELECT count(*) FROM history").fetchall()
        assert [(1,)] == connection.exec_driver_sql("SELECT nextval('counter')").fetchall()
        assert (
            [] == connection.exec_driver_sql("SELECT 1 FROM pg_tables WHERE tablename = 'copied'").fetchall()
        )


def test_percent_signs_and_colons_are_the_querys_own(server: URL, tmp_path: Path) -> None:
    query = Query(
        "SELECT 'a' AS prompt_id, 'x' AS prompt, 'm' AS model, 1 AS score, '%s :y'::text AS note "
        "WHERE 'abc' LIKE '%b%' -- ; :z",
        whole(server),
    )
    assert ["%s :y"] == read_history(resolve(query, tmp_path).files).rows["note"].tolist()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"password": "s3cret of itself"}, "cannot be reached (connection failed: "),
        ({"username": "stranger"}, "cannot be reached (connection failed: "),
        ({"database": "none"}, 'database "none" does not exist'),
        ({"query": {"host": "/nowhere"}}, "cannot be reached (connection "),
    ],
)
def test_a_database_that_cannot_be_reached_is_named_without_its_password(
    server: URL, tmp_path: Path, change: dict[str, Any], expected: str
) -> None:
    url = whole(server.set(**change))
    message = refusal(lambda: resolve(Query("SELECT 1", url), tmp_path))
    assert expected in message
    assert ":***@/" in message
    assert "check the URL, and that the database runs" in message


def test_a_connection_that_breaks_half_way_leaves_what_was_there(server: URL, tmp_path: Path) -> None:
    one = "SELECT i::text AS prompt_id, 'x' AS prompt, 'm' AS model, 1 AS score FROM generate_series(1, {}) AS i"
    before = resolve(Query(one.format(3), whole(server)), tmp_path)
    broken = one.format(9000).replace(
        "1 AS score",
        "CASE WHEN i = 7000 THEN pg_terminate_backend(pg_backend_pid())::int ELSE 1 END AS score",
    )
    message = refusal(lambda: resolve(Query(broken, whole(server)), tmp_path))
    assert "the query fails at some row (" in message
    assert [QUERIED_FILE] == [path.name for path in tmp_path.iterdir()]
    assert before.described == resolve(Query(one.format(3), whole(server)), tmp_path).described
