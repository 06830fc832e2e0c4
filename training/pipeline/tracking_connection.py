"""The way to MLflow: a client that fails soon, prints nothing, and never meets half a database."""

from __future__ import annotations

import gc
import logging
import os
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from router.errors import ConfigError, RouterError
from training.pipeline.faults import explain, where_of

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

__all__ = ["Connection", "as_default", "database_file", "is_server", "key_of", "open_client", "texts"]

TEXT_SIZE = 5000
"""Characters of a tag or a description: what its databases hold."""

# Set before MLflow is imported, unless the environment says otherwise. With retries and waits of MLflow's own
# (7 times 120 s) a server that is down holds a run up for a quarter of an hour.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # its errors come as exceptions; logged, they are tracebacks
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


class Connection:
    """MLflow at a place: opened by the first call that needs it, its time counted, its failures one sentence.

    Attributes
    ----------
    seconds : float
        Spent in MLflow so far, its import included.
    """

    def __init__(self, uri: str, artifact_dir: Path, *, may_create: bool) -> None:
        self.uri = uri
        self.artifact_dir = Path(artifact_dir)
        self.seconds = 0.0
        self._may_create = may_create
        self._depth = 0
        self._opened: MlflowClient | None = None

    @property
    def where(self) -> str:
        """The database or server, for a person: without its password."""
        return where_of(self.uri)

    @contextmanager
    def _doing(self, what: str, files: bool = False) -> Iterator[MlflowClient]:
        """Hold MLflow's client while something is done with it; what it raises becomes one sentence.

        Its time is counted, its output and its warnings are kept away.
        """
        started = time.perf_counter()
        self._depth += 1
        try:
            with warnings.catch_warnings(), redirect_stdout(sys.stderr):
                warnings.simplefilter("ignore")
                if self._opened is None:
                    self._opened = open_client(self.uri, may_create=self._may_create)
                yield self._opened
        except RouterError:
            raise
        except Exception as error:  # what its stores, servers and databases raise has no narrower base
            also = str(self.artifact_dir) if files and not is_server(self.uri) else ""
            raise explain(error, what, self.uri, also) from error
        finally:
            self._depth -= 1
            if not self._depth:
                self.seconds += time.perf_counter() - started


def open_client(uri: str, *, may_create: bool) -> MlflowClient:
    """Return MLflow's client for a database or server; a database file that is missing is made, if it may be.

    Raises
    ------
    ConfigError
        There is no database file, and none may be made.
    Exception
        Whatever MLflow and its libraries raise.
    """
    file = database_file(uri)
    # One that is empty was opened by somebody and never filled.
    missing = file is not None and (not file.exists() or (file.is_file() and not file.stat().st_size))
    if missing and not may_create:
        raise ConfigError(
            f"no database at {where_of(uri)}, so no model is registered there; run `python -m training retrain` "
            "first, or check --home, --config and --tracking-uri"
        )
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with _no_collection():
        from mlflow.tracking import MlflowClient

        for name in ("mlflow", "alembic", "urllib3"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if file is not None and missing:
            _make_database(file)
        elif not is_server(uri):
            _try_database(uri)
        return MlflowClient(uri, uri)


@contextmanager
def as_default(uri: str) -> Iterator[None]:
    """Make a URI the process's default for a while: a database's registry looks a logged model up there."""
    import mlflow

    names = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
    before = {name: os.environ.get(name) for name in names}
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type] # None is how it is unset
        for name, value in before.items():
            if value is not None:
                os.environ[name] = value


@contextmanager
def _no_collection() -> Iterator[None]:
    """Do without garbage collection: among the objects of two thousand modules it finds none, for a fifth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def is_server(uri: str) -> bool:
    """Say whether a tracking URI is a server's; any other is a database's. Pure."""
    return uri.startswith(("http://", "https://"))


def database_file(uri: str) -> Path | None:
    """Return the file of an SQLite database, None for any other URI. Pure."""
    found = re.fullmatch(r"sqlite:///([^?]+)(\?.*)?", uri)
    return Path(found[1]) if found else None


def _make_database(file: Path) -> None:
    """Make a new database aside, then give it its name: its tables take seconds, and half of them are of no use."""
    from mlflow.tracking import MlflowClient

    print(f"MLflow: making the database {file}, once; this takes some seconds", file=sys.stderr)  # noqa: T201
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{file.name}.", dir=file.parent) as folder:
        aside = Path(folder) / file.name
        MlflowClient(f"sqlite:///{aside}", f"sqlite:///{aside}").search_experiments(max_results=1)
        aside.replace(file)


def _try_database(uri: str) -> None:
    """Connect to a database once: MLflow itself would try for two minutes before it said that it cannot."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def texts(values: Mapping[str, object]) -> dict[str, str]:
    """Return tags or parameters as MLflow takes them: names without odd characters, values cut to what fits. Pure."""
    return {
        key_of(name): text if len(text := str(value)) <= TEXT_SIZE else text[: TEXT_SIZE - 1] + "…"
        for name, value in values.items()
    }


def key_of(name: str) -> str:
    """Return a name that MLflow takes: letters and digits, of any script, and _-. :/; others become _. Pure."""
    return re.sub(r"[^\w.\-: /]", "_", name)[:250]
