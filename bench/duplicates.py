"""How long near-duplicates of 100,000 prompts take to find, and in how much memory.

`python -m bench.duplicates [--prompts 100000] [--threshold 0.8] [--history FILE ...]`. Each row is a process of its own,
from its start to its end: making the runs of words, the signatures, the candidates, and the true similarity of each. The
prompts are generated (training.synthetic, 3 % trivial repeats, so that it is known which are near-duplicates); of one
template, so that nearly all pairs lie just below the threshold, which is the most work there can be; and of histories
that are named. `recall` is the share of the known repeats that stand in one group with what they repeat.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.measuring import describe_machine, render_table, report, run_child

TARGETS = {"seconds": 180.0, "peak_mb": 3000.0}
SEED = 7


def generated(count: int) -> Iterator[tuple[str, str, str]]:
    """Yield id, text and origin of generated prompts."""
    from training.imports.chat import as_messages, plain_text
    from training.synthetic import generate

    history = generate(count, SEED).drop_duplicates("prompt_id")
    for identity, text, chat, origin in history[["prompt_id", "prompt", "messages", "group"]].itertuples(
        index=False
    ):
        yield identity, text if isinstance(text, str) else plain_text(as_messages(chat)), origin


def templated(count: int) -> Iterator[tuple[str, str, str]]:
    """Yield prompts of one template of 80 words, 3 of them drawn anew: the similarity of two is 69 / 87 or 0.79."""
    import numpy as np

    rng = np.random.default_rng(SEED)
    template = [f"word{i}" for i in range(80)]
    for i, drawn in enumerate(rng.integers(0, 100_000, (count, 3))):
        words = list(template)
        for place, number in zip((10, 40, 70), drawn.tolist(), strict=True):
            words[place] = f"item{number}"
        yield str(i), " ".join(words), str(i)


def stored(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield the prompts of a history; nothing is known of what repeats."""
    from eval.history import read_history
    from training.imports.chat import plain_text

    prompts = read_history(path).prompts
    for identity, prompt in prompts[["prompt_id", "prompt"]].itertuples(index=False):
        yield identity, prompt if isinstance(prompt, str) else plain_text(prompt), identity


def measure(what: str, count: int, threshold: float) -> dict[str, Any]:
    """Group one set of prompts, in this process."""
    from training.imports.near import Runs, join_near
    from training.imports.shingles import Shingler
    from training.imports.unions import Unions

    source = {"generated": generated, "templated": templated}.get(what)
    runs, shingler = Runs(), Shingler()
    ids: dict[str, int] = {}
    origins: list[str] = []
    for identity, text, origin in source(count) if source else stored(Path(what)):
        ids[identity] = len(ids)
        origins.append(origin)
        runs.add(shingler.shingles(text))
    unions = Unions(len(runs))
    computed = join_near(runs, threshold, unions)
    roots = unions.roots()
    known = [(i, ids[origin]) for i, origin in enumerate(origins) if ids[origin] != i]
    assert len(ids) == len(runs), "an id came twice"
    return {
        "prompts": len(runs),
        "groups": len(set(roots)),
        "largest": max(Counter(roots).values()),
        "pairs_computed": computed,
        "known_repeats": len(known),
        "recall": round(sum(roots[i] == roots[j] for i, j in known) / len(known), 4) if known else None,
    }


def main() -> None:
    """Measure each set in a process of its own and tell what was found."""
    parser = argparse.ArgumentParser(prog="python -m bench.duplicates", description=__doc__)
    parser.add_argument(
        "--prompts", type=int, default=100_000, help="how many are generated (default %(default)s)"
    )
    parser.add_argument("--threshold", type=float, default=0.8, help="similarity (default %(default)s)")
    parser.add_argument(
        "--history", type=Path, nargs="*", default=[], help="histories whose prompts to group as well"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.prompts, options.threshold)))
        return
    machine = describe_machine()
    sets = {}
    for what in ("generated", "templated", *map(str, options.history)):
        asked = ("--one", what, "--prompts", str(options.prompts), "--threshold", str(options.threshold))
        child = run_child(sys.executable, "-m", "bench.duplicates", *asked)
        cost = {"seconds": round(child.wall_s, 1), "cpu_s": round(child.user_s + child.system_s, 1)}
        name = Path(what).stem if what.endswith((".parquet", ".jsonl", ".csv")) else what
        sets[name] = {**child.last_json, **cost, "peak_mb": round(child.peak_mb)}
    assert (sets["generated"]["recall"] or 0) > 0.99, "known repeats were missed"
    met = {name: all(found[name] <= limit for found in sets.values()) for name, limit in TARGETS.items()}
    columns = list(sets["generated"])
    rows = [(name, *(found[column] for column in columns)) for name, found in sets.items()]
    verdict = [(name, f"{limit:g}", "met" if met[name] else "MISSED") for name, limit in TARGETS.items()]
    tables = [render_table(("prompts", *columns), rows), render_table(("target", "at most", ""), verdict)]
    document = {"bench": "duplicates", "machine": machine, "threshold": options.threshold, "sets": sets}
    report({**document, "targets": TARGETS, "met": met}, *tables)


if __name__ == "__main__":
    main()
