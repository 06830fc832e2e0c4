"""The file of requests that a batch carries, on disk from the first call to the last answer.

Reads and writes the folder of spools alone. Requests go there one by one as they are admitted, so memory does not grow with
what they say; the file is uploaded as it is, and read again where a request is needed once more.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from router.errors import RouterError
from training.calls.budget import most_usd, picos
from training.calls.call import Call, Unit
from training.calls.client import body_of
from training.calls.endpoints import Endpoint

__all__ = [
    "BATCH_PRICE",
    "URL",
    "BatchLimits",
    "Spool",
    "most_in_batch",
    "read_keys_of",
    "read_messages",
    "read_units",
    "spool_path",
    "sweep",
    "write_line",
]

URL: Final = "/v1/chat/completions"
"""What a batch asks for, as the Batch API wants it named."""
BATCH_PRICE = 0.5
"""What a call costs in a batch, against one by itself."""
SPOOLS = "batches"
"""Folder of the spools, within the journal's."""


class BatchLimits(NamedTuple):
    """The most that one batch may carry. OpenAI's, as of its API reference for batches: 50,000 requests, 200 MB."""

    requests: int = 50_000
    bytes: int = 200_000_000


class Spool:
    """Requests to one endpoint that will go into one batch, while they are written.

    Attributes
    ----------
    tag : str
        What the batch is known by, here and at the provider.
    most : dict of str to int
        By key, in the order of the file: the most that the call can cost, in picodollars.
    total : int
        Their sum.
    """

    def __init__(self, folder: Path) -> None:
        """Begin an empty file in a journal's folder.

        Raises
        ------
        RouterError
            It cannot be made.
        """
        self.tag = secrets.token_hex(8)
        self.path = spool_path(folder, self.tag)
        self.most: dict[str, int] = {}
        self.total = self._size = 0
        with self._told():
            self.path.parent.mkdir(exist_ok=True)
            self._file = self.path.open("wb")

    def has_room(self, line: bytes, limits: BatchLimits) -> bool:
        """Return whether one more line fits."""
        return len(self.most) < limits.requests and self._size + len(line) <= limits.bytes

    def add(self, key: str, line: bytes, most: int) -> None:
        """Write one more line."""
        with self._told():
            self._file.write(line)
        self.most[key] = most
        self.total += most
        self._size += len(line)

    def close(self) -> None:
        """Have all lines on disk."""
        with self._told(), self._file:
            self._file.flush()
            os.fsync(self._file.fileno())

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RouterError(
                f"{self.path}: the requests of a batch cannot be written ({error.strerror}); make room or check the folder's "
                "rights, then run the same command again: these were not submitted"
            ) from error


def spool_path(folder: Path, tag: str) -> Path:
    """Return where the requests of a batch stand. Pure."""
    return folder / SPOOLS / f"{tag}.jsonl"


def most_in_batch(endpoint: Endpoint, messages: Sequence[Mapping[str, Any]]) -> int:
    """Return the most that a call can cost in a batch, in picodollars. Pure."""
    return picos(most_usd(endpoint, messages) * BATCH_PRICE)


def write_line(endpoint: Endpoint, call: Call) -> bytes:
    """Return a call as one line of a batch's file. Pure."""
    asked = {"custom_id": call.key, "method": "POST", "url": URL, "body": body_of(endpoint, call.messages)}
    return json.dumps(asked, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def read_keys_of(path: Path) -> list[str]:
    """Return the keys in the order of the lines; none where the file is gone."""
    return [asked["custom_id"] for asked in _read(path)]


def read_messages(path: Path, keys: Set[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the messages of some calls; none where the file is gone."""
    return {
        asked["custom_id"]: asked["body"]["messages"] for asked in _read(path) if asked["custom_id"] in keys
    }


def read_units(path: Path, endpoint: str, keys: Set[str]) -> Iterator[Unit]:
    """Yield some calls of a file once more, each by itself, and remove the file after the last."""
    for asked in _read(path):
        if asked["custom_id"] in keys:
            yield Unit((Call(asked["custom_id"], endpoint, asked["body"]["messages"], f"tier {endpoint}"),))
    path.unlink(missing_ok=True)


def sweep(folder: Path, tags: Set[str]) -> None:
    """Remove the files of a journal's folder that belong to no batch of these tags."""
    for path in (folder / SPOOLS).glob("*"):
        if path.name.partition(".")[0] not in tags:
            path.unlink(missing_ok=True)


def _read(path: Path) -> Iterator[dict[str, Any]]:
    if path.is_file():
        with path.open("rb") as file:
            yield from map(json.loads, file)
