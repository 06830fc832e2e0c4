"""`python -m eval labels`: what a history's labels are worth, how they were made, and what more would buy.

The rule: reads a history, tiers and perhaps people's grades; writes, where a folder is named, one HTML page, the same as
Markdown, and the document as JSON. Says the report on stderr and its figures as the last line of stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eval.history import read_history
from eval.labels_document import describe_labels
from eval.labels_human import with_human
from eval.labels_markdown import render_labels_markdown
from eval.labels_page import render_labels_html
from eval.labels_rows import read_labels
from eval.labels_text import render_labels_text
from eval.labels_words import WORDS
from eval.progress import Progress
from eval.report import write_aside
from router import ConfigError
from router.tiers import read_tiers

__all__ = ["FILES", "add_arguments", "run", "write_labels"]

FILES = ("labels.html", "labels.md", "labels.json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `python -m eval labels`."""
    add = parser.add_argument
    add(
        "--history",
        required=True,
        nargs="+",
        type=Path,
        metavar="FILE",
        help="Parquet, JSONL or CSV with scores; several files are one history",
    )
    add("--tiers", required=True, type=Path, metavar="FILE", help="TOML, cheapest tier first")
    add(
        "--out", type=Path, metavar="DIR", help=f"folder for {', '.join(FILES)} (default: the terminal alone)"
    )
    add(
        "--slices",
        nargs="*",
        metavar="NAME",
        help="tags, columns, length or script to slice by (default: task, feature and length); none named: no slices",
    )
    add(
        "--human",
        type=Path,
        metavar="FILE",
        help="people's grades to compare with: prompt_id, model, passed or score",
    )
    add("--seed", type=int, default=0, metavar="N", help="same seed, same report (default: %(default)s)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run `python -m eval labels`."""
    _check(options)
    progress = Progress()
    progress.step("reading")
    ladder = read_tiers(options.tiers)
    labels = read_labels(read_history(options.history), ladder)
    if options.human is not None:
        labels = with_human(labels, options.human)
    progress.step(f"measuring {int(labels.labelled.sum()):,} labels")
    document = {
        "title": ", ".join(path.name for path in options.history),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": _command(options),
        **describe_labels(labels, options.slices, options.seed),
    }
    files: list[str] = []
    if options.out is not None:
        progress.step("writing")
        files = write_labels(document, options.out)
    progress.say("\n" + render_labels_text(document))
    inversions, more = document["inversions"], document["more"]
    return {
        "word": WORDS[document["word"]],
        "headline": document["headline"],
        "prompts": document["counts"]["prompts_with_label"],
        "labels": document["counts"]["labels"],
        "ungraded": document["counts"]["ungraded"],
        "rates": {tier["tier"]: _bounds(tier["rate"]) for tier in document["rates"]["all"]["tiers"]},
        "suspects": [
            {key: each[key] for key in ("kind", "about", "count", "of", "unit")}
            for each in document["suspects"]
        ],
        "cheap_passes_dear_fails": _bounds(inversions["share"]),
        "noise": None
        if document["noise"] is None
        else {key: document["noise"][key] for key in ("mean", "added")},
        "usd": document["usd"]["total_usd"],
        "more": [
            {key: step[key] for key in ("groups", "more_prompts", "usd", "zero")} for step in more["steps"]
        ],
        "report": None if options.out is None else str(options.out / FILES[0]),
        "files": files,
    }


def write_labels(document: dict[str, Any], out: Path) -> list[str]:
    """Write the three forms of a label report into a folder, all aside and then renamed; return their names.

    Raises
    ------
    ConfigError
        The folder cannot be written.
    """
    texts = (
        render_labels_html(document),
        render_labels_markdown(document),
        json.dumps(document, indent=1, allow_nan=False) + "\n",
    )
    try:
        write_aside({out / name: text for name, text in zip(FILES, texts, strict=True)})
    except OSError as error:
        raise ConfigError(
            f"--out {out}: cannot be written ({error.strerror}); make room or name another folder"
        ) from error
    return list(FILES)


def _bounds(share: dict[str, Any]) -> dict[str, Any]:
    return {key: share[key] for key in ("value", "low", "high")}


def _check(options: argparse.Namespace) -> None:
    if not 0 <= options.seed < 2**32:
        raise ConfigError(f"--seed is 0 to {2**32 - 1}; found {options.seed}")
    if options.out is None:
        return
    # Before any work is done; the folder itself is made at the end, so that nothing is left of a run that failed.
    existing = next(path for path in (options.out, *options.out.parents) if os.access(path, os.F_OK))
    if not existing.is_dir():
        raise ConfigError(f"--out {options.out}: {existing} is a file; name a folder")
    if not os.access(existing, os.W_OK):
        raise ConfigError(f"--out {options.out}: {existing} is not writable; name another folder")


def _command(options: argparse.Namespace) -> str:
    """Return the command as it could be typed again; what is at its default is left out."""
    parts = [
        "python",
        "-m",
        "eval",
        "labels",
        "--history",
        *map(str, options.history),
        "--tiers",
        str(options.tiers),
    ]
    parts += ["--out", str(options.out)] if options.out is not None else []
    parts += ["--slices", *options.slices] if options.slices is not None else []
    parts += ["--human", str(options.human)] if options.human is not None else []
    parts += ["--seed", str(options.seed)] if options.seed else []
    return shlex.join(parts)
