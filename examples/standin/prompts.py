"""Makes prompts that the stand-in models can answer, with what graders need to grade them.

    python examples/standin/prompts.py --count 600 --out prompts.jsonl

Each line has `prompt_id`, `prompt`, `task`, `group` (the user who asked), `timestamp`, and of `reference`, `tests` and
`schema` those that its task has. How hard a prompt is can be seen in its text and nowhere else.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from skills import LEVELS, SKILLS, read

__all__ = ["make"]

START = datetime(2026, 1, 5, tzinfo=UTC)
WEEKS = 12
PER_USER = 2
"""Prompts for each user, about."""


def make(count: int, seed: int, tasks: list[str]) -> Iterator[dict[str, Any]]:
    """Give the prompts, none of them twice. Pure; a longer list begins with a shorter one, but for the times."""
    seen: set[str] = set()
    for i in range(count):
        rng = Random(f"{seed}:{i}")  # noqa: S311 - no secret hangs on it
        while True:
            task = rng.choice(tasks)
            prompt = SKILLS[task].make(rng, rng.randint(1, LEVELS))
            if prompt not in seen:
                break
        seen.add(prompt)
        reading = read(prompt)
        assert reading is not None  # noqa: S101 - a skill reads what it makes
        yield {
            "prompt_id": f"q-{i:05d}",
            "prompt": prompt,
            "task": task,
            **dict.fromkeys(("reference", "tests", "schema")),
            **reading.task.columns,
            "group": f"user-{rng.randrange(max(count // PER_USER, 1)):04d}",
            "timestamp": (START + timedelta(weeks=WEEKS) * i / count).isoformat(timespec="seconds"),
        }


def main() -> int:
    """Write the file."""
    parser = argparse.ArgumentParser(description="Makes prompts that the stand-in models can answer.")
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tasks", nargs="+", choices=SKILLS, default=list(SKILLS), metavar="TASK")
    parser.add_argument("--out", type=Path, required=True, help="a .jsonl file")
    options = parser.parse_args()
    lines = [json.dumps(prompt) + "\n" for prompt in make(options.count, options.seed, options.tasks)]
    options.out.write_text("".join(lines), encoding="utf-8")
    print(f"wrote {len(lines)} prompts to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
