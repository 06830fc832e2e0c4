"""What becomes of a champion whose certificate is void: as configured, the previous champion, always the top, or only words."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from eval.duel import regret_bounds
from eval.outcomes import Outcomes
from eval.progress import Progress
from eval.verdict import MIN_PROMPTS
from router.errors import RouterError
from training.pipeline.champions import predecessors, read_journal
from training.pipeline.fetching import FITTED_BY, open_version
from training.pipeline.incumbent import Incumbent, contender
from training.pipeline.promotion import promote
from training.pipeline.settings import Settings
from training.pipeline.tracking import Tracking
from training.void import void

__all__ = ["VOID_OF", "answer_void", "declare_void"]

VOID_OF = "tierwise.void_of"
"""Tag of a version: it is a copy of that one, and sends everything to the reference tier."""


def declare_void(tracking: Tracking, version: int, why: str, progress: Progress) -> None:
    """Say that a version's certificate is void, on the terminal and on the version."""
    progress.say(f"\nVOID: the certificate of champion {version} does not hold any more. {why}")
    tracking.tag_version(version, {"tierwise.certificate": "void"})


def answer_void(
    tracking: Tracking,
    settings: Settings,
    incumbent: Incumbent,
    judged: Outcomes,
    run_id: str,
    why: str,
    work: Path,
    progress: Progress,
) -> int:
    """Do what the configuration says of a void certificate, and return the version that serves from then on.

    Parameters
    ----------
    incumbent : Incumbent
        The champion whose certificate is void.
    judged : Outcomes
        The prompts that showed it; the previous champion has to keep the promise on them, too.
    run_id : str
        The run that found out.
    why : str
        One sentence.
    work : Path
        A folder for what is made.

    Raises
    ------
    RouterError
        MLflow or the disk fails; the champion is as it was.
    """
    wish = settings.promotion.on_void
    if wish == "keep":
        progress.say("on_void is keep: it serves on, and its promises are not to be relied on")
        return incumbent.version
    if wish == "previous":
        found = _previous(tracking, settings, incumbent, judged, work)
        if found is not None:
            promote(
                tracking,
                settings.place,
                found,
                f"Certificate of version {incumbent.version} void. {why}",
                "demote",
                run_id,
            )
            progress.say(f"on_void is previous: version {found} serves again")
            return found
        progress.say("on_void is previous, and no earlier champion keeps the promise on these prompts")
    number = _register_void(tracking, incumbent, run_id, why, work)
    promote(
        tracking,
        settings.place,
        number,
        f"Certificate of version {incumbent.version} void. {why}",
        "demote",
        run_id,
    )
    progress.say(
        f"version {number} serves: everything goes to the reference tier until a challenger is certified"
    )
    return number


def _previous(
    tracking: Tracking, settings: Settings, incumbent: Incumbent, judged: Outcomes, work: Path
) -> int | None:
    """Return the nearest champion before that keeps the promise on the judged prompts."""
    before = predecessors(read_journal(tracking.model_tags()).events, incumbent.version)
    return next((each for each in before if _keeps(tracking, settings, each, judged, work)), None)


def _keeps(tracking: Tracking, settings: Settings, number: int, judged: Outcomes, work: Path) -> bool:
    """Whether a version is proved to keep the promise, by its certificate and by judged prompts that it has not seen."""
    version = tracking.version(number)
    if version is None:
        return False
    try:
        earlier = open_version(tracking, version, work, judged.ladder)
    except RouterError:  # gone, or of another version of tierwise: no one to go back to
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
    found = regret_bounds(judged, decided, reference, settings.seed)
    return found["proved"] <= promise and found["low"] <= promise


def _register_void(tracking: Tracking, incumbent: Incumbent, run_id: str, why: str, work: Path) -> int:
    """Register a copy of the champion that sends everything to the reference tier."""
    copy = work / f"void-{incumbent.version}"
    void(incumbent.folder, copy, why=why, date=datetime.now(UTC).date().isoformat())
    known = tracking.version(incumbent.version)
    fitted_by = None if known is None else known.tags.get(FITTED_BY) or known.run_id
    tags = {VOID_OF: str(incumbent.version), **({} if fitted_by is None else {FITTED_BY: fitted_by})}
    description = f"Version {incumbent.version}, its certificate void. {why}"
    return tracking.register(run_id, copy, description, tags, is_challenger=False)
