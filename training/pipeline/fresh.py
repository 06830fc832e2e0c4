"""What a fresh process does with an artefact: run as a file by `training.pipeline.verify`, never imported by it.

It knows the standard library and the router alone, for that is what serving has. Whatever else is asked for, by
the router or by a library of its own, is answered as an environment without it would answer.

The request is one JSON document as the only argument; the answer is the last line on stdout, and holds "error" where
there is one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from time import perf_counter, perf_counter_ns
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from router import Router
    from router.prompt import Prompt

ROUNDS = 40
"""Times that each golden prompt is routed by each model, in turn: a pause of the machine falls on both or is outvoted."""


class Blocker:
    """Refuses modules that are neither the standard library's nor of the packages named."""

    def __init__(self, packages: Sequence[str]) -> None:
        self.packages = {*packages, *sys.stdlib_module_names}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raise what Python raises where a package is not installed, or leave the module to the next finder."""
        del path, target
        top = name.partition(".")[0]
        if top not in self.packages:
            # The name of the package, so that whoever can do without it goes on as without it.
            raise ModuleNotFoundError(f"No module named {name!r} in the base install", name=top)
        return None


def median(values: Sequence[float]) -> float:
    """Return the middle one of some numbers, the greater of two: numpy is not loaded before the router is."""
    return sorted(values)[len(values) // 2]


def check_ways(router: Router, prompts: Sequence[Prompt]) -> int:
    """Route prompts one by one and as a batch; return for how many the rounding of float32 chose another tier.

    Raises
    ------
    ArtifactError
        For another reason than rounding.
    """
    from router import ArtifactError
    from router.artifact import GOLDEN_TOLERANCE
    from router.prompt import read_prompt

    ties = 0
    for i, (prompt, many) in enumerate(zip(prompts, router.route_many(prompts), strict=True)):
        one = router.route(prompt)
        if (one.tier, one.reason) == (many.tier, many.reason):
            continue
        view = read_prompt(prompt)
        outputs = router.model.read_one(view), router.model.read_many([view])[0]
        gap = max(abs(a - b) for a, b in zip(*outputs, strict=True))
        if not 0.0 < gap <= GOLDEN_TOLERANCE:
            raise ArtifactError(
                f"golden prompt {i} goes to {one.tier} ({one.reason}) alone and to {many.tier} ({many.reason}) in a "
                f"batch, with scores that differ by {gap:.3g}; the installed ONNX Runtime may be broken"
            )
        ties += 1
    return ties


def measure(routers: Sequence[Router], prompts: Sequence[Prompt], rounds: int) -> list[list[float]]:
    """Return the microseconds that each router takes for each prompt: the median of some rounds, taken in turns."""
    taken: list[list[list[float]]] = [[[] for _ in prompts] for _ in routers]
    for _ in range(rounds):
        for router, times in zip(routers, taken, strict=True):
            route = router.route
            for prompt, of_prompt in zip(prompts, times, strict=True):
                start = perf_counter_ns()
                route(prompt)
                of_prompt.append((perf_counter_ns() - start) / 1e3)
    return [[median(of_prompt) for of_prompt in times] for times in taken]


def verify(artefact: str, champion: str | None) -> dict[str, Any]:
    """Open an artefact, decide the golden prompts every way, and time decisions."""
    from router import Router, RouterError
    from router.artifact import read_golden

    start = perf_counter()
    router = Router.load(artefact)
    load_s = perf_counter() - start
    prompts = [case["prompt"] for case in read_golden(Path(artefact))]
    ties = check_ways(router, prompts)
    routers, refused = [router], None
    if champion is not None:
        try:
            routers.append(Router.load(champion))
        except RouterError as error:  # no reason to turn its successor away
            refused = str(error)
    own, *others = measure(routers, prompts, ROUNDS)
    return {
        "model_id": router.model_id,
        "golden": len(prompts),
        "ties": ties,
        "load_s": round(load_s, 4),
        "median_us": round(median(own), 1),
        "p99_us": round(sorted(own)[min(len(own) - 1, round(0.99 * len(own)))], 1),
        "champion_median_us": round(median(others[0]), 1) if others else None,
        "champion_error": refused,
    }


def main(request: dict[str, Any]) -> dict[str, Any]:
    """Answer a request; an error of any kind is an answer, too."""
    sys.path[:] = request["path"]
    sys.meta_path.insert(0, Blocker(request["packages"]))
    try:
        return verify(request["artefact"], request["champion"])
    except ModuleNotFoundError as error:
        return {"error": f"it asks for {error.name}, which is not part of the base install"}
    except Exception as error:
        if error.__class__.__module__.partition(".")[0] == "router":  # a sentence for people
            return {"error": str(error)}
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(sys.argv[1]))) + "\n")
