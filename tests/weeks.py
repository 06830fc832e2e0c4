"""Weekly runs on small histories, each in a process of its own that dies or waits where a test wants it to.

Processes are forked from one that has imported what a run imports, which takes longer than such a run itself.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from mishaps import Faults, prepare

from router.artifact import read_manifest
from router.tiers import Tier
from training.pipeline.champions import read_journal, terms
from training.synthetic import generate_period
from training.synthetic_conditions import STANDING, render_tiers
from training.synthetic_model import LADDER

ROOT = Path(__file__).resolve().parents[1]
MOST_SECONDS = 300.0
"""After which a process is taken to hang."""

PROMPTS = 240
FAMILIES = tuple(STANDING.shares)
FEW_EASY = ("classification", "coding", "extraction", "summary", "translation")
MOST_EASY = tuple(family for family in FAMILIES if family not in ("legal", "agent"))
SMALL, MEDIUM, LARGE = LADDER.tiers

# Few prompts support no stricter promise.
PROMOTION = "max_regret = 0.1\nmax_ece = 0.3"


_IMPORTED = (
    "lightgbm", "mlflow.artifacts", "mlflow.pyfunc", "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store", "mlflow.tracking", "onnx", "onnxruntime", "sklearn.linear_model",
    "training.__main__", "training.pipeline.retrain",
)  # fmt: skip


# What a run is given


def draw_week(
    easy: Sequence[str], mark: str, start: str, *, n: int = PROMPTS, models: Sequence[str] = ()
) -> pd.DataFrame:
    """A history of twelve weeks in which the small model passes what is easy, and the large one everything."""
    drawn, _ = generate_period(n, [ord(mark)], STANDING, np.datetime64(start), 84, mark)
    drawn = drawn[drawn["model"].isin(models or (SMALL.model, LARGE.model))].reset_index(drop=True)
    drawn["score"] = np.where(drawn["task"].isin(easy) | (drawn["model"] != SMALL.model), 1.0, 0.0)
    return drawn


def write_tiers(path: Path, *tiers: Tier, pass_score: float = 0.5) -> Path:
    """Write a ladder, the cheapest tier first."""
    path.write_text(render_tiers(replace(LADDER, tiers=tiers, pass_score=pass_score)), encoding="utf-8")
    return path


class Project(NamedTuple):
    """A folder with three histories, a ladder, and a home whose first champion routes; not to be changed."""

    folder: Path
    first: Path
    better: Path
    worse: Path

    @property
    def tiers(self) -> Path:
        return self.folder / "tiers.toml"

    @property
    def home(self) -> Home:
        return Home(self.folder / "home")


def make_project(base: Path) -> Project:
    """Write three histories, and run the first one, so that its model is the champion; where that is not done yet."""
    folder = base / "weeks"
    project = Project(folder, *(folder / f"{name}.parquet" for name in ("first", "better", "worse")))
    if folder.exists():
        return project
    folder.mkdir()
    draw_week(FEW_EASY, "a", "2026-01-05").to_parquet(project.first)
    draw_week(MOST_EASY, "b", "2026-03-30").to_parquet(project.better)
    draw_week((), "c", "2026-03-30").to_parquet(project.worse)
    write_tiers(project.tiers, SMALL, LARGE)
    ended = run(project, project.home, project.first)
    assert (0, True) == (ended.code, ended.result["promoted"]), ended.err
    return project


# What it leaves


@dataclass(frozen=True)
class Home:
    """A home folder, looked at from outside: its database by SQLite, its folder by the manifest."""

    path: Path

    @property
    def database(self) -> Path:
        return self.path / "mlflow.db"

    def ask(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(query).fetchall()

    @property
    def champion(self) -> int | None:
        found = self.ask("SELECT version FROM registered_model_aliases WHERE alias = 'champion'")
        return int(found[0][0]) if found else None

    @property
    def served(self) -> list[int]:
        """Which versions served, by the journal and the alias."""
        tags = dict(self.ask("SELECT key, value FROM registered_model_tags"))
        return [term.version for term in terms(read_journal(tags).events, self.champion)]

    @property
    def versions(self) -> dict[int, dict[str, str]]:
        """The tags of each registered version."""
        found: dict[int, dict[str, str]] = {
            n: {} for (n,) in self.ask("SELECT version FROM model_versions ORDER BY 1")
        }
        for version, key, value in self.ask("SELECT version, key, value FROM model_version_tags"):
            found[version][key] = value
        return found

    @property
    def runs(self) -> list[str]:
        """The status of each run, the oldest first."""
        return [status for (status,) in self.ask("SELECT status FROM runs ORDER BY start_time")]

    @property
    def folder(self) -> str:
        """The model that the champion's folder holds."""
        return read_manifest(self.path / "champion").model_id

    @property
    def serving(self) -> tuple[int | None, list[int], str]:
        """All that says who serves and served."""
        return self.champion, self.served, self.folder

    def copy(self, to: Path) -> Home:
        """A home like it; the files that its database names stay where they are."""
        shutil.copytree(self.path, to, ignore=shutil.ignore_patterns("artifacts"))
        return Home(to)


