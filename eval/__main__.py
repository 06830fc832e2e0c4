"""The evaluation commands: `python -m eval COMMAND`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from eval.command import Command, run_command

__all__ = ["COMMANDS", "main"]

COMMANDS: dict[str, Command] = {
    "report": ("eval.report", "train", "is a router worth it on this history? A verdict, with its figures"),
    "labels": ("eval.labels", "train", "what the labels of a history are worth, and what more of them would"),
    "benchmark": ("eval.benchmark", "train", "every history of a folder, written to docs/BENCHMARKS.md"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    return run_command("python -m eval", "Is a router worth it?", COMMANDS, arguments)


if __name__ == "__main__":
    sys.exit(main())
