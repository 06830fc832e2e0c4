"""One call to make, and its key. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["Call", "Unit", "call_key"]


@dataclass(frozen=True, slots=True)
class Call:
    """One call to make.

    Attributes
    ----------
    key : str
        From `call_key`: the same call has the same key in every run, and two calls never share one.
    endpoint : str
        Whom to ask: a key of the endpoints.
    messages : sequence of mappings
        OpenAI-style chat messages.
    label : str
        How messages to the user name it, such as "prompt q-12, tier small"; never text of the prompt.
    """

    key: str
    endpoint: str
    messages: Sequence[Mapping[str, Any]]
    label: str


class Unit(NamedTuple):
    """Calls that the budget admits together or not at all, such as one prompt on every tier."""

    calls: tuple[Call, ...]


def call_key(*parts: object) -> str:
    """Return the sha256 in hexadecimal of what makes a call what it is; parts are values of JSON.

    For a prompt on a tier: its id, the messages, the model, the most output tokens, and the parameters.
    """
    # Escaped to ASCII, because a text may hold lone surrogates, which have no UTF-8.
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
