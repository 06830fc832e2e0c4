"""A router from MLflow's registry: a real one, on SQLite, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# In a child process: MLflow's libraries warn on import, and its database takes seconds to make, once.
SCRIPT = """
import os, sys, tempfile
from pathlib import Path
import mlflow
from mlflow import MlflowClient
from router import ArtifactError, Router
from router.artifact import hold_artifact
from router.registry import version_of

home, artefact = Path(sys.argv[1]), Path(sys.argv[2])
mlflow.set_tracking_uri(f"sqlite:///{home}/mlflow.db")
client = MlflowClient()
client.create_registered_model("tierwise")
for source in (artefact, home / "empty"):
    source.mkdir(exist_ok=True)
    (source / "note.txt").touch() if source != artefact else None
    client.create_model_version("tierwise", source=source.as_uri())
client.set_registered_model_alias("tierwise", "champion", "1")
client.set_registered_model_alias("tierwise", "hollow", "2")

print(Router.load("models:/tierwise@champion").model_id)
for address in ("models:/tierwise@nobody", "models:/tierwise@hollow"):
    try:
        Router.load(address)
    except ArtifactError as error:
        print(error)
with hold_artifact("models:/tierwise/1") as folder:
    assert folder.is_relative_to(tempfile.gettempdir()) and (folder / "manifest.json").is_file()
    assert os.listdir(tempfile.gettempdir()) != []
print(os.listdir(tempfile.gettempdir()))

one = version_of("models:/tierwise@champion")
client.set_registered_model_alias("tierwise", "champion", "2")
print(one == version_of("models:/tierwise/1"), one == version_of("models:/tierwise@champion"))
mlflow.set_tracking_uri("http://someone:sesame@127.0.0.1:9")
for ask in (version_of, Router.load):
    try:
        ask("models:/tierwise@champion")
    except ArtifactError as error:
        print(error)
"""


def test_an_alias_loads_its_artefact_and_leaves_nothing_behind(tmp_path: Path) -> None:
    from router.artifact import read_manifest

    artefact = ROOT / "models" / "default"
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(temporary),
    }
    held = sorted(path.name for path in artefact.iterdir())
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), str(artefact)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=tmp_path,
    )
    assert 0 == run.returncode, run.stderr
    loaded, unknown, hollow, left, versions, *unreachable = run.stdout.splitlines()
    assert read_manifest(artefact).model_id == loaded
    assert "models:/tierwise@nobody: cannot be fetched" in unknown
    assert "holds no manifest.json" in hollow
    assert ("[]", "True False") == (left, versions)
    assert held == sorted(path.name for path in artefact.iterdir())
    assert 2 == len(unreachable)
    for sentence in unreachable:
        assert sentence.startswith("models:/tierwise@champion: ")
        assert "sesame" not in sentence
