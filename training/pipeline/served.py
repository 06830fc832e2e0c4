"""The command `history`: who served when, and which versions there are. Changes nothing."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from router.columns import columns
from training.pipeline.champions import predecessor, read_journal, terms
from training.pipeline.config import add_place_arguments, read_place
from training.pipeline.promotion import holds, open_tracking
from training.pipeline.tracking import CHALLENGER, CHAMPION

__all__ = ["add_arguments", "run"]

_MOST = 80  # characters of a reason in the table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `python -m training history`."""
    add_place_arguments(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Read the journal, print it as a table on stderr, and return it."""
    place = read_place(args)
    tracking = open_tracking(place, may_create=False)
    champion, challenger = tracking.alias(CHAMPION), tracking.alias(CHALLENGER)
    journal = read_journal(tracking.model_tags())
    versions = tracking.versions()
    number = champion.version if champion else None
    served = terms(journal.events, number)
    current = None if champion is None else holds(place.champion_dir, champion)
    sys.stderr.write(
        _table(
            ("version", "from", "until", "how", "by", "reason"),
            [
                (
                    str(term.version),
                    _shown(term.since),
                    "now" if term is served[-1] and champion else _shown(term.until),
                    term.kind,
                    term.by,
                    _short(term.reason),
                )
                for term in served
            ],
        )
    )
    if champion is None:
        sys.stderr.write("history: there is no champion\n")
    if current is False:
        sys.stderr.write(
            f"history: {place.champion_dir} does not hold the champion; the next promote, rollback or retrain mends it\n"
        )
    for key in journal.unreadable:
        sys.stderr.write(
            f"history: the tag {key} of {place.model_name} is no entry of the journal; left out\n"
        )
    return {
        "champion": number,
        "challenger": challenger.version if challenger else None,
        "rollback_to": predecessor(journal.events, number),
        "champion_dir": str(place.champion_dir),
        "champion_dir_current": current,
        "terms": [term._asdict() for term in served],
        "versions": [
            {
                "version": version.version,
                "created": version.created,
                "run_id": version.run_id,
                "model_id": version.tags.get("tierwise.model_id"),
                "verdict": version.tags.get("tierwise.verdict"),
            }
            for version in versions
        ],
        "unreadable": journal.unreadable,
    }


def _short(reason: str) -> str:
    """Return a reason that fits a line of a terminal; the document has it whole."""
    return reason if len(reason) <= _MOST else f"{reason[: _MOST - 3]}..."


def _shown(at: str | None) -> str:
    return "?" if at is None else at[:16].replace("T", " ")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows in columns; what could drive a terminal is taken out, since tags are anyone's to write."""
    lines = [head, *([*map(_printable, row)] for row in rows)]
    widths = [max(columns(line[i]) for line in lines) for i in range(len(head))]
    return "".join(
        "  ".join(
            cell + " " * (width - columns(cell)) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        + "\n"
        for line in lines
    )


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
