"""Looks, every few seconds, whether the place that the model was opened from has another one.

A thread of its own: a file system or a registry that hangs holds up no request. It changes nothing; it says that there
is something to reload, and whoever serves opens, verifies and takes it, or refuses it, as for any reload.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from router.artifact import MANIFEST_FILE, find_artifact, name_place, read_manifest
from router.errors import RouterError
from router.registry import fetch, is_registered, version_of
from router.serving.log import Log

__all__ = ["Folder", "Place", "Registered", "Watch", "place_of"]

_SETTLE = 0.5  # seconds; what is still being copied looks otherwise by then
_AGAIN = (
    30.0  # seconds before what was refused is tried again though it looks the same; doubled up to the next
)
_MOST_AGAIN = 600.0


class Place(Protocol):
    """Where a model is, as far as it can be watched."""

    def look(self) -> str:
        """Return what is there now, in a form that differs whenever the model does; cheap."""

    def model_id(self) -> str | None:
        """Return the id of the model that is there now; None where there is none that can be read."""


class Folder:
    """An artefact on this machine: it is another one where files of it were replaced, added or touched."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def look(self) -> str:
        """Return the states of the folder's files."""
        try:
            with os.scandir(self._path) as entries:
                states = [(entry.name, entry.stat()) for entry in entries]
        except OSError as error:  # between two renames, say
            return f"unreadable: {error.errno}"
        return json.dumps(
            sorted((name, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for name, s in states)
        )

    def model_id(self) -> str | None:
        """Return the id that the manifest has."""
        try:
            return read_manifest(self._path).model_id
        except RouterError:  # what is wrong with it is said where it is opened
            return None


class Registered:
    """A model in MLflow's registry: it is another one where the address means another version."""

    def __init__(self, address: str) -> None:
        self._address = address

    def look(self) -> str:
        """Return the version.

        Raises
        ------
        RouterError
            The registry cannot say.
        """
        return version_of(self._address)

    def model_id(self) -> str | None:
        """Return the id that the version's manifest has."""
        try:
            with fetch(self._address, MANIFEST_FILE) as folder:
                return read_manifest(folder).model_id
        except RouterError:
            return None


def place_of(location: str | None) -> Place:
    """Return the place to watch.

    Parameters
    ----------
    location : str or None
        As for `Router.load`.

    Raises
    ------
    ArtifactError
        There is no model on this machine.
    """
    named = name_place(location)
    if named is not None and is_registered(named):
        return Registered(named)
    return Folder(find_artifact(location))


class Watch:
    """Looks at a place from the side.

    Parameters
    ----------
    seconds : float
        Between two looks.
    log : Log
        Where it is told that a place cannot be looked at, once until it can.
    clock : callable
        Returns seconds; what was refused is tried again by it.
    """

    def __init__(
        self, place: Place, seconds: float, log: Log, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._place = place
        self._seconds = seconds
        self._log = log
        self._clock = clock
        self._stopping = threading.Event()
        self._known = ""  # what the place looked like when it held the model of `_known_id`
        self._known_id = ""
        self._seen = ""
        self._tried = ""
        self._again_at = 0.0
        self._again_in = _AGAIN
        self._model_id: str | None = None  # of what was tried
        self._trouble = ""

    def begin(self) -> None:
        """Look for the first time, before the model is opened: what changes from then on is new.

        Raises
        ------
        RouterError
            The place cannot be looked at.
        """
        self._known = self._seen = self._place.look()

    def start(self, serving: Callable[[], str], change: Callable[[], None]) -> None:
        """Look from now on, in a thread that ends with the process.

        Parameters
        ----------
        serving : callable
            Returns the id of the model that serves.
        change : callable
            Called, in that thread, when the place has another one.
        """
        thread = threading.Thread(
            target=self._run, args=(serving, change), name="tierwise watch", daemon=True
        )
        thread.start()

    def stop(self) -> None:
        """Look no more; does not wait."""
        self._stopping.set()

    def _run(self, serving: Callable[[], str], change: Callable[[], None]) -> None:
        pause = self._seconds
        self._known_id = serving()
        while not self._stopping.wait(pause):
            try:
                settled = self._look(serving, change)
            except RouterError as error:
                self._tell(str(error))
                settled = True
            except Exception as error:  # whatever it is, the next look may do better
                if self._trouble != repr(error):
                    self._trouble = repr(error)
                    self._log.failure("watch", error)
                settled = True
            pause = self._seconds if settled else min(self._seconds, _SETTLE)

    def _look(self, serving: Callable[[], str], change: Callable[[], None]) -> bool:
        """Look once; return whether the place looks as it did the last time."""
        found = self._place.look()
        self._tell("")
        if found != self._seen:
            self._seen = found
            return False
        # The place may look as before and another model serve: it was there and gone between two looks.
        if found == self._known and serving() == self._known_id:
            self._tried = ""  # what was refused is new again, should it come back
            return True
        now = self._clock()
        if found != self._tried:
            self._tried, self._again_at, self._again_in, self._model_id = found, now, _AGAIN, None
        is_due = now >= self._again_at
        if is_due and self._model_id is None:
            self._model_id = self._place.model_id()
        if self._model_id == serving():  # it was touched only; or the reload is done
            self._known, self._known_id = found, serving()
        elif is_due:
            self._again_at = now + self._again_in
            self._again_in = min(2 * self._again_in, _MOST_AGAIN)
            change()
        return True

    def _tell(self, trouble: str) -> None:
        """Log what stands in the way of looking where that is news, or that nothing does any more."""
        if trouble != self._trouble:
            self._trouble = trouble
            if trouble:
                self._log.event("watch", outcome="failed", detail=trouble)
            else:
                self._log.event("watch", outcome="works again")
