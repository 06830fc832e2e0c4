"""An Airflow DAG (3.x) that retrains the router every week; put it into the dags folder.

It only calls the command, in the checkout's own environment, on a worker that has the checkout and its home folder.
Change: PROJECT and COMMAND. The lock refuses a second run; so Airflow starts none.
"""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.exceptions import AirflowFailException
from airflow.sdk import dag, task

PROJECT = "/srv/tierwise"
COMMAND = ["/srv/tierwise/.venv/bin/python", "-m", "training", "retrain", "--config", "weekly.toml"]
LASTING = {
    2: "the command is wrong",
    3: "the data or the configuration was refused",
    4: "the gate could not run",
}
"""Exit codes that another attempt does not change."""


@task(retries=2, retry_delay=timedelta(minutes=10), execution_timeout=timedelta(hours=2))
def retrain() -> dict[str, Any]:
    """Run the command, and return its last line: the verdict with its reasons. Another attempt goes on where one stopped."""
    done = subprocess.run(COMMAND, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - our own
    if done.returncode in LASTING:
        raise AirflowFailException(
            f"exit code {done.returncode}: {LASTING[done.returncode]}; the log says what"
        )
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}; the log says what")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@dag(
    schedule="15 4 * * 1",
    start_date=datetime(2026, 1, 5, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["tierwise"],
)
def tierwise_retrain() -> None:
    """Retrain, compare, promote."""
    retrain()


tierwise_retrain()
