"""The command `collect`: run prompts on every tier through OpenAI-compatible endpoints, within a budget.

`python -m training collect --prompts P --tiers T --out H`. Everything is checked before the first call is made; every call
is in the journal beside H before it is sent, and its answer before it counts, so the same command goes on after any
end and pays nothing twice. H is written when a run ends, whole or not at all.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval.progress import Progress
from eval.status import AGAIN, FINAL, Status
from router.errors import ConfigError, RouterError
from router.tiers import Ladder, read_tiers
from training.calls.batch import run_batches
from training.calls.endpoints import read_endpoints, read_keys
from training.calls.engine import UNSETTLED, run_calls
from training.calls.journal import Journal
from training.calls.outcome import EndpointClosed, Interrupted
from training.collect.bill import Bill, draw_up, render_bill, usd
from training.collect.choosing import Sample, draw_sample
from training.collect.existing import read_existing
from training.collect.history import find_reached, find_weights, write_history
from training.collect.plan import Plan
from training.collect.prompts import Prompts, read_prompts
from training.collect.sampling import METHODS
from training.collect.sinks import require_format

__all__ = ["add_arguments", "run"]

SHORT = 4
"""Exit code where the budget ends before the sample that was asked for."""
_STOPPED = {
    "budget": "asked {asked} until the budget was spent: {spent} of {budget}{possibly}, and the next one may cost {next}; the same "
    "command with a larger --budget-usd goes on",
    "in batch": "{calls.in_batch:,} calls are in batches that have not ended; go on with --batch, which waits for them",
    "no answers": "no call has an answer that can be graded: the dead letters beside the journal say why",
    "ended": "the provider left calls of a batch undone, and did not bill them; run the same command again",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    files = parser.add_argument_group("files")
    files.add_argument(
        "--prompts", type=Path, nargs="+", required=True, metavar="P",
        help=".jsonl, .parquet or .csv with prompt_id, and prompt or messages; a history serves, too",
    )  # fmt: skip
    files.add_argument("--tiers", type=Path, required=True, metavar="T", help="the ladder: models and prices")
    files.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="H",
        help="the history, .parquet, .jsonl or .csv; its journal is in H.collect/",
    )
    files.add_argument(
        "--endpoints",
        type=Path,
        metavar="E",
        help="TOML: per tier address, key variable, limits and parameters",
    )
    files.add_argument(
        "--base-url", metavar="U", help="address of every tier, such as http://127.0.0.1:8000/v1"
    )
    files.add_argument(
        "--keep-answers",
        action="store_true",
        help="what P has answers of is not asked again: its rows are kept, also of prompts that are not sampled",
    )
    money = parser.add_argument_group("money")
    money.add_argument(
        "--dry-run", action="store_true", help="print the expected bill by tier; calls nothing, needs no keys"
    )
    money.add_argument(
        "--budget-usd",
        type=_amount,
        metavar="B",
        help="the most that all runs into this history may cost together",
    )
    money.add_argument(
        "--batch", action="store_true", help="through the Batch API, at half price and within a day"
    )
    money.add_argument(
        "--max-output-tokens",
        type=_count,
        metavar="N",
        help="the longest answer of every tier (default: the endpoints file's, else 1024)",
    )
    sampling = parser.add_argument_group("sampling")
    sampling.add_argument(
        "--sample", type=_count, metavar="N", help="ask so many of the prompts, with weights"
    )
    sampling.add_argument(
        "--sampling", choices=METHODS, default="stratified",
        help="how they are drawn where not all are asked, which a budget decides, too: by task and length, the unlike first, or as they come (default: %(default)s)",
    )  # fmt: skip
    sampling.add_argument("--seed", type=_seed, default=0, metavar="N", help="of the sample (default: 0)")
    running = parser.add_argument_group("running")
    running.add_argument(
        "--concurrency", type=_count, default=16, metavar="N", help="calls at a time (default: 16)"
    )
    running.add_argument(
        "--unsettled", choices=UNSETTLED, default="retry",
        help="calls that a killed run had sent: send again under the same Idempotency-Key, which providers that honour it bill "
        "once (retry), or leave, counted at their most (skip) (default: %(default)s)",
    )  # fmt: skip
    running.add_argument(
        "--retry",
        nargs="+",
        choices=sorted(FINAL),
        default=[],
        metavar="STATUS",
        help=f"ask these again: {', '.join(sorted(FINAL))}",
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Collect, and return the summary.

    Raises
    ------
    ConfigError
        A file or flag is wrong; nothing was called.
    RouterError
        The disk is full, or the journal is damaged or held by another run.
    KeyboardInterrupt
        The user stopped it; what was answered is kept.
    """
    progress = Progress()
    folder = options.out.with_name(f"{options.out.name}.collect")
    _check_out(options)
    ladder = read_tiers(options.tiers)
    endpoints = read_endpoints(options.endpoints, ladder, base_url=options.base_url)
    if options.max_output_tokens is not None:
        endpoints = {
            name: replace(each, max_output_tokens=options.max_output_tokens)
            for name, each in endpoints.items()
        }
    if not options.dry_run:
        read_keys(endpoints)
    prompts = read_prompts(options.prompts, _kept_models(ladder) if options.keep_answers else {})
    if options.keep_answers and not prompts.kept:
        raise ConfigError(
            f"--keep-answers: expected answers of the ladder's models ({', '.join(_kept_models(ladder))}) in the columns model and "
            "response of --prompts, found none; correct the tiers file, or leave the flag out"
        )
    _tell_prompts(prompts, progress)
    plan = Plan(prompts, endpoints)
    # For its checks alone: it is read again when it is written, and held in memory no longer than that.
    read_existing(options.out, plan, journal=folder.is_dir())
    with _open_journal(folder, dry_run=options.dry_run) as journal:
        bill = draw_up(plan, journal, retry=_retry(options), batch=options.batch)
        sample = _draw(plan, options)
        covered = _covered(plan, sample, bill, journal, options.budget_usd)
        summary = _describe(plan, sample, covered, bill, options)
        _tell_bill(summary, sample, covered, bill, options, progress)
        if options.dry_run:
            return {"dry_run": True, "history": str(options.out), **summary}
        return _collect(plan, sample, journal, folder, summary["calls"], options, progress)


