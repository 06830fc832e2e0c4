"""When a request may leave: so many requests and tokens a minute, evenly. Pure; who asks brings the clock."""

from __future__ import annotations

__all__ = ["Pace"]


class Pace:
    """The pace of one endpoint: two token buckets that hold nothing in advance, each kept as when it is next even (GCRA).

    In any stretch of T seconds, at most `requests_per_minute * T / 60 + 1` requests leave, and beside the tokens of the
    last one at most `tokens_per_minute * T / 60`: a request larger than what there is goes when its turn comes, and those
    behind it wait for it. Tokens that are given back after their time go on top: a provider's own minute has room for
    them. A limit that is None does not bind.
    """

    def __init__(self, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        self._per_request = 0.0 if requests_per_minute is None else 60 / requests_per_minute
        self._per_token = 0.0 if tokens_per_minute is None else 60 / tokens_per_minute
        self._requests_even = self._tokens_even = float("-inf")

    def book(self, tokens: float, now: float) -> float:
        """Book a place for one request, and return the seconds until it may leave.

        Parameters
        ----------
        tokens : float
            How many it may take.
        now : float
            A monotonic clock, in seconds.
        """
        leaves = max(now, self._requests_even, self._tokens_even)
        self._requests_even = leaves + self._per_request
        self._tokens_even = leaves + tokens * self._per_token
        return leaves - now

    def settle(self, booked: float, used: float) -> None:
        """Give back the tokens that a request was booked for and did not take, or book those it took beyond."""
        self._tokens_even -= (booked - used) * self._per_token
