"""The user's commands: `tierwise route`, `tierwise inspect`; `python -m router` is the same.

Answers go to stdout, errors to stderr. Exit codes: 0 done, 1 failure, 2 a request that cannot be answered,
3 a file that is wrong, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from router import Decision, Policy, RequestError, Router, RouterError, __version__

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        text: str = options.run(options)
    except RouterError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    # A prompt may carry what the terminal's encoding cannot; an answer is still owed.
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace") + b"\n")
    return 0


class _Parser(argparse.ArgumentParser):
    """Repeats nothing that may be a prompt: one without its quotes, or without its command."""

    def error(self, message: str) -> NoReturn:
        message = re.sub(
            r"(?s)unrecognized arguments: .*", "unknown arguments; put a prompt in quotes", message
        )
        super().error(re.sub(r"(?s)invalid choice: .* \(choose", "unknown (choose", message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="tierwise", description="The cheapest model tier that is enough.")
    parser.add_argument("--version", action="version", version=f"tierwise {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser("route", help="say which tier a prompt goes to")
    command.add_argument("prompt", nargs="?", help="the text; - reads it from standard input")
    command.add_argument(
        "--messages",
        metavar="FILE",
        help="a JSON list of chat messages instead; - reads it from standard input",
    )
    command.add_argument(
        "--model", metavar="DIR", help="artefact (default: $TIERWISE_MODEL or the packaged model)"
    )
    command.add_argument(
        "--max-regret",
        type=float,
        metavar="SHARE",
        help="certified: at most this share of prompts may fail where the top tier passes",
    )
    command.add_argument(
        "--epsilon", type=float, metavar="LOSS", help="uncertified: the expected loss allowed per prompt"
    )
    command.add_argument("--floor", metavar="TIER", help="cheapest tier that may be chosen")
    command.add_argument("--ceiling", metavar="TIER", help="dearest tier that may be chosen")
    command.add_argument("--allow", metavar="TIER,...", help="tiers that may be chosen")
    command.add_argument("--json", action="store_true", help="print the decision as one JSON object")
    command.set_defaults(run=_route)

    command = commands.add_parser("inspect", help="check a model and say what it is")
    command.add_argument(
        "model", nargs="?", metavar="DIR", help="artefact (default: $TIERWISE_MODEL or the packaged model)"
    )
    command.add_argument("--json", action="store_true", help="print the manifest as one JSON object")
    command.set_defaults(run=_inspect)
    return parser


def _route(options: argparse.Namespace) -> str:
    if (options.prompt is None) == (options.messages is None):
        raise RequestError(
            'route: expected one of a prompt and --messages; for example: tierwise route "text"'
        )
    prompt = _read_messages(options.messages) if options.messages is not None else options.prompt
    if options.prompt == "-":
        prompt = sys.stdin.buffer.read().decode("utf-8", "surrogateescape").removesuffix("\n")
    policy = Policy(
        max_regret=options.max_regret,
        epsilon=options.epsilon,
        floor=options.floor,
        ceiling=options.ceiling,
        allow=None if options.allow is None else tuple(name.strip() for name in options.allow.split(",")),
    )
    router = Router.load(options.model)
    try:
        decision = router.route(prompt, policy)
    except TypeError as error:
        raise RequestError(f"--messages {options.messages}: {error}") from None
    if options.json:
        return json.dumps(decision.to_dict())
    return _render_decision(router, decision)


def _read_messages(path: str) -> Any:  # noqa: ANN401 - what the file holds is checked by the router
    try:
        raw = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        messages = json.loads(raw)
    except OSError as error:
        raise RequestError(f"--messages {path}: cannot be read ({error.strerror}); check the path") from None
    except (ValueError, RecursionError):
        raise RequestError(f"--messages {path}: not valid JSON; expected a list of chat messages") from None
    if not isinstance(messages, list):
        raise RequestError(
            f"--messages {path}: expected a JSON list of chat messages, found {type(messages).__name__}"
        )
    return messages


def _render_decision(router: Router, decision: Decision) -> str:
    width = max(len(tier.name) for tier in router.tiers)
    lines = [
        f"{decision.tier} ({decision.model}): {decision.reason.value}, {_EXPLANATIONS[decision.reason.value]}"
    ]
    for k, (tier, p) in enumerate(zip(router.tiers, decision.p_pass, strict=True)):
        mark = ">" if k == decision.index else " "
        lines.append(f" {mark} {tier.name:<{width}}  p(pass) {p:.3f}  {'█' * round(20 * p)}")
    lines.append(
        f"   expected cost ${decision.expected_cost_usd:.6f}, novelty {decision.novelty:.3f}, model {decision.model_id}"
    )
    return "\n".join(lines)


_EXPLANATIONS = {
    "sufficient": "the cheapest tier whose expected loss is within epsilon",
    "needed": "no cheaper tier's expected loss is within epsilon",
    "floor": "cheaper tiers are below the floor",
    "ceiling": "dearer tiers are above the ceiling",
    "allow": "the tier preferred is not allowed",
    "cost": "the tier preferred is expected to cost more than max_cost_usd",
    "context": "the prompt is too long for a cheaper tier",
    "capability": "a cheaper tier lacks what the prompt needs",
    "novel": "unlike the prompts that the model knows",
    "uncertified": "the regret asked for is not certified",
    "empty": "there is nothing to read",
}


def _inspect(options: argparse.Namespace) -> str:
    from router.artifact import find_artifact, open_artifact

    folder = find_artifact(options.model)
    manifest, _, _ = open_artifact(folder)
    if options.json:
        return json.dumps(manifest.document)
    from router.inspection import describe

    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    return describe(manifest, str(folder), size)
