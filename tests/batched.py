"""A run of calls by batches against the stand-in, small and quick, for the tests of training.calls.batch.

As a program it is the run that tests kill: `python batched.py URL FOLDER`, then one number a line on stdin, each a step to
be killed at; it answers with the number of steps that it passed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from standin import TIERS
from toys import ROOT

sys.path.insert(0, str(ROOT))

from eval.progress import Progress
from router.tiers import read_tiers
from training.calls import batch_results
from training.calls.answer import Answer
from training.calls.batch import BatchLimits, Pace, run_batches
from training.calls.batch_provider import Provider
from training.calls.call import Call, Unit, call_key
from training.calls.endpoints import Endpoint, read_endpoints
from training.calls.journal import Journal
from training.calls.outcome import CallsSummary

QUICK = Pace(first_s=0.01, growth=1.0, most_s=0.01, settle_s=0.0, patience_s=0.0)
ONE, TWO = ("small",), ("small", "large")
SIX = BatchLimits(requests=6)


def endpoints_of(url: str, tiers: Sequence[str] = TWO, **values: Any) -> dict[str, Endpoint]:
    """The endpoints of some tiers, at a stand-in."""
    found = read_endpoints(None, read_tiers(TIERS), base_url=url)
    more = {"timeout_s": 5.0, "max_attempts": 3} | values
    return {name: Endpoint(**(vars(found[name]) | more)) for name in tiers}


def units_of(
    endpoints: Mapping[str, Endpoint], n: int, text: str = "Compute {} + 3. Answer with the number only."
) -> list[Unit]:
    """So many prompts, each with a call to every endpoint."""
    units = []
    for i in range(n):
        messages = [{"role": "user", "content": text.format(i + 10)}]
        calls = (
            Call(
                call_key(f"q-{i}", messages, each.tier.model, each.max_output_tokens),
                name,
                messages,
                f"q-{i}",
            )
            for name, each in endpoints.items()
        )
        units.append(Unit(tuple(calls)))
    return units


def run(
    url: str,
    folder: Path,
    n: int = 10,
    *,
    tiers: Sequence[str] = TWO,
    endpoint: Mapping[str, Any] | None = None,
    **more: Any,
) -> CallsSummary:
    """Run so many prompts by batches, with a journal in a folder."""
    endpoints = endpoints_of(url, tiers, **(endpoint or {}))
    units = units_of(endpoints, n)
    with Journal.open(folder) as journal:
        given: dict[str, Any] = {"pace": QUICK} | more
        return run_batches(units, endpoints, journal, progress=Progress(), total=n * len(tiers), **given)


def answers(url: str, folder: Path, n: int = 10, tiers: Sequence[str] = TWO) -> dict[str, Answer]:
    """The answers that the journal has to these prompts, by key."""
    with Journal.open(folder) as journal:
        keys = [call.key for unit in units_of(endpoints_of(url, tiers), n) for call in unit.calls]
        return {key: found for key in keys if (found := journal.answer(key)) is not None}


STEPS = (
    (Journal, "commit"),
    *((Provider, name) for name in ("upload", "create", "look", "download", "find")),
)
"""Whatever a run by batches does that lasts."""


def kill_at(step: int) -> Callable[[], int]:
    """Have this process killed before or after a step, numbered from 0; return a function that counts those passed."""
    passed = -1
    batch_results._CHUNK = 2  # so that there is a middle to be killed in

    def pass_one() -> None:
        nonlocal passed
        passed += 1
        if passed == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(whole: Callable[..., Any]) -> Callable[..., Any]:
        def step(*given: Any, **named: Any) -> Any:
            pass_one()
            result = whole(*given, **named)
            pass_one()
            return result

        return step

    for owner, name in STEPS:
        setattr(owner, name, around(getattr(owner, name)))
    return lambda: passed + 1


def main() -> None:
    """Be killed at each step that stdin names, each time in a fork with a folder and a server of its own."""
    for line in sys.stdin:
        told = json.loads(line)
        if not (child := os.fork()):
            passed = kill_at(told["step"])
            run(told["url"], Path(told["folder"]), tiers=ONE, limits=SIX)
            sys.stdout.write(json.dumps({"passed": passed()}) + "\n")
            sys.stdout.flush()
            os._exit(0)
        if os.WIFSIGNALED(os.waitpid(child, 0)[1]):
            sys.stdout.write(json.dumps({"killed": told["step"]}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
