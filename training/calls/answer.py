"""What came of one call, as the journal keeps it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from eval.status import Status

__all__ = ["Answer"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one call, all its attempts together.

    Attributes
    ----------
    status : Status
        What became of it.
    response : str or None
        Text of the answer; of a refusal, its words; of tool calls, their JSON.
    finish_reason : str or None
        The provider's own word.
    input_tokens, output_tokens, cached_input_tokens : int or None
        None where nothing was answered.
    usage_is_estimate : bool
        The provider did not count: tokens are characters / 4.
    cost_usd : float
        What the answer cost.
    possibly_usd : float
        The most that attempts without an answer may have cost beside it.
    latency_ms : float
        Of the last attempt, from request to the answer's last byte.
    attempts : int
        Requests sent.
    http_status : int or None
        Of the last attempt.
    code : str or None
        The provider's own error code, where it is one short word.
    request_id : str or None
        The provider's name for the last attempt.
    """

    status: Status
    response: str | None = None
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    usage_is_estimate: bool = False
    cost_usd: float = 0.0
    possibly_usd: float = 0.0
    latency_ms: float = 0.0
    attempts: int = 1
    http_status: int | None = None
    code: str | None = None
    request_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Answer:
        """Return an answer from what `to_dict` gave; keys that it does not know are left out."""
        known = {field.name: found[field.name] for field in fields(cls) if field.name in found}
        return cls(**(known | {"status": Status(found["status"])}))
