"""MLflow that goes away: a real server killed before, during and after, and a database that another process holds."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from homes import make_template, rename, renew_home, tracking_of

from training.__main__ import main
from training.pipeline.champions import predecessors, read_journal
from training.pipeline.promotion import FOLDER_TAG, holds, promote, rollback, sync
from training.pipeline.settings import Place
from training.pipeline.tracking import CHAMPION, Tracking, TrackingError

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, toy_artifact: Path) -> Path:
    """A home with three versions; not to be changed."""
    return make_template(tmp_path_factory.getbasetemp(), toy_artifact)


class Server:
    """MLflow's server on a database of its own, on the loopback."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1"),
                    *("--port", str(self.port), "--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"),
                    *("--artifacts-destination", str(self.folder / "store")),
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
            )
        while not self.answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.1)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=10) as answer:  # noqa: S310 - the loopback
                return bool(answer.status == 200)
        except OSError:
            return False

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        if self.process is not None:
            self.signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture
def server(template: Path, tmp_path: Path) -> Iterator[Server]:
    """A running server that knows the three versions."""
    folder = tmp_path / "server"
    folder.mkdir()
    shutil.copyfile(template / "mlflow.db", folder / "mlflow.db")
    server = Server(folder)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def place(server: Server, tmp_path: Path) -> Place:
    home = tmp_path / "home"
    return Place(home, server.uri, home / "artifacts", home / "champion", "tierwise")


class Watched(Tracking):
    """A registry that does something else right after a step."""

    experiment = "remote"  # the template's own keeps its files in a folder
    after: str = ""
    then: Callable[[], None]

    def fetch_model(self, number: int, into: Path) -> Path:
        found = super().fetch_model(number, into)
        self.done("fetched")
        return found

    def set_model_tag(self, key: str, value: str) -> None:
        super().set_model_tag(key, value)
        if key != FOLDER_TAG:
            self.done("marked" if json.loads(value)["moved"] else "written")

    def set_alias(self, name: str, number: int) -> None:
        super().set_alias(name, number)
        self.done("moved")

    def done(self, step: str) -> None:
        if step == self.after:
            self.then()


def tracking_at(place: Place) -> Watched:
    return Watched(place.tracking_uri, place.artifact_dir, place.model_name)


def champion_of(tracking: Tracking) -> int | None:
    found = tracking.alias(CHAMPION)
    return found.version if found else None


def test_all_of_it_through_a_server(server: Server, place: Place, toy_artifact: Path, tmp_path: Path) -> None:
    tracking = tracking_at(place)
    run_id = tracking.begin("k", "week 4", {"a": "b"})
    tracking.log_params(run_id, {f"p{i}": i for i in range(150)})
    tracking.log_metrics(run_id, {f"m{i}": i for i in range(150)})
    (tmp_path / "a.txt").write_text("a")
    tracking.log_files(run_id, tmp_path / "a.txt", "report")
    tracking.log_dataset(run_id, "history", "f" * 64, "local", {"uri": "h.parquet"}, 12, "training")
    artefact = rename(toy_artifact, tmp_path / "new", "tw-new")
    for _ in range(2):
        assert 4 == tracking.register(run_id, artefact, "week 4", {})
    assert (server.folder / "store").is_dir()
    assert not place.artifact_dir.exists()
    tracking.end(run_id, "FINISHED")
    found = tracking.fetch(run_id, "report/a.txt", tmp_path / "back")
    assert found is not None
    assert "a" == found.read_text()
    assert tracking.fetch(run_id, "report/b.txt", tmp_path / "back") is None
    promote(tracking, place, 1)
    assert 4 == promote(tracking, place, 4)["champion"]
    champion = tracking.alias(CHAMPION)
    assert champion is not None
    assert holds(place.champion_dir, champion)
    assert 1 == rollback(tracking, place)["champion"]


def test_a_server_killed_during_a_promotion(server: Server, place: Place) -> None:
    tracking = tracking_at(place)
    promote(tracking, place, 1)
    promote(tracking, place, 2)
    for step, expected in (("fetched", 2), ("written", 2), ("moved", 3)):
        watched = tracking_at(place)
        watched.after, watched.then = step, server.kill
        with pytest.raises(TrackingError) as failed:
            promote(watched, place, 3)
        text = str(failed.value)
        assert f"at {server.uri}: the server does not answer; start it or check the address" in text
        assert (step == "moved") == text.startswith("version 3 is the champion now, but not all is done: ")
        for act in (lambda: sync(tracking, place), lambda: rollback(tracking, place)):
            with pytest.raises(TrackingError, match="the server does not answer"):
                act()
        server.start()
        assert expected == champion_of(tracking)
        synced = sync(tracking, place)
        assert synced.champion is not None
        assert (expected, step == "moved") == (synced.champion.version, synced.changed)
    assert [2, 1] == predecessors(read_journal(tracking.model_tags()).events, 3)


