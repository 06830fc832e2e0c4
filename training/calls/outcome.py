"""What a run of calls came to: its summary, and the two ways in which it ends before its time. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from router.errors import RouterError

__all__ = ["CallsSummary", "EndpointClosed", "Interrupted"]


@dataclass
class CallsSummary:
    """What a run of calls came to.

    Attributes
    ----------
    made : int
        Calls that were answered or given up, and stand in the journal.
    resumed : int
        Calls that were not made because the journal has their answer, or the plan names them twice.
    resent : int
        Of those made, how many a killed run had sent.
    unsettled : int
        Calls that a killed run had sent and that were left alone.
    in_batch : int
        Calls that were left alone because a batch carries them.
    by_status : dict
        Of those made, how many by status.
    spent_usd, possibly_usd : float
        What this run cost, and the most that its attempts without an answer may have cost.
    seconds : float
        From the first call to the last.
    stopped : str or None
        "budget", "interrupted", "closed" (an endpoint), "full" (the disk); None if all calls were made.
    next_usd : float
        Where the budget stopped it: the most that the unit can cost for which there was no room.
    """

    made: int = 0
    resumed: int = 0
    resent: int = 0
    unsettled: int = 0
    in_batch: int = 0
    by_status: dict[str, int] = field(default_factory=dict)
    spent_usd: float = 0.0
    possibly_usd: float = 0.0
    seconds: float = 0.0
    stopped: str | None = None
    next_usd: float = 0.0


class EndpointClosed(RouterError):  # noqa: N818 - a state
    """No further calls go to an endpoint, because none of the first was let in."""

    def __init__(self, message: str, summary: CallsSummary) -> None:
        super().__init__(message)
        self.summary = summary


class Interrupted(KeyboardInterrupt):
    """The user or the system stopped the run; what was answered is kept."""

    def __init__(self, message: str, summary: CallsSummary) -> None:
        super().__init__(message)
        self.summary = summary
