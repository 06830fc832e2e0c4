"""Where each call's last answer stands in the journal, and what became of the call: some hundred bytes a call. Pure."""

from __future__ import annotations

import hashlib

from eval.status import Status

__all__ = ["Index"]

_STATUSES = tuple(Status)
_BITS = 5  # enough for all of them, beside an offset in one integer
assert len(_STATUSES) <= 1 << _BITS  # noqa: S101


class Index:
    """From a call's key to the offset of its last answer and its status."""

    def __init__(self) -> None:
        self._places: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._places)

    def put(self, key: str, offset: int, status: Status) -> None:
        """Remember an answer; it takes the place of the key's earlier one."""
        self._places[_digest(key)] = offset << _BITS | _STATUSES.index(status)

    def offset(self, key: str) -> int | None:
        """Return where the key's last answer begins."""
        place = self._places.get(_digest(key))
        return None if place is None else place >> _BITS

    def status(self, key: str) -> Status | None:
        """Return what became of the call."""
        place = self._places.get(_digest(key))
        return None if place is None else _STATUSES[place & ((1 << _BITS) - 1)]


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()