# How it is run


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it wrote."""

    code: int
    out: str
    err: str
    begun: list[str]

    @property
    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return found

    @property
    def error(self) -> str:
        """The one sentence that tells why, which is the last line."""
        *before, last = self.err.splitlines()
        assert last.startswith(("error: ", "interrupted"))
        assert not [line for line in before if line.startswith("error")]
        assert "" == self.out
        return last


class Running:
    """A process that runs a command of `python -m training`."""

    def __init__(
        self,
        arguments: Sequence[str],
        secrets: Sequence[str],
        faults: Faults,
    ) -> None:
        context = _context()
        self._secrets = secrets
        self._ours, theirs = context.Pipe()
        self._streams: list[Connection] = []
        self._read: list[list[bytes]] = [[], [], []]
        ends = []
        for _ in self._read:
            reader, writer = context.Pipe(duplex=False)
            self._streams.append(reader)
            ends.append(writer)
        self.process = context.Process(target=_child, args=(list(arguments), faults, theirs, *ends))
        self.process.start()
        for end in (theirs, *ends):
            end.close()
        self._threads = [
            Thread(target=_drain, args=pair) for pair in zip(self._streams, self._read, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def reached(self) -> None:
        """Wait until it waits."""
        self._ours.recv()

    def go_on(self) -> None:
        """Let it go on."""
        self._ours.send(None)

    def send(self, number: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def end(self) -> Ended:
        """Wait for its end; no traceback and no prompt is in what it wrote."""
        self.process.join(MOST_SECONDS)
        if self.process.exitcode is None:
            self.process.kill()
        for thread in self._threads:
            thread.join()
        out, err, begun = (b"".join(parts).decode() for parts in self._read)
        assert self.process.exitcode is not None, f"it hangs: {err}"
        assert "Traceback" not in err, err
        assert not [text for text in self._secrets if text in err or text in out]
        return Ended(self.process.exitcode, out, err, begun.split())


def start(
    project: Project,
    home: Home,
    history: str | Path,
    *options: str | Path,
    tiers: Path | None = None,
    settings: str = "",
    promotion: str = "",
    **faults: Any,
) -> Running:
    """Start `python -m training retrain` on a history.

    Parameters
    ----------
    tiers : Path, optional
        In place of the project's.
    settings, promotion : str
        Lines of TOML, for the configuration and for its table `promotion`.
    faults : fields of `Faults`
    """
    home.path.mkdir(parents=True, exist_ok=True)
    config = home.path.parent / f"{home.path.name}.toml"
    lines = (f'tiers = "{tiers or project.tiers}"', settings, "[promotion]", PROMOTION, promotion)
    config.write_text("\n".join(lines), encoding="utf-8")
    arguments = ["retrain", "--config", config, "--home", home.path, "--history", history, *options]
    return Running([str(each) for each in arguments], _starts_of_prompts(Path(history)), Faults(**faults))


def run(project: Project, home: Home, history: str | Path, *options: str | Path, **more: Any) -> Ended:
    """Run `python -m training retrain` to its end."""
    return start(project, home, history, *options, **more).end()


def _starts_of_prompts(history: Path) -> list[str]:
    """The first words of every prompt that is long enough to be known by them."""
    try:
        prompts = pd.read_parquet(history, columns=["prompt"])["prompt"].dropna().unique()
    except (OSError, ValueError):
        return []
    return [prompt[:40] for prompt in prompts if len(prompt) >= 40]


# In the process


def _context() -> multiprocessing.context.ForkServerContext:
    """The server of forked processes, started with what a run imports."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_IMPORTED))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        for wait in ("FACTOR", "JITTER"):  # between attempts to reach a server
            environment.setenv(f"MLFLOW_HTTP_REQUEST_BACKOFF_{wait}", "0")
        environment.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'tests'}")
        forkserver.ensure_running()
    return context


def _drain(stream: Connection, into: list[bytes]) -> None:
    while found := os.read(stream.fileno(), 65536):
        into.append(found)
    stream.close()


def _child(
    arguments: list[str],
    faults: Faults,
    ours: Connection,
    out: Connection,
    err: Connection,
    begun: Connection,
) -> None:
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)

    def wait() -> None:
        ours.send(None)
        ours.recv()

    prepare(faults, wait, begun.fileno())
    sys.argv = ["training", *arguments]
    sys.exit(importlib.import_module("training.__main__").main(arguments))
