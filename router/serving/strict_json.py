"""JSON as RFC 8259 means it: UTF-8, no NaN, no name twice, not too deep. Pure.

The library's own reader takes the last of two equal names, and numbers that are none; two readers of one body that
disagree are how checks are slipped past.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from router.serving.limits import MAX_DEPTH
from router.serving.problems import Problem

__all__ = ["parse_json"]

_NOT_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"'))
_SQUARE = bytes.maketrans(b"{}", b"[]")


def parse_json(raw: bytes) -> Any:  # noqa: ANN401 - what it holds is checked against a schema
    """Return what a JSON text holds.

    Raises
    ------
    Problem
        It is no JSON, 400; the sentence says where, and repeats nothing of it.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Problem(
            "invalid-utf8",
            f"the body is not UTF-8: byte {error.start} begins no character; send JSON as UTF-8",
        ) from None
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _is_deep(raw):
        raise Problem(
            "malformed-json", f"the body nests arrays and objects more than {MAX_DEPTH} deep; send it flatter"
        )
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        if not raw.strip():
            raise Problem("malformed-json", "the body is empty; expected a JSON object") from None
        raise Problem(
            "malformed-json",
            f"the body is not JSON: {error.msg[:1].lower()}{error.msg[1:]}, at line {error.lineno} column {error.colno}",
        ) from None
    except RecursionError:
        raise Problem("malformed-json", "the body nests too deep; send it flatter") from None
    except ValueError:  # an integer of more digits than Python reads
        raise Problem("malformed-json", "the body holds a number of too many digits") from None


def _is_deep(raw: bytes) -> bool:
    """Whether arrays and objects nest deeper than `MAX_DEPTH`, without a step of Python per byte.

    What stands in strings goes first; then, round by round, the innermost pairs. Brackets that do not pair are left
    to the parser, which says where.
    """
    if b"\\" in raw:
        raw = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    structure = b"".join(raw.translate(None, _NOT_STRUCTURE).split(b'"')[::2]).translate(_SQUARE)
    for _ in range(MAX_DEPTH):
        structure = structure.replace(b"[]", b"")
    return b"[]" in structure


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Problem("malformed-json", "the body names a field of one object twice; send each once")
    return found


def _not_a_number(_: str) -> NoReturn:
    raise Problem(
        "malformed-json", "the body holds NaN or Infinity, which JSON does not know; send a number or null"
    )


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_not_a_number)
