"""What the guards buy: promises on a history that taught nothing, and prompts made to mislead.

`python -m bench.guard [--data ../shared/data] [--write [--docs docs]]`. Every history in the folder is left out once: the
others, pooled tier by tier, teach and certify, and it is routed with and without each guard. Then prompts of each source
(histories, and the project's synthetic ones) are attacked, by a router that was fitted on others of the same source.
Nothing of a history's prompts is printed or written. `--write` puts the document and a section into the documents.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib
from threadpoolctl import threadpool_limits

from bench.guard_attacks import GADGET_TOKENS, attack, search_gadgets
from bench.guard_page import SECTION, render_tables
from bench.guard_router import ALPHA, GUARDS
from bench.guard_shift import fit_on, histories_in, measure_shift, open_extractor, pool, read_outcomes
from bench.measuring import describe_machine, report
from eval.history import read_history
from eval.outcomes import Outcomes, tabulate
from eval.parallel import dismiss_workers, run_calls
from router.artifact import find_artifact
from router.tiers import read_tiers
from training.novelty import NOVELTY_FALSE_ALARM
from training.synthetic import write_demo

__all__ = ["main", "measure_attacks"]

SYNTHETIC_PROMPTS = 6000


def measure_attacks(source: str, outcomes: Outcomes, n_prompts: int, seed: int) -> dict[str, Any]:
    """Return, by family, how many prompts are flagged, and how many go below the reference tier.

    With all guards and with none, each router at its own certified epsilon; "before" is the prompts as they are.
    """
    with threadpool_limits(1):
        router, held = fit_on(outcomes, open_extractor(), seed)
        known = router.read(held.prompts)
        epsilon = {name: router.certify(held, known, GUARDS[name])["epsilon"] for name in ("none", "both")}
        texts = sorted({prompt for prompt in held.prompts if isinstance(prompt, str)})
        random.Random(seed).shuffle(texts)  # noqa: S311 - no secret
        prompts, others = texts[:n_prompts], texts[n_prompts:]
        gadgets = search_gadgets(router, others, _words(), epsilon, seed)
        families = {}
        for name, attacked in attack(prompts, gadgets, seed).items():
            reading = router.read(attacked)
            by_embedding, by_shape = router.far(attacked)
            families[name] = {
                "prompts": len(attacked),
                "flagged_by_embedding": by_embedding,
                "flagged_by_shape": by_shape,
                "flagged": float(router.novel(reading).mean()),
                "below": router.below(reading, GUARDS["both"], epsilon["both"]),
                "below_unguarded": router.below(reading, GUARDS["none"], epsilon["none"]),
            }
        return {"source": source, "epsilon": epsilon, "families": families}


def _words() -> list[str]:
    """Return the whole words of the embedding's vocabulary."""
    document = json.loads((find_artifact() / "tokenizer.json").read_text(encoding="utf-8"))
    return sorted(
        word for word in document["model"]["vocab"] if word.isascii() and word.isalpha() and len(word) > 2
    )


def _synthetic(seed: int) -> Outcomes:
    with tempfile.TemporaryDirectory() as scratch:
        history, tiers = write_demo(Path(scratch), SYNTHETIC_PROMPTS, seed)
        return tabulate(read_history(history), read_tiers(tiers))


def _attack_histories(data: Path, names: list[str], n_prompts: int, seed: int) -> dict[str, Any]:
    return measure_attacks(
        "histories", pool({name: read_outcomes(data, name) for name in names}), n_prompts, seed
    )


def _attack_synthetic(n_prompts: int, seed: int) -> dict[str, Any]:
    return measure_attacks("synthetic", _synthetic(seed), n_prompts, seed)


def main() -> None:
    """Measure both, and tell."""
    parser = argparse.ArgumentParser(prog="python -m bench.guard", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with histories")
    parser.add_argument(
        "--prompts", type=int, default=300, help="attacked prompts per source (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="default %(default)s")
    parser.add_argument("--workers", type=int, default=2, help="processes (default %(default)s)")
    parser.add_argument(
        "--write", action="store_true", help="write guard.json and a section of BENCHMARKS.md"
    )
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder to write to")
    options = parser.parse_args()
    names = histories_in(options.data)
    if len(names) < 2:
        parser.error(
            f"--data {options.data}: expected two or more NAME.parquet with NAME.tiers.toml, found {len(names)}"
        )
    if options.write:
        SECTION.check(options.docs)
    machine = describe_machine()
    data, n, seed = options.data, options.prompts, options.seed
    call: Callable[..., Any] = joblib.delayed
    calls = [
        call(_attack_histories)(data, names, n, seed),
        call(_attack_synthetic)(n, seed),
        *(call(measure_shift)(data, names, left, seed) for left in names),
    ]
    found: dict[str, Any] = {}
    for result in run_calls(calls, options.workers):
        name = result.get("history", result.get("source"))
        found[name] = result
        print(f"{name}: done", file=sys.stderr)
    dismiss_workers()
    document = {
        "bench": "guard",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "seed": seed,
        "alpha": ALPHA,
        "false_alarm": NOVELTY_FALSE_ALARM,
        "gadget_tokens": GADGET_TOKENS,
        "synthetic_prompts": SYNTHETIC_PROMPTS,
        "machine": machine,
        "shift": [found[name] for name in names],
        "attacks": [found["histories"], found["synthetic"]],
    }
    if options.write:
        SECTION.write(options.docs, document)
    report(document, *render_tables(document))


if __name__ == "__main__":
    main()
