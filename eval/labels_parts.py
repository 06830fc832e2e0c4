"""What a label report is made of, whatever its format: sections, tables, cells.

Pure: plain text that each format escapes for itself.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Cell", "Entry", "Section", "Table"]


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell: what it says, and what is said beneath it in a quieter voice."""

    text: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first column names its rows, the others hold numbers. What is folded is left out of a terminal."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One of several findings: what it is, and sentences."""

    title: str
    text: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a report. `figure` names the drawing that stands above its tables."""

    id: str
    title: str
    text: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    entries: tuple[Entry, ...] = ()
    figure: str = ""
