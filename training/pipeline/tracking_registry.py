"""The registered model: its versions, its aliases, and the tags that hold its journal."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from router.artifact import MANIFEST_FILE, read_manifest
from router.errors import ArtifactError
from training.pipeline.faults import MissingError
from training.pipeline.tracking_connection import Connection, texts

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel
    from mlflow.tracking import MlflowClient

__all__ = ["CHALLENGER", "CHAMPION", "MANIFEST_TAG", "Registry", "Version"]

CHAMPION, CHALLENGER = "champion", "challenger"
"""Aliases: the version that serves, and the newest one registered."""

MANIFEST_TAG = "tierwise.manifest"
"""Tag of a version: the sha256 of its manifest, so that a folder can be known for it without fetching it."""


class Version(NamedTuple):
    """A registered version: its number, the run it is from, its tags, and when it was made (ISO, UTC)."""

    version: int
    run_id: str | None
    tags: dict[str, str]
    created: str


class Registry(Connection):
    """A registered model at a place; made with its first version."""

    def __init__(self, uri: str, artifact_dir: Path, model_name: str, *, may_create: bool) -> None:
        super().__init__(uri, artifact_dir, may_create=may_create)
        self.model_name = model_name

    def open(self) -> None:
        """Connect now: a missing database, or a server that does not answer, is said before anything is done."""
        with self._doing("look for the model") as client:
            self._registered(client)

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
            for key, value in texts(tags).items():
                client.set_model_version_tag(self.model_name, str(number), key, value)

    def fetch_model(self, number: int, into: Path) -> Path:
        """Copy the artefact of a version to a new folder, whole or not at all, and return it.

        Only the files that its manifest names: MLflow's own stay where they are.

        Raises
        ------
        ArtifactError
            Its files are gone, or are no artefact.
        TrackingError
            MLflow fails.
        """
        try:
            return self._fetch_model(number, into)
        except MissingError as error:
            raise ArtifactError(str(error)) from error

    def _fetch_model(self, number: int, into: Path) -> Path:
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
                    raise ArtifactError(
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

    def _registered(self, client: MlflowClient) -> RegisteredModel | None:
        from mlflow.exceptions import MlflowException

        try:
            return client.get_registered_model(self.model_name)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _ensure_registered(self, client: MlflowClient) -> None:
        from mlflow.exceptions import MlflowException

        if self._registered(client) is not None:
            return
        try:
            client.create_registered_model(
                self.model_name, description="Routers by `python -m training retrain`; the champion serves."
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # the first run of another home was faster
                raise


def _version(found: ModelVersion) -> Version:
    made = datetime.fromtimestamp(found.creation_timestamp / 1000, UTC)
    return Version(
        int(found.version), found.run_id or None, dict(found.tags), made.isoformat(timespec="seconds")
    )
