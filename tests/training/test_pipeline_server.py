"""A weekly run whose MLflow server is away: before it, in the middle, and when it comes to promoting."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from mishaps import At, Step
from weeks import Ended, Home, Project, make_project, run, start

pytestmark = pytest.mark.pipeline

TRACKING = "training.pipeline.tracking:Tracking"


class Server:
    """MLflow's server on the database of a home, on the loopback."""

    def __init__(self, home: Home) -> None:
        self.home = home
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = self.home.path.parent / "log"
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1"),
                    *("--port", str(self.port), "--backend-store-uri", f"sqlite:///{self.home.database}"),
                    *("--artifacts-destination", str(self.home.path / "store")),
                ],
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
            )
        while not self._answers():
            assert self._process.poll() is None, log.read_text(encoding="utf-8")
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=10) as answer:  # noqa: S310 - the loopback
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.getbasetemp())


@pytest.fixture
def server(project: Project, tmp_path: Path) -> Iterator[Server]:
    """A server that does not run yet, on a home with a champion."""
    server = Server(project.home.copy(tmp_path / "home"))
    yield server
    server.kill()


def test_a_server_that_goes_away_and_comes_back(project: Project, server: Server) -> None:
    home, uri = server.home, ("--tracking-uri", server.uri)
    before = home.serving

    down = run(project, home, project.better, *uri)
    assert_says(down, server)
    assert (before, 1, []) == (home.serving, len(home.runs), down.begun)

    server.start()
    for place, done in (
        (Step("fit", "begun"), "fit"),  # it is known only after the fit, which is not lost
        (At(f"{TRACKING}.set_alias", "champion"), "intend"),  # the journal is written
    ):
        running = start(project, home, project.better, *uri, wait=place)
        running.reached()
        server.kill()
        running.go_on()
        ended = running.end()
        assert_says(ended, server)
        assert done == ended.begun[-1]
        assert before == home.serving
        server.start()

    ended = run(project, home, project.better, *uri)
    assert (0, "ROUTE", 2, []) == (ended.code, ended.result["verdict"], ended.result["champion"], ended.begun)
    assert (2, [1, 2], ended.result["model_id"]) == home.serving
    assert (2, ["FINISHED", "FINISHED"]) == (len(home.versions), home.runs)


def assert_says(ended: Ended, server: Server) -> None:
    assert 1 == ended.code, ended.err
    assert ended.error.startswith("error: MLflow: cannot ")
    assert f" at {server.uri}: the server does not answer; start it or check the address" in ended.error


def test_a_server_that_keeps_the_files_itself(project: Project, server: Server) -> None:
    """Nothing is there but the server: no champion, no experiment, no path that this machine shares with it."""
    home, uri = server.home, ("--tracking-uri", server.uri)
    home.database.unlink()
    shutil.rmtree(home.path / "champion")
    server.start()
    ended = run(project, home, project.first, *uri)
    assert (0, "ROUTE", 1) == (ended.code, ended.result["verdict"], ended.result["champion"]), ended.err
    assert (1, [1], project.home.folder) == home.serving
    assert (home.path / "store").is_dir()
    assert not (home.path / "artifacts").exists()
