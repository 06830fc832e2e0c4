"""Signals while an event loop runs: handed to a function instead of ending the process."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["caught"]


@contextmanager
def caught(handle: Callable[[], object]) -> Iterator[None]:
    """Call `handle` in the running loop at each SIGINT and SIGTERM; only the main thread gets any."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, handle)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
