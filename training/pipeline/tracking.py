"""MLflow: runs, model versions, aliases. Nothing else of training knows it, but for the two `tracking_*` beside.

What `Tracking` promises over MLflow's own client: every failure is one sentence (`TrackingError`); nothing is
printed on stdout and no flood on stderr; an address is never taken from the environment; what is done again
after a crash is done once; a new database appears whole or not at all.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, datetime
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from router.artifact import MANIFEST_FILE, read_manifest, sha256_of
from router.errors import RouterError
from training.pipeline.faults import TrackingError, explain, where_of
from training.pipeline.tracking_connection import as_default, is_server, open_client
from training.pipeline.tracking_model import MODEL_TAG, write_flavour
from training.pipeline.urls import mask

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel
    from mlflow.tracking import MlflowClient

T = TypeVar("T")

__all__ = ["CHALLENGER", "CHAMPION", "Run", "Tracking", "TrackingError", "Version"]

CHAMPION, CHALLENGER = "champion", "challenger"
"""Aliases: the version that serves, and the newest one registered."""

KEY_TAG = "tierwise.key"
MANIFEST_TAG = "tierwise.manifest"
"""Tag of a version: the sha256 of its manifest, so that a folder can be known for it without fetching it."""

# MLflow's limits: entries per call (utils/validation.py), characters of a dataset's digest and of a description.
_PER_BATCH = 100
_DIGEST_SIZE = 36
_TEXT_SIZE = 5000


class Run(NamedTuple):
    """A run: its id, its status (RUNNING, FINISHED, FAILED, KILLED), its tags."""

    run_id: str
    status: str
    tags: dict[str, str]


class Version(NamedTuple):
    """A registered version: its number, the run it is from, its tags, and when it was made (ISO, UTC)."""

    version: int
    run_id: str | None
    tags: dict[str, str]
    created: str


class Tracking:
    """An MLflow experiment and a registered model in it.

    Nothing is imported, opened or made before the first call that needs it.

    Parameters
    ----------
    uri : str
        Of a database (`sqlite:////path`, `postgresql://...`) or a server (`http://...`).
    artifact_dir : path
        Where files go if `uri` is a database; a server has a place of its own.
    model_name : str
        Of the registered model.
    experiment : str
        Made if it is not there.
    may_create : bool
        Whether a database file that is missing is made; if not, it is an error that says so.

    Attributes
    ----------
    seconds : float
        Spent in MLflow so far, its import included.
    """

    def __init__(
        self,
        uri: str,
        artifact_dir: Path,
        model_name: str,
        experiment: str = "tierwise",
        *,
        may_create: bool = True,
    ) -> None:
        self.uri = uri
        self.artifact_dir = Path(artifact_dir)
        self.model_name = model_name
        self.experiment = experiment
        self.seconds = 0.0
        self._may_create = may_create
        self._depth = 0
        self._opened: MlflowClient | None = None
        self._experiment_id: str | None = None

    @property
    def where(self) -> str:
        """The database or server, for a person: without its password."""
        return where_of(self.uri)

    def open(self) -> None:
        """Connect now: a missing database, or a server that does not answer, is said before anything is done."""
        with self._doing("look for the model") as client:
            self._registered(client)

    # Runs

    def find_run(self, key: str) -> Run | None:
        """Return the newest run of this key, or None."""
        with self._doing("look for earlier runs") as client:
            found = client.search_runs(
                [self._experiment(client)],
                filter_string=f"tags.`{KEY_TAG}` = '{key}'",
                order_by=["attributes.start_time DESC"],
                max_results=1,
            )
            return _run(found[0]) if found else None

    def begin(self, key: str, name: str, tags: Mapping[str, object], run_id: str | None = None) -> str:
        """Start a run, or take one up again, and return its id."""
        with self._doing("start a run") as client:
            texts = _texts({**tags, KEY_TAG: key, "mlflow.user": _user()})
            if run_id is None:
                run = client.create_run(self._experiment(client), tags=texts, run_name=name)
                return str(run.info.run_id)
            client.update_run(run_id, status="RUNNING", name=name)
            self.set_tags(run_id, texts)
            return run_id

    def log_params(self, run_id: str, params: Mapping[str, object]) -> None:
        """Log parameters. One that the run has already keeps its first value: MLflow changes none."""
        with self._doing("log parameters") as client:
            from mlflow.entities import Param

            there = client.get_run(run_id).data.params
            new = [Param(name, value) for name, value in _texts(params).items() if name not in there]
            for batch in _batches(new):
                client.log_batch(run_id, params=batch)

    def log_metrics(self, run_id: str, metrics: Mapping[str, float | int | bool | None]) -> None:
        """Log metrics; None and NaN are left out."""
        with self._doing("log metrics") as client:
            from mlflow.entities import Metric

            now = int(time.time() * 1000)
            rows = [
                Metric(_key(name), float(value), now, 0)
                for name, value in metrics.items()
                if value is not None and not math.isnan(value)
            ]
            for batch in _batches(rows):
                client.log_batch(run_id, metrics=batch)

    def set_tags(self, run_id: str, tags: Mapping[str, object]) -> None:
        """Set tags of a run; an older value is replaced."""
        with self._doing("set tags") as client:
            from mlflow.entities import RunTag

            for batch in _batches([RunTag(name, value) for name, value in _texts(tags).items()]):
                client.log_batch(run_id, tags=batch)

    def log_files(self, run_id: str, path: Path, under: str = "") -> None:
        """Log a file, or what a folder holds, in the run's folder `under`."""
        with self._doing(f"store {path.name}", files=True) as client:
            log = client.log_artifacts if path.is_dir() else client.log_artifact
            log(run_id, str(path), under or None)

    def log_dataset(self, run_id: str, name: str, source: str, digest: str, rows: int, context: str) -> None:
        """Log what a run read: MLflow keeps 36 characters of a digest, all of it is in the profile."""
        with self._doing("log the dataset") as client:
            from mlflow.entities import Dataset, DatasetInput, InputTag

            kind = "sql" if "://" in source else "local"
            dataset = Dataset(
                name=name[:500],
                digest=digest[:_DIGEST_SIZE],
                source_type=kind,
                source=json.dumps({"uri": mask(source)}),
                profile=json.dumps({"rows": rows, "digest": digest}),
            )
            client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])

    def end(self, run_id: str, status: str) -> None:
        """End a run: "FINISHED", "FAILED" or "KILLED"."""
        with self._doing("end the run") as client:
            client.set_terminated(run_id, status)

    def fetch(self, run_id: str, path: str, into: Path) -> Path | None:
        """Copy one file of a run into a folder; None if the run has no such file."""
        with self._doing(f"fetch {path}", files=True) as client:
            folder = path.rpartition("/")[0] or None
            if path not in {found.path for found in client.list_artifacts(run_id, folder)}:
                return None
            into.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".fetch.", dir=into) as aside:
                copied = Path(client.download_artifacts(run_id, path, aside))
                return copied.replace(into / copied.name)

    # The registered model and its versions

    def register(self, run_id: str, artefact: Path, description: str, tags: Mapping[str, object]) -> int:
        """Register an artefact as a version, make it the challenger, and return its number.

        Once per run and model: after a crash anywhere in between, what is there already is found again. The
        version is an ONNX model with signature and input example, and holds the artefact's own files beside.

        Raises
        ------
        ArtifactError
            The artefact does not open.
        """
        model_id = read_manifest(artefact).model_id
        found = [v for v in self.versions() if v.run_id == run_id and v.tags.get(MODEL_TAG) == model_id]
        if found:
            number = found[0].version
        else:
            with self._doing("register the model", files=True) as client:
                logged = self._logged_model(client, run_id, model_id, artefact)
                own = {MODEL_TAG: model_id, MANIFEST_TAG: sha256_of(artefact / MANIFEST_FILE)}
                self._ensure_registered(client)
                with as_default(self.uri):
                    number = int(
                        client.create_model_version(
                            self.model_name,
                            source=f"models:/{logged}",
                            run_id=run_id,
                            tags=_texts({**tags, **own}),
                            description=description[:_TEXT_SIZE],
                            model_id=logged,
                        ).version
                    )
        newest = self.alias(CHALLENGER)
        if newest is None or newest.version < number:
            self.set_alias(CHALLENGER, number)
        return number

    def version(self, number: int) -> Version | None:
        """Return a version, or None if there is none of that number."""
        return next((v for v in self.versions() if v.version == number), None)

    def versions(self) -> list[Version]:
        """Return all versions, the oldest first."""
        with self._doing("list the model's versions") as client:
            found: list[Version] = []
            token = None
            while True:
                page = client.search_model_versions(f"name = '{self.model_name}'", page_token=token)
                found += [_version(v) for v in page]
                token = page.token
                if not token:
                    return sorted(found)

    def alias(self, name: str) -> Version | None:
        """Return the version that an alias stands for, or None."""
        with self._doing(f"look up the {name}") as client:
            registered = self._registered(client)
            number = registered.aliases.get(name) if registered else None
            return _version(client.get_model_version(self.model_name, number)) if number else None

    def set_alias(self, name: str, number: int) -> None:
        """Move an alias to a version: one transaction of the registry, so it stands for the old or the new one."""
        with self._doing(f"make version {number} the {name}") as client:
            client.set_registered_model_alias(self.model_name, name, str(number))

    def tag_version(self, number: int, tags: Mapping[str, object]) -> None:
        """Set tags of a version."""
        with self._doing(f"tag version {number}") as client:
            for key, value in _texts(tags).items():
                client.set_model_version_tag(self.model_name, str(number), key, value)

    def fetch_model(self, number: int, into: Path) -> Path:
        """Copy the artefact of a version to a new folder, whole or not at all, and return it.

        Only the files that its manifest names: MLflow's own stay where they are.
        """
        with self._doing(f"fetch version {number}", files=True) as client:
            from mlflow.artifacts import download_artifacts

            source = client.get_model_version_download_uri(self.model_name, str(number))
            into.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{into.name}.", dir=into.parent) as aside:
                copied = Path(
                    download_artifacts(
                        artifact_uri=source, dst_path=aside, tracking_uri=self.uri, registry_uri=self.uri
                    )
                )
                if not (copied / MANIFEST_FILE).is_file():
                    raise TrackingError(
                        f"version {number} of {self.model_name} holds no {MANIFEST_FILE}, so it is no artefact of "
                        "tierwise; name another version"
                    )
                chosen = Path(aside) / ".chosen"
                chosen.mkdir()
                for name in (MANIFEST_FILE, *read_manifest(copied).files):
                    (copied / name).rename(chosen / name)
                chosen.rename(into)
            return into

    def model_tags(self) -> dict[str, str]:
        """Return the tags of the registered model; none if there is no such model yet."""
        with self._doing("read the model's journal") as client:
            registered = self._registered(client)
            return dict(registered.tags) if registered else {}

    def set_model_tag(self, key: str, value: str) -> None:
        """Set a tag of the registered model."""
        with self._doing("write the model's journal") as client:
            client.set_registered_model_tag(self.model_name, key, value)

    # How it is done

    def _registered(self, client: MlflowClient) -> RegisteredModel | None:
        from mlflow.exceptions import MlflowException

        try:
            return client.get_registered_model(self.model_name)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _ensure_registered(self, client: MlflowClient) -> None:
        if self._registered(client) is None:
            client.create_registered_model(
                self.model_name, description="Routers by `python -m training retrain`; the champion serves."
            )

    def _logged_model(self, client: MlflowClient, run_id: str, model_id: str, artefact: Path) -> str:
        """Return MLflow's id of the model in the run, after logging it unless that is done."""
        experiment_id = client.get_run(run_id).info.experiment_id
        earlier = client.search_logged_models(
            [experiment_id], filter_string=f"source_run_id = '{run_id}' AND tags.`{MODEL_TAG}` = '{model_id}'"
        )
        ready = [model for model in earlier if str(model.status) == "READY"]
        if ready:
            return str(ready[0].model_id)
        for model in earlier:  # what a crash left has not all its files
            client.delete_logged_model(model.model_id)
        from mlflow.entities import LoggedModelOutput

        logged = client.create_logged_model(
            experiment_id,
            name="model",
            source_run_id=run_id,
            model_type="router",
            tags={MODEL_TAG: model_id},
        )
        with tempfile.TemporaryDirectory(prefix="tierwise-") as folder:
            write_flavour(Path(folder) / "model", artefact, run_id, logged)
            client.log_model_artifacts(logged.model_id, str(Path(folder) / "model"))
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
        client.finalize_logged_model(logged.model_id, "READY")
        return str(logged.model_id)

    def _experiment(self, client: MlflowClient) -> str:
        if self._experiment_id is None:
            found = client.get_experiment_by_name(self.experiment)
            if found is not None and found.lifecycle_stage == "deleted":
                raise TrackingError(
                    f"MLflow: the experiment {self.experiment} at {self.where} is deleted; restore it with "
                    f"`mlflow experiments restore --experiment-id {found.experiment_id}`"
                )
            # A server knows where files go; a path of this machine would mean nothing to its other clients.
            place = None if is_server(self.uri) else self.artifact_dir.absolute().as_uri()
            self._experiment_id = (
                found.experiment_id
                if found is not None
                else client.create_experiment(self.experiment, artifact_location=place)
            )
        return self._experiment_id

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
            place = f"{self.uri} and {self.artifact_dir}" if files and not is_server(self.uri) else self.uri
            raise explain(error, what, place) from error
        finally:
            self._depth -= 1
            if not self._depth:
                self.seconds += time.perf_counter() - started


def _run(found: MlflowRun) -> Run:
    return Run(str(found.info.run_id), str(found.info.status), dict(found.data.tags))


def _version(found: ModelVersion) -> Version:
    made = datetime.fromtimestamp(found.creation_timestamp / 1000, UTC)
    return Version(
        int(found.version), found.run_id or None, dict(found.tags), made.isoformat(timespec="seconds")
    )


def _key(name: str) -> str:
    """Return a name that MLflow takes: letters, digits and _-. :/ of any kind, others as _."""
    return re.sub(r"[^\w.\-: /]", "_", name)[:250]


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    return {
        _key(name): text if len(text := str(value)) <= _TEXT_SIZE else text[: _TEXT_SIZE - 1] + "…"
        for name, value in values.items()
    }


def _batches(rows: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(rows), _PER_BATCH):
        yield rows[start : start + _PER_BATCH]


def _user() -> str:
    try:
        return getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        return f"uid {os.getuid()}"
