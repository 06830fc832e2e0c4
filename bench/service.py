"""A service in miniature: the child whose memory is read, which imports little but the router.

`python -m bench.service many|together FOLDER N WORDS` routes N distinct prompts of the words of a file, and tells its
size or stays alive until its input ends; `hostile FOLDER N` routes N prompts of each family of bench/families.py, one
family after the other, and tells its size after each.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.families import FAMILIES, make_prompts
from router import Router

__all__: list[str] = []

MB = 1e6
_WORDS_IN_PROMPT = 32  # about 220 characters


def resident_mb() -> float:
    """Return the resident size of this process, in 1e6 bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MB


def count_prompts(words: Sequence[str], n: int, seed: int = 0) -> Iterator[str]:
    """Yield n distinct prompts of 220 characters or so: a number, which is a word of its own, and words. Pure."""
    choices = random.Random(seed).choices  # noqa: S311 - no secret
    for i in range(n):
        yield f"{i}x {' '.join(choices(words, k=_WORDS_IN_PROMPT))}"[:220]


def main() -> None:
    """Route what the command line says, and print what was found as JSON."""
    task, folder, n, *words = sys.argv[1:]
    router = Router.load(folder)
    router.route("Extract the invoice number from: Invoice INV-20931.")
    resident = {"first": round(resident_mb(), 1)}
    if task == "hostile":
        for name in FAMILIES:
            for prompt in make_prompts(name, int(n), seed=1):
                router.route(prompt)
            del prompt
            resident[name] = round(resident_mb(), 1)
        print(json.dumps(resident))
        return
    choice: list[str] = json.loads(Path(words[0]).read_text(encoding="utf-8"))
    start = time.monotonic()
    decided = 0
    for text in count_prompts(choice, int(n), os.getpid() if task == "together" else 0):
        decided += bool(router.route(text).tier)
    if task == "together":
        print(decided, flush=True)
        sys.stdin.read()  # stays alive until it is looked at
        return
    found = {"prompts": decided, "seconds": round(time.monotonic() - start, 1)}
    print(
        json.dumps({**found, "resident_first_mb": resident["first"], "resident_mb": round(resident_mb(), 1)})
    )


if __name__ == "__main__":
    main()
