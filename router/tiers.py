"""Tiers: what can be routed to, cheapest first, and what it costs.

Pure, except that `read_tiers` reads one TOML file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from sys import float_info
from typing import Any

from router.errors import ConfigError

__all__ = ["CHARS_PER_TOKEN", "Ladder", "Tier", "parse_tiers", "read_tiers"]

CHARS_PER_TOKEN = 4.0
"""Characters a token is taken to hold where nobody counted: the usual rule of thumb for English."""


@dataclass(frozen=True, slots=True)
class Tier:
    """One rung of the ladder: models that are interchangeable, and their price.

    Attributes
    ----------
    name : str
        What a policy and a decision call it.
    models : tuple of str
        In order of preference; a decision names the first, and a prompt's outcome is that of the first
        one listed that answered it.
    input_usd_per_mtok, output_usd_per_mtok : float
        USD per million tokens.
    cached_input_usd_per_mtok : float or None
        USD per million input tokens read from the provider's prompt cache.
    context_window : int or None
        Tokens that fit; None means unlimited.
    capabilities : tuple of str or None
        Such as "tools", "vision", "json"; None means that nothing is known to be missing.
    """

    name: str
    models: tuple[str, ...]
    input_usd_per_mtok: float
    output_usd_per_mtok: float
    cached_input_usd_per_mtok: float | None = None
    context_window: int | None = None
    capabilities: tuple[str, ...] | None = None

    @property
    def model(self) -> str:
        """The model that a decision for this tier names."""
        return self.models[0]

    def cost_usd(self, input_tokens: float, output_tokens: float) -> float:
        """Return the price in USD of one call. Pure."""
        return (input_tokens * self.input_usd_per_mtok + output_tokens * self.output_usd_per_mtok) / 1e6

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are set, in the form that `parse_tiers` reads."""
        fields = {key: value for key, value in asdict(self).items() if value is not None}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()}


@dataclass(frozen=True, slots=True)
class Ladder:
    """Tiers, cheapest first, and the score from which an answer passes."""

    tiers: tuple[Tier, ...]
    pass_score: float = 0.5

    @property
    def names(self) -> tuple[str, ...]:
        """Tier names, cheapest first."""
        return tuple(tier.name for tier in self.tiers)

    def __len__(self) -> int:
        return len(self.tiers)

    def to_dict(self) -> dict[str, Any]:
        """Return the ladder in the form that `parse_tiers` reads."""
        return {"pass_score": self.pass_score, "tier": [tier.to_dict() for tier in self.tiers]}


_TIER_KEYS = ("name", "model", "models", *(f for f in Tier.__slots__ if f not in ("name", "models")))


def read_tiers(path: str | Path) -> Ladder:
    """Read a tiers file.

    Raises
    ------
    ConfigError
        The file is missing, is not TOML, or breaks the contract; the message says where.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"tiers file {path}: cannot be read ({error.strerror}); check the path") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"tiers file {path}: expected UTF-8, found another encoding at byte {error.start}; save it as UTF-8"
        ) from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"tiers file {path}: not valid TOML: {error}") from None
    return parse_tiers(document, source=f"tiers file {path}")


def parse_tiers(document: Mapping[str, Any], source: str = "tiers") -> Ladder:
    """Check a parsed tiers document and return the ladder. Pure.

    Parameters
    ----------
    document : mapping
        `pass_score` (optional, default 0.5) and the list `tier`, cheapest first.
    source : str
        How error messages name the document.

    Raises
    ------
    ConfigError
        A key is unknown or missing, a value is out of range, or two tiers share a name or a model.
    """
    _reject_unknown(document, ("pass_score", "tier"), source)
    pass_score = _number(document, "pass_score", source, default=0.5, above=0.0, most=1.0)
    entries = document.get("tier")
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{source}: expected at least one [[tier]] table, cheapest first; found none")
    tiers = tuple(_parse_tier(entry, f"{source}, tier {i}") for i, entry in enumerate(entries, start=1))
    for cheap, dear in pairwise(tiers):
        if (
            cheap.input_usd_per_mtok > dear.input_usd_per_mtok
            and cheap.output_usd_per_mtok > dear.output_usd_per_mtok
        ):
            raise ConfigError(
                f"{source}: expected the cheapest tier first; {cheap.name} stands before {dear.name} and is dearer "
                "in both prices; reorder the tiers"
            )
    for what, values in (
        ("name", [tier.name for tier in tiers]),
        ("model", [model for tier in tiers for model in tier.models]),
    ):
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise ConfigError(
                f"{source}: each {what} may stand in one tier only; found twice: {', '.join(twice)}"
            )
    return Ladder(tiers, pass_score)


def _parse_tier(entry: object, where: str) -> Tier:
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{where}: expected a [[tier]] table, found {type(entry).__name__}")
    _reject_unknown(entry, _TIER_KEYS, where)
    name = entry.get("name")
    if not isinstance(name, str) or not name.strip():
        raise ConfigError(f'{where}: expected a name, such as name = "small"')
    where = f"{where} ({name})"
    if ("model" in entry) == ("models" in entry):
        raise ConfigError(f"{where}: expected one of model and models")
    models = (entry["model"],) if "model" in entry else entry["models"]
    prices = {
        key: _number(entry, key, where, above=None, least=0.0)
        for key in ("input_usd_per_mtok", "output_usd_per_mtok")
    }
    cached = entry.get("cached_input_usd_per_mtok")
    window = entry.get("context_window")
    if window is not None and (isinstance(window, bool) or not isinstance(window, int) or window < 1):
        raise ConfigError(f"{where}: context_window is a number of tokens, 1 or more; found {window!r}")
    capabilities = entry.get("capabilities")
    return Tier(
        name=name,
        models=_strings(models, "models", where),
        **prices,
        cached_input_usd_per_mtok=None
        if cached is None
        else _number(entry, "cached_input_usd_per_mtok", where, least=0.0),
        context_window=window,
        capabilities=None
        if capabilities is None
        else _strings(capabilities, "capabilities", where, empty=True),
    )


def _reject_unknown(table: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise ConfigError(f"{where}: unknown key {', '.join(unknown)}; known keys: {', '.join(known)}")


def _number(
    table: Mapping[str, Any],
    key: str,
    where: str,
    *,
    default: float | None = None,
    above: float | None = None,
    least: float | None = None,
    most: float = float_info.max,
) -> float:
    value = table.get(key, default)
    bounds = f"above {above}" if above is not None else f"{least} or more"
    if most < float_info.max:
        bounds += f", at most {most}"
    if value is None:
        raise ConfigError(f"{where}: {key} is missing; expected a number, {bounds}")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if (
        not number
        or not (value > above if above is not None else value >= (least or 0.0))
        or not value <= most
    ):
        raise ConfigError(f"{where}: {key} is a number, {bounds}; found {value!r}")
    return float(value)


def _strings(value: object, key: str, where: str, *, empty: bool = False) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) and item for item in value):
        raise ConfigError(f"{where}: {key} is a list of names; found {value!r}")
    if not value and not empty:
        raise ConfigError(f"{where}: {key} is empty; expected at least one name")
    return tuple(value)
