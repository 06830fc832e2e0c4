"""Slices of a label report: by tag, by prompt length, by script, or by any column that holds short words.

Pure. Values with few prompts, and those beyond the largest, are told together as "other": a page of a hundred rates on ten
prompts each says less than one of ten. How many slices are looked at is said, since one interval in twenty misses by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from eval.labels_rows import Labels
from eval.labels_shares import FEW
from eval.scripts import script_of
from eval.table import is_missing, shown
from router.errors import ConfigError
from router.prompt import read_prompt

__all__ = ["OTHER", "Slice", "cut"]

OTHER = "other"
MOST_VALUES = 12
_LONGEST = 60  # characters of a value: what is longer is no tag, and may be a prompt
_MEASURED = ("length", "script")
_TAGS = ("task", "feature", "source", "split")


@dataclass(frozen=True, eq=False)
class Slice:
    """Some of the prompts that have labels.

    Attributes
    ----------
    by, value : str
        What was sliced by, and the value that these prompts share.
    inside : bool (n,)
        Which prompts.
    """

    by: str
    value: str
    inside: NDArray[np.bool_]


def cut(labels: Labels, names: Sequence[str] | None = None) -> list[Slice]:
    """Return the slices asked for; those of one kind stand together, the largest first, "other" last; lengths ascend. Pure.

    Parameters
    ----------
    names : sequence of str or None
        Tags, columns, "length" or "script". By default task, feature and length; a kind of one value is no slice.

    Raises
    ------
    ConfigError
        A name is no column, or a column holds what is no tag.
    """
    wanted = ("task", "feature", "length") if names is None else tuple(dict.fromkeys(names))
    found: list[Slice] = []
    for name in wanted:
        values = _merge(_values(labels, name), labels.groups)
        kinds, counts = np.unique(values.astype(str), return_counts=True)
        if len(kinds) < 2:
            continue
        order = sorted(range(len(kinds)), key=lambda i: (kinds[i] == OTHER, -counts[i], kinds[i]))
        if name == "length":  # the shortest first
            chars = _chars(labels)
            order.sort(key=lambda i: int(chars[values == kinds[i]].min()))
        found += [Slice(name, str(kinds[i]), np.asarray(values == kinds[i], np.bool_)) for i in order]
    return found


def _values(labels: Labels, name: str) -> NDArray[np.object_]:
    outcomes, rows = labels.outcomes, labels.history.rows
    if name in _MEASURED:
        if name == "script":
            return _objects([script_of(read_prompt(prompt).text) for prompt in outcomes.prompts])
        return _thirds(_chars(labels))
    if name in _TAGS:
        return _objects(["none" if tag is None else str(tag) for tag in outcomes.tags[name]])
    if name not in rows:
        known = [*_TAGS, *_MEASURED, *map(str, rows.columns)]
        close = get_close_matches(name, known, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise ConfigError(
            f"--slices {name}: expected a tag or a column of the history, found none{hint}; name another"
        )
    values: list[str | None] = [None] * len(outcomes)
    for prompt, cell in zip(labels.prompt.tolist(), rows[name].tolist(), strict=True):
        if prompt < 0 or is_missing(cell):
            continue
        if not isinstance(cell, str | int | float | bool) or len(str(cell)) > _LONGEST:
            raise ConfigError(
                f"--slices {name}: expected a tag of {_LONGEST} characters at most, found {shown(cell)}; name a column of tags"
            )
        said = values[prompt]
        # Where rows of a prompt differ, the first by name: the order of a file is no reason.
        values[prompt] = str(cell) if said is None else min(said, str(cell))
    return _objects(["none" if value is None else value for value in values])


def _chars(labels: Labels) -> NDArray[np.intp]:
    return np.array([read_prompt(prompt).n_chars for prompt in labels.outcomes.prompts], np.intp)


def _thirds(chars: NDArray[np.intp]) -> NDArray[np.object_]:
    """Name each prompt's third by length; equal lengths share one, so that there may be fewer."""
    edges = np.unique(np.quantile(chars, [1 / 3, 2 / 3], method="lower"))
    edges = edges[edges < chars.max()]
    names = [f"up to {edge:,} characters" for edge in edges[:1]]
    names += [f"{low + 1:,} to {high:,} characters" for low, high in pairwise(edges.tolist())]
    names += [f"more than {edge:,} characters" for edge in edges[-1:]]
    return _objects(names or ["any length"])[np.searchsorted(edges, chars, side="left")]


def _merge(values: NDArray[np.object_], groups: NDArray[np.intp]) -> NDArray[np.object_]:
    kinds, of = np.unique(values.astype(str), return_inverse=True)
    sizes = (
        [len(np.unique(groups[of == i])) for i in range(len(kinds))]
        if len(kinds) <= 10_000
        else np.bincount(of).tolist()
    )
    order = sorted(range(len(kinds)), key=lambda i: (-sizes[i], kinds[i]))
    large = {i for i in order[:MOST_VALUES] if sizes[i] >= FEW}
    if len(kinds) - len(large) == 1:  # alone, the smallest needs no other name
        large = set(order)
    return _objects([str(kinds[i]) if i in large else OTHER for i in of])


def _objects(values: list[str]) -> NDArray[np.object_]:
    return np.fromiter(values, dtype=np.object_, count=len(values))
