"""Says on stderr what a long command is doing; a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

__all__ = ["Progress"]


class Progress:
    """Progress of one command, with seconds since its start."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def step(self, name: str) -> None:
        """Say that a step begins."""
        self.say(f"[{time.monotonic() - self._start:6.1f} s] {name}")

    def say(self, text: str) -> None:
        """Print to stderr without breaking a bar."""
        tqdm.write(text, file=sys.stderr)

    def bar(self, total: int, unit: str) -> Any:  # noqa: ANN401 - tqdm ships no types
        """Return a bar to use as a context and to `update`; silent where stderr is no terminal."""
        return tqdm(total=total, unit=unit, file=sys.stderr, leave=False, disable=None, dynamic_ncols=True)
