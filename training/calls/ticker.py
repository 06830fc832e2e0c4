"""How far a run of calls is: a bar on a terminal, elsewhere a line every ten seconds. Writes to stderr."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from eval.progress import Progress

__all__ = ["Ticker"]

_LINE_EVERY_S, _BAR_EVERY_S = 10.0, 0.5


class Ticker:
    """Tells of calls as they are made; a context."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._bar: Any = progress.bar(total, "call")
        self._live = sys.stderr.isatty()
        self._left = total
        self._made = 0
        self._spent_usd = 0.0
        self._begun = self._told = time.monotonic()

    def __enter__(self) -> Ticker:
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def skip(self) -> None:
        """Tell of a call that is not made."""
        self._left -= 1
        self._bar.total = max(self._bar.total - 1, 0)

    def made(self, spent_usd: float) -> None:
        """Tell of a call that was made, and what all together have cost so far."""
        self._made += 1
        self._left -= 1
        self._spent_usd = spent_usd
        self._bar.update()
        now = time.monotonic()
        if now - self._told < (_BAR_EVERY_S if self._live else _LINE_EVERY_S):
            return
        self._told = now
        if self._live:
            self._bar.set_postfix_str(f"${spent_usd:.4f} spent", refresh=False)
        else:
            self._progress.step(self._line(now))

    def _line(self, now: float) -> str:
        rate = self._made / max(now - self._begun, 1e-9)
        left = f", about {_duration(self._left / rate)} left" if self._left > 0 else ""
        return f"{self._made:,} calls, ${self._spent_usd:.4f} spent, {rate:,.0f} calls/s{left}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
