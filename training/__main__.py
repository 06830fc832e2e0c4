"""The training commands: `python -m training COMMAND`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from eval.command import Command, run_command

__all__ = ["COMMANDS", "main"]

COMMANDS: dict[str, Command] = {
    "import": (
        "training.imports.command",
        "label",
        "from a log as tools export it to prompts and their answers",
    ),
    "collect": ("training.collect.command", "label", "run prompts on every tier, within a budget"),
    "grade": ("training.grade.command", "label", "from answers to graded outcomes"),
    "fit": ("training.fit", "train", "from a history to an artefact"),
    "retrain": (
        "training.pipeline.retrain",
        "train",
        "retrain, compare with the champion, promote what is better",
    ),
    "promote": ("training.pipeline.promote", "train", "make a registered version the champion"),
    "rollback": ("training.pipeline.rollback", "train", "make the previous champion the champion again"),
    "history": ("training.pipeline.served", "train", "say who served when"),
    "distil": ("training.distil", "embed", "from a sentence encoder to the static embedding"),
    "prices": ("training.prices", "prices", "fill in a ladder's prices from the package genai-prices"),
    "synthetic": ("training.synthetic", "train", "write a synthetic history to try things on"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    return run_command("python -m training", "From a history to a router.", COMMANDS, arguments)


if __name__ == "__main__":
    sys.exit(main())
