"""Work in processes: what they return comes back, and what they used can be asked for once they are dismissed."""

from __future__ import annotations

import os
import resource

import pytest
from joblib import delayed

from eval.parallel import dismiss_workers, run_calls


def square(n: int, *, plus: int = 0) -> tuple[int, int]:
    return n * n + plus, os.getpid()


def hold(megabytes: int) -> int:
    return len(bytearray(megabytes * 1_000_000))


@pytest.mark.parametrize("workers", [1, 2])
def test_every_call_is_answered(workers: int) -> None:
    found = list(run_calls((delayed(square)(n, plus=1) for n in range(6)), workers))
    assert [1, 2, 5, 10, 17, 26] == sorted(value for value, _ in found)
    assert (workers == 1) == ({os.getpid()} == {process for _, process in found})


def test_nothing_to_do_needs_nobody() -> None:
    assert [] == list(run_calls((), 2))


def test_what_workers_held_is_known_once_they_are_dismissed() -> None:
    assert [400_000_000] * 2 == list(run_calls((delayed(hold)(400) for _ in range(2)), 2))
    dismiss_workers()
    kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert kib * 1024 >= 400_000_000
    dismiss_workers()  # nobody is left, and that is no fault
