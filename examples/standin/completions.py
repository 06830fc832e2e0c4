"""Chat completions: from a request's body to an answer's, with faults, usage and the bill.

No I/O. An answer is made and billed when its request arrives; what a fault does to it comes after, as it is with a
provider who has done the work when the connection breaks.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from typing import Any, NamedTuple

from abilities import ABILITY, answer, digest, text_of
from bill import Bill
from faults import Fault, Faults
from judge import JUDGE, Judge
from wire import Reply

__all__ = ["MODELS", "Completions", "problem"]

MODELS = (*ABILITY, JUDGE)
CHARS_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 3
_REFUSAL = "I cannot help with that."
_ERRORS = {
    "unauthorized": (401, "invalid_api_key", "Incorrect API key provided."),
    "unknown_model": (404, "model_not_found", "The model does not exist or you do not have access to it."),
    "rate_limited": (429, "rate_limit_exceeded", "Rate limit reached for requests."),
    "server_error": (500, "server_error", "The server had an error while processing your request."),
    "rejected": (400, "invalid_prompt", "The request was rejected."),
    "filtered_400": (400, "content_filter", "The response was filtered due to the content policy."),
}


class _Made(NamedTuple):
    content: bytes
    """Digest of model and messages, to tell by whether a key is used for one request only."""
    body: bytes


def problem(kind: str, message: str | None = None, headers: str = "") -> Reply:
    """Return an error in the form of an OpenAI-compatible server. Pure."""
    status, code, usual = _ERRORS[kind]
    error = {"message": message or usual, "type": "invalid_request_error", "param": None, "code": code}
    return Reply(status, json.dumps({"error": error}).encode(), headers=headers)


class Completions:
    """The models behind the server."""

    def __init__(
        self, bill: Bill, faults: Faults, judge: Judge, seed: int = 0, *, idempotent: bool = True
    ) -> None:
        self.bill = bill
        self.faults = faults
        self._judge = judge
        self._seed = seed
        self._idempotent = idempotent
        self._made: dict[str, _Made] = {}

    def complete(self, body: Any, key: str | None = None, *, custom_id: str | None = None) -> Reply:  # noqa: ANN401 - JSON
        """Answer a request.

        Parameters
        ----------
        body : any
            The parsed body of the request.
        key : str or None
            Its Idempotency-Key: the same answer is given to the same key, and billed once.
        custom_id : str or None
            The name that a batch gives it; it then costs half.
        """
        self.bill.requests += 1
        fault_or_none = _find_mistake(body)
        if fault_or_none:
            return fault_or_none
        model, messages = body["model"], body["messages"]
        content = digest(model, messages)
        fault = self.faults.meet(model, custom_id or key or content.hex())
        if fault and fault.kind in _ERRORS:
            return problem(fault.kind, headers=_retry_after(fault))
        if fault and fault.kind == "closed":
            return Reply(200, b"", share=0.0)
        made = self._made.get(key) if key is not None and self._idempotent else None
        if made is None:
            tokens, raw = self._make(body, model, messages, content, fault)
            self.bill.add(model, tokens, content, custom_id or key, batch=custom_id is not None)
            if key is not None:
                self._made[key] = _Made(content, raw)
        elif made.content != content:
            return problem("rejected", "This Idempotency-Key was used for another request.")
        else:
            self.bill.given_again += 1
            raw = made.body
        return self._deliver(raw, body, fault)

    def forget(self) -> None:
        """Forget all keys."""
        self._made.clear()

    def _make(
        self,
        body: Mapping[str, Any],
        model: str,
        messages: Sequence[Mapping[str, Any]],
        content: bytes,
        fault: Fault | None,
    ) -> tuple[tuple[int, int], bytes]:
        """Return tokens of input and output, and the body of the answer."""
        kind = fault.kind if fault else None
        prompt = text_of(messages)
        text: str | None = (
            self._judge.answer(prompt, self._seed)
            if model == JUDGE
            else answer(model, messages, self._seed).text
        )
        finish = "stop"
        limit = body.get("max_completion_tokens", body.get("max_tokens"))
        if kind == "length":
            limit = 1
        assert text is not None  # noqa: S101
        if isinstance(limit, int) and _tokens(text) > limit:
            text, finish = text[: limit * CHARS_PER_TOKEN], "length"
        n_in = sum(_tokens(_content(message)) + TOKENS_PER_MESSAGE for message in messages)
        n_out = _tokens(text)
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if kind == "empty":
            message["content"] = ""
        elif kind == "refused":
            message |= {"content": None, "refusal": _REFUSAL}
        elif kind == "filtered":
            message["content"], finish = "", "content_filter"
        elif kind == "tool_call":
            function = {"name": "answer", "arguments": json.dumps({"text": text})}
            call = {"id": f"call_{content.hex()[:12]}", "type": "function", "function": function}
            message |= {"content": None, "tool_calls": [call]}
            finish = "tool_calls"
        made: dict[str, Any] = {
            "id": f"chatcmpl-{content.hex()}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": model,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        }
        if kind != "no_usage":
            made["usage"] = {
                "prompt_tokens": n_in,
                "completion_tokens": n_out,
                "total_tokens": n_in + n_out,
                "prompt_tokens_details": {"cached_tokens": 0},
            }
        if kind == "malformed":
            return (n_in, n_out), b"<html><body>Bad gateway</body></html>"
        if kind == "no_completion":
            return (n_in, n_out), json.dumps({"object": "chat.completion", "choices": []}).encode()
        return (n_in, n_out), json.dumps(made).encode()

    def _deliver(self, raw: bytes, body: Mapping[str, Any], fault: Fault | None) -> Reply:
        content_type = "application/json"
        if body.get("stream"):
            options = body.get("stream_options") or {}
            raw, content_type = _streamed(raw, usage=bool(options.get("include_usage"))), "text/event-stream"
        kind = fault.kind if fault else None
        return Reply(200, raw, content_type, share=0.5 if kind == "cut_off" else 1.0, sent=kind != "timeout")


def _find_mistake(body: Any) -> Reply | None:  # noqa: ANN401 - JSON
    messages = body.get("messages") if isinstance(body, dict) else None
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        return problem("rejected", "Expected a JSON object with model and messages.")
    if body.get("model") not in MODELS:
        return problem("unknown_model")
    return None


def _retry_after(fault: Fault) -> str:
    if fault.retry_after is None:
        return ""
    if fault.retry_after == "date":
        return f"retry-after: {formatdate(time.time() + 1.0, usegmt=True)}\r\n"
    return f"retry-after: {fault.retry_after}\r\n"


def _tokens(text: str) -> int:
    return math.ceil(len(text) / CHARS_PER_TOKEN)


def _content(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    return content if isinstance(content, str) else json.dumps(content)


def _streamed(raw: bytes, *, usage: bool) -> bytes:
    """Return an answer as server-sent events, a few words in each."""
    try:
        made = json.loads(raw)
        choice = made["choices"][0]
    except (ValueError, LookupError):
        return raw
    head = {key: made[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    text = choice["message"]["content"] or ""
    pieces: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    pieces += [{"content": text[i : i + 16]} for i in range(0, len(text), 16)]
    chunks = [{"index": 0, "delta": piece, "finish_reason": None} for piece in pieces]
    chunks.append({"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]})
    events = [head | {"choices": [chunk]} for chunk in chunks]
    if usage and "usage" in made:
        events.append(head | {"choices": [], "usage": made["usage"]})
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events).encode() + b"data: [DONE]\n\n"
