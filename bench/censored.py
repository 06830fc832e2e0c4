"""What inverse propensities give back of a log in which only the tier that served was graded.

    python -m bench.censored

A generated history, whose true pass probabilities are known, is censored by a policy that gives hard prompts to dear tiers:
by what a prompt shows of its difficulty, or by all of it, which no feature tells. A fit on the log is then held against
the truth on prompts that it had no part in: bias and mean absolute error of its pass probabilities, and the share of the gap
between random mixing and hindsight that it closes, in true pass probabilities.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from eval.curve import gap_closed, oracle_curve, random_curve, router_curve
from eval.design import Design, describe
from eval.history import read_history
from eval.outcomes import Outcomes, tabulate
from eval.progress import Progress
from eval.rows import extract_rows
from router.extractor import Extractor
from training.blend import score_blend
from training.fit import open_embedding
from training.synthetic import generate_with_truth
from training.synthetic_model import LADDER

Floats = NDArray[np.float64]

JUDGED = 2000
STEEPNESS = 1.2
"""Log odds, per standard deviation of difficulty, by which the policy prefers the next dearer tier."""


def main() -> None:
    """Print a table, and the same as JSON in the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=2400, help="to learn from (default 2400)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    args = parser.parse_args()
    _, extractor = open_embedding(None)
    rows = []
    with threadpool_limits(1):
        for seed in args.seeds:
            rows += measure(args.prompts, seed, extractor)
            print(f"seed {seed} done", file=sys.stderr)
    print(table(rows))
    print(json.dumps({"prompts": args.prompts, "judged": JUDGED, "seeds": args.seeds, "rows": rows}))


def measure(n: int, seed: int, extractor: Extractor) -> list[dict[str, Any]]:
    """Return what is learned from all outcomes, and from two logs with and without propensities."""
    history, truth = generate_with_truth(n + JUDGED, seed)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "history.parquet"
        history.to_parquet(path)
        outcomes = tabulate(read_history(path), LADDER)
    X = extract_rows(extractor, outcomes.prompts, Progress())
    truth = truth.set_index("prompt_id").loc[list(outcomes.prompt_ids)]
    p = truth[[f"p_{name}" for name in LADDER.names]].to_numpy()
    judged = np.arange(len(outcomes)) >= n
    unseen = describe(outcomes, X, extractor).take(judged).blind()
    found = [
        {"log": "everything graded", "seed": seed}
        | _judge(describe(outcomes, X, extractor).take(~judged), unseen, p[judged], outcomes.take(judged))
    ]
    for name, difficulty in (
        ("by visible difficulty", truth["visible"]),
        ("by all difficulty", truth["visible"] + truth["latent"]),
    ):
        log = censor(outcomes, difficulty.to_numpy(), seed)
        for known, what in ((replace(log, propensity=None), "no propensities"), (log, "propensities")):
            learned = describe(known, X, extractor).take(~judged)
            found.append(
                {"log": f"{name}, {what}", "seed": seed}
                | _judge(learned, unseen, p[judged], outcomes.take(judged))
            )
    return found


def censor(outcomes: Outcomes, difficulty: Floats, seed: int) -> Outcomes:
    """Return what a log holds whose policy knew the difficulty of each prompt."""
    z = (difficulty - difficulty.mean()) / difficulty.std()
    k = len(outcomes.ladder)
    chance = np.exp(STEEPNESS * np.outer(z, np.arange(k) - (k - 1) / 2))
    chance /= chance.sum(axis=1, keepdims=True)
    drawn = (np.random.default_rng(seed).random((len(z), 1)) > chance.cumsum(axis=1)).sum(axis=1)
    served = np.arange(k) == np.minimum(drawn, k - 1)[:, None]
    return replace(
        outcomes,
        passed=np.where(served, outcomes.passed, np.nan).astype(np.float32),
        score=np.where(served, outcomes.score, np.nan).astype(np.float32),
        propensity=np.where(served, chance, np.nan),
    )


def _judge(learned: Design, unseen: Design, truth: Floats, outcomes: Outcomes) -> dict[str, Any]:
    p = score_blend(learned, unseen, 0)
    ends = (curve(truth, outcomes.cost_usd) for curve in (random_curve, oracle_curve))
    return {
        "bias": (p - truth).mean(axis=0).tolist(),
        "error": float(np.abs(p - truth).mean()),
        "gap_closed": float(gap_closed(router_curve(p, truth, outcomes.cost_usd), *ends)),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return the means over seeds as Markdown."""
    head = ["log", *(f"bias, {name}" for name in LADDER.names), "error", "gap closed", "by seed"]
    lines = [head, ["---"] * len(head)]
    for log in dict.fromkeys(row["log"] for row in rows):
        own = [row for row in rows if row["log"] == log]
        bias = np.mean([row["bias"] for row in own], axis=0)
        gaps = [row["gap_closed"] for row in own]
        lines.append(
            [
                log,
                *(f"{100 * each:+.1f} pts" for each in bias),
                f"{100 * np.mean([row['error'] for row in own]):.1f} pts",
                f"{np.mean(gaps):.2f}",
                ", ".join(f"{gap:.2f}" for gap in gaps),
            ]
        )
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    main()
