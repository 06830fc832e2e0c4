"""Work spread over processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from joblib import Parallel
from joblib.externals.loky import get_reusable_executor

__all__ = ["dismiss_workers", "run_calls"]

T = TypeVar("T")


def run_calls(
    calls: Iterable[tuple[Callable[..., T], tuple[Any, ...], dict[str, Any]]], workers: int
) -> Iterator[T]:
    """Make calls, here or in other processes, and yield what they return as it comes.

    Parameters
    ----------
    calls : iterable of (function, arguments, keywords)
        As `joblib.delayed` makes them; functions at the top of a module. Results come in any order, so each
        says what it belongs to.
    workers : int
        Processes; with 1 the calls are made in this one, in order.
    """
    if workers <= 1:
        return (function(*arguments, **keywords) for function, arguments, keywords in calls)
    # Interrupting or closing the generator ends the workers at once.
    return iter(Parallel(n_jobs=workers, backend="loky", return_as="generator_unordered")(calls))


def dismiss_workers() -> None:
    """End the processes that wait for more calls, so that what they used is known."""
    get_reusable_executor().shutdown(wait=True)
