"""What the service bounds, and how far. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields

from router.errors import ConfigError

__all__ = ["MAX_DEPTH", "MAX_HEADER_BYTES", "Limits"]

MAX_HEADER_BYTES = 32 * 1024
"""Request line and headers together; nginx and others stop at the same."""

MAX_DEPTH = 32
"""Arrays and objects of a JSON body within one another. Definitions of tools go ten deep."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds that an operator may move.

    Attributes
    ----------
    max_body_bytes : int
        A body, or a line of a stream.
    max_items : int
        Requests in one batch.
    max_in_flight : int
        Requests that are read but not answered, per process; more are turned away with 503.
    max_connections : int
        Open connections, per process.
    max_batches : int
        Batches and streams at a time, per process; more are turned away with 429.
    header_timeout, read_timeout, keep_alive : float
        Seconds for the head of a request; for its body, for a pause in a stream, and for a client to take its answer;
        and for a connection to be idle.
    """

    max_body_bytes: int = 1024 * 1024
    max_items: int = 1024
    max_in_flight: int = 128
    max_connections: int = 1024
    max_batches: int = 32
    header_timeout: float = 10.0
    read_timeout: float = 30.0
    keep_alive: float = 60.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < 1e12:
                flag = "--" + field.name.replace("_", "-")
                raise ConfigError(f"serve: {flag} is a number above 0; found {value!r}")
