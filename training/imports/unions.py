"""Joins things into groups, pair by pair: which pairs come first, and in which order, does not matter.

Pure. A forest with path halving (Tarjan and van Leeuwen, 1984); the root of a group is its smallest member.
"""

from __future__ import annotations

__all__ = ["Unions"]


class Unions:
    """Groups of numbers from zero; each alone until it is joined with another."""

    def __init__(self, size: int = 0) -> None:
        self._above = list(range(size))

    def __len__(self) -> int:
        return len(self._above)

    def add(self) -> int:
        """Add a member, alone, and return its number."""
        self._above.append(len(self._above))
        return len(self._above) - 1

    def root(self, member: int) -> int:
        """Return the smallest member of the group of this one."""
        above = self._above
        while above[member] != member:
            above[member] = above[above[member]]
            member = above[member]
        return member

    def join(self, one: int, other: int) -> None:
        """Make one group of the groups of two members."""
        first, second = sorted((self.root(one), self.root(other)))
        self._above[second] = first

    def roots(self) -> list[int]:
        """Return the root of each member."""
        return [self.root(member) for member in range(len(self._above))]
