"""What each member of the blend, and all of them together, are worth on real histories.

Grouped five-fold cross-validation on all rows, as a fit does it on its training part (weights and calibration of a
fold come from the others; the benchmark, `python -m eval benchmark`, is stricter and nests the whole fit):
`python -m bench.members --data ../shared/data`. Reports the share of the gap between random mixing and the
oracle that is closed, swept over the price, and the log loss.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from eval.calibration import log_loss
from eval.curve import gap_closed, oracle_curve, random_curve, router_curve
from eval.design import describe
from eval.history import read_history
from eval.outcomes import tabulate
from router.artifact import find_artifact
from router.embedding import StaticEmbedding
from router.extractor import Extractor
from router.tiers import read_tiers
from training import members, stack, tasks, words
from training.blend import cross_fit, cross_validate

__all__ = ["main", "measure_history"]


def measure_history(
    history: Path, tiers: Path, extractor: Extractor, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Return `gap_price` and `log_loss`, out of fold, of each member and of all together."""
    outcomes = tabulate(read_history(history), read_tiers(tiers))
    design = describe(outcomes, extractor.extract_many(outcomes.prompts), extractor)
    validation = cross_validate(design, seed)
    rows = outcomes.complete
    score, cost = outcomes.score[rows], outcomes.cost_usd[rows]
    ends = random_curve(score, cost), oracle_curve(score, cost)
    names = tuple(validation.margins)
    results = {}
    for candidate in (*((name,) for name in names), names):
        p = cross_fit(validation, outcomes.passed, outcomes.cost_usd, candidate)
        results[candidate[0] if len(candidate) == 1 else "blend"] = {
            "gap_price": gap_closed(router_curve(p[rows], score, cost), *ends),
            "log_loss": float(np.mean([log_loss(p[:, k], outcomes.passed[:, k]) for k in range(p.shape[1])])),
        }
    return results


def main() -> None:
    """Measure every history in a folder that has a ladder beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("../shared/data"),
        help="folder with NAME.parquet and NAME.tiers.toml",
    )
    parser.add_argument(
        "--set",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="a number among the constants of the members or the stack, such as TREE_ROUNDS 200",
    )
    options = parser.parse_args()
    for constant, value in options.set:
        module = next((m for m in (members, words, tasks, stack) if hasattr(m, constant)), None)
        number = getattr(module, constant, None)
        if module is None or not isinstance(number, int | float):
            parser.error(f"--set {constant}: is no number in training.members, words, tasks or stack")
        setattr(module, constant, type(number)(value))
    extractor = Extractor(StaticEmbedding.load(find_artifact()))
    table: dict[str, Any] = {}
    with threadpool_limits(1):
        for tiers in sorted(options.data.glob("*.tiers.toml")):
            name = tiers.name.removesuffix(".tiers.toml")
            table[name] = measure_history(tiers.with_name(f"{name}.parquet"), tiers, extractor)
            print(f"{name}: done", file=sys.stderr)
    if not table:
        parser.error(f"--data {options.data}: holds no NAME.tiers.toml beside a NAME.parquet")
    for metric in ("gap_price", "log_loss"):
        print(
            f"\n{metric:<36}" + "".join(f"{name[:17]:>19}" for name in table) + f"{'mean':>8}",
            file=sys.stderr,
        )
        for candidate in dict.fromkeys(name for row in table.values() for name in row):
            # A history without tasks has no such member; there it stands for nothing.
            values = [table[name].get(candidate, {}).get(metric, float("nan")) for name in table]
            print(
                f"{candidate:<36}"
                + "".join(f"{value:>19.3f}" for value in values)
                + f"{np.nanmean(values):>8.3f}",
                file=sys.stderr,
            )
    print(json.dumps({"bench": "members", "set": dict(options.set), "histories": table}))


if __name__ == "__main__":
    main()
