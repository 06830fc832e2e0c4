"""The command `import`: from a log, as a tool exports it, to prompts and their answers, ready to be graded.

Out comes a history without scores: `collect` takes it as prompts, `grade` as what was answered. Records that are damaged
are counted; personal data is taken out before anything is written, where that is asked for.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from eval.progress import Progress
from router.errors import ConfigError
from training.imports.formats import FORMATS, check_format, read_log
from training.imports.gathering import Gathered
from training.imports.grouping import KINDS, LARGE, Groups, check_kinds, group
from training.imports.redaction import Redactor
from training.imports.tally import Tally
from training.imports.writing import COLUMNS, check_out, write_history

__all__ = ["add_arguments", "run"]

_OPTIONAL = ("task", "session", "user", "propensity")  # columns that are left out where no row has a value
_TOLD = ("input_tokens", "output_tokens", "cost_usd", "latency_ms", "timestamp", *_OPTIONAL, "score")
_MOST_MODELS = 50
_SAID_EVERY = 50_000  # calls
_FEW = 100  # prompts; of fewer, any group is a large share


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m training import`."""
    about = "; ".join(f"{name}: {form.about}" for name, form in FORMATS.items())
    parser.add_argument("--format", required=True, choices=list(FORMATS), help=about)
    parser.add_argument(
        "--logs", required=True, nargs="+", type=Path, metavar="L", help="files, packed with gzip or not"
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="P", help="a .parquet, .jsonl or .csv file"
    )
    parser.add_argument(
        "--dedup",
        choices=("exact", "none"),
        default="exact",
        help="exact keeps one call of each prompt and model and counts the others (default exact)",
    )
    parser.add_argument(
        "--near-duplicates",
        type=_threshold,
        default=0.8,
        metavar="J",
        help="similarity from which two prompts are grouped as near-duplicates, or off (default 0.8)",
    )
    parser.add_argument(
        "--group",
        nargs="+",
        choices=KINDS,
        default=["auto"],
        help="what keeps prompts together in a split; several are united (default auto: session, else user, and near-duplicates)",
    )
    parser.add_argument(
        "--redact",
        nargs="+",
        default=[],
        metavar="HOOK",
        help="builtin, for what has a form such as mail addresses and cards, and module:function from text to text, in this order",
    )
    parser.add_argument(
        "--keep-users", action="store_true", help="write sessions and users as they are, not hashed"
    )
    parser.add_argument(
        "--max-bad",
        type=_share,
        default=0.05,
        metavar="SHARE",
        help="share of damaged records from which the log is refused (default 0.05)",
    )
    parser.add_argument("--score", metavar="NAME", help="a score in a Langfuse export that becomes the score")


def _threshold(text: str) -> float | None:
    if text == "off":
        return None
    value = _share(text)
    if value < 0.3:
        raise argparse.ArgumentTypeError(f"expected off or a similarity from 0.3 to 1, found {text}")
    return value


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, found {text}")
    return value


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Import the logs and return what was read and written, ready for JSON.

    Raises
    ------
    ConfigError
        A log cannot be read, is of another format, or is damaged in too many places; or an option is wrong.
    RouterError
        A hook fails, or the disk is full.
    """
    progress = Progress()
    kinds = check_kinds(args.group, args.near_duplicates)
    check_out(args.out, args.logs)
    if len({log.resolve() for log in args.logs}) < len(args.logs):
        raise ConfigError("--logs: expected each file once, found one twice; name it once")
    redactor = Redactor(args.redact)
    check_format(args.format, args.logs)
    tally = Tally()
    near = args.near_duplicates is not None and bool({"auto", "near-duplicate"} & set(kinds))
    spool = args.out.with_name(f".{args.out.name}.{os.getpid()}.rows")
    gathered = _gather(spool, args, near=near)
    with closing(gathered):
        progress.step(f"reading {len(args.logs)} {args.format} {'log' if len(args.logs) == 1 else 'logs'}")
        with progress.bar(0, "calls") as bar:
            for call in read_log(args.format, args.logs, tally, args.score):
                gathered.add(redactor.redact(call))
                bar.update()
                if tally.read % _SAID_EVERY == 0:
                    progress.step(f"{tally.read:,} calls read")
        tally.check(args.max_bad)
        progress.step(f"grouping {gathered.n_prompts:,} prompts")
        groups = group(gathered, kinds, args.near_duplicates if near else None, progress)
        progress.step(f"writing {args.out}")
        counts: dict[str, Counter[str]] = {"status": Counter(), "model": Counter(), "filled": Counter()}
        columns = [
            name
            for name in COLUMNS
            if (name != "group" or groups.names is not None)
            and (name not in _OPTIONAL or gathered.filled[name])
        ]
        rows = write_history(args.out, columns, _rows(gathered, groups, counts))
    summary = {
        "history": str(args.out),
        "format": args.format,
        "logs": [str(log) for log in args.logs],
        **tally.to_dict(),
        "prompts": gathered.n_prompts,
        "rows": rows,
        "repeats": gathered.n_repeats,
        "by_status": dict(sorted(counts["status"].items())),
        "by_model": dict(counts["model"].most_common(_MOST_MODELS)),
        "filled": {name: counts["filled"][name] for name in _TOLD},
        "grouping": groups.to_dict() if groups.names is not None else None,
        "redacted": dict(sorted(redactor.found.items())) if args.redact else None,
    }
    _tell(progress, summary, tally, groups)
    return summary


def _gather(spool: Path, args: argparse.Namespace, *, near: bool) -> Gathered:
    try:
        return Gathered(spool, exact=args.dedup == "exact", near=near, keep_users=args.keep_users)
    except OSError as error:
        raise ConfigError(f"--out {args.out}: {error.strerror}; choose another folder") from None


def _rows(gathered: Gathered, groups: Groups, counts: dict[str, Counter[str]]) -> Iterator[dict[str, Any]]:
    for cells in gathered.rows():
        number = cells.pop("number")
        if groups.names is not None:
            cells["group"] = groups.names[number]
        counts["status"][cells["status"] or "no answer logged"] += 1
        counts["model"][cells["model"]] += 1
        counts["filled"].update(name for name in _TOLD if cells[name] is not None)
        yield cells


def _tell(progress: Progress, summary: dict[str, Any], tally: Tally, groups: Groups) -> None:
    told = f"{summary['rows']:,} rows; prompts: {summary['prompts']:,}; models: {len(summary['by_model'])}"
    progress.say(f"{told}; calls that repeat the prompt and the model of another: {summary['repeats']:,}")
    for word, counts in (("damaged", tally.bad), ("left out", tally.left_out)):
        for reason, (count, place) in sorted(counts.items()):
            progress.say(f"{word}: {count:,} x {reason} (first: {place})")
    for place in tally.cut_off:
        progress.say(
            f"{place}: the file ends within this record, as one does that is still written; it was not read"
        )
    if tally.cut_answers:
        progress.say(f"{tally.cut_answers:,} answers were cut by what logged them, and cannot be graded")
    if groups.largest_share > LARGE and summary["prompts"] >= _FEW:
        progress.say(
            f"warning: one group holds {groups.largest_share:.0%} of the prompts (by {', '.join(groups.by)}), so splits cannot "
            "have the sizes asked for; group by less, or raise --near-duplicates"
        )
    if summary["redacted"] is None:
        progress.say(
            "nothing was redacted: --redact builtin takes out mail addresses, cards, keys and the like"
        )
