"""Files and batches: the Batch API, as far as chat completions need it.

No I/O. A batch goes one state further each time that somebody asks for it: validating, in_progress (half of it is done),
finalizing (all of it), completed. So nobody waits for a day, and tests decide when what happens. The output comes in
another order than the input, as a provider's may.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from completions import Completions
from faults import Fault

__all__ = ["Batches"]

ENDED = ("completed", "failed", "expired", "cancelled")
_SLICE = 200
"""Requests done before others get their turn."""
_NOT_DONE = {
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
    "cancelled": ("batch_cancelled", "This request was not executed, because the batch was cancelled."),
}


@dataclass
class _Batch:
    shown: dict[str, Any]
    fault: Fault | None
    ends: str = "completed"
    waiting: list[dict[str, Any]] = field(default_factory=list)
    output: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    work: asyncio.Task[None] | None = None


class Batches:
    """The files and batches of a server. The most requests and bytes of a file are OpenAI's, unless set lower."""

    def __init__(
        self, completions: Completions, most_requests: int = 50_000, most_bytes: int = 200_000_000
    ) -> None:
        self._completions = completions
        self._most_requests = most_requests
        self._most_bytes = most_bytes
        self.files: dict[str, tuple[dict[str, Any], bytes]] = {}
        self._batches: dict[str, _Batch] = {}
        self._by_key: dict[str | None, str] = {}
        self.created = 0
        self.uploaded = 0

    def add_file(self, content: bytes, filename: str, purpose: str) -> dict[str, Any] | None:
        """Keep a file and return what is shown of it; None where it is too long."""
        if len(content) > self._most_bytes:
            return None
        self.uploaded += 1
        shown = {
            "id": f"file-{len(self.files) + 1:06d}",
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.time()),
            "filename": filename,
            "purpose": purpose,
            "status": "processed",
        }
        self.files[shown["id"]] = shown, content
        return shown

    def create(self, order: dict[str, Any], key: str | None = None) -> dict[str, Any] | None:
        """Begin a batch and return what is shown of it; None where it names no file, or another endpoint.

        A known Idempotency-Key gets the batch that it began.
        """
        if key in self._by_key:
            return self._batches[self._by_key[key]].shown
        if (
            str(order.get("input_file_id")) not in self.files
            or order.get("endpoint") != "/v1/chat/completions"
        ):
            return None
        self.created += 1
        shown = {
            "id": f"batch_{self.created:06d}",
            "object": "batch",
            "endpoint": order["endpoint"],
            "input_file_id": order["input_file_id"],
            "completion_window": order.get("completion_window", "24h"),
            "status": "validating",
            "errors": None,
            "output_file_id": None,
            "error_file_id": None,
            "created_at": int(time.time()),
            "expires_at": int(time.time()) + 86_400,
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "metadata": order.get("metadata"),
        }
        if key is not None:
            self._by_key[key] = shown["id"]
        self._batches[shown["id"]] = _Batch(shown, self._completions.faults.of_batch(self.created))
        return shown

    def listed(self, after: str | None, limit: int) -> dict[str, Any]:
        """Return a page of batches, the newest first, from below the one of the id `after`."""
        ids = sorted(self._batches, reverse=True)
        rest = [each for each in ids if after is None or each < after]
        page = [self._batches[each].shown for each in rest[:limit]]
        ends = (
            {"first_id": page[0]["id"], "last_id": page[-1]["id"]}
            if page
            else {"first_id": None, "last_id": None}
        )
        return {"object": "list", "data": page, "has_more": len(rest) > limit, **ends}

    def cancel(self, batch_id: str) -> dict[str, Any] | None:
        """Cancel a batch that has not ended; what is done of it stays done."""
        batch = self._batches.get(batch_id)
        if batch is None:
            return None
        if batch.shown["status"] not in ENDED:
            batch.shown["status"] = "cancelling"
        return batch.shown

    def look(self, batch_id: str) -> dict[str, Any] | None:
        """Return what is shown of a batch, which thereby goes a state further."""
        batch = self._batches.get(batch_id)
        if batch is None:
            return None
        if batch.work is None or batch.work.done():
            self._go_on(batch)
        return batch.shown

    def _go_on(self, batch: _Batch) -> None:
        shown, kind = batch.shown, batch.fault.kind if batch.fault else None
        share_left = batch.fault.rate if batch.fault else 0.0
        if shown["status"] == "validating":
            self._validate(batch)
            if shown["status"] == "in_progress":
                self._begin(batch, len(batch.waiting) // 2)
        elif shown["status"] == "in_progress" and kind in ("batch_expired", "batch_cancelled"):
            total = shown["request_counts"]["total"]
            self._begin(batch, len(batch.waiting) - round(total * share_left))
            batch.ends, shown["status"] = kind.removeprefix("batch_"), "finalizing"
        elif shown["status"] == "in_progress" and not self._completions.faults.met("batch_held"):
            self._begin(batch, len(batch.waiting))
            shown["status"] = "finalizing"
        elif shown["status"] == "finalizing":
            self._end(batch, batch.ends)
        elif shown["status"] == "cancelling":
            self._end(batch, "cancelled")

    def _validate(self, batch: _Batch) -> None:
        shown = batch.shown
        found = []
        content = self.files[shown["input_file_id"]][1]
        errors = list(_check(content, self._most_requests, found))
        if batch.fault and batch.fault.kind == "batch_failed":
            errors = [
                {"code": "token_limit_exceeded", "message": "Enqueued token limit reached.", "line": None}
            ]
        if batch.fault and batch.fault.kind == "batch_line":
            errors = [
                {"code": "invalid_request", "message": "This line was not liked.", "line": number}
                for number, line in enumerate(found, start=1)
                if self._completions.faults.hits_line(batch.fault, line["custom_id"])
            ]
        if errors:
            shown |= {"status": "failed", "failed_at": int(time.time())}
            shown["errors"] = {"object": "list", "data": [{"param": None, **error} for error in errors]}
            return
        batch.waiting = found
        shown |= {"status": "in_progress", "in_progress_at": int(time.time())}
        shown["request_counts"]["total"] = len(found)

    def _begin(self, batch: _Batch, n: int) -> None:
        todo, batch.waiting = batch.waiting[: max(n, 0)], batch.waiting[max(n, 0) :]
        batch.work = asyncio.get_running_loop().create_task(self._do(batch, todo))

    async def _do(self, batch: _Batch, todo: list[dict[str, Any]]) -> None:
        counts = batch.shown["request_counts"]
        for i, asked in enumerate(todo, start=1):
            custom_id = asked["custom_id"]
            reply = self._completions.complete(asked["body"], custom_id=custom_id)
            line: dict[str, Any] = {"id": f"{batch.shown['id']}_req_{counts['completed'] + counts['failed']}"}
            line |= {"custom_id": custom_id, "response": None, "error": None}
            if not reply.sent or reply.share < 1.0:
                line["error"] = {"code": "request_timeout", "message": "The model did not answer in time."}
            else:
                text = reply.body.decode()
                body = json.loads(text) if text.startswith("{") else text
                line["response"] = {"status_code": reply.status, "request_id": line["id"], "body": body}
            good = line["error"] is None and reply.status == 200
            (batch.output if good else batch.errors).append(line)
            counts["completed" if good else "failed"] += 1
            if i % _SLICE == 0:
                await asyncio.sleep(0)

    def _end(self, batch: _Batch, status: str) -> None:
        for asked in batch.waiting:
            code, message = _NOT_DONE[status]
            line = {"id": f"{batch.shown['id']}_not", "custom_id": asked["custom_id"], "response": None}
            batch.errors.append(line | {"error": {"code": code, "message": message}})
        batch.waiting = []
        for lines, where in ((batch.output, "output_file_id"), (batch.errors, "error_file_id")):
            if lines:  # there is no file without lines
                content = b"".join(json.dumps(line).encode() + b"\n" for line in reversed(lines))
                shown = self.add_result(content, f"{batch.shown['id']}_{where}.jsonl")
                batch.shown[where] = shown["id"]
        batch.output, batch.errors = [], []
        batch.shown |= {"status": status, f"{status}_at": int(time.time())}

    def add_result(self, content: bytes, filename: str) -> dict[str, Any]:
        """Keep a file of results, however long it is."""
        most, self._most_bytes = self._most_bytes, len(content)
        shown = self.add_file(content, filename, "batch_output")
        self._most_bytes = most
        self.uploaded -= 1
        assert shown is not None  # noqa: S101
        return shown


def _check(content: bytes, most: int, found: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Fill `found` with the requests of a file, and give what is wrong with it."""
    seen = set()
    for number, raw in enumerate(content.splitlines(), start=1):
        try:
            line = json.loads(raw)
            custom_id, body = line["custom_id"], line["body"]
        except (ValueError, LookupError, TypeError):
            yield {"code": "invalid_json_line", "message": "This line is no request.", "line": number}
            continue
        if custom_id in seen:
            yield {
                "code": "duplicate_custom_id",
                "message": "This custom_id was used before.",
                "line": number,
            }
        if (line.get("method"), line.get("url")) != ("POST", "/v1/chat/completions") or not isinstance(
            body, dict
        ):
            yield {"code": "mismatched_url", "message": "Expected POST /v1/chat/completions.", "line": number}
        seen.add(custom_id)
        found.append(line)
    if not content.strip():
        yield {"code": "empty_file", "message": "The file holds no requests.", "line": None}
    if len(found) > most:
        yield {"code": "too_many_requests", "message": f"Expected {most} requests at most.", "line": None}
