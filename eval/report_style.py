"""The style sheet of reports: one for their pages and for the figures that stand alone. Reads one file."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["read_style"]

_FILE = Path(__file__).with_name("report.css")


def read_style() -> str:
    """Return the style sheet without indentation and empty lines."""
    return re.sub(r"\s*\n\s*", "\n", _FILE.read_text(encoding="utf-8")).strip()
