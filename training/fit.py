"""From a history to an artefact.

The path, in order: read, tabulate, split, extract, cross-validate, select, fit, calibrate, certify, measure,
export, write. Each step is a pure function elsewhere; this module only calls them in turn, and reads and
writes at both ends.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from eval.certify import abridge, certify, explain_shortage, spend
from eval.design import Design, describe
from eval.expected import expected_cost
from eval.history import read_history
from eval.ladder import best_tier
from eval.metrics import measure_parts, render_metrics
from eval.outcomes import Outcomes, tabulate
from eval.progress import Progress
from eval.rows import extract_rows
from eval.split import CALIBRATION_SHARE, SPLIT_METHODS, TEST_SHARE, Split, split_rows
from eval.summary import render, summarise
from router import ConfigError, RouterError
from router.artifact import find_artifact
from router.embedding import StaticEmbedding
from router.extractor import Extractor
from router.lexicon import Lexicon
from router.manifest import SCHEMA
from router.promise import dominance_words
from router.scorer import Scorer, Scores
from router.tiers import read_tiers
from training.answers import Answers
from training.blend import (
    FOLDS,
    CrossValidation,
    build_model,
    cross_fit,
    cross_validate,
    fit_blend,
    judge,
    members_for,
    select,
)  # fmt: skip
from training.card import render_card
from training.decisions import DEFAULT_MAX_REGRET, DecisionPath, default_epsilon
from training.golden import GOLDEN_PROMPTS
from training.members import FITTERS
from training.novelty import NOVELTY_FALSE_ALARM, Novelty, threshold
from training.package import check_target, model_id_of, write_artifact
from training.provenance import describe_files, git_commit, library_versions
from training.reference import describe_reference
from training.stack import sigmoid

__all__ = ["LEAST_PROMPTS", "add_arguments", "fit", "run"]

LEAST_PROMPTS = 50
"""Fewer labelled prompts than this on the training part are refused."""


def fit(
    history: Sequence[Path],
    tiers: Path,
    out: Path,
    *,
    seed: int = 0,
    split_method: str = "auto",
    embedding: Path | None = None,
    name: str = "tierwise",
    notes: Path | None = None,
) -> dict[str, Any]:
    """Fit, certify and measure a router, and write it as an artefact.

    Parameters
    ----------
    history : paths
        One or more files that together are one history.
    tiers : path
        The ladder.
    out : path
        Folder of the artefact; an older artefact there is replaced.
    seed : int
        Same seed, same data and same machine give a bit-identical model.
    split_method : str
        How the test part is chosen; see `eval.split.split_rows`.
    embedding : path, optional
        Folder with an embedding; by default that of the default artefact.
    name : str
        What the model card calls the model.
    notes : path, optional
        Markdown for the model card: what the model is good for, and what not.

    Returns
    -------
    dict
        JSON-ready: where the artefact is, its id, what was chosen, certified and measured.

    Raises
    ------
    ConfigError
        The history, the tiers or the target cannot be used; one sentence says why. Nothing is written.
    """
    if not 0 <= seed < 2**32:  # numpy's old generator, which scikit-learn uses
        raise ConfigError(f"--seed is 0 to {2**32 - 1}; found {seed}")
    check_target(out)
    ladder = read_tiers(tiers)
    if len(ladder) < 2:
        raise ConfigError(
            f"tiers file {tiers}: a router needs two tiers or more to choose from; found {len(ladder)}"
        )
    notes_text = _read_notes(notes)
    folder, extractor = _open_embedding(embedding)
    progress = Progress()
    # One thread: linear algebra on several adds up in another order each time, and is no faster at this size.
    with threadpool_limits(1):
        progress.step("reading")
        logged = read_history(list(history))
        split = split_rows(tabulate(logged, ladder), seed, split_method)
        outcomes = tabulate(logged, ladder, split.train)  # who teaches, and so may fill gaps, is known now
        del logged
        summary = summarise(outcomes)
        progress.say(render(summary))
        _require_enough(outcomes, split)
        parts = {part: int(getattr(split, part).sum()) for part in ("train", "calibration", "test")}
        progress.say(
            f"{parts['train']:,} prompts to learn from, {parts['calibration']:,} to certify, {parts['test']:,} to "
            f"judge; divided by {SPLIT_METHODS[split.method]}"
        )

        progress.step(f"extracting features of {len(outcomes):,} prompts")
        X = extract_rows(extractor, outcomes.prompts, progress)
        design = describe(outcomes, X, extractor)
        learned, train = design.take(split.train), outcomes.take(split.train)

        names = members_for(learned)
        progress.step(f"cross-validating {len(names)} members on {len(train):,} prompts")
        validation = _cross_validate(learned, names, seed, progress)
        selection = select(validation.margins, train.passed, train.cost_usd)
        out_of_fold = cross_fit(validation, train.passed, train.cost_usd, names)

        reference = best_tier(train)
        progress.step(f"fitting {' + '.join(selection.members)}")
        blend, novelty = fit_blend(learned, selection, seed), Novelty.fit(learned, seed)
        answers = Answers.fit(learned)
        serving = Extractor(
            extractor.embedding, Lexicon(blend.lexicon) if blend.lexicon is not None else None
        )
        model: bytes = build_model(
            blend, answers, novelty, reference, serving.width, design.dimension
        ).SerializeToString(deterministic=True)
        scorer = Scorer(model, serving.width, len(ladder))
        rows = X if serving.lexicon is None else extract_rows(serving, outcomes.prompts, progress)
        scores = scorer.score(rows)
        usd = expected_cost(outcomes, answers.usd * scores.answer)
        outcomes = replace(outcomes, expected_cost_usd=usd)
        novel_above = threshold(learned, seed)
        path = DecisionPath.of(reference, usd[split.train, reference], novel_above)

        progress.step("certifying")
        held, said = outcomes.take(split.calibration), _take(scores, split.calibration)
        settings = path.settings(said)
        certificate = certify(held, said.p_pass, usd[split.calibration], **settings, seed=seed)
        certificate |= {"split": f"calibration part, by group ({split.method})", "date": _now()[:10]}
        if (shortage := explain_shortage(certificate)) is not None:
            unseen = [t for k, t in enumerate(ladder.names) if np.isnan(held.passed[:, k]).all()]
            why = f" (tier {', '.join(unseen)} on none of {len(held):,})" if unseen else ""
            progress.say(f"certificate: {shortage}{why}")
        decision = {
            **default_epsilon(certificate, out_of_fold, outcomes.take(split.train), path),
            "default_max_regret": DEFAULT_MAX_REGRET,
            "reference": ladder.names[reference],
            "dominated": reference < len(ladder) - 1,
            "unit_usd": path.unit_usd,
            "novelty_threshold": novel_above,
            "novelty_false_alarm": NOVELTY_FALSE_ALARM,
            "novelty_false_alarm_observed": float(settings["escalated"].mean()) if len(held) else None,
            "spend": spend(held, said.p_pass, usd[split.calibration], **settings),
        }

        if dominated := dominance_words(decision, ladder.names):
            progress.say(dominated)

        progress.step("measuring")
        length = FITTERS["length"](learned, seed)
        alone = sigmoid(length.margins(design.take(split.test)))
        said, at = _take(scores, split.test), decision["default_epsilon"]
        metrics = measure_parts(
            outcomes.take(split.test),
            reference,
            {
                "router": (said.p_pass, path.decide(said.p_pass, said, usd[split.test], at)),
                "length": (alone, path.decide(alone, None, usd[split.test], at)),
            },
            at,
            seed,
        )
        progress.say(render_metrics(metrics))

        progress.step("writing")
        deciding: dict[str, Any] = {
            "tiers": ladder.to_dict(),
            "features": serving.identity,
            "cost": {"usd_per_answer": answers.usd.tolist()},
            "decision": decision,
        }
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "name": name,
            "model_id": model_id_of(
                model,
                blend.lexicon,
                deciding,
                {key: certificate[key] for key in ("table", "quality", "slices")},
            ),
            "created": _now(),
            **deciding,
            "certificate": certificate,
            "model": {
                "members": list(selection.members),
                "weights": selection.weights,
                "candidates": judge(validation, train.passed, train.score, train.cost_usd),
                "seed": seed,
            },
            "metrics": metrics,
            "reference": describe_reference(
                X[split.train], out_of_fold, scores.novelty[split.train], ladder.names
            ),
            "data": {
                "files": describe_files(list(history)),
                "tiers": describe_files([tiers]),
                "summary": summary,
                "split": {
                    "method": split.method,
                    "seed": seed,
                    "calibration_share": CALIBRATION_SHARE,
                    "test_share": TEST_SHARE,
                    "learned_until": _newest(outcomes, ~split.test),
                    **parts,
                },
            },
            "versions": library_versions(),
            "git_commit": git_commit(),
        }
        golden = scorer.score(serving.extract_many(GOLDEN_PROMPTS)).p_pass
        document = write_artifact(
            out,
            model=model,
            embedding=folder,
            lexicon=blend.lexicon,
            golden=list(zip(GOLDEN_PROMPTS, golden, strict=True)),
            manifest=document,
            card=lambda written: render_card(written, notes_text),
        )
        progress.step(f"wrote {out}")
    return {
        "artefact": str(out),
        "model_id": document["model_id"],
        "members": document["model"]["members"],
        "decision": decision,
        "certificate": certificate,
        "metrics": metrics,
        "summary": summary,
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `python -m training fit`."""
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
        help="folder of the artefact; an older artefact there is replaced",
    )
    add("--seed", type=int, default=0, metavar="N", help="same seed, same model (default: %(default)s)")
    add(
        "--split",
        choices=("auto", *SPLIT_METHODS),
        default="auto",
        help="what judges: the history's own split, the newest prompts, or a hash of the group (default: the first of these that the history allows)",
    )
    add(
        "--embedding",
        type=Path,
        metavar="DIR",
        help="folder with an embedding (default: that of the default model)",
    )
    add("--name", default="tierwise", help="what the model card calls the model (default: %(default)s)")
    add(
        "--notes",
        type=Path,
        metavar="FILE",
        help="Markdown for the model card: what the model is good for, and what not",
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run `python -m training fit`; what is long stays in the manifest."""
    fitted = fit(
        options.history,
        options.tiers,
        options.out,
        seed=options.seed,
        split_method=options.split,
        embedding=options.embedding,
        name=options.name,
        notes=options.notes,
    )
    decision = {key: value for key, value in fitted["decision"].items() if key != "spend"}
    return fitted | {"certificate": abridge(fitted["certificate"]), "decision": decision}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _newest(outcomes: Outcomes, rows: NDArray[np.bool_]) -> str | None:
    """Return the newest timestamp of some rows, ISO 8601 in UTC; None where none of them has one."""
    stamps = np.empty(0, "datetime64[us]")
    if outcomes.timestamp is not None:
        # Cut off to microseconds, as an evaluation cuts the rows that it compares with this.
        stamps = outcomes.timestamp[rows].astype("datetime64[us]")
        stamps = stamps[~np.isnat(stamps)]
    return f"{stamps.max().item().isoformat()}+00:00" if len(stamps) else None


def _read_notes(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--notes {path}: cannot be read as UTF-8 text ({error}); check the path"
        ) from error


def _open_embedding(folder: Path | None) -> tuple[Path, Extractor]:
    try:
        folder = find_artifact(None) if folder is None else folder
        return folder, Extractor(StaticEmbedding.load(folder))
    except RouterError as error:
        raise ConfigError(
            f"no embedding: {error}. Name a folder with --embedding, or make one with `python -m training distil`"
        ) from error


def _require_enough(outcomes: Outcomes, split: Split) -> None:
    """Refuse a history from which nothing can be learned."""
    train = outcomes.take(split.train)
    one_group = "history: all prompts are of one group, so no part can judge another; give prompts groups of their own"
    if len(np.unique(outcomes.groups.astype(str))) < 2:
        raise ConfigError(one_group)
    n = len(train)
    if n < LEAST_PROMPTS:
        raise ConfigError(
            f"history: expected {LEAST_PROMPTS} prompts or more to learn from, found {n} "
            f"(of {len(outcomes)}; {int(split.calibration.sum())} certify and {int(split.test.sum())} judge); "
            "grade more prompts"
        )
    if len(np.unique(train.groups.astype(str))) < 2:
        raise ConfigError(one_group.replace("all prompts", "all prompts to learn from"))
    unseen = [t for k, t in enumerate(outcomes.ladder.names) if np.isnan(train.passed[:, k]).all()]
    if unseen:
        raise ConfigError(
            f"history: no outcome on tier {', '.join(unseen)} in the training part; grade prompts on it, or "
            "take it off the ladder"
        )


def _cross_validate(design: Design, names: tuple[str, ...], seed: int, progress: Progress) -> CrossValidation:
    with progress.bar(FOLDS * len(names), "fit") as bar:

        def tick(done: str) -> None:
            bar.set_description(done)
            bar.update()

        return cross_validate(design, seed, tick)


def _take(scores: Scores, rows: NDArray[np.bool_]) -> Scores:
    return Scores(*(column[rows] for column in scores))
