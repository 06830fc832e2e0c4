"""Faults on demand: which request meets which, told by its key and by how often it was tried.

No I/O but the file that names the faults. A fault is drawn from the seed, the request's Idempotency-Key (or its content,
where it has none) and nothing else, so the same work meets the same faults, in whatever order it is done.
"""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from abilities import chance, digest

__all__ = ["KINDS", "Fault", "Faults", "read_faults"]

KINDS = {
    "unauthorized": "401",
    "unknown_model": "404, the model is not there",
    "rate_limited": "429 with Retry-After",
    "server_error": "500",
    "rejected": "400",
    "filtered_400": "400 with the code content_filter",
    "closed": "the connection is closed before any answer",
    "timeout": "billed, and never answered",
    "cut_off": "billed, and the connection ends within the answer",
    "malformed": "200 with what is no JSON",
    "no_completion": "200 with JSON that is no completion",
    "empty": "200 with no content",
    "refused": "200 with a refusal",
    "filtered": "200 that stopped at the content filter",
    "length": "200 that stopped at the limit of tokens",
    "tool_call": "200 with a call of a tool in place of content",
    "no_usage": "200 without usage",
    "batch_failed": "a batch that does not pass validation, as if the queue were full",
    "batch_line": "a batch that does not pass validation, for the share `rate` of its lines",
    "batch_expired": "a batch that expires, with the share `rate` of its requests not done",
    "batch_cancelled": "a batch that the provider cancels, with the share `rate` of its requests not done",
    "batch_held": "batches stay in progress, as long as there is this fault",
    "batch_server_error": "500 to a request about files or batches",
    "batch_lost": "a batch is created, and the connection closed before the answer",
    "batch_cut": "the connection ends within a file",
}


_FORMS: dict[str, type | tuple[type, ...]] = {
    "rate": (int, float),
    "models": list,
    "attempts": int,
    "first": int,
    "seconds": (int, float),
    "retry_after": (int, float, str, type(None)),
}
_OF_BATCHES = ("batch_failed", "batch_line", "batch_expired", "batch_cancelled")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, and which requests it hits.

    Attributes
    ----------
    rate : float
        Share of the keys that it hits.
    models : list of str
        Whose requests; all if empty.
    attempts : int
        How many attempts of a key it hits, the first ones; 0 means all.
    first : int
        It ends after as many requests of this server; 0 means never.
    seconds : float
        It ends as long after its first hit, a storm; 0 means never.
    retry_after : float or str
        Seconds, or "date" for a date of a second from now; for rate_limited and server_error.
    """

    kind: str
    rate: float = 1.0
    models: Sequence[str] = ()
    attempts: int = 0
    first: int = 0
    seconds: float = 0.0
    retry_after: float | str | None = None


def read_faults(text: str) -> list[Fault]:
    """Return the faults of a TOML file with [[fault]] tables, or of a JSON list.

    Raises
    ------
    ValueError
        It cannot be read, or names a fault or a key that there is not.
    """
    document: Any
    if text.startswith("["):
        document = json.loads(text)
    else:
        try:
            document = tomllib.loads(Path(text).read_text(encoding="utf-8")).get("fault", [])
        except OSError as error:
            raise ValueError(f"faults: the file cannot be read ({error.strerror})") from None
    known = {field.name for field in fields(Fault)}
    for table in document:
        if unknown := {*table} - known:
            raise ValueError(
                f"faults: unknown key {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}"
            )
        if table.get("kind") not in KINDS:
            raise ValueError(f"faults: expected a kind of {', '.join(KINDS)}; found {table.get('kind')!r}")
        if wrong := [
            name for name, form in _FORMS.items() if name in table and not isinstance(table[name], form)
        ]:
            raise ValueError(f"faults: {wrong[0]} of {table['kind']} is of another form than README.md says")
    return [Fault(**table) for table in document]


class Faults:
    """The faults of a server, and how often each key was tried."""

    def __init__(self, faults: Sequence[Fault] = (), seed: int = 0) -> None:
        self.faults = tuple(faults)
        self.seed = seed
        self.counts: dict[str, int] = {}
        """How often each kind was met."""
        self._tried: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        self._requests = 0
        self._since: dict[int, float] = {}

    def meet(self, model: str, key: str) -> Fault | None:
        """Count an attempt and return the fault that it meets, if any."""
        if not self.faults:
            return None
        self._requests += 1
        attempt = self._tried[key] = self._tried.get(key, 0) + 1
        for i, fault in enumerate(self.faults):
            if (
                not fault.kind.startswith("batch_")
                and (not fault.models or model in fault.models)
                and not (fault.attempts and attempt > fault.attempts)
                and not (fault.first and self._requests > fault.first)
                and chance(digest(self.seed, fault.kind, i, key)) < fault.rate
                and not self._is_over(i, fault.seconds)
            ):
                self.counts[fault.kind] = self.counts.get(fault.kind, 0) + 1
                return fault
        return None

    def met(self, kind: str) -> bool:
        """Count a request that may meet a fault of files and batches, and return whether it does."""
        fault = next((fault for fault in self.faults if fault.kind == kind), None)
        if fault is None:
            return False
        seen = self._seen[kind] = self._seen.get(kind, 0) + 1
        return not fault.first or seen <= fault.first

    def hits_line(self, fault: Fault, custom_id: str) -> bool:
        """Return whether a fault hits a line of a batch's file."""
        return chance(digest(self.seed, fault.kind, custom_id)) < fault.rate

    def of_batch(self, number: int) -> Fault | None:
        """Return the fault that the batch of a number, from 1 on, meets, if any."""
        for fault in self.faults:
            if fault.kind in _OF_BATCHES and not (fault.first and number > fault.first):
                return fault
        return None

    def _is_over(self, i: int, seconds: float) -> bool:
        return bool(seconds) and time.monotonic() - self._since.setdefault(i, time.monotonic()) > seconds
