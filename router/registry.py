"""Models in MLflow's registry: addresses such as "models:/tierwise@champion", followed and fetched.

MLflow is loaded when one is asked for, and not before; it reads MLFLOW_TRACKING_URI itself. What is fetched lies in a
folder of its own, which is deleted when it has been opened: whatever a local store keeps is left alone.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from router.errors import ArtifactError, ConfigError
from router.masking import mask_within

__all__ = ["fetch", "is_registered", "version_of"]

_PREFIX = "models:/"
_FOLLOWED = re.compile(r"models:/(?P<name>[^/@]+)(@(?P<alias>[^/@]+)|/(?P<version>[0-9]+))")


def is_registered(location: str | os.PathLike[str] | None) -> bool:
    """Return whether a location is an address in the registry. Pure."""
    return location is not None and os.fspath(location).startswith(_PREFIX)


@contextmanager
def fetch(address: str, manifest: str) -> Iterator[Path]:
    """Yield a copy of a registered model's folder; it is deleted afterwards.

    Parameters
    ----------
    manifest : str
        Name of the file that tells the folder of an artefact.

    Raises
    ------
    ArtifactError
        It cannot be fetched, or is no artefact of tierwise.
    ConfigError
        MLflow is not installed, or there is no room for temporary files.
    """
    try:
        from mlflow.artifacts import download_artifacts
    except ImportError:
        raise _without_mlflow(address) from None
    try:
        # Files that are still mapped cannot be deleted on Windows; better left there than an error.
        folder = tempfile.TemporaryDirectory(prefix="tierwise-model-", ignore_cleanup_errors=True)
    except OSError as error:
        raise ConfigError(
            f"{address}: a writable folder for temporary files is needed ({error.strerror}); set $TMPDIR"
        ) from None
    with folder as name:
        try:
            root = Path(download_artifacts(artifact_uri=address, dst_path=name))
        except Exception as error:  # stores raise what their databases and servers do
            raise ArtifactError(f"{address}: cannot be fetched from the registry: {_said(error)}") from error
        found = sorted(root.rglob(manifest))
        if not found:
            raise ArtifactError(
                f"{address}: the registered model holds no {manifest}; register a tierwise artefact"
            )
        yield found[0].parent


def version_of(address: str) -> str:
    """Return what tells the version that an address means now from any other.

    Raises
    ------
    ArtifactError
        The registry cannot be reached, or has no such model.
    ConfigError
        MLflow is not installed, or the address is of a form that cannot be followed.
    """
    parts = _FOLLOWED.fullmatch(address)
    if parts is None:
        raise ConfigError(
            f"{address}: expected models:/NAME@ALIAS or models:/NAME/VERSION; give one of them, or a folder"
        )
    try:
        from mlflow import MlflowClient
    except ImportError:
        raise _without_mlflow(address) from None
    try:
        client = MlflowClient()
        if parts["alias"] is not None:
            found = client.get_model_version_by_alias(parts["name"], parts["alias"])
        else:
            found = client.get_model_version(parts["name"], parts["version"])
    except Exception as error:  # as above
        raise ArtifactError(f"{address}: the registry cannot say its version: {_said(error)}") from error
    # A registry that was made anew counts from 1 again.
    return f"{found.version} of {found.creation_timestamp}"


def _without_mlflow(address: str) -> ConfigError:
    return ConfigError(f"{address} needs MLflow: pip install 'tierwise[train]'")


def _said(error: Exception) -> str:
    """Return an error's words in one line, without passwords."""
    return mask_within(" ".join(str(error).split()) or type(error).__name__)
