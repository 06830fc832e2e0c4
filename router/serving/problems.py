"""Errors as problem details (RFC 9457): a stable type, a sentence, the field at fault. Pure.

Never a stack trace, never prompt text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json

__all__ = ["MEDIA_TYPE", "PROBLEMS", "Problem", "problem_type"]

MEDIA_TYPE = "application/problem+json"

PROBLEMS: dict[str, tuple[int, str]] = {
    "bad-http": (400, "Not HTTP/1.1"),
    "malformed-json": (400, "Malformed JSON"),
    "invalid-utf8": (400, "Invalid UTF-8"),
    "missing-key": (401, "API key missing"),
    "wrong-key": (401, "API key not known"),
    "forbidden": (403, "Forbidden"),
    "not-found": (404, "Not found"),
    "method-not-allowed": (405, "Method not allowed"),
    "too-slow": (408, "Request too slow"),
    "too-large": (413, "Body too large"),
    "too-many-items": (413, "Too many items"),
    "unsupported-media-type": (415, "Unsupported media type"),
    "invalid-request": (422, "Invalid request"),
    "too-many-batches": (429, "Too many batches"),
    "headers-too-large": (431, "Headers too large"),
    "internal": (500, "Internal error"),
    "overloaded": (503, "Overloaded"),
    "not-ready": (503, "Not ready"),
    "model-refused": (503, "Model refused"),
}
"""Name of each type of problem, with its status and title; a type, once published, keeps its meaning."""


def problem_type(name: str) -> str:
    """Return the URI of a type of problem. Pure."""
    return f"urn:tierwise:problem:{name}"


class Problem(Exception):  # noqa: N818 - the term of RFC 9457
    """An error that the client is told about.

    Attributes
    ----------
    name : str
        One of `PROBLEMS`.
    detail : str
        One sentence: what was expected, what was found, what to do.
    errors : sequence of (str, str)
        JSON pointers of the fields at fault, each with its own sentence.
    headers : dict
        What goes into the head of the answer besides.
    """

    def __init__(
        self,
        name: str,
        detail: str,
        errors: Sequence[tuple[str, str]] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.name = name
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}
        self.status, self.title = PROBLEMS[name]

    def to_dict(self, request_id: str | None = None) -> dict[str, Any]:
        """Return the problem as plain data, in the form of RFC 9457."""
        document: dict[str, Any] = {
            "type": problem_type(self.name),
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            document["errors"] = [{"pointer": pointer, "detail": detail} for pointer, detail in self.errors]
        if request_id is not None:
            document["request_id"] = request_id
        return document

    def to_json(self, request_id: str | None = None) -> bytes:
        """Return the problem as JSON."""
        return to_json(self.to_dict(request_id))
