"""The training commands: `python -m training COMMAND`.

Every command ends with one JSON document as the last line on stdout; progress and errors go to stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from router import RouterError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 failure, 2 usage, 3 input refused, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser(
        "fit", help="from a history to an artefact", description="Fit, certify, measure and write a router."
    )
    command.add_argument(
        "--history",
        required=True,
        nargs="+",
        type=Path,
        metavar="FILE",
        help="Parquet, JSONL or CSV; several files are one history",
    )
    command.add_argument(
        "--tiers", required=True, type=Path, metavar="FILE", help="TOML, cheapest tier first"
    )
    command.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="DIR",
        help="folder of the artefact; an older artefact there is replaced",
    )
    command.add_argument("--seed", type=int, default=0, help="same seed, same model (default: %(default)s)")
    command.add_argument(
        "--split",
        choices=("auto", "given", "time", "group"),
        default="auto",
        help="what judges: the history's own split, the newest prompts, or a hash of the group (default: the first of these that the history allows)",
    )
    command.add_argument(
        "--embedding",
        type=Path,
        metavar="DIR",
        help="folder with an embedding (default: that of the default model)",
    )
    command.add_argument(
        "--name", default="tierwise", help="what the model card calls the model (default: %(default)s)"
    )
    command.add_argument(
        "--notes",
        type=Path,
        metavar="FILE",
        help="Markdown for the model card: what the model is good for, and what not",
    )
    command.set_defaults(run=_fit)

    command = commands.add_parser("distil", help="from a sentence encoder to the static embedding")
    _distil_arguments(command)
    command = commands.add_parser("synthetic", help="write a synthetic history to try things on")
    _synthetic_arguments(command)

    options = parser.parse_args(arguments)
    try:
        result: dict[str, Any] = options.run(options)
    except RouterError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; nothing was replaced", file=sys.stderr)  # noqa: T201
        return 130
    print(json.dumps(result))  # noqa: T201
    return 0


def _fit(options: argparse.Namespace) -> dict[str, Any]:
    from training.fit import fit

    return fit(
        options.history,
        options.tiers,
        options.out,
        seed=options.seed,
        split_method=options.split,
        embedding=options.embedding,
        name=options.name,
        notes=options.notes,
    )


def _distil_arguments(parser: argparse.ArgumentParser) -> None:
    from training import distil

    distil.add_arguments(parser)
    parser.set_defaults(run=distil.run)


def _synthetic_arguments(parser: argparse.ArgumentParser) -> None:
    from training import synthetic

    synthetic.add_arguments(parser)
    parser.set_defaults(run=synthetic.run)


if __name__ == "__main__":
    sys.exit(main())
