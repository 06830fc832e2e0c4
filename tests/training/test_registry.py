"""A router from MLflow's registry: a real one, on SQLite, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# In a child process: MLflow's libraries warn on import, and its database takes seconds to make, once.
SCRIPT = """
import sys
from pathlib import Path
import mlflow
from mlflow import MlflowClient
from router import ArtifactError, Router

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
"""


def test_an_alias_loads_its_artefact(tmp_path: Path) -> None:
    from router.artifact import read_manifest

    artefact = ROOT / "models" / "default"
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), str(artefact)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=tmp_path,
    )
    assert 0 == run.returncode, run.stderr
    loaded, unknown, hollow = run.stdout.splitlines()
    assert read_manifest(artefact).model_id == loaded
    assert "models:/tierwise@nobody: cannot be fetched" in unknown
    assert "holds no manifest.json" in hollow
