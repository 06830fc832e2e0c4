"""From a history to an artefact.

The path, in order: read, tabulate, split, extract, cross-validate, select, fit, calibrate, certify, measure,
export, write. Each step is a function elsewhere; this module only calls them in turn, and reads and
writes at both ends.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from eval.certify import abridge
from eval.history import read_history
from eval.metrics import render_metrics
from eval.progress import Progress
from eval.rows import extract_rows
from eval.split import SPLIT_METHODS
from router import ConfigError, RouterError
from router.artifact import find_artifact
from router.embedding import StaticEmbedding
from router.extractor import Extractor
from router.manifest import SCHEMA
from training.card import render_card
from training.golden import GOLDEN_PROMPTS
from training.learning import Learned, learn
from training.material import Material, prepare, read_ladder
from training.package import check_target, model_id_of, write_artifact
from training.promised import Promises, Scored, measure_test, promise, score, take
from training.provenance import describe_files, git_commit, library_versions
from training.reference import describe_held, describe_reference

__all__ = ["add_arguments", "export", "fit", "open_embedding", "require_seed", "run"]


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
    require_seed(seed)
    check_target(out)
    ladder = read_ladder(tiers)
    notes_text = _read_notes(notes)
    folder, extractor = open_embedding(embedding)
    progress = Progress()
    # One thread: linear algebra on several adds up in another order each time, and is no faster at this size.
    with threadpool_limits(1):
        progress.step("reading")
        material = prepare(read_history(list(history)), ladder, seed, split_method, progress)
        progress.step(f"extracting features of {len(material.outcomes):,} prompts")
        X = extract_rows(extractor, material.outcomes.prompts, progress)
        learned = learn(material, X, extractor, progress)
        scored = score(material, learned, X, extractor, progress)
        progress.step("certifying")
        promises = promise(material, learned, scored, progress)
        progress.step("measuring")
        metrics = measure_test(material, learned, scored, promises.decision["default_epsilon"])
        progress.say(render_metrics(metrics))
        progress.step("writing")
        document = export(
            out,
            material,
            learned,
            scored,
            promises,
            metrics,
            X,
            embedding=folder,
            name=name,
            notes=notes_text,
            files=describe_files(list(history)),
            tiers=describe_files([tiers]),
        )
        progress.step(f"wrote {out}")
    return {
        "artefact": str(out),
        "model_id": document["model_id"],
        "members": document["model"]["members"],
        "decision": document["decision"],
        "certificate": document["certificate"],
        "metrics": metrics,
        "summary": document["data"]["summary"],
    }


def export(
    out: Path,
    material: Material,
    learned: Learned,
    scored: Scored,
    promises: Promises,
    metrics: dict[str, Any],
    X: NDArray[np.float32],
    *,
    embedding: Path,
    name: str,
    notes: str,
    files: list[dict[str, Any]],
    tiers: list[dict[str, Any]],
) -> dict[str, Any]:
    """Write the artefact and return its manifest.

    Parameters
    ----------
    X : float32 (n, width)
        Features of the material's prompts, without a lexicon.
    embedding : path
        Folder whose embedding was used.
    name, notes : str
        For the model card.
    files, tiers : list of dict
        The history and the ladder as `training.provenance.describe_files` gives them.

    Raises
    ------
    ConfigError
        The folder cannot be written; what was there stays.
    """
    ladder, train = material.outcomes.ladder, material.split.train
    deciding: dict[str, Any] = {
        "tiers": ladder.to_dict(),
        "features": scored.extractor.identity,
        "cost": {"usd_per_answer": learned.answer_usd.tolist()},
        "decision": promises.decision,
    }
    certificate = promises.certificate
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "name": name,
        "model_id": model_id_of(
            learned.graph,
            learned.lexicon,
            deciding,
            {key: certificate[key] for key in ("table", "quality", "slices")},
        ),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **deciding,
        "certificate": certificate,
        "model": {
            "members": list(learned.members),
            "weights": learned.weights,
            "candidates": learned.candidates,
            "seed": material.seed,
        },
        "metrics": metrics,
        "reference": {
            **describe_reference(
                X[train],
                learned.out_of_fold,
                scored.scores.novelty[train],
                ladder.names,
                material.outcomes.groups[train],
            ),
            "held": describe_held(
                scored.outcomes.take(~train), take(scored.scores, ~train), learned.novel_above
            ),
        },
        "data": {
            "files": files,
            "tiers": tiers,
            "summary": material.summary(),
            "split": material.describe_split(),
        },
        "versions": library_versions(),
        "git_commit": git_commit(),
    }
    golden = scored.scorer.score(scored.extractor.extract_many(GOLDEN_PROMPTS)).p_pass
    return write_artifact(
        out,
        model=learned.graph,
        embedding=embedding,
        lexicon=learned.lexicon,
        golden=list(zip(GOLDEN_PROMPTS, golden, strict=True)),
        manifest=document,
        card=lambda written: render_card(written, notes),
    )


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


def require_seed(seed: int) -> None:
    """Refuse a seed that numpy's old generator, which scikit-learn uses, does not take."""
    if not 0 <= seed < 2**32:
        raise ConfigError(f"--seed is 0 to {2**32 - 1}; found {seed}")


def _read_notes(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--notes {path}: cannot be read as UTF-8 text ({error}); check the path"
        ) from error


def open_embedding(folder: Path | None) -> tuple[Path, Extractor]:
    """Return the folder of an embedding, by default that of the default artefact, and its extractor.

    Raises
    ------
    ConfigError
        There is none.
    """
    try:
        folder = find_artifact(None) if folder is None else folder
        return folder, Extractor(StaticEmbedding.load(folder))
    except RouterError as error:
        raise ConfigError(
            f"no embedding: {error}. Name a folder with --embedding, or make one with `python -m training distil`"
        ) from error
