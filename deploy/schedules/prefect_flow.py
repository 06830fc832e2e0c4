"""A Prefect flow (3.x) that retrains the router every week: `python prefect_flow.py` serves it.

It only calls the command, in the checkout's own environment, on the machine that has the checkout and its home folder.
Change: PROJECT. The lock refuses a second run; so Prefect starts none.
"""

from __future__ import annotations

import json
import subprocess
from typing import Any

from prefect import flow, task

PROJECT = "/srv/tierwise"
COMMAND = [f"{PROJECT}/.venv/bin/python", "-m", "training", "retrain", "--config", "weekly.toml"]
LASTING = {
    2: "the command is wrong",
    3: "the data or the configuration was refused",
    4: "the gate could not run",
}
"""Exit codes that another attempt does not change."""


class Refused(Exception):  # noqa: N818 - what happened
    """A person is needed."""


def passes(_task: Any, _run: Any, state: Any) -> bool:  # noqa: ANN401 - Prefect's own
    """Say whether another attempt may succeed; it goes on where this one stopped."""
    try:
        state.result()
    except Refused:
        return False
    except Exception:
        return True
    return True


@task(retries=2, retry_delay_seconds=600, retry_condition_fn=passes, timeout_seconds=7200)
def retrain() -> dict[str, Any]:
    """Run the command, and return its last line: the verdict with its reasons."""
    done = subprocess.run(COMMAND, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - our own
    if done.returncode in LASTING:
        raise Refused(f"exit code {done.returncode}: {LASTING[done.returncode]}; the log says what")
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}; the log says what")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@flow
def tierwise_retrain() -> dict[str, Any]:
    """Retrain, compare, promote."""
    return retrain()


if __name__ == "__main__":
    tierwise_retrain.serve(name="weekly", cron="15 4 * * 1", limit=1)
