"""Moves the alias `champion`, keeps the journal, and keeps a folder with the champion's artefact.

The alias is the truth. A move goes: fetch the artefact and open it, write the journal, move the alias, mark the entry,
put the folder in place. Each is one step that happens or does not; a process killed in between leaves the champion as
it was or as it was to be, and the next command mends the rest. Who calls holds the lock (`training.pipeline.lock`).
"""

from __future__ import annotations

import glob
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
from training.package import publish
from training.pipeline.champions import Event, Kind, predecessors, read_journal
from training.pipeline.lock import hold, who
from training.pipeline.settings import Place
from training.pipeline.tracking import CHAMPION, MANIFEST_TAG, Tracking, Version

__all__ = ["Synced", "hold_registry", "holds", "open_tracking", "promote", "rollback", "sync"]


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
        `changed`, `champion` and `previous` (versions), `model_id`, `kind`, `champion_dir`.

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
        sync(tracking, place)
        return _result(tracking, place, champion, version, kind, changed=False)
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
            f"VERSION` makes any version the champion; there are: {', '.join(map(str, known)) or 'none'}"
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
        publish(folder, place.champion_dir)
    return Synced(champion, True)


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
        number = read_journal(tracking.model_tags()).next_number
        event = Event(
            number, target.version, previous, _now(), kind, who(), reason[:_REASON_SIZE], run=run_id
        )
        tracking.set_model_tag(event.key, event.to_json())
        tracking.set_alias(CHAMPION, target.version)
        try:
            _mark(tracking, event, _now())
            publish(folder, place.champion_dir)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted; version {target.version} is the champion now; run it again: it does the rest"
            ) from None
        except RouterError as error:
            raise type(error)(
                f"version {target.version} is the champion now, but not all is done: {error}; the next promote, "
                "rollback or retrain does the rest"
            ) from error
    return _result(tracking, place, target, previous, kind, changed=True)


@contextmanager
def _staged(tracking: Tracking, place: Place, version: Version) -> Iterator[Path]:
    """Hold a version's artefact, fetched and opened, in a new folder beside the champion's."""
    _make_room(place.champion_dir)
    _clear(place)
    with tempfile.TemporaryDirectory(prefix=_prefix(place), dir=place.champion_dir.parent) as aside:
        folder = tracking.fetch_model(version.version, Path(aside) / "artefact")
        try:
            open_artifact(folder)
        except ArtifactError as error:
            text = str(error).replace(str(folder), "its artefact")
            raise ArtifactError(
                f"version {version.version} of {place.model_name} does not open, so it does not become the champion: {text}"
            ) from error
        yield folder


def _prefix(place: Place) -> str:
    return f".{place.champion_dir.name}.next."


def _clear(place: Place) -> None:
    """Delete what a run that was killed left beside the champion's folder; nobody is at it, for the lock is held."""
    for left in place.champion_dir.parent.glob(f"{glob.escape(_prefix(place))}*"):
        shutil.rmtree(left, ignore_errors=True)


def _make_room(folder: Path) -> None:
    """Refuse a folder that could not be replaced, or should not be, before anything is done."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        others = folder.is_dir() and any(folder.iterdir()) and not (folder / MANIFEST_FILE).is_file()
    except OSError as error:
        raise ConfigError(
            f"{folder}: the champion's folder cannot be made ready ({error.strerror}); name another champion_dir"
        ) from error
    if others or folder.is_file():
        raise ConfigError(f"{folder} holds files that are not an artefact; name another champion_dir")


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
    tracking: Tracking, place: Place, version: Version, previous: int | None, kind: Kind, *, changed: bool
) -> dict[str, Any]:
    return {
        "changed": changed,
        "kind": kind,
        "champion": version.version,
        "previous": previous,
        "model_id": version.tags.get("tierwise.model_id"),
        "note": _note(version),
        "champion_dir": str(place.champion_dir),
        "tracking_s": round(tracking.seconds, 3),
    }


def _note(version: Version) -> str | None:
    """Return what speaks against a version that a person makes the champion, or None."""
    verdict = version.tags.get("tierwise.verdict")
    if version.tags.get("tierwise.certificate") == "void":
        return f"the certificate of version {version.version} was found void"
    if verdict not in (None, "ROUTE"):
        return f"the gate said {verdict} of version {version.version}: {version.tags.get('tierwise.reasons', '')}"
    return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
