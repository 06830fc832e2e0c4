"""`mlflow run` calls the pipeline, whose own run is where its configuration says; run by make test-pipeline."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from toys import ROOT

from training.synthetic import write_demo

pytestmark = pytest.mark.pipeline

MLFLOW = Path(sys.executable).with_name("mlflow")


def mlflow_run(folder: Path, entry_point: str, *parameters: str) -> subprocess.CompletedProcess[str]:
    """Run an entry point of the checkout from another folder, with the interpreter of the tests first on the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    bookkeeping = f"sqlite:///{folder / 'calls.db'}"
    options = [word for each in parameters for word in ("-P", each)]
    return subprocess.run(
        [str(MLFLOW), "run", str(ROOT), "-e", entry_point, "--env-manager", "local", *options],
        cwd=folder,
        env={
            **os.environ,
            "PATH": path,
            "MLFLOW_TRACKING_URI": bookkeeping,
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def runs_in(database: Path) -> list[tuple[str, str]]:
    """Return name and status of the runs that a database of MLflow's holds."""
    with sqlite3.connect(database) as connection:
        found = connection.execute("SELECT name, status FROM runs ORDER BY start_time").fetchall()
    connection.close()
    return found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a history, a ladder and a configuration that names them."""
    folder = tmp_path_factory.mktemp("mlproject")
    history, tiers = write_demo(folder / "demo", n_prompts=1500, seed=3)
    (folder / "weekly.toml").write_text(
        f'history = "{history}"\ntiers = "{tiers}"\nhome = "{folder / "home"}"\n', encoding="utf-8"
    )
    return folder


def test_a_run_is_where_the_configuration_says(project: Path) -> None:
    done = mlflow_run(project, "retrain", f"config={project / 'weekly.toml'}")
    assert 0 == done.returncode, done.stderr
    result = json.loads(next(line for line in done.stdout.splitlines() if line.startswith('{"verdict"')))
    assert 0 == result["exit_code"]
    # Its own run in its own place, the call's beside; neither knows of the other.
    ((name, status),) = runs_in(project / "home" / "mlflow.db")
    assert (True, "FINISHED") == (result["verdict"] in name, status)
    ((_, status),) = runs_in(project / "calls.db")
    assert "FINISHED" == status
    assert not (project / "home" / "work").exists()

    again = mlflow_run(project, "retrain", f"config={project / 'weekly.toml'}")
    assert '"repeated": true' in again.stdout
    promoted = mlflow_run(project, "promote", f"config={project / 'weekly.toml'}", "version=1")
    assert 0 == promoted.returncode, promoted.stderr
    assert (project / "home" / "champion" / "manifest.json").is_file()


def test_what_the_command_refuses_fails_the_call(project: Path) -> None:
    config = project / "wrong.toml"
    config.write_text('histori = "x"\n', encoding="utf-8")
    done = mlflow_run(project, "rehearse", f"config={config}")
    assert 1 == done.returncode  # whatever the command's own
    assert "did you mean history?" in done.stderr