def _collect(
    plan: Plan,
    sample: Sample,
    journal: Journal,
    folder: Path,
    total: int,
    options: argparse.Namespace,
    progress: Progress,
) -> dict[str, Any]:
    """Make the calls, and write the history whatever ended them."""
    ended: Interrupted | EndpointClosed | None = None
    try:
        calls = (run_batches if options.batch else run_calls)(
            plan.units(sample.sequence.tolist()),
            plan.endpoints,
            journal,
            budget_usd=options.budget_usd,
            concurrency=options.concurrency,
            progress=progress,
            total=total,
            unsettled=options.unsettled,
            retry=_retry(options),
            command=shlex.join(["python", "-m", "training", *sys.argv[1:]]),
        )
    except (Interrupted, EndpointClosed) as stop:
        calls, ended = stop.summary, stop
    progress.step(f"writing {options.out}")
    reached = find_reached(plan, sample, journal)
    weights = find_weights(plan, sample, reached)
    existing = read_existing(options.out, plan, journal=True)
    tally = write_history(options.out, folder, plan, reached, weights, existing, journal)
    progress.say(
        f"{tally.prompts:,} prompts, {tally.rows:,} rows, {tally.dead_letters:,} dead letters; {usd(journal.spent_usd)} spent"
    )
    if isinstance(ended, Interrupted):
        raise ended
    if ended is not None:
        progress.say(f"error: {ended}")
    again = sum(
        n for tier in tally.tiers.values() for status, n in tier.by_status.items() if Status(status) in AGAIN
    )
    if again:
        progress.say(f"{again:,} calls were not answered and cost nothing; the same command tries them again")
    stopped = calls.stopped or ("in batch" if calls.in_batch else None)
    graded = tally.kept_answers + sum(tier.answered for tier in tally.tiers.values())
    if stopped in (None, "budget") and tally.rows > tally.kept_rows and not graded:
        stopped = "no answers"
    if stopped in _STOPPED:
        drawn = {"first": "the first ones"}.get(sample.method, f"a {sample.method} sample")
        progress.say(
            _STOPPED[stopped].format(
                calls=calls,
                asked=f"{len(reached):,} of {sample.size:,} prompts, {drawn},",
                spent=usd(journal.spent_usd),
                budget=usd(options.budget_usd or 0.0),
                possibly=f", {usd(journal.possibly_usd)} set aside for what may have been billed without an answer"
                if journal.possibly_usd
                else "",
                next=usd(calls.next_usd),
            )
        )
    short = stopped == "budget" and options.sample is not None and len(reached) < sample.size
    return {
        "history": str(options.out) if tally.rows else None,
        "journal": str(folder),
        "prompts": tally.prompts,
        "rows": tally.rows,
        "kept_rows": tally.kept_rows,
        "kept_answers": tally.kept_answers,
        "calls": {"made": calls.made, "by_status": calls.by_status, "seconds": round(calls.seconds, 3)},
        "resumed": calls.resumed,
        "resent": calls.resent,
        "unsettled": calls.unsettled,
        "in_batch": calls.in_batch,
        "tiers": {name: tier.to_dict() for name, tier in tally.tiers.items()},
        "dead_letters": tally.dead_letters,
        "spent_usd": journal.spent_usd,
        "possibly_usd": journal.possibly_usd,
        "budget_usd": options.budget_usd,
        "stopped": stopped,
        "sampling": _describe_sample(sample, len(reached), plan, options),
        "left_out": plan.prompts.left_out,
        "repeats": plan.prompts.repeats,
        "exit_code": SHORT if short else 0 if stopped in (None, "budget") else RouterError.exit_code,
    }


def _draw(plan: Plan, options: argparse.Namespace) -> Sample:
    sampled = options.sample is not None or options.budget_usd is not None
    return draw_sample(plan.prompts, options.sampling if sampled else "first", options.seed, options.sample)


