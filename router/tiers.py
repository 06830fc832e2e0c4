"""Tiers: what can be routed to, cheapest first, and what it costs.

Pure, except that `read_tiers` reads one TOML file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from sys import float_info
from typing import Any, NamedTuple

from router.errors import ConfigError

__all__ = [
    "CHARS_PER_TOKEN",
    "MAX_TOKENS",
    "Ladder",
    "LongContext",
    "Prices",
    "Tier",
    "parse_tiers",
    "read_tiers",
]

CHARS_PER_TOKEN = 4.0
"""Characters a token is taken to hold where nobody counted: the usual rule of thumb for English."""
MAX_TOKENS = 10**12
"""More than any context window; a number that an int64 and a float hold."""


class Prices(NamedTuple):
    """What a request of more input tokens than `above_tokens` is priced at, USD per million tokens."""

    above_tokens: int
    input_usd_per_mtok: float
    output_usd_per_mtok: float
    cached_input_usd_per_mtok: float


@dataclass(frozen=True, slots=True)
class LongContext:
    """What a whole request is priced at once its input is longer than `above_tokens`.

    Not only the tokens beyond: so do Gemini and Claude price long inputs.

    Attributes
    ----------
    above_tokens : int
        Input tokens, cached ones among them.
    input_usd_per_mtok, output_usd_per_mtok : float
        USD per million tokens.
    cached_input_usd_per_mtok : float or None
        USD per million cached input tokens; None means that they cost what others do.
    """

    above_tokens: int
    input_usd_per_mtok: float
    output_usd_per_mtok: float
    cached_input_usd_per_mtok: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are set, in the form that `parse_tiers` reads."""
        return _fields_set(self)


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
        USD per million input tokens read from the provider's prompt cache; None means that they cost what
        others do.
    context_window : int or None
        Tokens that fit; None means unlimited.
    capabilities : tuple of str or None
        Such as "tools", "vision", "json"; None means that nothing is known to be missing.
    long_context : tuple of LongContext
        Prices of long inputs, the shortest first.
    """

    name: str
    models: tuple[str, ...]
    input_usd_per_mtok: float
    output_usd_per_mtok: float
    cached_input_usd_per_mtok: float | None = None
    context_window: int | None = None
    capabilities: tuple[str, ...] | None = None
    long_context: tuple[LongContext, ...] = ()

    @property
    def model(self) -> str:
        """The model that a decision for this tier names."""
        return self.models[0]

    @property
    def prices(self) -> tuple[Prices, ...]:
        """The prices by length of input: the tier's own, then those of longer and longer inputs."""
        return (
            _prices_of(self, 0),
            *(_prices_of(longer, longer.above_tokens) for longer in self.long_context),
        )

    def cost_usd(self, input_tokens: float, output_tokens: float, cached_tokens: float = 0.0) -> float:
        """Return the price in USD of one call. Pure.

        Parameters
        ----------
        input_tokens, output_tokens : float
            Tokens of the whole input and of the answer.
        cached_tokens : float
            How many of the input's tokens the provider reads from its cache; never more than there are.
        """
        price, *longer = self.prices
        for each in longer:
            if input_tokens > each.above_tokens:
                price = each
        cached = min(cached_tokens, input_tokens)
        return (
            (input_tokens - cached) * price.input_usd_per_mtok
            + cached * price.cached_input_usd_per_mtok
            + output_tokens * price.output_usd_per_mtok
        ) / 1e6

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are set, in the form that `parse_tiers` reads."""
        found = _fields_set(self)
        if self.long_context:
            found["long_context"] = [each.to_dict() for each in self.long_context]
        else:
            del found["long_context"]
        return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}


def _prices_of(priced: Tier | LongContext, above_tokens: int) -> Prices:
    cached = priced.cached_input_usd_per_mtok
    return Prices(
        above_tokens,
        priced.input_usd_per_mtok,
        priced.output_usd_per_mtok,
        priced.input_usd_per_mtok if cached is None else cached,
    )


def _fields_set(record: Tier | LongContext) -> dict[str, Any]:
    found = {field.name: getattr(record, field.name) for field in fields(record)}
    return {name: value for name, value in found.items() if value is not None}


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


_PRICES = ("input_usd_per_mtok", "output_usd_per_mtok")
_TIER_KEYS = ("name", "model", "models", *(f for f in Tier.__slots__ if f not in ("name", "models")))
_LONG_KEYS = tuple(LongContext.__slots__)


def read_tiers(path: str | Path) -> Ladder:
    """Read a tiers file.

    Raises
    ------
    ConfigError
        The file is missing, is not TOML, or breaks the contract; the message says where.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"tiers file {path}: cannot be read ({error.strerror}); check the path") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"tiers file {path}: expected UTF-8, found another encoding at byte {error.start}; save it as UTF-8"
        ) from None
    try:
        document = tomllib.loads(text)
    except ValueError as error:  # a number of thousands of digits is one, beside what tomllib has a name for
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
    window = entry.get("context_window")
    if window is not None and (isinstance(window, bool) or not isinstance(window, int) or window < 1):
        raise ConfigError(f"{where}: context_window is a number of tokens, 1 or more; found {window!r}")
    capabilities = entry.get("capabilities")
    return Tier(
        name=name,
        models=_strings(models, "models", where),
        **_parse_prices(entry, where),
        context_window=window,
        capabilities=None
        if capabilities is None
        else _strings(capabilities, "capabilities", where, empty=True),
        long_context=_parse_long_context(entry, where),
    )


def _parse_prices(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    keys: tuple[str, ...] = _PRICES
    if table.get("cached_input_usd_per_mtok") is not None:
        keys += ("cached_input_usd_per_mtok",)
    return {key: _number(table, key, where, least=0.0) for key in keys}


def _parse_long_context(tier: Mapping[str, Any], where: str) -> tuple[LongContext, ...]:
    tables = tier.get("long_context", [])
    if not isinstance(tables, list) or not all(isinstance(table, Mapping) for table in tables):
        raise ConfigError(
            f"{where}: long_context is a list of [[tier.long_context]] tables; found {tables!r}"
        )
    parsed: list[LongContext] = []
    for i, table in enumerate(tables, start=1):
        place = f"{where}, long_context {i}"
        _reject_unknown(table, _LONG_KEYS, place)
        above = table.get("above_tokens")
        if isinstance(above, bool) or not isinstance(above, int) or not 1 <= above <= MAX_TOKENS:
            raise ConfigError(
                f"{place}: above_tokens is a number of tokens, 1 to {MAX_TOKENS}; found {above!r}"
            )
        if parsed and above <= parsed[-1].above_tokens:
            raise ConfigError(
                f"{place}: expected above_tokens in ascending order, more than {parsed[-1].above_tokens}; found {above}"
            )
        longer = LongContext(above, **_parse_prices(table, place))
        if (longer.output_usd_per_mtok == 0.0) != (tier["output_usd_per_mtok"] == 0.0):
            # An answer's length is told from what it costs at the tier's own price.
            raise ConfigError(
                f"{place}: expected output_usd_per_mtok to be 0 in the tier and in its long_context or in neither; "
                f"found {tier['output_usd_per_mtok']} and {longer.output_usd_per_mtok}"
            )
        parsed.append(longer)
    return tuple(parsed)


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
