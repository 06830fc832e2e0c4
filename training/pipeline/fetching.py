"""Fetches the champion that a challenger is compared with."""

from __future__ import annotations

import shutil

from eval.progress import Progress
from router.errors import ArtifactError
from router.tiers import Ladder
from training.pipeline.champions import read_journal
from training.pipeline.fitting import SEEN
from training.pipeline.gate import GateError
from training.pipeline.incumbent import Incumbent
from training.pipeline.ledger import Ledger
from training.pipeline.tracking import CHAMPION, Tracking, Version

__all__ = ["FITTED_BY", "INTENT", "fetch_incumbent"]

FITTED_BY = "tierwise.fitted_by"
"""Tag of a version: the run whose split says what the model has seen."""

INTENT = "intend"
"""The step that says which champion was compared, entered before the alias moves."""


def fetch_incumbent(
    tracking: Tracking, ledger: Ledger, ladder: Ladder, progress: Progress
) -> Incumbent | None:
    """Return the champion, opened, with what it has seen; None where there is none.

    Raises
    ------
    GateError
        It cannot be opened, so nothing can be compared with it.
    TrackingError
        MLflow fails.
    """
    champion = _compared(tracking, ledger)
    if champion is None:
        progress.say("no champion yet: the challenger has to beat always the reference tier")
        return None
    folder = ledger.folder / f"champion-{champion.version}"
    fitted_by = champion.tags.get(FITTED_BY) or champion.run_id
    try:
        if not folder.exists():
            tracking.fetch_model(champion.version, folder)
        seen = (
            None
            if fitted_by is None
            else tracking.fetch(fitted_by, f"training/{SEEN}", ledger.folder / "seen")
        )
        incumbent = Incumbent.open(champion.version, folder, seen, ladder)
    except ArtifactError as error:
        shutil.rmtree(folder, ignore_errors=True)  # so that the next run fetches it again
        raise GateError(
            f"gate: champion {champion.version} cannot be opened ({error}); roll back with `python -m training rollback`, or "
            "promote another version"
        ) from error
    for text in incumbent.change.texts:
        progress.say(f"since the champion: {text}")
    if seen is None:
        progress.say(
            "what the champion learned from was not written down, so all held-out prompts judge it, which flatters it"
        )
    return incumbent


def _compared(tracking: Tracking, ledger: Ledger) -> Version | None:
    """Return the champion; in a run that was interrupted after it had moved the alias, the one before."""
    champion = tracking.alias(CHAMPION)
    meant = ledger.entries.get(INTENT)
    if meant is None or champion is None or champion.version == meant["result"]["from"]:
        return champion
    before = meant["result"]["from"]
    events = read_journal(tracking.model_tags()).events
    if not events or (events[-1].previous, events[-1].version) != (before, champion.version):
        return champion  # others have moved it since
    return None if before is None else tracking.version(before)
