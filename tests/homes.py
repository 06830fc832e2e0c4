"""Homes of a weekly pipeline: MLflow databases with registered versions, made once.

A new database takes MLflow seconds, and so does the first model that it writes.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from training.pipeline.settings import Place
from training.pipeline.tracking import Tracking

ROOT = Path(__file__).resolve().parents[1]


def place_of(home: Path) -> Place:
    """The place that `--home` alone makes."""
    return Place(home, f"sqlite:///{home / 'mlflow.db'}", home / "artifacts", home / "champion")


def tracking_of(home: Path) -> Tracking:
    """The registry of a home."""
    place = place_of(home)
    return Tracking(place.tracking_uri, place.artifact_dir, place.model_name)


def rename(artefact: Path, to: Path, model_id: str) -> Path:
    """Copy an artefact under another model id: another version of the same model."""
    shutil.copytree(artefact, to)
    manifest = json.loads((to / "manifest.json").read_text(encoding="utf-8"))
    (to / "manifest.json").write_text(json.dumps(manifest | {"model_id": model_id}), encoding="utf-8")
    return to


SCRIPT = """
import sys, warnings
from pathlib import Path
from homes import rename, tracking_of
home, artefact = map(Path, sys.argv[1:])
tracking = tracking_of(home)
for number in (1, 2, 3):
    folder = rename(artefact, home / "from" / str(number), f"tw-{number:012d}")
    run_id = tracking.begin(f"key-{number}", f"week {number}", {})
    assert number == tracking.register(run_id, folder, f"week {number}", {"tierwise.verdict": "ROUTE"})
    tracking.end(run_id, "FINISHED")
import mlflow.pyfunc
warnings.simplefilter("ignore")
mlflow.set_tracking_uri(tracking.uri)
model = mlflow.pyfunc.load_model("models:/tierwise@challenger")
scores = model.predict(model.input_example)
print(number, sorted(scores), scores["p_pass"].shape, model.metadata.signature.inputs.input_names())
"""


def make_template(base: Path, artefact: Path) -> Path:
    """A home with versions 1 to 3, from three runs, and no champion; made where it is not there. Not to be changed.

    A process of its own makes it and then opens the newest version as MLflow does; beside the home is what it printed.
    """
    home = base / "template" / "home"
    if not home.exists():
        home.parent.mkdir()
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", SCRIPT, str(home), str(artefact)],
            capture_output=True,
            text=True,
            check=False,
            cwd=home.parent,
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        )
        assert 0 == done.returncode, done.stderr
        (base / "printed.json").write_text(json.dumps([done.stdout, done.stderr]), encoding="utf-8")
    return home


def renew_home(template: Path) -> Path:
    """A home like the template, at a place that stays the same: MLflow takes a second for each new database.

    Its database is overwritten by SQLite itself, which tells connections that are still open.
    """
    home = template.parents[1] / "renewed"
    home.mkdir(exist_ok=True)
    for path in home.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "mlflow.db":
            path.unlink()
    with (
        closing(sqlite3.connect(template / "mlflow.db")) as source,
        closing(sqlite3.connect(home / "mlflow.db")) as target,
    ):
        source.backup(target)
    return home
