"""From a batch's files of results to answers.

Reads those files and the spool, and decides; writes nothing. A line is known by its custom_id alone: results come in any
order, and in two files.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from eval.status import Status
from training.calls.answer import Answer
from training.calls.batch_spool import BATCH_PRICE, read_messages
from training.calls.endpoints import Endpoint
from training.calls.reading import read_completion, read_failure, read_request_id
from training.calls.records import Answered, Void

__all__ = ["NOT_DONE", "is_cut", "judge_gone", "judge_missing", "judge_rejected", "read_results"]

NOT_DONE = ("batch_expired", "batch_cancelled")
"""Codes of requests that were never run, and so never billed (OpenAI's API reference, the request output object)."""
_TIMED_OUT = "request_timeout"
_CODE = re.compile(r"[A-Za-z][A-Za-z_]{1,47}")
_CHUNK = 500


def read_results(
    path: Path, spool: Path, endpoint: Endpoint, most_usd: Mapping[str, float]
) -> Iterator[list[Answered | Void]]:
    """Yield what a file of results says of calls, some at a time.

    Parameters
    ----------
    path, spool : Path
        The file, and that of the requests.
    endpoint : Endpoint
        Who was asked; its prices make the costs, at half.
    most_usd : mapping of str to float
        The calls that wait for an answer, by key: what each can have cost at most. It is looked at as the file is read.
    """
    with path.open("rb") as file:
        lines = filter(None, map(_parse, file))
        while chunk := list(islice(lines, _CHUNK)):
            known = {line["custom_id"]: line for line in chunk if line["custom_id"] in most_usd}
            bare = {key for key, line in known.items() if not _has_usage(line)}
            messages = read_messages(spool, bare) if bare else {}
            yield [
                _judge(key, line, endpoint, messages.get(key, []), most_usd[key])
                for key, line in known.items()
            ]


def is_cut(path: Path) -> bool:
    """Return whether a file ends within a line."""
    with path.open("rb") as file:
        last = deque(file, maxlen=1)
    return bool(last) and not last[0].endswith(b"\n") and _parse(last[0]) is None


def judge_missing(key: str, status: str, most_usd: float) -> Answered | Void:
    """Return what a call came to that the results of an ended batch do not name. Pure.

    A batch that was completed has run it, and may bill it; one that was not has left it.
    """
    if status == "completed":
        return Answered(key, Answer(Status.MALFORMED, possibly_usd=most_usd, code="no_result"))
    return Void(key)


def judge_gone(key: str, most_usd: float) -> Answered:
    """Return what a call came to that may have been run, and whose results nobody has any more. Pure."""
    return Answered(key, Answer(Status.CUT_OFF, possibly_usd=most_usd, code="results_gone"))


def judge_rejected(key: str, code: str) -> Answered:
    """Return what a call came to whose line did not pass the validation. Pure."""
    status = Status.UNKNOWN_MODEL if "model" in code else Status.REJECTED
    return Answered(key, Answer(status, code=code if _CODE.fullmatch(code) else None))


def _parse(raw: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(raw)
        return line if isinstance(line, dict) and isinstance(line["custom_id"], str) else None
    except (ValueError, LookupError, RecursionError):
        return None


def _response(line: Mapping[str, Any]) -> Mapping[str, Any]:
    found = line.get("response")
    return found if isinstance(found, dict) else {}


def _has_usage(line: Mapping[str, Any]) -> bool:
    body = _response(line).get("body")
    return isinstance(body, dict) and isinstance(body.get("usage"), dict)


def _judge(
    key: str,
    line: Mapping[str, Any],
    endpoint: Endpoint,
    messages: Sequence[Mapping[str, Any]],
    most_usd: float,
) -> Answered | Void:
    error, response = line.get("error"), _response(line)
    status, body = response.get("status_code"), response.get("body")
    if isinstance(error, dict) and error.get("code") in NOT_DONE:
        return Void(key)
    if isinstance(status, int):
        document = body if isinstance(body, dict) else str(body).encode()
        request_id = response.get("request_id")
        if status != 200:
            return Answered(key, read_failure(status, document))
        whole = read_completion(
            endpoint,
            messages,
            document,
            request_id=read_request_id(request_id) if isinstance(request_id, str) else None,
        )
        return Answered(
            key,
            replace(
                whole,
                cost_usd=whole.cost_usd * BATCH_PRICE,
                possibly_usd=min(whole.possibly_usd * BATCH_PRICE, most_usd),
            ),
        )
    code = error.get("code") if isinstance(error, dict) else None
    known = code if isinstance(code, str) and _CODE.fullmatch(code) else None
    if code == _TIMED_OUT:  # the model was asked
        return Answered(key, Answer(Status.TIMEOUT, possibly_usd=most_usd, code=known))
    return Answered(key, Answer(Status.SERVER_ERROR, code=known))
