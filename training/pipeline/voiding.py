"""What becomes of a champion whose certificate is void: as configured, the previous champion, always the top, or only words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eval.duel import keeps, regret_bounds
from eval.verdict import MIN_PROMPTS
from router.errors import ArtifactError
from training.pipeline.champions import predecessors, read_journal
from training.pipeline.fetching import FITTED_BY, open_version
from training.pipeline.incumbent import Incumbent, contender
from training.pipeline.judging import Judging, became_void
from training.pipeline.promotion import promote
from training.pipeline.tracking import CHAMPION, Tracking
from training.void import void

__all__ = ["VOID_OF", "answer_void", "declare_void"]

VOID_OF = "tierwise.void_of"
"""Tag of a version: it is a copy of that one, and sends everything to the reference tier."""


def declare_void(tracking: Tracking, judging: Judging, drift: Mapping[str, Any] | None) -> None:
    """Say that the champion's certificate is void, on the terminal and on its version, where it became so.

    Parameters
    ----------
    drift : mapping or None
        As `judging` found it.
    """
    if judging.incumbent is None or drift is None or not became_void(drift):
        return
    version, why = judging.incumbent.version, drift["certificate"]["text"]
    judging.progress.say(f"\nVOID: the certificate of champion {version} does not hold any more. {why}")
    tracking.tag_version(version, {"tierwise.certificate": "void"})


def answer_void(
    tracking: Tracking, judging: Judging, drift: Mapping[str, Any] | None, run_id: str
) -> int | None:
    """Do what the configuration says of a champion whose certificate became void, if it still serves.

    Returns the version that serves now, None where nothing was moved.

    Parameters
    ----------
    judging : Judging
        Its champion, its settings, and the prompts that showed it; the previous champion has to keep the promise on them,
        too.
    drift : mapping or None
        As `judging` found it.
    run_id : str
        The run that found out.

    Raises
    ------
    RouterError
        MLflow or the disk fails; the champion is as it was.
    """
    incumbent, settings, say = judging.incumbent, judging.settings, judging.progress.say
    champion = tracking.alias(CHAMPION)
    if incumbent is None or drift is None or not became_void(drift):
        return None
    if champion is None or champion.version != incumbent.version:
        return None
    wish, why = settings.promotion.on_void, drift["certificate"]["text"]
    if wish == "keep":
        say("on_void is keep: it serves on, and its promises are not to be relied on")
        return None
    number = _previous(tracking, judging, incumbent) if wish == "previous" else None
    if number is not None:
        said = f"on_void is previous: version {number} serves again"
    else:
        if wish == "previous":
            say("on_void is previous, and no earlier champion keeps the promise on these prompts")
        number = _register_void(tracking, incumbent, run_id, why, judging.fitting.ledger.folder)
        said = (
            f"version {number} serves: everything goes to the reference tier until a challenger is certified"
        )
    reason = f"Certificate of version {incumbent.version} void. {why}"
    promote(tracking, settings.place, number, reason, "demote", run_id)
    say(said)
    return number


def _previous(tracking: Tracking, judging: Judging, incumbent: Incumbent) -> int | None:
    """Return the nearest champion before that keeps the promise on the judged prompts."""
    before = predecessors(read_journal(tracking.model_tags()).events, incumbent.version)
    return next((each for each in before if _keeps(tracking, judging, each)), None)


def _keeps(tracking: Tracking, judging: Judging, number: int) -> bool:
    """Whether a version is proved to keep the promise, by its certificate and by judged prompts that it has not seen."""
    version, judged, settings = tracking.version(number), judging.judged, judging.settings
    if version is None:
        return False
    try:
        earlier = open_version(tracking, version, judging.fitting.ledger.folder, judged.ladder)
    except ArtifactError:  # gone, or of another version of tierwise: no one to go back to
        return False
    if earlier.is_void or not earlier.change.comparable or earlier.seen is None:
        return False
    judged = judged.take(earlier.unseen(judged) & judged.complete)
    if len(judged) < MIN_PROMPTS:
        return False
    promise = settings.promotion.max_regret
    tier = earlier.router.manifest.document["decision"]["reference"]
    decided = contender(earlier.router, judged.prompts, judged.ladder, promise, tier)
    reference = judged.ladder.names.index(tier)
    return keeps(regret_bounds(judged, decided, reference, settings.seed), promise)


def _register_void(tracking: Tracking, incumbent: Incumbent, run_id: str, why: str, work: Path) -> int:
    """Register a copy of the champion that sends everything to the reference tier."""
    copy = work / f"void-{incumbent.version}"
    void(incumbent.folder, copy, why=why, date=datetime.now(UTC).date().isoformat())
    known = tracking.version(incumbent.version)
    fitted_by = None if known is None else known.tags.get(FITTED_BY) or known.run_id
    tags = {VOID_OF: str(incumbent.version), **({} if fitted_by is None else {FITTED_BY: fitted_by})}
    description = f"Version {incumbent.version}, its certificate void. {why}"
    return tracking.register(run_id, copy, description, tags, is_challenger=False)
