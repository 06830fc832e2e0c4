"""What happens to a run of the weekly pipeline in its own process: it is killed, waits, or finds no room, at a place of a test's choice."""

from __future__ import annotations

import ctypes
import importlib
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NOT_ALLOWED = 77
"""Exit code where this user may not mount file systems."""


@dataclass(frozen=True)
class At:
    """A call in a run: of a function, by `module:name`, at which one argument is `which`; before it, or after."""

    function: str
    which: object = None
    when: str = "before"


@dataclass(frozen=True)
class Step:
    """A step in a run: before it, when it is done and not entered in the ledger, or when it is."""

    name: str
    when: str = "done"


@dataclass(frozen=True)
class Faults:
    """What happens to a run.

    Attributes
    ----------
    kill, wait, fill : At, Step or None
        Where it is killed; where it waits for the test; from where on no file can be made longer.
    small : mapping
        Folders, and how many bytes they hold: each is a file system that only the run sees, and that ends with it.
    """

    kill: At | Step | None = None
    wait: At | Step | None = None
    fill: At | Step | None = None
    small: Mapping[Path, int] = field(default_factory=dict)


def prepare(faults: Faults, wait: Callable[[], None], begun: int) -> None:
    """Have this process meet its faults; the name of each step that it begins is written to a descriptor."""
    _note_steps(begun)
    acts = (
        (faults.kill, lambda: os.kill(os.getpid(), signal.SIGKILL)),
        (faults.wait, wait),
        (faults.fill, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))),
    )
    for place, act in acts:
        if isinstance(place, Step):
            _at_step(place, act)
        elif place is not None:
            _at_call(place, act)
    if faults.small:
        _mount(faults.small)


def _note_steps(descriptor: int) -> None:
    """Write the name of each step that is begun."""
    from training.pipeline.ledger import Ledger

    plain = Ledger.run

    def run_noted(self: Any, name: str, inputs: Any, do: Callable[[], Any], files: Any = ()) -> Any:
        def noted() -> Any:
            os.write(descriptor, f"{name}\n".encode())
            return do()

        return plain(self, name, inputs, noted, files)

    Ledger.run = run_noted  # type: ignore[method-assign]


def _at_step(place: Step, act: Callable[[], None]) -> None:
    from training.pipeline.ledger import Ledger

    plain = Ledger.run

    def run_until(self: Any, name: str, inputs: Any, do: Callable[[], Any], files: Any = ()) -> Any:
        def acting() -> Any:
            if place.when == "begun":
                act()
            found = do()
            if place.when == "done":
                act()
            return found

        tell = self._on_done

        def told(*of: Any) -> None:
            self._on_done = tell
            if place.when == "entered":
                act()
            tell(*of)

        if name != place.name:
            return plain(self, name, inputs, do, files)
        self._on_done = told
        try:
            return plain(self, name, inputs, acting, files)
        finally:
            self._on_done = tell

    Ledger.run = run_until  # type: ignore[method-assign]


def _at_call(place: At, act: Callable[[], None]) -> None:
    module, _, name = place.function.partition(":")
    owner = importlib.import_module(module)
    *path, last = name.split(".")
    for each in path:
        owner = getattr(owner, each)
    plain = getattr(owner, last)

    def acting(*values: Any, **named: Any) -> Any:
        meant = place.which is None or place.which in [*values, *named.values()]
        if meant and place.when == "before":
            act()
        found = plain(*values, **named)
        if meant and place.when == "after":
            act()
        return found

    setattr(owner, last, acting)


def _mount(folders: Mapping[Path, int]) -> None:
    """Put a file system of its own on each folder, for this process alone."""
    system = ctypes.CDLL(None, use_errno=True)
    newns, private = 0x20000, 0x44000  # CLONE_NEWNS; MS_REC | MS_PRIVATE
    calls: list[tuple[Any, ...]] = [(b"none", b"/", None, private, None)]
    calls += [
        (b"tmpfs", os.fsencode(folder), b"tmpfs", 0, f"size={size}".encode())
        for folder, size in folders.items()
    ]
    if system.unshare(newns) or any(system.mount(*call) for call in calls):
        sys.exit(NOT_ALLOWED)
