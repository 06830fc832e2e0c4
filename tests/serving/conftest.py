"""A real server, on the toy artefact, for all tests of the contract.

Every test here may use `server` and `client`; one that stops its server, overloads it, or wants other options or keys
starts its own with `served.serve`, and asks it with `wire.Client(address, key)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from replacing import write_second
from served import serve
from wire import Client


@pytest.fixture(scope="session")
def server(toy_artifact: Path) -> Iterator[str]:
    """The address of a server with the limits that it has by default, and without keys."""
    with serve("--model", str(toy_artifact)) as address:
        yield address


@pytest.fixture(scope="session")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of other scores and other tiers than the toy artefact; not to be changed."""
    return write_second(tmp_path_factory.mktemp("second") / "toy")


@pytest.fixture
def client(server: str) -> Iterator[Client]:
    """A client of that server, with a connection of its own."""
    with Client(server) as client:
        yield client
