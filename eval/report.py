"""The report command: is a router worth it on this history.

Reads the history and, if one is given, the model; writes one HTML page, the same as Markdown, and the document
as JSON; ends with the verdict, as its exit code too.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from eval.baselines import BASELINES
from eval.design import Design, describe
from eval.estimators import SUBJECT, answers, estimators
from eval.evaluate import SCHEMA, evaluate, undecided
from eval.folds import Plan, plan_folds
from eval.history import read_history
from eval.holdout import held_out, require_unseen
from eval.outcomes import Outcomes, tabulate
from eval.progress import Progress
from eval.promises import Promised
from eval.report_html import render_html
from eval.report_markdown import render_markdown
from eval.report_text import render_text
from eval.rows import extract_rows
from eval.verdict import why_not
from router import ConfigError, Policy, Router
from router.artifact import find_artifact
from router.embedding import StaticEmbedding
from router.extractor import Extractor
from router.promise import certified
from router.prompt import Prompt, read_prompt
from router.tiers import Ladder, read_tiers

__all__ = ["add_arguments", "extract", "run", "write_report"]

N_BOOT = 1000
WORTH_WORKERS = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `python -m eval report`."""
    add = parser.add_argument
    add(
        "--history",
        required=True,
        nargs="+",
        type=Path,
        metavar="FILE",
        help="Parquet, JSONL or CSV; several files are one history",
    )
    add("--tiers", required=True, type=Path, metavar="FILE", help="TOML, cheapest tier first")
    add(
        "--out",
        required=True,
        type=Path,
        metavar="DIR",
        help="folder for report.html, report.md and report.json",
    )
    add(
        "--model",
        metavar="DIR",
        help="judge this artefact on what it held out (default: cross-validate what a fit would make)",
    )
    add(
        "--unseen",
        action="store_true",
        help="with --model: it has seen nothing of this history, so all of it judges",
    )
    add("--show-prompts", action="store_true", help="put the text of the worst misroutes into the report")
    add("--seed", type=int, default=0, metavar="N", help="same seed, same report (default: %(default)s)")
    add(
        "--workers",
        type=int,
        default=default_workers(),
        metavar="N",
        help="processes that fit (default: %(default)s)",
    )


def default_workers() -> int:
    """Return one process per core, as far as folds can use them."""
    return max(1, min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1, 8))


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run `python -m eval report`."""
    _check(options)
    progress = Progress()
    with threadpool_limits(1):
        progress.step("reading")
        ladder = read_tiers(options.tiers)
        router = None if options.model is None else Router.load(options.model)
        if router is not None:
            _require_same_tiers(ladder, router, options.tiers)
        outcomes = tabulate(read_history(options.history), ladder)
        for reason in (reason for reason, count in outcomes.dropped.items() if count):
            progress.say(f"left out: {outcomes.dropped[reason]:,} prompts ({reason})")
        why = why_not(outcomes)
        document = undecided(outcomes, why) if why else _evaluate(outcomes, router, options, progress)
    document = {
        "schema": SCHEMA,
        "title": ", ".join(path.name for path in options.history),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": _command(options),
        "subject": _subject(router),
        **document,
    }
    progress.step("writing")
    files = write_report(document, options.out)
    progress.say("\n" + render_text(document))
    verdict = document["verdict"]
    return {
        "verdict": verdict["word"],
        "exit_code": verdict["exit_code"],
        "headline": verdict["headline"],
        "reason": verdict["reason"],
        "best_baseline": verdict["best_baseline"],
        "lead": verdict["lead"],
        "gap_closed": _gaps(document["comparison"]),
        "report": str(options.out / "report.html"),
        "files": files,
    }


def write_report(document: dict[str, Any], out: Path) -> list[str]:
    """Write the three forms of a report into a folder, all aside and then renamed; return their names.

    Raises
    ------
    ConfigError
        The folder cannot be written.
    """
    forms = {
        "report.html": render_html(document),
        "report.md": render_markdown(document),
        "report.json": json.dumps(document, indent=1, allow_nan=False) + "\n",
    }
    try:
        write_aside({out / name: text for name, text in forms.items()})
    except OSError as error:
        raise ConfigError(
            f"--out {out}: cannot be written ({error.strerror}); make room or name another folder"
        ) from error
    return list(forms)


def write_aside(texts: Mapping[Path, str]) -> None:
    """Write text files beside their places and rename them only when all are whole; what was there stays till then."""
    asides: dict[Path, Path] = {}
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, aside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            asides[path] = Path(aside)
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
            asides[path].chmod(0o644)
        for path, aside_path in asides.items():
            aside_path.replace(path)
    finally:
        for aside_path in asides.values():
            aside_path.unlink(missing_ok=True)


def extract(outcomes: Outcomes, progress: Progress) -> Design:
    """Return the features and outcomes of a history, with the default model's embedding."""
    extractor = Extractor(StaticEmbedding.load(find_artifact()))
    return describe(outcomes, extract_rows(extractor, outcomes.prompts, progress), extractor)


