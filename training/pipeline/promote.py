"""The command `promote`: make a version the champion."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from training.pipeline.config import add_place_arguments, read_place
from training.pipeline.promotion import hold_registry, promote

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `python -m training promote`."""
    parser.add_argument("version", type=int, metavar="VERSION", help="number of a registered version")
    parser.add_argument("--reason", default="", metavar="TEXT", help="kept in the journal")
    add_place_arguments(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Promote as the command says and return what came of it."""
    place = read_place(args)
    with hold_registry(place) as tracking:
        result = promote(tracking, place, args.version, args.reason)
    number, folder = result["champion"], f"its folder: {result['champion_dir']}"
    if result["changed"]:
        sys.stderr.write(f"promote: version {number} is the champion now{_before(result)}; {folder}\n")
    elif result["published"]:
        sys.stderr.write(f"promote: version {number} is the champion already; put in {folder}\n")
    else:
        sys.stderr.write(f"promote: version {number} is the champion already; nothing to do\n")
    if result["note"]:
        sys.stderr.write(f"note: {result['note']}\n")
    return result


def _before(result: dict[str, Any]) -> str:
    return f"; before, it was version {result['previous']}" if result["previous"] else ""
