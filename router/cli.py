"""The user's commands: `tierwise route`, `tierwise inspect`, `tierwise serve`; `python -m router` is the same.

Answers go to stdout, errors to stderr. Exit codes: 0 done, 1 failure, 2 a request that cannot be answered,
3 a file, an option or an address that is wrong, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from router import ConfigError, Policy, RequestError, Router, RouterError, __version__
from router.flags import add_policy_flags, read_policy_flags, require_known_tiers

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        text: str | None = options.run(options)
    except RouterError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    if text is None:
        return 0
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
    parser = _Parser(
        prog="tierwise", description="The cheapest model tier that is enough.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"tierwise {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser("route", allow_abbrev=False, help="say which tier a prompt goes to")
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
        "--context-tokens",
        type=int,
        metavar="N",
        help="tokens of the whole input (default: four characters are one)",
    )
    command.add_argument(
        "--cached-tokens",
        type=int,
        metavar="N",
        help="how many of them the provider has in its prompt cache",
    )
    command.add_argument(
        "--url", help="ask a running `tierwise serve` instead; a key for it is read from $TIERWISE_API_KEY"
    )
    command.add_argument("--json", action="store_true", help="print the decision as one JSON object")
    add_policy_flags(command)
    command.set_defaults(run=_route)

    command = commands.add_parser("inspect", allow_abbrev=False, help="check a model and say what it is")
    command.add_argument(
        "model", nargs="?", metavar="DIR", help="artefact (default: $TIERWISE_MODEL or the packaged model)"
    )
    command.add_argument("--json", action="store_true", help="print the manifest as one JSON object")
    command.set_defaults(run=_inspect)

    command = commands.add_parser("serve", allow_abbrev=False, help="answer the same questions over HTTP")
    _add_serve_options(command)
    command.set_defaults(run=_serve)
    return parser


def _add_serve_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model", metavar="DIR", help="artefact (default: $TIERWISE_MODEL or the packaged model)"
    )
    command.add_argument(
        "--policy", metavar="FILE", help="a TOML file: what holds where a request states no policy"
    )
    command.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this machine only)"
    )
    command.add_argument("--port", type=int, default=8080, help="0 is any free one (default: 8080)")
    command.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: 1)")
    keys = command.add_argument_group("who may ask")
    keys.add_argument("--keys", metavar="FILE", help="API keys, one a line; else $TIERWISE_API_KEYS")
    keys.add_argument(
        "--admin-keys", metavar="FILE", help="keys that may reload the model, too; else $TIERWISE_ADMIN_KEYS"
    )
    keys.add_argument("--without-keys", action="store_true", help="let other machines ask without a key")
    keys.add_argument(
        "--cors-origin",
        action="append",
        default=[],
        metavar="SITE",
        help="let this site's pages ask; repeatable",
    )
    limits = command.add_argument_group("limits, each per process")
    for flag, kind, default, text in (
        ("--max-body-bytes", int, 1024 * 1024, "of a request, or a line of a stream"),
        ("--max-items", int, 1024, "requests in one batch"),
        ("--max-in-flight", int, 128, "requests waiting for their answer; more get 503"),
        ("--max-batches", int, 32, "batches and streams at a time; more get 429"),
        ("--max-connections", int, 1024, "open connections; more get 503"),
        ("--header-timeout", float, 10.0, "seconds for the head of a request"),
        ("--read-timeout", float, 30.0, "seconds for its body, and for taking the answer"),
        ("--keep-alive", float, 60.0, "seconds that a connection may be idle"),
    ):
        limits.add_argument(
            flag, type=kind, default=default, metavar="N", help=f"{text} (default: {default})"
        )
    running = command.add_argument_group("running")
    running.add_argument(
        "--drain-seconds",
        type=float,
        default=30.0,
        metavar="N",
        help="for requests under way when stopped (default: 30)",
    )
    running.add_argument(
        "--drain-delay", type=float, default=0.0, metavar="N",
        help="seconds to go on serving while not ready, when stopped (default: 0)",
    )  # fmt: skip
    running.add_argument(
        "--watch", type=float, nargs="?", const=10.0, metavar="SECONDS",
        help="look so often whether the model's place has another one, and take it over; on its own: every 10",
    )  # fmt: skip
    running.add_argument(
        "--log", choices=("auto", "json", "text", "off"), default="auto",
        help="a line per request on standard error; off keeps other events (default: text on a terminal, else json)",
    )  # fmt: skip
    running.add_argument("--log-prompts", action="store_true", help="have prompts in the log")


def _serve(options: argparse.Namespace) -> None:
    # The library that counts would do so in that folder, which is another program's.
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    try:
        from router.serving.command import run
    except ImportError as error:
        raise ConfigError(
            f"serve needs more packages ({error.name}): pip install 'tierwise[serve]'"
        ) from None
    run(options)


def _route(options: argparse.Namespace) -> str:
    if (options.prompt is None) == (options.messages is None):
        raise RequestError(
            'route: expected one of a prompt and --messages; for example: tierwise route "text"'
        )
    prompt = _read_messages(options.messages) if options.messages is not None else options.prompt
    if options.prompt == "-":
        prompt = sys.stdin.buffer.read().decode("utf-8", "surrogateescape").removesuffix("\n")
    policy = read_policy_flags(options)
    if options.url is not None:
        decision = _ask(options, prompt, policy)
        tiers = decision["tiers"]
    else:
        router = Router.load(options.model)
        require_known_tiers(options, router.model.names)
        try:
            decided = router.route(
                prompt, policy, context_tokens=options.context_tokens, cached_tokens=options.cached_tokens
            )
        except TypeError as error:
            raise RequestError(f"--messages {options.messages}: {error}") from None
        decision, tiers = decided.to_dict(), router.model.names
    return json.dumps(decision) if options.json else _render_decision(tiers, decision)


def _ask(options: argparse.Namespace, prompt: Any, policy: Policy) -> dict[str, Any]:  # noqa: ANN401
    from router.client import route_remotely

    if options.model is not None:
        raise RequestError("route: expected one of --model and --url, found both; drop one")
    asked = {
        "policy": policy.to_dict() or None,
        "context_tokens": options.context_tokens,
        "cached_tokens": options.cached_tokens,
    }
    body = {
        "prompt" if isinstance(prompt, str) else "messages": prompt,
        **{name: value for name, value in asked.items() if value is not None},
    }
    return route_remotely(options.url, body, os.environ.get("TIERWISE_API_KEY") or None)


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


def _render_decision(tiers: Sequence[str], decision: Mapping[str, Any]) -> str:
    width = max(map(len, tiers))
    lines = [
        f"{decision['tier']} ({decision['model']}): {decision['reason']}, {_EXPLANATIONS[decision['reason']]}"
    ]
    for k, (tier, p, usd) in enumerate(
        zip(tiers, decision["p_pass"], decision["tier_cost_usd"], strict=True)
    ):
        mark = ">" if k == decision["index"] else " "
        lines.append(f" {mark} {tier:<{width}}  p(pass) {p:.3f}  {'█' * round(20 * p):<20}  ${usd:.6f}")
    lines.append(f"   expected cost ${decision['expected_cost_usd']:.6f}{_render_saving(tiers, decision)}")
    lines.append(f"   novelty {decision['novelty']:.3f}, model {decision['model_id']}")
    return "\n".join(lines)


def _render_saving(tiers: Sequence[str], decision: Mapping[str, Any]) -> str:
    top, saving = decision["tier_cost_usd"][-1], decision["saving_usd"]
    if decision["index"] == len(tiers) - 1:
        return ""
    share = f" ({abs(saving) / top:.1%})" if top > 0.0 else ""
    if saving < 0.0:  # an answer so much longer that it costs more
        return f", ${-saving:.6f} more than {tiers[-1]}{share}"
    return f", saves ${saving:.6f} against {tiers[-1]}{share}"


_EXPLANATIONS = {
    "sufficient": "it saves more than its expected loss is worth",
    "needed": "no cheaper tier saves more than its expected loss is worth",
    "floor": "the tier preferred is below the floor",
    "ceiling": "the tier preferred is above the ceiling",
    "allow": "the tier preferred is not allowed",
    "cost": "a dearer tier is more than max_cost_usd or the budget allows",
    "context": "the prompt is too long for the tier preferred",
    "capability": "the tier preferred lacks what the call needs",
    "novel": "unlike the prompts that the model knows",
    "uncertified": "what was asked for is not certified, or the certificate is void",
    "empty": "there is nothing to read",
}


def _inspect(options: argparse.Namespace) -> str:
    from router.artifact import hold_artifact, name_place, open_artifact
    from router.inspection import describe
    from router.registry import is_registered

    with hold_artifact(options.model) as folder:
        manifest, _, _ = open_artifact(folder)
        size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    if options.json:
        return json.dumps(manifest.document)
    place = name_place(options.model)
    return describe(manifest, place if place and is_registered(place) else str(folder), size)
