"""Runs the commands of a package: `python -m PACKAGE COMMAND`.

Every command ends with one JSON document as the last line on stdout; progress and errors go to stderr.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Mapping, Sequence

from router import ConfigError, RouterError

__all__ = ["Command", "run_command"]

Command = tuple[str, str, str]
"""The module with its `add_arguments` and `run`, the extra that it needs, and what it does."""


def run_command(
    prog: str, description: str, commands: Mapping[str, Command], arguments: Sequence[str] | None = None
) -> int:
    """Run a command and return its exit code.

    0 done, 1 failure, 2 usage, 3 input refused, 130 interrupted; or what the result says under "exit_code". A
    module is imported only for its own command, so that each needs no more than its own extra.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog=prog, description=description)
    choices = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    parsers = {
        name: choices.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        for name, (_, _, text) in commands.items()
    }
    try:
        run = None
        if arguments and arguments[0] in commands:
            module, extra, _ = commands[arguments[0]]
            try:
                command = importlib.import_module(module)
            except ModuleNotFoundError as error:
                raise ConfigError(
                    f"{arguments[0]} needs {error.name}, which is not installed: pip install 'tierwise[{extra}]'"
                ) from error
            command.add_arguments(parsers[arguments[0]])
            run = command.run
        options = parser.parse_args(arguments)
        assert run is not None, "argparse refuses a command that is not in the table"  # noqa: S101
        result = run(options)
    except RouterError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except KeyboardInterrupt as stop:
        print(str(stop) or "interrupted; nothing was replaced", file=sys.stderr)  # noqa: T201
        return 130
    print(json.dumps(result))  # noqa: T201
    return int(result.get("exit_code", 0))
