"""Shared fixtures: toy artefacts, made by `tests/toys.py`."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from toys import run_python, write_artifact, write_embedding

from router import Router

# The examples are the same in every run, and none is timed.
settings.register_profile(
    "tierwise", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tierwise")

# A shell starts what runs in its background with interrupts ignored, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def toy_embedding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the four files of an embedding; not to be changed."""
    return write_embedding(tmp_path_factory.mktemp("embedding"))


@pytest.fixture(scope="session")
def toy_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole artefact of three tiers; not to be changed."""
    return write_artifact(tmp_path_factory.mktemp("artifact") / "toy")


@pytest.fixture
def toy_artifact_copy(toy_artifact: Path, tmp_path: Path) -> Path:
    """A copy of the toy artefact, to damage."""
    return Path(shutil.copytree(toy_artifact, tmp_path / "copy"))


@pytest.fixture(scope="session")
def toy_artifact_with_lexicon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole artefact of three tiers that reads token weights; not to be changed."""
    return write_artifact(tmp_path_factory.mktemp("lexicon") / "toy", lexicon=True)


@pytest.fixture(scope="session")
def toy_router(toy_artifact: Path) -> Router:
    """The toy artefact, opened."""
    return Router.load(toy_artifact)


@pytest.fixture(scope="session")
def python() -> Callable[..., Any]:
    """`run_python`."""
    return run_python
