"""Which prompts belong together, so that no split parts them: a session's, a user's, near-duplicates.

Pure but for the progress shown. Several reasons are united: prompts that any of them joins, directly or through others,
are one group. A group is named after the smallest id of its prompts, so the names do not depend on the log's order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eval.progress import Progress
from router.errors import ConfigError
from training.imports.gathering import Gathered
from training.imports.near import join_near
from training.imports.unions import Unions

__all__ = ["KINDS", "LARGE", "Groups", "check_kinds", "group"]

KINDS = ("auto", "session", "user", "near-duplicate", "none")
LARGE = 0.05
"""The share of the prompts from which one group is large: a split can then no longer be of the sizes asked for."""


@dataclass(frozen=True, eq=False)
class Groups:
    """The groups of an import: the name of each prompt's, by its number, and how they came about."""

    names: list[str] | None
    """None where no groups were asked for."""
    by: tuple[str, ...]
    sizes: Counter[str]

    @property
    def largest_share(self) -> float:
        """The share of the prompts that the largest group has."""
        return max(self.sizes.values()) / self.sizes.total() if self.sizes else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return what a summary says."""
        return {
            "by": list(self.by),
            "groups": len(self.sizes),
            "largest": max(self.sizes.values(), default=0),
            "largest_share": round(self.largest_share, 4),
        }


def check_kinds(kinds: Sequence[str], threshold: float | None) -> tuple[str, ...]:
    """Return what --group asks for, each once.

    Raises
    ------
    ConfigError
        What is asked for excludes itself.
    """
    asked = tuple(dict.fromkeys(kinds))
    for alone in ("none", "auto"):
        if alone in asked and len(asked) > 1:
            raise ConfigError(f"--group: expected {alone} alone or other kinds, found both; leave one out")
    if "near-duplicate" in asked and threshold is None:
        raise ConfigError(
            "--group near-duplicate needs --near-duplicates, found off; pass a threshold such as 0.8"
        )
    return asked


def group(gathered: Gathered, kinds: Sequence[str], threshold: float | None, progress: Progress) -> Groups:
    """Return the groups of the prompts.

    Parameters
    ----------
    gathered : Gathered
        All rows.
    kinds : sequence of str
        As `check_kinds` gives them. "auto" is by session where one holds several prompts, else by user where one does,
        and by near-duplicates unless they are off.
    threshold : float or None
        Similarity of near-duplicates; None turns them off.
    """
    if "none" in kinds:
        return Groups(None, (), Counter())
    unions = Unions(gathered.n_prompts)
    by: list[str] = []
    for kind, keys in (("session", gathered.sessions), ("user", gathered.users)):
        if kind in kinds or ("auto" in kinds and not by):
            joined = _join_rows(gathered, keys, unions)
            if joined or kind in kinds:
                by.append(kind)
    if threshold is not None and gathered.runs is not None:
        join_near(gathered.runs, threshold, unions, progress)
        by.append("near-duplicate")
    names: dict[int, str] = {}
    ids, roots = gathered.ids(), unions.roots()
    for identity, root in zip(ids, roots, strict=True):
        names[root] = min(names.get(root, identity), identity)
    named = [f"g-{names[root]}" for root in roots]
    return Groups(named, tuple(by), Counter(named))


def _join_rows(gathered: Gathered, keys: Sequence[int], unions: Unions) -> int:
    """Join the prompts of the rows that have a key in common, and return how many joins that took."""
    seen: dict[int, int] = {}
    joins = 0
    for row in gathered.kept():
        if keys[row]:
            prompt = gathered.prompt_of[row]
            earlier = seen.setdefault(keys[row], prompt)
            joins += unions.root(earlier) != unions.root(prompt)
            unions.join(earlier, prompt)
    return joins
