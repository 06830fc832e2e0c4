"""What a judge said: the last line of its answer, and nothing else, read strictly.

Pure. A verdict is one JSON object on the last line, with exactly the keys asked for and the nonce of the task. What a
judge quotes from the response on its way there cannot be one, because a response does not know the nonce.
"""

from __future__ import annotations

import json
from typing import Any, Literal

__all__ = ["Winner", "read_score", "read_winner"]

Winner = Literal["A", "B", "tie"]

_MOST_CHARS = 200  # of a line that may be a verdict; one is 45 characters long


def read_score(text: str, nonce: str) -> int | None:
    """Return the grade from 1 to 5, or None if the answer is off format. Pure."""
    value = _verdict(text, nonce, "score")
    return value if type(value) is int and 1 <= value <= 5 else None  # type(): True is an int to isinstance


def read_winner(text: str, nonce: str) -> Winner | None:
    """Return which response is better, or None if the answer is off format. Pure."""
    value = _verdict(text, nonce, "winner")
    return value if value in ("A", "B", "tie") else None


def _verdict(text: str, nonce: str, key: str) -> Any:  # noqa: ANN401 - whatever a model wrote
    """Return what the verdict says; None if there is none, or if another line with the nonce says otherwise."""
    lines = [line.strip() for line in text.split("\n")]
    while lines and (not lines[-1] or lines[-1] == "```"):  # models like to fence their JSON
        lines.pop()
    if not lines:
        return None
    said = [_object(line, nonce, key) for line in lines]
    verdict = said[-1]
    if verdict is None or any(other not in (None, verdict) for other in said):
        return None
    return verdict[1]


def _object(line: str, nonce: str, key: str) -> tuple[str, Any] | None:
    """Return type and value of a line that is a verdict of this task."""
    if len(line) > _MOST_CHARS or not line.startswith("{") or nonce not in line:
        return None
    try:
        pairs = json.loads(line, object_pairs_hook=list)  # a list of pairs: a key that comes twice is seen
    except (ValueError, RecursionError):
        return None
    found = dict(pairs)
    if len(pairs) != len(found) or set(found) != {"id", key} or found["id"] != nonce:
        return None
    return type(found[key]).__name__, found[key]
