"""What an import read and what it did not: counted by reason, with the first place of each.

Pure. A reason is one of our own sentences; nothing of a record is kept here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from router.errors import ConfigError

__all__ = ["Tally"]

_NAMED = 3  # reasons in an error; the summary has all


@dataclass(eq=False)
class Tally:
    """Counts of one import."""

    read: int = 0
    """Records that gave a call."""
    bad: dict[str, list[Any]] = field(default_factory=dict)
    """Records that could not be read: reason to count and first place."""
    left_out: dict[str, list[Any]] = field(default_factory=dict)
    """Records that hold nothing for a history: reason to count and first place."""
    cut_off: list[str] = field(default_factory=list)
    """Files that end within a record."""
    cut_answers: int = 0
    """Answers that the log itself cut."""

    def refuse(self, reason: str, place: str) -> None:
        """Count a record that cannot be read."""
        self.bad.setdefault(reason, [0, place])[0] += 1

    def leave_out(self, reason: str, place: str) -> None:
        """Count a record that holds nothing for a history."""
        self.left_out.setdefault(reason, [0, place])[0] += 1

    def end_within(self, place: str) -> None:
        """Note a file that ends within a record, as one does that is being written."""
        self.cut_off.append(place)

    @property
    def n_bad(self) -> int:
        """Records that could not be read."""
        return sum(int(count) for count, _ in self.bad.values())

    def check(self, max_bad: float) -> None:
        """Refuse an import that lost too much.

        Raises
        ------
        ConfigError
            Nothing was read, or more than that share of the records could not be.
        """
        records = self.read + self.n_bad
        if self.n_bad > max_bad * records:
            raise ConfigError(
                f"logs: expected at most {max_bad:.0%} of the records to be damaged, found {self.n_bad:,} of {records:,}: "
                f"{_told(self.bad)}; correct the log, name another --format, or raise --max-bad"
            )
        if self.read == 0:
            found = _told(self.left_out) or ("half a record" if self.cut_off else "no records")
            raise ConfigError(
                f"logs: expected calls of models, found none: {found}; check what wrote the log"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the counts, ready for JSON."""
        return {
            "read": self.read,
            "bad": _document(self.bad),
            "left_out": _document(self.left_out),
            "cut_off": list(self.cut_off),
            "answers_cut_by_the_log": self.cut_answers,
        }


def _told(counts: dict[str, list[Any]]) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1][0])
    named = [f"{count:,} x {reason} (first: {place})" for reason, (count, place) in ordered[:_NAMED]]
    return ", ".join([*named, *(["and more"] if len(ordered) > _NAMED else [])])


def _document(counts: dict[str, list[Any]]) -> dict[str, dict[str, Any]]:
    return {reason: {"count": count, "first": place} for reason, (count, place) in sorted(counts.items())}
