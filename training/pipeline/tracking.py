"""MLflow: runs, model versions, aliases. Nothing else of training knows it, but for `tracking_*` beside.

What `Tracking` promises over MLflow's own client: every failure is one sentence (`TrackingError`); nothing is
printed on stdout and no flood on stderr; an address is never taken from the environment; what is done again
after a crash is done once; a new database appears whole or not at all.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

from router.artifact import MANIFEST_FILE, read_manifest, sha256_of
from router.errors import ConfigError
from training.lock import user
from training.pipeline.faults import TrackingError
from training.pipeline.tracking_connection import (
    TEXT_SIZE,
    as_default,
    database_file,
    is_server,
    key_of,
    texts,
)
from training.pipeline.tracking_model import MODEL_TAG, write_flavour
from training.pipeline.tracking_registry import CHALLENGER, CHAMPION, MANIFEST_TAG, Registry, Version

if TYPE_CHECKING:
    from mlflow.entities import Experiment
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
    may_create : bool
        Whether a database file that is missing is made; if not, it is an error that says so.

    Attributes
    ----------
    experiment : str
        Made if it is not there.
    seconds : float
        Spent in MLflow so far, its import included.
    """

    experiment = "tierwise"

    def __init__(self, uri: str, artifact_dir: Path, model_name: str, *, may_create: bool = True) -> None:
        super().__init__(uri, artifact_dir, model_name, may_create=may_create)
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
            named = texts({**tags, KEY_TAG: key, "mlflow.user": user()})
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

    def log_dataset(
        self,
        run_id: str,
        name: str,
        digest: str,
        kind: str,
        source: Mapping[str, object],
        rows: int | None,
        context: str,
    ) -> None:
        """Log what a run read: MLflow keeps 36 characters of a digest, all of it is in the profile.

        The source is stored as it is, so it must hold no password; `rows` is None where nobody has counted them.
        """
        with self._doing("log the dataset") as client:
            from mlflow.entities import Dataset, DatasetInput, InputTag

            counted = {} if rows is None else {"rows": rows}
            dataset = Dataset(
                name=name[:_NAME_SIZE],
                digest=digest[:_DIGEST_SIZE],
                source_type=kind,
                source=json.dumps(source),
                profile=json.dumps({**counted, "digest": digest}),
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
            found = client.get_experiment_by_name(self.experiment) or self._new_experiment(client)
            if found.lifecycle_stage == "deleted":
                raise TrackingError(
                    f"MLflow: the experiment {self.experiment} at {self.where} is deleted; restore it with "
                    f"`mlflow experiments restore --experiment-id {found.experiment_id}`"
                )
            if not is_server(self.uri):
                self._require_place(found)
            self._experiment_id = str(found.experiment_id)
        return self._experiment_id

    def _new_experiment(self, client: MlflowClient) -> Experiment:
        from mlflow.exceptions import MlflowException

        # A server knows where files go; a path of this machine would mean nothing to its other clients.
        place = None if is_server(self.uri) else self.artifact_dir.absolute().as_uri()
        try:
            return client.get_experiment(client.create_experiment(self.experiment, artifact_location=place))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(self.experiment)  # the first run of another home was faster
            if found is None:
                raise
            return found

    def _require_place(self, found: Experiment) -> None:
        """Refuse an artifact_dir that would be ignored: an experiment's files stay where the first ones went.

        The default, beside the database, is nobody's wish: it is refused only where the files are gone, as they seem to
        be once the home has moved. A place that is no folder was given to the experiment by hand, and counts.
        """
        location = urlsplit(found.artifact_location)
        if location.scheme not in ("", "file"):
            return
        kept = Path(unquote(location.path) if location.scheme else found.artifact_location)
        asked = self.artifact_dir.absolute()
        file = database_file(self.uri)
        by_default = file is not None and asked == file.absolute().parent / "artifacts"
        if kept.resolve() == asked.resolve() or (by_default and kept.exists()):
            return
        if kept.exists():
            todo = f"set artifact_dir to {kept}, or name another tracking_uri"
        else:
            todo = (
                f"there is nothing at {kept} any more: if its files were moved, make it a link to where they are now, so "
                "that earlier versions are found; else name another tracking_uri"
            )
        raise ConfigError(
            f"the experiment {self.experiment} at {self.where} keeps its files at {kept}, and artifact_dir is {asked}; "
            f"{todo}"
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


def _run(found: MlflowRun) -> Run:
    return Run(str(found.info.run_id), str(found.info.status), dict(found.data.tags))


def _batches(rows: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(rows), _PER_BATCH):
        yield rows[start : start + _PER_BATCH]