def _covered(plan: Plan, sample: Sample, bill: Bill, journal: Journal, budget_usd: float | None) -> int:
    """Return how many prompts of the sample are expected to be asked.

    Raises
    ------
    ConfigError
        None, and none was.
    """
    if budget_usd is None:
        return sample.size
    covered = bill.covered(sample.sequence, budget_usd)
    if covered < 1 and not len(find_reached(plan, sample, journal)):
        spent = journal.spent_usd + journal.possibly_usd
        raise ConfigError(
            f"--budget-usd {budget_usd:g}: expected enough for one prompt on every tier, which may cost "
            f"{usd(float(bill.most[sample.sequence[0]].sum()))}{f', beside {usd(spent)} that are spent' if spent else ''}; raise it, "
            "or lower --max-output-tokens"
        )
    return covered


def _describe(
    plan: Plan, sample: Sample, covered: int, bill: Bill, options: argparse.Namespace
) -> dict[str, Any]:
    return {
        "prompts": covered,
        **bill.to_dict(sample.sequence[:covered]),
        "kept_answers": len(plan.prompts.kept),
        "spent_usd": bill.other_usd + float(bill.paid.sum()),
        "budget_usd": options.budget_usd,
        "batch": options.batch,
        "sampling": _describe_sample(sample, covered, plan, options),
        "all_prompts": {k: v for k, v in bill.to_dict(sample.order.sequence).items() if k != "tiers"},
        "left_out": plan.prompts.left_out,
        "repeats": plan.prompts.repeats,
    }


def _describe_sample(
    sample: Sample, taken: int, plan: Plan, options: argparse.Namespace
) -> dict[str, Any] | None:
    of = len(plan.prompts)
    if taken == of:
        return None
    return {"method": sample.method, "seed": options.seed, "taken": taken, "wanted": sample.size, "of": of}


def _tell_prompts(prompts: Prompts, progress: Progress) -> None:
    for reason, n in prompts.left_out.items():
        progress.say(f"{n:,} prompts are left out: {reason}")
    if prompts.repeats:
        progress.say(
            f"{prompts.repeats:,} of {len(prompts):,} prompts are exact repeats of others and cost as much; "
            "`python -m training import` groups or drops them"
        )
    if prompts.kept:
        progress.say(f"{len(prompts.kept):,} answers are kept and not asked again")
    for sentence, n in prompts.said.items():
        if n:
            progress.say(f"{n:,} {sentence}")


def _tell_bill(
    summary: dict[str, Any],
    sample: Sample,
    covered: int,
    bill: Bill,
    options: argparse.Namespace,
    progress: Progress,
) -> None:
    if bill.other_usd:
        progress.say(
            f"the journal has calls for {usd(bill.other_usd)} beside these, of other prompts, tiers or parameters; a budget counts them, too"
        )
    if covered < sample.size:
        wanted = bill.to_dict(sample.sequence)
        progress.say(
            f"{sample.size:,} prompts are expected to cost "
            f"{usd(bill.other_usd + wanted['paid_usd'] + wanted['expected_usd'])}, and the budget is "
            f"{usd(options.budget_usd)}: about {covered:,} of them are asked ({sample.method})"
        )
    progress.say(render_bill(summary))


def _check_out(options: argparse.Namespace) -> None:
    require_format(options.out)
    for path in options.prompts:
        if path.exists() and options.out.exists() and path.samefile(options.out):
            raise ConfigError(
                f"--out {options.out}: expected a file of its own, found the prompts; name another file"
            )


@contextmanager
def _open_journal(folder: Path, *, dry_run: bool) -> Iterator[Journal]:
    """Open the journal; a dry run that finds none leaves none behind."""
    if dry_run and not folder.is_dir():
        with tempfile.TemporaryDirectory() as nowhere, Journal.open(Path(nowhere), flag="--out") as journal:
            yield journal
    else:
        with Journal.open(folder, flag="--out") as journal:
            yield journal


def _kept_models(ladder: Ladder) -> dict[str, str]:
    """Return the tier of each model of a ladder."""
    return {model: tier.name for tier in ladder.tiers for model in tier.models}


def _retry(options: argparse.Namespace) -> frozenset[Status]:
    return frozenset(map(Status, options.retry))


def _count(text: str) -> int:
    return int(_number(text, least=1.0, expected="a whole number of 1 or more", whole=True))


def _seed(text: str) -> int:
    return int(_number(text, least=0.0, expected="a whole number of 0 or more", whole=True))


def _amount(text: str) -> float:
    return _number(text, least=sys.float_info.min, expected="an amount in USD above 0", whole=False)


def _number(text: str, *, least: float, expected: str, whole: bool) -> float:
    try:
        number = float(int(text) if whole else text)
    except ValueError:
        number = math.nan
    if not least <= number < math.inf:
        raise argparse.ArgumentTypeError(f"expected {expected}, found {text!r:.40}")
    return number
