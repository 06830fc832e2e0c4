"""The benchmark command: the estimator and every baseline on every history of a folder, into the documents.

Reads the histories; writes docs/BENCHMARKS.md, the figure and the table of the README, and the figures as JSON,
from which `--check` makes the documents again and compares. No prompt leaves the histories.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from eval.baselines import LABELS, always_middle, hand_rule
from eval.benchmark_page import render_page, render_table, splice
from eval.comparison import compare
from eval.estimators import SUBJECT, answers, estimators
from eval.expected import expect_costs
from eval.folds import plan_folds, require_no_leak
from eval.history import read_history
from eval.learning import SIZES, learning_curve
from eval.outcomes import Outcomes, tabulate
from eval.parallel import dismiss_workers
from eval.progress import Progress
from eval.report import check_numbers, default_workers, extract, write_aside
from eval.report_histories import render_svg
from eval.scoring import score_out_of_sample
from eval.verdict import decide, why_not
from router import ConfigError
from router.prompt import read_prompt
from router.tiers import read_tiers

__all__ = ["add_arguments", "run"]

ROOT = Path(__file__).resolve().parents[1]
LADDERS = Path(__file__).with_name("ladders")
"""Another ladder for histories of these names."""
DOCUMENT, RECORD, README, FIGURE = (
    "docs/BENCHMARKS.md", "docs/benchmarks.json", "README.md", "docs/gap-closed.svg",
)  # fmt: skip
N_BOOT = 1000
REPEATS = 3
"""Ways of folding, each with fits of its own: on small histories, one way is a matter of luck."""
LEARNERS = (SUBJECT, "length", "cost-only", "logistic-embedding", "logistic-tfidf", "lightgbm")
"""What the learning curves compare."""

Floats = NDArray[np.float64]
Repeat = tuple[Outcomes, dict[str, Floats]]
"""One way of folding: what calls were expected to cost, and what estimators said."""

# What the documents show of a contender; the rest of a comparison is a report's.
_KEPT = ("name", "label", "kind", "gap_closed", "hull_gap_closed", "lead", "saving_at_quality", "at_97", "two_tier",
         "log_loss", "ece", "auc")  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `python -m eval benchmark`."""
    add = parser.add_argument
    add(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder with NAME.parquet and NAME.tiers.toml for each history",
    )
    add(
        "--out",
        type=Path,
        default=ROOT,
        metavar="DIR",
        help=f"where {DOCUMENT}, {RECORD}, {FIGURE} and {README} are (default: the checkout)",
    )
    add(
        "--check", action="store_true", help="measure nothing; fail if a document is not what the record says"
    )
    add("--seed", type=int, default=0, metavar="N", help="same seed, same figures (default: %(default)s)")
    add(
        "--repeats",
        type=int,
        default=REPEATS,
        metavar="N",
        help="ways of folding, all of which count (default: %(default)s)",
    )
    add(
        "--workers",
        type=int,
        default=default_workers(),
        metavar="N",
        help="processes that fit (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run `python -m eval benchmark`."""
    if options.check:
        return _check(options.out)
    check_numbers(options)
    if options.repeats < 1:
        raise ConfigError(f"--repeats is 1 or more; found {options.repeats}")
    if options.data is None:
        raise ConfigError("--data: name the folder with the histories, or use --check to compare documents")
    for path in (options.out / README, options.out / DOCUMENT):  # before an hour's work, not after it
        if path.name == README or path.exists():
            splice(_read(path), "", str(path))
    names = [path.name.removesuffix(".tiers.toml") for path in sorted(options.data.glob("*.tiers.toml"))]
    if not names:
        raise ConfigError(
            f"--data {options.data}: expected NAME.tiers.toml beside a NAME.parquet, found none"
        )
    progress, start = Progress(), time.monotonic()
    histories: list[dict[str, Any]] = []
    curves: dict[str, list[dict[str, Any]]] = {}
    progress.step("reading")
    # All of them before any is measured: nobody wants to hear of the last one after minutes of work.
    laid_out = {name: _lay_out(name, options.data) for name in names}
    with threadpool_limits(1):
        for name, ladders in laid_out.items():
            runs, curve = _measure(name, ladders, options, progress)
            histories += runs
            curves |= {name: curve} if curve else {}
    record = {
        "created": datetime.now(UTC).date().isoformat(),
        "command": _command(options),
        "seed": options.seed,
        "repeats": options.repeats,
        "n_boot": N_BOOT,
        "workers": options.workers,
        "seconds": round(time.monotonic() - start),
        "peak_mb": _peak_mb(options.workers),
        "runs": histories,
        "learning": curves,
    }
    recorded = json.dumps(record, indent=1, allow_nan=False) + "\n"
    write_aside({options.out / RECORD: recorded, **_documents(record, options.out)})
    return {
        "benchmark": str(options.out / DOCUMENT),
        "seconds": record["seconds"],
        "peak_mb": record["peak_mb"],
        "runs": {
            f"{entry['history']}/{entry['ladder']}": {
                "verdict": entry["verdict"]["word"],
                "gap_closed": {
                    c["name"]: c["gap_closed"]["value"]
                    for c in entry["contenders"]
                    if c["kind"] in ("subject", "baseline")
                },
            }
            for entry in histories
        },
    }


def _lay_out(name: str, data: Path) -> dict[str, Outcomes]:
    """Return a history's outcomes on the ladder as given, and on another where there is one.

    Raises
    ------
    ConfigError
        It cannot be read, or not be judged.
    """
    ladders = {"as given": data / f"{name}.tiers.toml", "another": LADDERS / f"{name}.tiers.toml"}
    rows = read_history(data / f"{name}.parquet")
    found = {which: tabulate(rows, read_tiers(path)) for which, path in ladders.items() if path.is_file()}
    for which, outcomes in found.items():
        why = why_not(outcomes)
        if why is not None:
            raise ConfigError(f"{name}, ladder {which}: cannot be judged: {why}")
    return found


def _measure(
    name: str, ladders: dict[str, Outcomes], options: argparse.Namespace, progress: Progress
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return a history's runs, and its learning curve on the ladder as given where it is large enough for one.

    The runs: the ladder as given, its two ends alone, and another ladder where there is one.
    """
    runs: list[dict[str, Any]] = []
    curve: list[dict[str, Any]] = []
    for which, outcomes in ladders.items():
        progress.step(f"{name}, ladder {which}")
        design = extract(outcomes, progress)
        seeds = [(options.seed + repeat) % 2**32 for repeat in range(options.repeats)]
        plans = [plan_folds(outcomes, seed) for seed in seeds]
        with progress.bar(len(estimators()) * sum(len(plan.folds) for plan in plans), "fit") as bar:
            repeats: list[Repeat] = []
            for seed, plan in zip(seeds, plans, strict=True):
                require_no_leak(plan, outcomes)
                scores = score_out_of_sample(
                    design, plan, estimators(), seed, lambda _: bar.update(), options.workers
                )
                repeats.append((expect_costs(outcomes, design, plan, answers()), scores))
        runs.append(_judge(name, which, repeats, options.seed))
        if which == "as given" and len(outcomes.ladder) > 2:
            ends = [0, len(outcomes.ladder) - 1]
            pair = [(o.on(ends), {e: p[:, ends] for e, p in scores.items()}) for o, scores in repeats]
            runs.append(_judge(name, "its two ends", pair, options.seed))
        if which == "as given" and len(outcomes) > max(SIZES):
            progress.step(f"{name}, learning curve")
            some = {estimator: fit for estimator, fit in estimators().items() if estimator in LEARNERS}
            with progress.bar(sum(SIZES.values()), "draw") as bar:
                curve = learning_curve(
                    outcomes, design, some, answers(), options.seed, options.workers, lambda _: bar.update()
                )
    return runs, curve


def _judge(name: str, which: str, repeats: Sequence[Repeat], seed: int) -> dict[str, Any]:
    """Compare contenders on the prompts that were judged, each counted once for every way of folding.

    A prompt's copies stay in its group, so that the resamples, which draw groups, take them for one.
    """
    once = np.flatnonzero(~np.isnan(repeats[0][1][SUBJECT]).any(axis=1))
    scores = {e: np.concatenate([p[e][once] for _, p in repeats]) for e in repeats[0][1]}
    outcomes = repeats[0][0].take(np.tile(once, len(repeats)))
    expected = [o.expected_cost_usd[once] for o, _ in repeats if o.expected_cost_usd is not None]
    outcomes, k = replace(outcomes, expected_cost_usd=np.concatenate(expected)), len(outcomes.ladder)
    texts = [read_prompt(prompt).text for prompt in outcomes.prompts]
    fixed = {"hand-rule": hand_rule(texts, k), "always-middle": always_middle(len(outcomes), k)}
    comparison = compare(outcomes, scores, fixed, SUBJECT, LABELS, N_BOOT, seed)
    comparison["prompts"] //= len(repeats)
    at_mean = compare(replace(outcomes, expected_cost_usd=None), scores, {}, SUBJECT, LABELS, N_BOOT, seed)
    without = {e["name"]: {key: e[key] for key in ("gap_closed", "lead")} for e in at_mean["contenders"]}
    return {
        "history": name,
        "ladder": which,
        "prompts": comparison["prompts"],
        "groups": comparison["groups"],
        "tiers": comparison["tiers"],
        "contenders": [
            {key: entry.get(key) for key in _KEPT}
            | {"at_mean_cost": without[entry["name"]] if entry["name"] in scores else None}
            for entry in comparison["contenders"]
        ],
        "calibration": [
            {key: value for key, value in row.items() if key != "reliability"}
            | {"observed": row["observed"] // len(repeats)}
            for row in comparison["calibration"]
        ],
        "verdict": decide(comparison),
    }


def _documents(record: dict[str, Any], root: Path) -> dict[Path, str]:
    """Return what each document must hold, by its path."""
    page, readme, block = root / DOCUMENT, root / README, render_page(record)
    given = [run for run in record["runs"] if run["ladder"] == "as given"]
    return {
        page: splice(_read(page), block, str(page)) if page.exists() else block,
        readme: splice(_read(readme), render_table(record), str(readme)),
        root / FIGURE: render_svg(given),
    }


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text ({error}); check --out") from error


def _command(options: argparse.Namespace) -> str:
    """Return the command as it could be typed again in the checkout, without a path of this machine."""
    data = Path(os.path.relpath(options.data, ROOT)).as_posix()
    seed = ["--seed", str(options.seed)] if options.seed else []
    repeats = [] if options.repeats == REPEATS else ["--repeats", str(options.repeats)]
    return shlex.join(["python", "-m", "eval", "benchmark", "--data", data, *seed, *repeats])


def _check(root: Path) -> dict[str, Any]:
    try:
        record = json.loads((root / RECORD).read_text(encoding="utf-8"))
        stale = [
            str(path.relative_to(root))
            for path, text in _documents(record, root).items()
            if not path.exists() or path.read_text(encoding="utf-8") != text
        ]
    except (OSError, ValueError, LookupError, TypeError, StopIteration) as error:
        raise ConfigError(
            f"--check: the documents cannot be made from {RECORD} ({type(error).__name__}: {error}); run "
            "python -m eval benchmark --data DIR"
        ) from error
    if stale:
        raise ConfigError(
            f"--check: {', '.join(stale)} and {RECORD} disagree; run python -m eval benchmark --data DIR, and do not "
            "edit what lies between the benchmark marks"
        )
    return {"checked": [DOCUMENT, README, FIGURE], "created": record["created"]}


def _peak_mb(workers: int) -> int:
    """Return what this process and its workers held together at most, in MB (10^6 bytes).

    An upper bound: as if all were at their greatest at once, and each worker as great as the greatest.
    """
    dismiss_workers()
    own, largest = (
        resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return round((own + (workers if workers > 1 else 0) * largest) * 1024 / 1e6)
