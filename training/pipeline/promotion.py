"""Moves the alias `champion`, keeps the journal, and keeps a folder with the champion's artefact.

The alias is the truth. A move goes: fetch the artefact and open it, write the journal, move the alias, mark the entry,
put the folder in place. Each is one step that happens or does not; a process killed in between leaves the champion as
it was or as it was to be, and the next command mends the rest. Who calls holds the lock (`training.lock`).
"""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from router.artifact import MANIFEST_FILE, open_artifact, read_manifest, sha256_of
from router.errors import ArtifactError, ConfigError, RequestError, RouterError
from training.lock import hold, who
from training.package import folder_itself, publish
from training.pipeline.champions import Event, Kind, predecessors, read_journal
from training.pipeline.settings import Place
from training.pipeline.tracking import CHAMPION, MANIFEST_TAG, Tracking, Version

__all__ = [
    "FOLDER_TAG",
    "Synced",
    "champion_is",
    "check_place",
    "hold_registry",
    "holds",
    "open_tracking",
    "promote",
    "rollback",
    "sync",
]

FOLDER_TAG = "tierwise.champion_dir"
"""Tag of the registered model: the folder that the champion was put in last, which servers may read."""

_REASON_SIZE = 1000  # a tag of MLflow's holds 5,000 characters, and the rest of an entry needs some


class Synced(NamedTuple):
    """The champion, None where there is none, and whether its folder had to be put in place."""

    champion: Version | None
    changed: bool


def open_tracking(place: Place, *, may_create: bool = True) -> Tracking:
    """Return the registry of a place."""
    return Tracking(place.tracking_uri, place.artifact_dir, place.model_name, may_create=may_create)


@contextmanager
def hold_registry(place: Place) -> Iterator[Tracking]:
    """Hold the lock of a place, and its registry open.

    Raises
    ------
    ConfigError
        There is no database.
    Locked
        Another process holds the lock.
    """
    tracking = open_tracking(place, may_create=False)
    tracking.open()  # before the lock, which would make the folder of a home that was mistyped
    with hold(place.lock_file):
        yield tracking


def promote(
    tracking: Tracking,
    place: Place,
    version: int,
    reason: str = "",
    kind: Kind = "promote",
    run_id: str | None = None,
) -> dict[str, Any]:
    """Make a version the champion. Where it is already, its folder is looked after and nothing else is done.

    Returns
    -------
    dict
        `changed` and `published` (whether alias and folder did), `champion` and `previous` (versions), `model_id`, `kind`,
        `champion_dir`, `note` (what a person should know, or None).

    Raises
    ------
    RequestError
        There is no such version.
    ArtifactError
        Its artefact does not open; the champion stays.
    ConfigError
        The champion's folder cannot be replaced; the champion stays.
    TrackingError
        MLflow fails.
    """
    target = tracking.version(version)
    if target is None:
        there = ", ".join(str(each.version) for each in tracking.versions()) or "none"
        raise RequestError(
            f"{place.model_name} has no version {version} at {tracking.where}; there are: {there}", "version"
        )
    champion = _settle(tracking)
    if champion is not None and champion.version == version:
        before = tracking.model_tags().get(FOLDER_TAG)
        published = sync(tracking, place).changed
        return _result(tracking, place, champion, version, kind, before, changed=False, published=published)
    return _move(tracking, place, champion, target, reason, kind, run_id)


def rollback(tracking: Tracking, place: Place, reason: str = "") -> dict[str, Any]:
    """Make the champion before this one the champion again; of versions that were deleted, the one before.

    Returns
    -------
    dict
        As `promote`, and `skipped`: the deleted versions.

    Raises
    ------
    ConfigError
        No other champion is known.
    """
    champion = _settle(tracking)
    number = champion.version if champion else None
    known = {version.version: version for version in tracking.versions()}
    before = predecessors(read_journal(tracking.model_tags()).events, number)
    target = next((known[each] for each in before if each in known and each != number), None)
    if target is None:
        now = f"version {number} is the first champion" if champion else "there is no champion"
        raise ConfigError(
            f"nothing to go back to: {now} of {place.model_name} at {tracking.where}; `python -m training promote "
            f"VERSION`, with the same options, makes any version the champion; there are: {', '.join(map(str, known)) or 'none'}"
        )
    skipped = [each for each in before[: before.index(target.version)] if each not in known]
    return {**_move(tracking, place, champion, target, reason, "rollback"), "skipped": skipped}


