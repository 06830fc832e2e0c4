"""A bench's section of a page, and beside it the document of figures that it is made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Section", "render_markdown"]


@dataclass(frozen=True, slots=True)
class Section:
    """Where and how a bench keeps what it measured.

    Attributes
    ----------
    name : str
        The bench's, of `python -m bench.NAME`: names its document, NAME.json, and the marks around its section.
    heading : str
        Stands above the section.
    render : callable
        Returns the section's paragraphs, given the document.
    page : str
        The page among the documents.
    """

    name: str
    heading: str
    render: Callable[[dict[str, Any]], list[str]]
    page: str = "BENCHMARKS.md"

    def check(self, docs: Path) -> None:
        """Make sure that a page can be written, before the work and not after it.

        Raises
        ------
        SystemExit
            The marks are not there once each, in order, or not both absent.
        """
        self._splice((docs / self.page).read_text(encoding="utf-8"), "")

    def write(self, docs: Path, document: dict[str, Any]) -> None:
        """Write the document, and replace the section, or append it under its heading."""
        written = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        (docs / f"{self.name}.json").write_text(written, encoding="utf-8")
        page = docs / self.page
        block = "\n\n".join(self.render(document))
        page.write_text(self._splice(page.read_text(encoding="utf-8"), block), encoding="utf-8")

    def _splice(self, text: str, block: str) -> str:
        start = f"<!-- {self.name}: made by python -m bench.{self.name} -->"
        end = f"<!-- end of {self.name} -->"
        before, opened, rest = text.partition(start)
        _, closed, after = rest.partition(end)
        if not opened and end not in text:
            before, after = f"{text.rstrip()}\n\n{self.heading}\n\n", "\n"
        elif not opened or not closed or start in rest or end in after:
            raise SystemExit(f"bench: expected one block between {start} and {end}; put the two marks back")
        return f"{before}{start}\n\n{block}\n\n{end}{after}"


def render_markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table in Markdown. Pure."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
