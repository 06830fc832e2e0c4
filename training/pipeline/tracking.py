"""MLflow: runs, model versions, aliases. Nothing else of training knows it, but for `tracking_*` beside.

What `Tracking` promises over MLflow's own client: every failure is one sentence (`TrackingError`); nothing is
printed on stdout and no flood on stderr; an address is never taken from the environment; what is done again
after a crash is done once; a new database appears whole or not at all.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from router.artifact import MANIFEST_FILE, read_manifest, sha256_of
from training.pipeline.faults import TrackingError
from training.pipeline.tracking_connection import TEXT_SIZE, as_default, is_server, key_of, texts
from training.pipeline.tracking_model import MODEL_TAG, write_flavour
from training.pipeline.tracking_registry import CHALLENGER, CHAMPION, MANIFEST_TAG, Registry, Version
from training.pipeline.urls import mask

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun
    from mlflow.tracking import MlflowClient

T = TypeVar("T")

__all__ = ["CHALLENGER", "CHAMPION", "MANIFEST_TAG", "Run", "Tracking", "TrackingError", "Version"]

KEY_TAG = "tierwise.key"

# MLflow's limits (utils/validation.py): entries per call, characters of a dataset's name and of its digest.
_PER_BATCH = 100
_NAME_SIZE = 500
_DIGEST_SIZE = 36


class Run(NamedTuple):
    """A run: its id, its status (RUNNING, FINISHED, FAILED, KILLED), its tags."""

    run_id: str
    status: str
    tags: dict[str, str]


class Tracking(Registry):
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
        super().__init__(uri, artifact_dir, model_name, may_create=may_create)
        self.experiment = experiment
        self._experiment_id: str | None = None

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
            named = texts({**tags, KEY_TAG: key, "mlflow.user": _user()})
            if run_id is None:
                run = client.create_run(self._experiment(client), tags=named, run_name=name)
                return str(run.info.run_id)
            client.update_run(run_id, status="RUNNING", name=name)
            self.set_tags(run_id, named)
            return run_id

    def log_params(self, run_id: str, params: Mapping[str, object]) -> None:
        """Log parameters. One that the run has already keeps its first value: MLflow changes none."""
        with self._doing("log parameters") as client:
            from mlflow.entities import Param

            there = client.get_run(run_id).data.params
            new = [Param(name, value) for name, value in texts(params).items() if name not in there]
            for batch in _batches(new):
                client.log_batch(run_id, params=batch)

    def log_metrics(self, run_id: str, metrics: Mapping[str, float | int | bool | None]) -> None:
        """Log metrics; None and NaN are left out."""
        with self._doing("log metrics") as client:
            from mlflow.entities import Metric

            now = int(time.time() * 1000)
            rows = [
                Metric(key_of(name), float(value), now, 0)
                for name, value in metrics.items()
                if value is not None and not math.isnan(value)
            ]
            for batch in _batches(rows):
                client.log_batch(run_id, metrics=batch)

    def set_tags(self, run_id: str, tags: Mapping[str, object]) -> None:
        """Set tags of a run; an older value is replaced."""
        with self._doing("set tags") as client:
            from mlflow.entities import RunTag

            for batch in _batches([RunTag(name, value) for name, value in texts(tags).items()]):
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
                name=name[:_NAME_SIZE],
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
        """Copy one file of a run into a folder; None if the run has no such file, or is gone itself."""
        with self._doing(f"fetch {path}", files=True) as client:
            from mlflow.exceptions import MlflowException

            try:
                listed = client.list_artifacts(run_id, path.rpartition("/")[0] or None)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                listed = []
            if path not in {found.path for found in listed}:
                return None
            into.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".fetch.", dir=into) as aside:
                copied = Path(client.download_artifacts(run_id, path, aside))
                return copied.replace(into / copied.name)

    def register(
        self,
        run_id: str,
        artefact: Path,
        description: str,
        tags: Mapping[str, object],
        *,
        is_challenger: bool = True,
    ) -> int:
        """Register an artefact as a version, make it the challenger if it is one, and return its number.

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
                            tags=texts({**tags, **own}),
                            description=description[:TEXT_SIZE],
                            model_id=logged,
                        ).version
                    )
        newest = self.alias(CHALLENGER)
        if is_challenger and (newest is None or newest.version < number):
            self.set_alias(CHALLENGER, number)
        return number

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


def _run(found: MlflowRun) -> Run:
    return Run(str(found.info.run_id), str(found.info.status), dict(found.data.tags))


def _batches(rows: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(rows), _PER_BATCH):
        yield rows[start : start + _PER_BATCH]


def _user() -> str:
    try:
        return getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        return f"uid {os.getuid()}"
