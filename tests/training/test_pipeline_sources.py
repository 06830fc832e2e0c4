"""Files are found in a settled order and not while they change; a query's rows become one of them."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from eval.history import read_history
from router.errors import ConfigError
from training.pipeline.settings import Files, Query
from training.pipeline.sources import QUERIED_FILE, require_unchanged, resolve
from training.provenance import describe_files

PROMPT = "Zanzibar parrots whisper, quietly"


def database_of(path: Path, n: int) -> Query:
    """A SQLite database of n prompts that two models answered, and the query for all of it."""
    rows = [(f"p{i}", f"{PROMPT} {i}", model, k / 2) for i in range(n) for k, model in enumerate("ba")]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE history (prompt_id, prompt, model, score)")
        connection.executemany("INSERT INTO history VALUES (?, ?, ?, ?)", rows)
    return Query("SELECT * FROM history", f"sqlite:///{path}")


def refusal(act: Callable[[], Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        act()
    return str(caught.value)


# Files.


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of several names below the working directory; what they hold does not matter."""
    monkeypatch.chdir(tmp_path)
    for name in ("logs/b.csv", "logs/a.csv", "logs/old/c.csv", "logs/a.jsonl", "odd[1].csv"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "logs" / "folder.csv").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (("logs/*.csv",), ["logs/a.csv", "logs/b.csv"]),
        (("logs/**/*.csv",), ["logs/a.csv", "logs/b.csv", "logs/old/c.csv"]),
        (("logs/b.csv", "logs/a.*"), ["logs/a.csv", "logs/a.jsonl", "logs/b.csv"]),
        (("logs/b.csv", "logs/*.csv", "logs/../logs/b.csv"), ["logs/a.csv", "logs/b.csv"]),  # each once
        (("odd[1].csv",), ["odd[1].csv"]),  # a file's own name before a pattern
    ],
)
def test_globs_are_expanded_and_sorted(logs: Path, patterns: tuple[str, ...], expected: list[str]) -> None:
    loaded = resolve(Files(patterns), logs / "work")
    assert [Path(name) for name in expected] == loaded.files
    assert describe_files(loaded.files) == loaded.described
    assert not (logs / "work").exists()
    require_unchanged(loaded)


def test_a_whole_path_with_a_pattern_is_expanded(logs: Path, tmp_path: Path) -> None:
    assert [logs / "logs/old/c.csv"] == resolve(Files((f"{logs}/**/c.csv",)), tmp_path).files


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("logs/*.parquet", "history logs/*.parquet: matches no file"),
        ("none.csv", "history none.csv: cannot be read (No such file or directory); check the path"),
        ("logs", "history logs: is a folder; name the files in it, such as logs/*.parquet"),
    ],
)
def test_what_is_not_there_is_refused(logs: Path, pattern: str, expected: str) -> None:
    assert expected in refusal(lambda: resolve(Files(("logs/a.csv", pattern)), logs))


def test_a_file_that_changes_is_refused(logs: Path) -> None:
    path = logs / "logs" / "a.csv"
    loaded = resolve(Files((str(path),)), logs)
    with path.open("a") as file:
        file.write("x")
    message = refusal(lambda: require_unchanged(loaded))
    assert f"history {path}: expected a finished file, and it changed while it was read" in message
    path.unlink()
    assert "cannot be read (No such file or directory)" in refusal(lambda: require_unchanged(loaded))


def test_a_file_that_was_only_touched_has_not_changed(logs: Path) -> None:
    loaded = resolve(Files(("logs/a.csv",)), logs)
    os.utime(logs / "logs" / "a.csv", (1, 1))
    require_unchanged(loaded)


def test_a_file_that_grows_while_its_digest_is_taken_is_refused(tmp_path: Path) -> None:
    # A pipe gives what a writer has not written yet: the digest waits for its end, which is longer than it was.
    path = tmp_path / "h.jsonl"
    os.mkfifo(path)

    def write() -> None:
        with path.open("w") as file:
            file.write("x")
        os.utime(path, (1, 1))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        message = refusal(lambda: resolve(Files((str(path),)), tmp_path))
    finally:
        writer.join()
    assert "changed while it was read; let its writer write aside and rename" in message


# A database.


def test_a_select_is_a_history(tmp_path: Path) -> None:
    query = database_of(tmp_path / "h.db", 3)
    loaded = resolve(query, tmp_path / "work" / "key")
    assert [tmp_path / "work" / "key" / QUERIED_FILE] == loaded.files
    assert describe_files(loaded.files) == loaded.described
    history = read_history(loaded.files)
    assert ["p0", "p1", "p2"] == history.prompts["prompt_id"].tolist()
    assert [f"{PROMPT} {i}" for i in range(3)] == history.prompts["prompt"].tolist()
    assert [0.5, 0.0] * 3 == history.rows["score"].tolist()
    assert [QUERIED_FILE] == [path.name for path in (tmp_path / "work" / "key").iterdir()]
    require_unchanged(loaded)


def test_the_url_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = database_of(tmp_path / "h.db", 1).url
    query = Query("SELECT * FROM history", url_env="TIERWISE_TEST_URL")
    assert "environment variable TIERWISE_TEST_URL, found nothing; set it" in refusal(
        lambda: resolve(query, tmp_path)
    )
    monkeypatch.setenv("TIERWISE_TEST_URL", "s3cret")
    message = refusal(lambda: resolve(query, tmp_path))
    assert "found something else" in message
    assert "s3cret" not in message
    assert url is not None
    monkeypatch.setenv("TIERWISE_TEST_URL", url)
    assert 1 == len(read_history(resolve(query, tmp_path).files).prompts)