def sync(tracking: Tracking, place: Place) -> Synced:
    """Make the champion's folder hold the champion, and mend what a crash left in the journal.

    Raises
    ------
    ArtifactError, ConfigError, TrackingError
        As `promote`; the folder stays as it is.
    """
    champion = _settle(tracking)
    _clear(place)
    if champion is None or holds(place.champion_dir, champion):
        return Synced(champion, False)
    with _staged(tracking, place, champion) as folder:
        _publish(tracking, place, folder)
    return Synced(champion, True)


def check_place(place: Place) -> None:
    """Refuse a champion's folder that could not be replaced, or should not be. Writes nothing.

    Raises
    ------
    ConfigError
        It holds files that are not an artefact, or it or the folder that it is in cannot be written.
    """
    try:
        folder = folder_itself(place.champion_dir)
        full = folder.is_dir() and any(folder.iterdir())
        if folder.is_file() or (full and not (folder / MANIFEST_FILE).is_file()):
            raise ConfigError(f"{folder} holds files that are not an artefact; name another champion_dir")
        parent = next(each for each in folder.parents if each.exists())
        any(parent.iterdir())  # a file is not a folder
        # The old folder itself, too: it is moved aside, which changes the ".." in it.
        closed = [each for each in (parent, folder) if each.exists() and not os.access(each, os.W_OK)]
    except OSError as error:
        raise _not_ready(place, error) from error
    if closed:
        raise ConfigError(f"{place.champion_dir}: {closed[0]} is not writable; name another champion_dir")


@contextmanager
def champion_is(version: int, rest: str) -> Iterator[None]:
    """Have what goes wrong after the alias has moved say so, and what does the rest."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; version {version} is the champion now; {rest}") from None
    except RouterError as error:
        raise type(error)(
            f"version {version} is the champion now, but not all is done: {error}; {rest}"
        ) from error


def _not_ready(place: Place, error: OSError) -> ConfigError:
    return ConfigError(
        f"{place.champion_dir}: the champion's folder cannot be made ready ({error.strerror}); name another champion_dir"
    )


def holds(folder: Path, version: Version) -> bool:
    """Say whether a folder holds a version's artefact, every file of it."""
    try:
        if sha256_of(folder / MANIFEST_FILE) != version.tags.get(MANIFEST_TAG):
            return False
        files = read_manifest(folder).files
        return all(sha256_of(folder / name) == digest for name, digest in files.items())
    except (OSError, ArtifactError):
        return False


def _move(
    tracking: Tracking,
    place: Place,
    champion: Version | None,
    target: Version,
    reason: str,
    kind: Kind,
    run_id: str | None = None,
) -> dict[str, Any]:
    previous = champion.version if champion else None
    with _staged(tracking, place, target) as folder:
        tags = tracking.model_tags()
        number = read_journal(tags).next_number
        event = Event(
            number, target.version, previous, _now(), kind, who(), reason[:_REASON_SIZE], run=run_id
        )
        tracking.set_model_tag(event.key, event.to_json())
        tracking.set_alias(CHAMPION, target.version)
        # Not of a command: run again, a rollback would go back once more.
        again = (
            "run it again: it does the rest"
            if run_id
            else "the next promote, rollback or retrain does the rest"
        )
        with champion_is(target.version, again):
            _mark(tracking, event, _now())
            _publish(tracking, place, folder)
    before = tags.get(FOLDER_TAG)
    return _result(tracking, place, target, previous, kind, before, changed=True, published=True)


