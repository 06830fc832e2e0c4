"""The command `rollback`: make the previous champion the champion again."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from training.pipeline.config import add_place_arguments, read_place
from training.pipeline.promotion import hold_registry, rollback

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `python -m training rollback`."""
    parser.add_argument("--reason", default="", metavar="TEXT", help="kept in the journal")
    add_place_arguments(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Roll back as the command says and return what came of it."""
    place = read_place(args)
    with hold_registry(place) as tracking:
        result = rollback(tracking, place, args.reason)
    skipped = "".join(f"; version {number} was deleted" for number in result["skipped"])
    before = f"; before, it was version {result['previous']}" if result["previous"] else ""
    sys.stderr.write(
        f"rollback: version {result['champion']} is the champion again{before}{skipped}; its folder: {result['champion_dir']}\n"
    )
    if result["note"]:
        sys.stderr.write(f"note: {result['note']}\n")
    return result
