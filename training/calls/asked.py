"""One endpoint during a run: its client, its pace, and whether it lets anyone in. Pure, but for the client it holds."""

from __future__ import annotations

from openai import AsyncOpenAI

from eval.status import AGAIN, Status
from training.calls.answer import Answer
from training.calls.endpoints import Endpoint, shown_host
from training.calls.limits import Pace
from training.calls.retries import OUT_OF_CREDIT

__all__ = ["Asked"]

_IN_A_ROW_AT_FIRST = 5
_IN_A_ROW_LATER = 100
"""Answers without access, or without any, after which nothing more is asked: at first, and once it has answered."""

_AT_ONCE = (Status.UNAUTHORIZED, Status.UNKNOWN_MODEL, Status.UNREACHABLE)


class Asked:
    """One endpoint during a run.

    Attributes
    ----------
    paused_until : float
        The time of the loop before which nothing is sent to it, because it answered that there is too much.
    closed : str or None
        Why nothing more is sent to it, as a sentence.
    """

    def __init__(self, endpoint: Endpoint, client: AsyncOpenAI) -> None:
        self.endpoint = endpoint
        self.client = client
        self.pace = Pace(endpoint.requests_per_minute, endpoint.tokens_per_minute)
        self.paused_until = float("-inf")
        self.closed: str | None = None
        self._answered = False
        self._in_a_row = 0

    def note(self, answer: Answer) -> None:
        """Take note of what a call came to, and close if the last ones all came to nothing.

        What counts is only what the next run tries again: nothing is lost by stopping. An endpoint that has never
        answered is closed early; one that has may be in trouble for a while.
        """
        if answer.status not in AGAIN:
            self._answered, self._in_a_row = True, 0
            return
        self._in_a_row += 1
        early = answer.status in _AT_ONCE or answer.code == OUT_OF_CREDIT
        most = _IN_A_ROW_AT_FIRST if early and not self._answered else _IN_A_ROW_LATER
        if self._in_a_row >= most and self.closed is None:
            self.closed = self._sentence(answer)

    def _sentence(self, answer: Answer) -> str:
        endpoint = self.endpoint
        host = shown_host(str(self.client.base_url))
        found = f"{endpoint.name} at {host}: {self._in_a_row} calls in a row came to {answer.status}"
        if answer.http_status is not None:
            code = f", {answer.code}" if answer.code else ""
            found += f" (HTTP {answer.http_status}{code})"
        return f"{found}; {self._advice(answer)}, then run the same command again: what was answered is kept"

    def _advice(self, answer: Answer) -> str:
        endpoint = self.endpoint
        if answer.code == OUT_OF_CREDIT or answer.http_status == 402:
            return f"see to the credit of the account whose key {endpoint.api_key_env} holds"
        if answer.status is Status.UNAUTHORIZED:
            return f"check that {endpoint.api_key_env} holds a key of this provider with access to {endpoint.tier.model}"
        if answer.status is Status.UNKNOWN_MODEL:
            return f"check the model's name, {endpoint.tier.model}, and base_url, which usually ends with /v1"
        if answer.status is Status.UNREACHABLE:
            return "check base_url and the network"
        if answer.status is Status.RATE_LIMITED:
            return (
                "set requests_per_minute and tokens_per_minute in the endpoints file, or lower --concurrency"
            )
        return "wait until the provider has mended it"