def _evaluate(
    outcomes: Outcomes, router: Router | None, options: argparse.Namespace, progress: Progress
) -> dict[str, Any]:
    progress.step(f"extracting features of {len(outcomes):,} prompts")
    design = extract(outcomes, progress)
    fitted = estimators() if router is None else dict(BASELINES)
    plan, said = plan_for(outcomes, router, options)
    progress.step(f"fitting {len(fitted)} estimators. {plan.text}")
    with progress.bar(len(fitted) * len(plan.folds), "fit") as bar:

        def tick(name: str) -> None:
            bar.set_description(name)
            bar.update()

        return evaluate(
            outcomes,
            design,
            plan,
            fitted,
            answers(),
            **said,
            n_boot=N_BOOT,
            seed=options.seed,
            # Other processes need seconds to start, which a small history does not take to fit.
            workers=options.workers if len(outcomes) >= WORTH_WORKERS else 1,
            with_prompts=options.show_prompts,
            tick=tick,
        )


def plan_for(
    outcomes: Outcomes, router: Router | None, options: argparse.Namespace
) -> tuple[Plan, dict[str, Any]]:
    """Return who judges what, and what a model says, as `evaluate` takes it."""
    if router is None:
        return plan_folds(outcomes, options.seed), {}
    if options.unseen:
        require_unseen(options.history, router.manifest.document)
        # By group even where there are times: by time, the oldest prompts would judge nothing.
        folds = plan_folds(replace(outcomes, timestamp=None), options.seed)
        plan = Plan(
            folds.folds,
            folds.method,
            "All prompts judge the model, which is said to have seen none of them. Baselines, "
            f"{folds.text[0].lower()}{folds.text[1:]}",
        )
    else:
        plan = held_out(outcomes, options.history, router.manifest.document)
    decisions = np.array([decision.index for decision in router.route_many(outcomes.prompts)], dtype=np.intp)
    return plan, {
        "model_scores": router.score(outcomes.prompts).astype(np.float64),
        "model_costs": router.expected_cost(outcomes.prompts),
        "decisions": decisions,
        "epsilon": router.manifest.defaults.epsilon,
        "promised": promised_by(router, outcomes.prompts, plan),
    }


def promised_by(router: Router, prompts: Sequence[Prompt], plan: Plan) -> Promised:
    """Return what a model promises, and what it decides for the rows that a plan judges under each readable promise."""
    model = router.model
    certificate, decision = (model.manifest.document[part] for part in ("certificate", "decision"))
    rows = np.concatenate([fold.test for fold in plan.folds])
    views = [read_prompt(prompts[row]) for row in rows]
    outputs = model.read_many(views)
    choices = {}
    for row in (*certified(certificate, "regret"), *certified(certificate, "quality")):
        regret = row.kind == "regret"
        asked = Policy(max_regret=row.loss) if regret else Policy(min_quality=round(1.0 - row.loss, 6))
        resolved = model.resolve(asked)
        chosen = np.full(len(prompts), len(router.tiers) - 1, dtype=np.intp)
        chosen[rows] = [
            model.decide(view, said, resolved).index for view, said in zip(views, outputs, strict=True)
        ]
        choices[row.kind, row.loss] = chosen
    files = model.manifest.document.get("data", {}).get("files", [])
    return Promised(certificate, decision, choices, tuple(file["name"] for file in files))


def check_numbers(options: argparse.Namespace) -> None:
    """Refuse a seed or a number of processes that nothing can be started with."""
    if not 0 <= options.seed < 2**32 or options.workers < 1:  # numpy's old generator, which scikit-learn uses
        raise ConfigError(
            f"--seed is 0 to {2**32 - 1} and --workers 1 or more; found {options.seed} and {options.workers}"
        )


def _check(options: argparse.Namespace) -> None:
    check_numbers(options)
    if options.unseen and options.model is None:
        raise ConfigError("--unseen says what a model has seen; name one with --model, or leave it out")
    # Before any work is done. The folder itself is made at the end, so that nothing is left of a run that failed.
    existing = next(path for path in (options.out, *options.out.parents) if os.access(path, os.F_OK))
    if not existing.is_dir():
        raise ConfigError(f"--out {options.out}: {existing} is a file; name a folder")
    if not os.access(existing, os.W_OK):
        raise ConfigError(f"--out {options.out}: {existing} is not writable; name another folder")


def _require_same_tiers(ladder: Ladder, router: Router, path: Path) -> None:
    ours = tuple(tier.name for tier in router.tiers)
    if ladder.names != ours:
        raise ConfigError(
            f"tiers file {path}: expected the model's tiers ({', '.join(ours)}), found "
            f"{', '.join(ladder.names)}; name the file that it was fitted with"
        )


def _command(options: argparse.Namespace) -> str:
    """Return the command as it could be typed again; what is at its default is left out."""
    parts = ["python", "-m", "eval", "report", "--history", *map(str, options.history)]
    parts += ["--tiers", str(options.tiers), "--out", str(options.out)]
    parts += ["--model", str(options.model)] if options.model is not None else []
    parts += ["--unseen"] if options.unseen else []
    parts += ["--show-prompts"] if options.show_prompts else []
    parts += ["--seed", str(options.seed)] if options.seed else []
    return shlex.join(parts)


def _subject(router: Router | None) -> dict[str, str]:
    if router is None:
        return {
            "name": SUBJECT,
            "text": "what python -m training fit would make, fitted anew for each fold",
        }
    manifest = router.manifest.document
    return {
        "name": SUBJECT,
        "text": f"model {router.model_id} ({manifest.get('name', 'unnamed')}), fitted {manifest.get('created', '?')[:10]}",
    }


def _gaps(comparison: dict[str, Any] | None) -> dict[str, Any]:
    entries = [] if comparison is None else comparison["contenders"]
    return {entry["name"]: entry["gap_closed"] for entry in entries}
