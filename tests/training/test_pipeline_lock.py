"""One run at a time: real processes, one file."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from router.errors import ConfigError
from training.lock import Locked, hold, user, who

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import sys
from pathlib import Path
from training.lock import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until its stdin is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert "held\n" == process.stdout.readline()
        yield process
    finally:
        process.communicate("")


def test_the_second_is_told_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "home" / "retrain.lock"
    with holder(path) as process:
        with pytest.raises(Locked) as refused, hold(path):
            pass
        text = str(refused.value)
        assert f"another run holds {path}: pid {process.pid} of {who()}" in text
        assert "(just now)" in text or "(1 minute)" in text
        assert 1 == refused.value.exit_code
        found = json.loads(path.read_text())
        assert {"pid", "host", "user", "command", "since"} == set(found)
    with hold(path):
        pass


def test_a_killed_holder_frees_it(tmp_path: Path) -> None:
    path = tmp_path / "retrain.lock"
    with holder(path) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert str(process.pid) in path.read_text()
        with hold(path):
            assert os.getpid() == json.loads(path.read_text())["pid"]


def test_it_is_given_back_whatever_happens(tmp_path: Path) -> None:
    path = tmp_path / "retrain.lock"
    with pytest.raises(ZeroDivisionError), hold(path):
        raise ZeroDivisionError
    assert "" == path.read_text()
    with hold(path), pytest.raises(Locked), hold(path):
        pass


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"since": 5}', "\0\0"])
def test_a_holder_that_has_not_said_who_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "retrain.lock"
    with hold(path):
        path.write_text(text)
        with pytest.raises(Locked, match="a process that has not said yet which it is"), hold(path):
            pass


@pytest.mark.parametrize(
    ("minutes", "age"),
    [(0, "just now"), (1, "1 minute"), (12, "12 minutes"), (180, "3 hours"), (4320, "3 days")],
)
def test_its_age_is_said(tmp_path: Path, minutes: int, age: str) -> None:
    path = tmp_path / "retrain.lock"
    with hold(path):
        since = datetime.now(UTC) - timedelta(minutes=minutes, seconds=20)
        document = json.loads(path.read_text()) | {"since": since.isoformat()}
        path.write_text(json.dumps(document))
        with pytest.raises(Locked, match=rf"\({age}\); wait for it, or stop it"), hold(path):
            pass


def test_a_place_that_cannot_hold_a_lock(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(ConfigError, match="file is not a folder; name another place with --home"),
        hold(tmp_path / "file" / "retrain.lock"),
    ):
        pass


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("training.lock.getuser", unknown)
    assert str(os.getuid()) == user()
    assert f"{os.getuid()}@{socket.gethostname()}" == who()
