"""What became of a call, as the column `status` of a history says it: one closed set of words. Pure."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["AGAIN", "FINAL", "GRADABLE", "Status"]


class Status(StrEnum):
    """What became of a call.

    Only `GRADABLE` ones say something about a model's ability; all others leave the outcome unobserved, and are never
    a fail.
    """

    ANSWERED = "answered"
    TOOL_CALL = "tool_call"
    """No text but calls of tools; the response is their JSON."""
    LENGTH = "length"
    """Cut at the most tokens that were asked for."""
    REFUSED = "refused"
    """The model said so in the field made for it."""
    FILTERED = "filtered"
    """The provider's content filter stopped the prompt or the answer."""
    EMPTY = "empty"
    MALFORMED = "malformed"
    """Answered with success, and what came is no chat completion."""
    CUT_OFF = "cut_off"
    """The connection ended within the answer, or before it began."""
    TIMEOUT = "timeout"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    UNREACHABLE = "unreachable"
    """No connection was made, or what was found points elsewhere."""
    UNAUTHORIZED = "unauthorized"
    UNKNOWN_MODEL = "unknown_model"
    REJECTED = "rejected"
    """Any other answer of the provider that blames the request."""
    UNSETTLED = "unsettled"
    """Never in a journal's answer: sent by a run that was killed, and not sent again because the user said so."""


GRADABLE = frozenset({Status.ANSWERED, Status.TOOL_CALL})
"""What a grader may read."""

AGAIN = frozenset(
    {
        Status.UNAUTHORIZED,
        Status.UNKNOWN_MODEL,
        Status.RATE_LIMITED,
        Status.SERVER_ERROR,
        Status.UNREACHABLE,
    }
)
"""What the next run tries again: it cost nothing, and is not about the prompt."""

FINAL = frozenset(Status) - AGAIN - {Status.UNSETTLED}
"""What stays as it is: it may have cost money, or is about the prompt."""
