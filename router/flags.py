"""A policy as flags of a command: made from its fields, so that a new one is a flag at once."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from router.errors import ConfigError, RequestError
from router.policy import ASKS, OBJECTIVES, Policy, read_policy, resolve_bounds

__all__ = ["add_policy_flags", "read_policy_flags", "require_known_tiers"]


def add_policy_flags(command: argparse.ArgumentParser) -> None:
    """Give a command a flag for each field of a policy, and `--policy` for a file of them."""
    group = command.add_argument_group(
        "what is asked for",
        f"At most one of {', '.join(map(_flag, OBJECTIVES))}; with none of them, the model's default holds.",
    )
    for name in sorted(ASKS, key=lambda name: name not in OBJECTIVES):
        asked = ASKS[name]
        group.add_argument(
            _flag(name),
            type=float if asked.form == "number" else str,
            metavar=f"{asked.unit},..." if asked.form == "names" else asked.unit,
            help=asked.text,
        )
    group.add_argument(
        "--policy", metavar="FILE", help="a TOML file of such fields, to which flags add others"
    )


def read_policy_flags(options: argparse.Namespace) -> Policy:
    """Return what the flags ask for, together with the file of `--policy`.

    Raises
    ------
    RequestError
        A value is wrong, fields do not go together, or one is in the file, too.
    ConfigError
        The file cannot be used.
    """
    flags = {name: getattr(options, name) for name in ASKS if getattr(options, name) is not None}
    for name, value in flags.items():
        if ASKS[name].form == "names":
            flags[name] = tuple(item.strip() for item in value.split(","))
    if options.policy is None:
        return Policy.from_mapping(flags)
    asked = read_policy(options.policy).to_dict()
    for name in flags:
        if name in asked:
            raise RequestError(
                f"route: {name} is in policy file {options.policy} and in {_flag(name)}; drop one"
            )
    return Policy.from_mapping(asked | flags, f"policy file {options.policy} and the flags")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def require_known_tiers(options: argparse.Namespace, names: Sequence[str]) -> None:
    """Check the file of `--policy` against a ladder.

    Raises
    ------
    ConfigError
        It names a tier that there is none of.
    """
    if options.policy is None:
        return
    try:
        resolve_bounds(read_policy(options.policy), names)
    except RequestError as error:
        raise ConfigError(f"policy file {options.policy}: {str(error).removeprefix('policy: ')}") from None