def test_a_server_killed_between_the_calls_of_a_run(
    server: Server, place: Place, toy_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = tracking_at(place)
    run_id = tracking.begin("k", "week 4", {})
    server.kill()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    artefact = rename(toy_artifact, tmp_path / "new", "tw-new")
    acts: dict[str, Callable[[], Any]] = {
        "look for earlier runs": lambda: tracking.find_run("k"),
        "start a run": lambda: tracking.begin("k", "week 4", {}, run_id),
        "log parameters": lambda: tracking.log_params(run_id, {"a": 1}),
        "log metrics": lambda: tracking.log_metrics(run_id, {"a": 1}),
        "set tags": lambda: tracking.set_tags(run_id, {"a": 1}),
        "store manifest.json": lambda: tracking.log_files(run_id, artefact / "manifest.json"),
        "log the dataset": lambda: tracking.log_dataset(run_id, "h", "f", "local", {}, 1, "training"),
        "fetch a.txt": lambda: tracking.fetch(run_id, "a.txt", tmp_path),
        "list the model's versions": lambda: tracking.register(run_id, artefact, "", {}),
        "look up the champion": lambda: tracking.alias(CHAMPION),
        "make version 2 the champion": lambda: tracking.set_alias(CHAMPION, 2),
        "tag version 2": lambda: tracking.tag_version(2, {"a": 1}),
        "fetch version 2": lambda: tracking.fetch_model(2, tmp_path / "x"),
        "read the model's journal": tracking.model_tags,
        "write the model's journal": lambda: tracking.set_model_tag("a", "b"),
        "end the run": lambda: tracking.end(run_id, "FAILED"),
    }
    for what, act in acts.items():
        with pytest.raises(TrackingError) as failed:
            act()
        assert str(failed.value).startswith(
            f"MLflow: cannot {what} at {server.uri}: the server does not answer; "
        )
    server.start()
    assert run_id == tracking.begin("k", "week 4", {}, run_id)
    assert 4 == tracking.register(run_id, artefact, "", {})


def test_commands_without_their_server(
    server: Server, place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.kill()
    for command in (("promote", "1"), ("rollback",), ("history",)):
        code = main([*command, "--home", str(tmp_path / "home"), "--tracking-uri", place.tracking_uri])
        captured = capsys.readouterr()
        assert (1, "") == (code, captured.out)
        assert captured.err.startswith("error: MLflow: cannot look ")
        assert 1 == len(captured.err.splitlines())
    assert not (tmp_path / "home").exists()


def test_a_server_that_hangs(server: Server, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    tracking = tracking_at(place)
    tracking.open()
    server.signal(signal.SIGSTOP)
    try:
        with pytest.raises(TrackingError, match="the server does not answer in time"):
            tracking.find_run("k")
    finally:
        server.signal(signal.SIGCONT)
    assert tracking.find_run("k") is None


def test_what_answers_and_is_not_mlflow(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as other:
        try:
            assert other.stdout is not None
            port = other.stdout.readline().split(" port ")[1].split()[0]
            tracking = Tracking(f"http://127.0.0.1:{port}", tmp_path, "tierwise")
            for act in (lambda: tracking.find_run("k"), tracking.open, lambda: tracking.alias(CHAMPION)):
                with pytest.raises(TrackingError) as failed:
                    act()
                assert 1 == len(str(failed.value).splitlines())
        finally:
            other.kill()


def test_a_database_that_another_process_holds(template: Path) -> None:
    home = renew_home(template)
    tracking = tracking_of(home)
    tracking.open()
    with closing(sqlite3.connect(home / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TrackingError) as failed:
            tracking.set_alias(CHAMPION, 1)
        other.execute("ROLLBACK")
    assert (
        f"MLflow: cannot make version 1 the champion at {home}/mlflow.db: another process holds the database (an MLflow "
        "server or UI, a backup, another run); wait for it or stop it, then run it again: it goes on where it stopped"
    ) == str(failed.value)
    tracking.set_alias(CHAMPION, 1)
    assert 1 == champion_of(tracking)
