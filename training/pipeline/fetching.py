"""Fetches the champion that a challenger is compared with."""

from __future__ import annotations

import shutil
from pathlib import Path

from eval.progress import Progress
from router.errors import ArtifactError
from router.tiers import Ladder
from training.pipeline.champions import read_journal
from training.pipeline.fitting import HELD, SEEN
from training.pipeline.gate import GateError
from training.pipeline.incumbent import Incumbent
from training.pipeline.ledger import Ledger
from training.pipeline.tracking import CHAMPION, Tracking, Version

__all__ = ["FITTED_BY", "INTENT", "demoted_by", "fetch_incumbent", "moved_before", "open_version"]

FITTED_BY = "tierwise.fitted_by"
"""Tag of a version: the run whose split says what the model has seen."""

INTENT = "intend"
"""The step that says which champion was compared, entered before the alias moves."""


def fetch_incumbent(
    tracking: Tracking, ledger: Ledger, run_id: str, ladder: Ladder, progress: Progress
) -> Incumbent | None:
    """Return the champion, opened, with what it has seen; None where there is none.

    In a run that was interrupted after it had moved the alias itself, that is the one before.

    Raises
    ------
    GateError
        It cannot be opened, so nothing can be compared with it.
    TrackingError
        MLflow fails.
    """
    champion = _compared(tracking, ledger, run_id)
    if champion is None:
        progress.say("no champion yet: the challenger has to beat always the reference tier")
        return None
    try:
        incumbent = open_version(tracking, champion, ledger.folder, ladder)
    except ArtifactError as error:
        raise GateError(
            f"gate: champion {champion.version} cannot be opened ({error}); go back to the one before with `python -m training "
            "rollback`, or promote another version, with the same --config or --home"
        ) from error
    for text in incumbent.change.texts:
        progress.say(f"since the champion: {text}")
    if incumbent.seen is None:
        progress.say(
            "what the champion learned from was not written down, so all held-out prompts judge it, which flatters it"
        )
    return incumbent


def open_version(tracking: Tracking, version: Version, work: Path, ladder: Ladder) -> Incumbent:
    """Fetch a version into a folder of the run and open it, with what it has seen.

    Raises
    ------
    ArtifactError
        It cannot be opened.
    TrackingError
        MLflow fails.
    """
    folder = work / f"champion-{version.version}"
    fitted_by = version.tags.get(FITTED_BY) or version.run_id
    try:
        if not folder.exists():
            tracking.fetch_model(version.version, folder)
        seen, held = (
            None
            if fitted_by is None
            else tracking.fetch(fitted_by, f"training/{name}", work / f"groups-{version.version}")
            for name in (SEEN, HELD)
        )
        return Incumbent.open(version.version, folder, seen, held, ladder)
    except ArtifactError:
        shutil.rmtree(folder, ignore_errors=True)  # so that the next run fetches it again
        raise


def _compared(tracking: Tracking, ledger: Ledger, run_id: str) -> Version | None:
    champion = tracking.alias(CHAMPION)
    meant = ledger.entries.get(INTENT)
    events = read_journal(tracking.model_tags()).events
    if meant is None or champion is None or not events or events[-1].run != run_id:
        return champion
    before = meant["result"]["from"]
    if (events[-1].previous, events[-1].version) != (before, champion.version):
        return champion  # the alias did not move, or was moved by hand since
    return None if before is None else tracking.version(before)


def moved_before(tracking: Tracking, run_id: str, champion: int | None) -> bool:
    """Whether a run has moved the alias, and others have since: by a command, or in MLflow itself.

    Parameters
    ----------
    champion : int or None
        The version that serves.
    """
    events = read_journal(tracking.model_tags()).events
    own = [event for event in events if event.run == run_id and event.moved]
    return bool(own) and (events[-1].run != run_id or own[-1].version != champion)


def demoted_by(tracking: Tracking, run_id: str) -> bool:
    """Whether the last move of the alias was a run's demotion."""
    events = read_journal(tracking.model_tags()).events
    return bool(events) and events[-1].run == run_id and events[-1].kind == "demote"
