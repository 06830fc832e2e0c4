"""Fills in a ladder's prices from the package genai-prices.

The tiers file itself is never touched: what would change is shown as a difference, and a whole new file is written
where `--out` asks for one. Python reads TOML and cannot write it with its comments, so a file written in place would
lose what people noted there, often where a price came from; and prices decide what a router does, so that somebody
should see them before they count.

What is known better here than there is left: a `context_window` that is given, and a cached price that the package
does not know. A tier whose model is not found keeps its prices.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from difflib import unified_diff
from pathlib import Path
from typing import Any

from router.errors import ConfigError
from router.tiers import Ladder, Tier, parse_tiers, read_tiers
from training.price_list import Listing, Unlisted, find_price, package_version

__all__ = ["add_arguments", "price_ladder", "prices", "render_tiers", "run"]

MOST_CLOSE = 5
"""Names in a message; the document has all of them."""


def prices(
    tiers: Path,
    out: Path | None = None,
    *,
    provider: str | None = None,
    models: Mapping[str, str] | None = None,
    at: datetime | None = None,
) -> dict[str, Any]:
    """Look up what each tier's first model costs, show what would change, and write it if asked to.

    Parameters
    ----------
    tiers : path
        The ladder; only read.
    out : path, optional
        The tiers file to write; an older one is replaced.
    provider : str, optional
        Who serves the models, where that is one for all.
    models : mapping of str to str, optional
        By tier, what the package calls its model, as "provider/model" or "model".
    at : datetime, optional
        When the prices have to hold; now, if left out.

    Returns
    -------
    dict
        JSON-ready: where the prices are from, what was found and what was not, and whether anything changed.

    Raises
    ------
    ConfigError
        The files cannot be used, no model was found, or the prices make no ladder; nothing is written.
    """
    at = datetime.now(UTC) if at is None else at
    if out is not None and out.resolve() == tiers.resolve():
        raise ConfigError(
            f"--out {out}: is the tiers file itself, whose comments would be lost; name another file"
        )
    before = read_tiers(tiers)
    after, found = price_ladder(before, at, provider=provider, models=models)
    source = f"genai-prices {package_version()}"
    missing = {name: each for name, each in found.items() if isinstance(each, Unlisted)}
    if len(missing) == len(before):
        raise ConfigError(f"no prices in {source} for any tier of {tiers}: {_why(before, missing)}")
    header = f"# Prices: {source}, as of {at.date().isoformat()}.\n"
    old, new = render_tiers(before), render_tiers(after)
    lines = [_line_of(tier, found[tier.name]) for tier in before.tiers]
    lines += [line.rstrip("\n") for line in unified_diff(_lines(old), _lines(new), str(tiers), source, n=3)]
    _say(lines or ["no price changes"])
    parse_tiers(after.to_dict(), f"{tiers} with the prices of {source}")
    if out is not None:
        _write(out, header + new)
    return {
        "tiers": str(tiers),
        "out": None if out is None else str(out),
        "source": source,
        "date": at.date().isoformat(),
        "found": {
            name: {"provider": each.provider, "model": each.model}
            for name, each in found.items()
            if isinstance(each, Listing)
        },
        "missing": {name: {"reason": e.reason, "close": list(e.close)} for name, e in missing.items()},
        "changed": [a.name for a, b in zip(before.tiers, after.tiers, strict=True) if a != b],
        "ladder": after.to_dict(),
    }


def price_ladder(
    ladder: Ladder, at: datetime, *, provider: str | None = None, models: Mapping[str, str] | None = None
) -> tuple[Ladder, dict[str, Listing | Unlisted]]:
    """Return the ladder at the prices of its tiers' first models, and by tier what was found. Pure.

    Raises
    ------
    ConfigError
        `models` names a tier that there is none of or a model that the package does not know, or no such provider is
        known.
    """
    models = models or {}
    unknown = sorted(set(models) - set(ladder.names))
    if unknown:
        raise ConfigError(f"--model: no tier {', '.join(unknown)}; the tiers are {', '.join(ladder.names)}")
    found = {tier.name: find_price(models.get(tier.name, tier.model), at, provider) for tier in ladder.tiers}
    wrong = {name: each for name, each in found.items() if name in models and isinstance(each, Unlisted)}
    if wrong:
        raise ConfigError(f"--model: {_why(ladder, wrong)}")
    return replace(ladder, tiers=tuple(_priced(tier, found[tier.name]) for tier in ladder.tiers)), found


def _priced(tier: Tier, found: Listing | Unlisted) -> Tier:
    if isinstance(found, Unlisted):
        return tier
    cached = found.cached_input_usd_per_mtok
    return replace(
        tier,
        input_usd_per_mtok=found.input_usd_per_mtok,
        output_usd_per_mtok=found.output_usd_per_mtok,
        cached_input_usd_per_mtok=tier.cached_input_usd_per_mtok if cached is None else cached,
        context_window=found.context_window if tier.context_window is None else tier.context_window,
        long_context=found.long_context,
    )


def render_tiers(ladder: Ladder) -> str:
    """Return a ladder as TOML that `read_tiers` reads as the same ladder. Pure."""
    lines = [f"pass_score = {_toml(ladder.pass_score)}"]
    for tier in ladder.tiers:
        table = tier.to_dict()
        longer = table.pop("long_context", [])
        lines += ["", "[[tier]]", *_pairs(table)]
        for each in longer:
            lines += ["", "[[tier.long_context]]", *_pairs(each)]
    return "\n".join(lines) + "\n"


def _pairs(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in table.items()]


def _toml(value: str | float | list[str]) -> str:
    # JSON's numbers, strings and lists of strings are TOML's, but for one character that has to be escaped.
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `python -m training prices`."""
    add = parser.add_argument
    add("--tiers", required=True, type=Path, metavar="FILE", help="TOML, cheapest tier first; only read")
    add(
        "--out",
        type=Path,
        metavar="FILE",
        help="tiers file to write, without the comments of the old one (default: show what would change, write nothing)",
    )
    add("--provider", metavar="NAME", help="who serves the models, where that is one for all tiers")
    add(
        "--model",
        action="append",
        default=[],
        metavar="TIER=[PROVIDER/]MODEL",
        help="what the price list calls a tier's model, if not what the tiers file does; may be repeated",
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run `python -m training prices`."""
    models: dict[str, str] = {}
    for pair in options.model:
        tier, equals, model = pair.rpartition("=")
        if not equals or not tier or not model:
            raise ConfigError(f"--model is TIER=MODEL, such as large=openai/gpt-4o; found {pair!r}")
        models[tier] = model
    return prices(options.tiers, options.out, provider=options.provider, models=models)


def _why(ladder: Ladder, missing: Mapping[str, Unlisted]) -> str:
    """Say in one sentence why tiers have no price, and what could be meant."""
    reasons = [
        f"{tier.name} ({tier.model}): {_reason(missing[tier.name])}"
        for tier in ladder.tiers
        if tier.name in missing
    ]
    return f"{'; '.join(reasons)}. Name models with --model TIER=PROVIDER/MODEL"


def _reason(each: Unlisted) -> str:
    close = ", ".join(each.close[:MOST_CLOSE])
    if len(each.close) > MOST_CLOSE:
        close += f" and {len(each.close) - MOST_CLOSE} more"
    return f"{each.reason}; there are {close}" if close else each.reason


def _line_of(tier: Tier, found: Listing | Unlisted) -> str:
    if isinstance(found, Unlisted):
        return f"{tier.name} ({tier.model}): left as it is, {_reason(found)}"
    said = f"{tier.name} ({tier.model}): {found.provider}/{found.model}"
    if tier.context_window is not None and found.context_window not in (None, tier.context_window):
        said += f"; its context window there is {found.context_window}, and stays {tier.context_window}"
    return said


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def _say(lines: Sequence[str]) -> None:
    print("\n".join(lines), file=sys.stderr)  # noqa: T201


def _write(out: Path, text: str) -> None:
    """Write the file beside its place and rename it, so that it is there whole or not at all."""
    aside = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            with aside.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(out)
        finally:
            with suppress(FileNotFoundError):
                aside.unlink()
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written ({error.strerror}); name another file") from None
