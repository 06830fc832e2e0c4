"""The training commands: `python -m training COMMAND`.

Every command ends with one JSON document as the last line on stdout; progress and errors go to stderr.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence

from router import ConfigError, RouterError

__all__ = ["main"]

# Name: the module with its `add_arguments` and `run`, the extra that it needs, and what it does. A module is
# imported only for its own command, so that each needs no more than its own extra.
COMMANDS = {
    "fit": ("training.fit", "train", "from a history to an artefact"),
    "distil": ("training.distil", "embed", "from a sentence encoder to the static embedding"),
    "synthetic": ("training.synthetic", "train", "write a synthetic history to try things on"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 failure, 2 usage, 3 input refused, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="python -m training", description="From a history to a router.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    parsers = {
        name: commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        for name, (_, _, text) in COMMANDS.items()
    }
    try:
        run = None
        if arguments and arguments[0] in COMMANDS:
            module, extra, _ = COMMANDS[arguments[0]]
            try:
                command = importlib.import_module(module)
            except ModuleNotFoundError as error:
                raise ConfigError(
                    f"{arguments[0]} needs {error.name}, which is not installed: pip install 'tierwise[{extra}]'"
                ) from error
            command.add_arguments(parsers[arguments[0]])
            run = command.run
        options = parser.parse_args(arguments)
        assert run is not None, "argparse refuses a command that is not in COMMANDS"  # noqa: S101
        result = run(options)
    except RouterError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; nothing was replaced", file=sys.stderr)  # noqa: T201
        return 130
    print(json.dumps(result))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