def _publish(tracking: Tracking, place: Place, folder: Path) -> None:
    """Put an artefact in the champion's place, and remember where that is."""
    publish(folder, place.champion_dir)
    if tracking.model_tags().get(FOLDER_TAG) != str(place.champion_dir):
        tracking.set_model_tag(FOLDER_TAG, str(place.champion_dir))


@contextmanager
def _staged(tracking: Tracking, place: Place, version: Version) -> Iterator[Path]:
    """Hold a version's artefact, fetched and opened, in a new folder beside the champion's."""
    check_place(place)
    target = folder_itself(place.champion_dir)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_ready(place, error) from error
    _clear(place)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.next.", dir=target.parent) as aside:
        folder = tracking.fetch_model(version.version, Path(aside) / "artefact")
        try:
            open_artifact(folder)
        except ArtifactError as error:
            text = str(error).replace(str(folder), "its artefact")
            raise ArtifactError(
                f"version {version.version} of {place.model_name} does not open, so it does not become the champion: {text}"
            ) from error
        yield folder
    _clear(place)  # what was killed before may have left no folder; there is one now


def _clear(place: Place) -> None:
    """Delete what a run that was killed left beside the champion's folder; nobody is at it, for the lock is held.

    What `publish` had moved aside is the only copy here as long as the folder does not stand.
    """
    target = folder_itself(place.champion_dir)
    for what in ("next", "old") if (target / MANIFEST_FILE).is_file() else ("next",):
        for left in target.parent.glob(f"{glob.escape(f'.{target.name}.{what}.')}*"):
            shutil.rmtree(left, ignore_errors=True)


def _settle(tracking: Tracking) -> Version | None:
    """Return the champion, after marking the journal's last entry if the alias has moved and a crash came then."""
    champion = tracking.alias(CHAMPION)
    events = read_journal(tracking.model_tags()).events
    last = events[-1] if events else None
    if (
        last is not None
        and champion is not None
        and last.moved is None
        and last.previous != champion.version == last.version
    ):
        _mark(tracking, last, last.at)
    return champion


def _mark(tracking: Tracking, event: Event, at: str) -> None:
    tracking.set_model_tag(event.key, replace(event, moved=at).to_json())


def _result(
    tracking: Tracking,
    place: Place,
    version: Version,
    previous: int | None,
    kind: Kind,
    before: str | None,
    *,
    changed: bool,
    published: bool,
) -> dict[str, Any]:
    notes = (_verdict_note(version), _folder_note(tracking, place, version, before))
    return {
        "changed": changed,
        "published": published,
        "kind": kind,
        "champion": version.version,
        "previous": previous,
        "model_id": version.tags.get("tierwise.model_id"),
        "note": "; ".join(note for note in notes if note) or None,
        "champion_dir": str(place.champion_dir),
        "tracking_s": round(tracking.seconds, 3),
    }


def _verdict_note(version: Version) -> str | None:
    """Return what speaks against a version that a person makes the champion, or None."""
    verdict = version.tags.get("tierwise.verdict")
    if version.tags.get("tierwise.certificate") == "void":
        return f"the certificate of version {version.version} was found void"
    if verdict not in (None, "ROUTE"):
        return f"the gate said {verdict} of version {version.version}: {version.tags.get('tierwise.reasons', '')}"
    return None


def _folder_note(tracking: Tracking, place: Place, version: Version, before: str | None) -> str | None:
    """Say where servers may read another version still: a folder that was the champion's before, and is not now."""
    if before is None or before == str(place.champion_dir) or holds(Path(before), version):
        return None
    held = next((each.version for each in tracking.versions() if holds(Path(before), each)), None)
    state = "is left as it is" if held is None else f"stays at version {held}"
    return (
        f"the champion's folder was {before} by an earlier run, and that {state}; to put version {version.version} there, "
        f"too: `python -m training promote {version.version}` with the run's --config FILE, or --champion-dir {before}"
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
