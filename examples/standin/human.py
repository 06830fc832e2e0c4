"""Makes a small file of grades as people would give them, against which a judge is measured.

    python examples/standin/human.py --prompts prompts.jsonl --rows 90 --out human.jsonl

Each line has `prompt_id`, `model` and `passed`. Nobody has to read anything: what the models answer is known, and whether
it is right. People err too, so a few of the grades are turned round. The server must run with the same --seed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from abilities import ABILITY, answer

__all__ = ["grade"]


def grade(
    prompts: Sequence[Mapping[str, Any]], rows: int, errors: float, seed: int = 0
) -> Iterator[dict[str, Any]]:
    """Give the grades of some answers, drawn evenly from those of all models to all prompts. Pure."""
    rng = Random(seed)  # noqa: S311 - no secret hangs on it
    pairs = [(prompt, model) for prompt in prompts for model in ABILITY]
    for prompt, model in sorted(
        rng.sample(pairs, min(rows, len(pairs))), key=lambda pair: pair[0]["prompt_id"]
    ):
        right = answer(model, [{"role": "user", "content": prompt["prompt"]}], seed).right
        if right is not None:
            turned = rng.random() < errors
            yield {"prompt_id": prompt["prompt_id"], "model": model, "passed": right != turned}


def main() -> int:
    """Write the file."""
    parser = argparse.ArgumentParser(description="Makes grades as people would give them.")
    parser.add_argument("--prompts", type=Path, required=True, help="what prompts.py wrote")
    parser.add_argument(
        "--task", default="summary", help="which prompts; default: those that only a judge can grade"
    )
    parser.add_argument("--rows", type=int, default=90)
    parser.add_argument("--errors", type=float, default=0.02, help="share of grades turned round")
    parser.add_argument("--seed", type=int, default=0, help="the server's")
    parser.add_argument("--out", type=Path, required=True, help="a .jsonl file")
    options = parser.parse_args()
    prompts = [json.loads(line) for line in options.prompts.read_text(encoding="utf-8").splitlines()]
    asked = [prompt for prompt in prompts if prompt["task"] == options.task]
    lines = [json.dumps(row) + "\n" for row in grade(asked, options.rows, options.errors, options.seed)]
    options.out.write_text("".join(lines), encoding="utf-8")
    print(f"wrote {len(lines)} grades to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
