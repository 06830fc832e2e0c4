"""The logbook: what a run tells MLflow, as it goes along."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from router.errors import RouterError
from training.pipeline.gate import Verdict
from training.pipeline.judging import DRIFT, DUEL, PLOTS, REPORT, Findings, Judging
from training.pipeline.ledger import STEPS_FILE, Ledger
from training.pipeline.record import measured, parameters
from training.pipeline.settings import Files, Settings
from training.pipeline.tracking import Tracking

__all__ = ["DRY_RUN", "RESULT", "VERDICT", "VERDICT_PAGE", "Logbook", "window_words"]

RESULT, VERDICT, VERDICT_PAGE, LABELS = "result.json", "verdict.json", "verdict.md", "labels.json"
"""Documents of a run, in its folder and in MLflow."""

DRY_RUN = "tierwise.dry_run"
"""Tag of a run."""


class Logbook:
    """The page of one run.

    Every call may raise `TrackingError`; what is told twice, by a run that was resumed, stands there once.
    """

    def __init__(self, tracking: Tracking, settings: Settings, run_id: str) -> None:
        self._tracking = tracking
        self._settings = settings
        self._run_id = run_id

    def done(self, step: str, entry: Mapping[str, Any]) -> None:
        """Tell that a step is done, and how long it took; what went in is told in the end, of all steps."""
        self._tracking.set_tags(self._run_id, {"tierwise.step": step})
        self._tracking.log_metrics(self._run_id, {f"seconds.{step}": entry["seconds"]})

    def data(
        self,
        described: Sequence[Mapping[str, str | int]],
        window: Mapping[str, Any],
        labels: Mapping[str, Any],
        folder: Path,
    ) -> None:
        """Tell which data the run is about, and what its labels are."""
        for file in described:
            name, digest = str(file["name"]), str(file["sha256"])
            history = self._settings.history
            source: tuple[str, dict[str, Any]] = (
                ("local", {"uri": name}) if isinstance(history, Files) else ("sql", history.to_json())
            )
            rows = window["rows"] if len(described) == 1 else None  # they are counted together
            self._tracking.log_dataset(self._run_id, name, digest, *source, rows, "training")
        self._tracking.set_tags(self._run_id, {"tierwise.window": window_words(window)})
        path = folder / LABELS
        path.write_text(json.dumps(labels["summary"], indent=1) + "\n", encoding="utf-8")
        self._tracking.log_files(self._run_id, path)

    def judged(self, judging: Judging, findings: Findings) -> None:
        """Tell what was found."""
        tracking, run_id, folder = self._tracking, self._run_id, judging.fitting.ledger.folder
        manifest = judging.fitting.manifest
        tracking.log_params(run_id, parameters(self._settings.to_dict(), manifest))
        tracking.log_metrics(run_id, measured(manifest, findings))
        for name in (REPORT, PLOTS, *(() if findings.drift is None else (DRIFT,))):
            tracking.log_files(run_id, folder / name, name)
        tracking.log_files(run_id, folder / DUEL)

    def concluded(
        self, folder: Path, gated: Verdict, verdict: Verdict, version: int, served: Mapping[str, Any]
    ) -> None:
        """Tell the verdict: the gate's on the version it is of, and what the run came to, a demotion included, on the run."""
        tracking, run_id = self._tracking, self._run_id
        for name in (VERDICT, VERDICT_PAGE):
            tracking.log_files(run_id, folder / name)
        tracking.tag_version(version, _said(gated))
        about = {
            "tierwise.version": version,
            "tierwise.champion": served["champion"],
            # What MLflow's pages call the run, and show as its description.
            "mlflow.runName": f"{datetime.now(UTC).date().isoformat()} {verdict.word} v{version}",
            "mlflow.note.content": (folder / VERDICT_PAGE).read_text(encoding="utf-8"),
        }
        tracking.set_tags(run_id, _said(verdict) | about)

    def finish(self, ledger: Ledger, result: Mapping[str, Any], *, dry_run: bool) -> None:
        """Tell what it all came to, and end the run."""
        tracking, run_id = self._tracking, self._run_id
        path = ledger.folder / RESULT
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        tracking.log_files(run_id, ledger.folder / STEPS_FILE)
        tracking.log_files(run_id, path)
        inputs = {step: entry["inputs"] for step, entry in ledger.entries.items()}
        tracking.set_tags(run_id, {DRY_RUN: str(dry_run).lower(), "tierwise.steps": json.dumps(inputs)})
        spent = {"seconds.total": result["seconds"]["total"], "seconds.mlflow": tracking.seconds}
        tracking.log_metrics(run_id, spent)
        tracking.end(run_id, "FINISHED")

    def end_badly(self, error: BaseException) -> None:
        """End the run, if MLflow still answers; what has gone wrong is told by the error itself."""
        with suppress(RouterError):
            if isinstance(error, RouterError):
                self._tracking.set_tags(self._run_id, {"tierwise.error": str(error)})
            self._tracking.end(self._run_id, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")


def _said(verdict: Verdict) -> dict[str, str]:
    return {"tierwise.verdict": verdict.word, "tierwise.reasons": " ".join(verdict.reasons)}


def window_words(window: Mapping[str, Any]) -> str:
    """Say from when to when a window is."""
    if window["from"] is None:
        return "without timestamps"
    return f"{window['from'][:10]} to {window['until'][:10]}"
