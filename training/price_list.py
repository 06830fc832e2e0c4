"""What providers charge for a model, as the package genai-prices lists it.

The list is the one inside the installed package: nothing is fetched, and the package's own updates are never
started. How old it is, is how old the package is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from difflib import get_close_matches
from importlib.metadata import version

from genai_prices import types
from genai_prices.data_snapshot import find_provider_by_id, get_snapshot

from router.errors import ConfigError
from router.tiers import LongContext

__all__ = ["Listing", "Unlisted", "find_price", "package_version"]


@dataclass(frozen=True)
class Listing:
    """What one provider charges for one model, USD per million tokens.

    Attributes
    ----------
    provider, model : str
        What the package calls them.
    input_usd_per_mtok, output_usd_per_mtok : float
        For inputs of ordinary length.
    cached_input_usd_per_mtok : float or None
        None where the package knows of none.
    long_context : tuple of LongContext
        The shortest first; none that the context window leaves no room for.
    context_window : int or None
        Tokens, where the package knows.
    """

    provider: str
    model: str
    input_usd_per_mtok: float
    output_usd_per_mtok: float
    cached_input_usd_per_mtok: float | None
    long_context: tuple[LongContext, ...]
    context_window: int | None

    @property
    def prices(self) -> tuple[object, ...]:
        """All that a request is priced by."""
        flat = (self.input_usd_per_mtok, self.output_usd_per_mtok, self.cached_input_usd_per_mtok)
        return (*flat, self.long_context)


@dataclass(frozen=True)
class Unlisted:
    """Why a model has no price, and what it could be meant as, each as provider/model."""

    reason: str
    close: tuple[str, ...] = ()


def package_version() -> str:
    """Return the version of the package, which dates its prices."""
    return version("genai-prices")


def find_price(model: str, at: datetime, provider: str | None = None) -> Listing | Unlisted:
    """Look a model up. Pure.

    In this order: at the provider that is asked for; at the one that the name begins with, as in "openai/gpt-4o";
    at the one that made the model, as the package tells it from the name; at all that have a model of this id. A
    provider's models are found by their id, then by the package's own rule for other spellings and dated versions.
    Upper and lower case are the same, and so is an id with and without the "maker/" before it.

    Parameters
    ----------
    model : str
        What a tier calls it.
    at : datetime
        When the price has to hold, with a time zone. Where it changes with the hour, it is the one that holds
        for most of the 24 hours from then.
    provider : str, optional
        Look nowhere else.

    Raises
    ------
    ConfigError
        The package knows no such provider.
    """
    providers, wanted = get_snapshot().providers, model.strip().lower()
    head, _, rest = wanted.partition("/")
    if provider is None:
        named = find_provider_by_id(providers, head) if rest else None
        maker = next((each for each in providers if _makes(each, wanted)), None)
        return (
            (named and _find_at(named, [rest], at, providers))
            or (maker and _find_at(maker, [wanted], at, providers))
            or _find_anywhere(wanted, at, providers)
        )
    asked = find_provider_by_id(providers, provider)
    if asked is None:
        known = ", ".join(each.id for each in providers)
        raise ConfigError(f"no prices of provider {provider!r}; known are {known}")
    return _find_at(asked, [wanted, rest], at, providers) or Unlisted(
        f"{asked.id} has no model of this name", _close_to(wanted, [asked])
    )


def _find_at(
    provider: types.Provider, names: Sequence[str], at: datetime, providers: list[types.Provider]
) -> Listing | Unlisted | None:
    """Return what a provider charges for the model of the first of the names that it knows; None without one."""
    for name in filter(None, names):
        ids = [(model.id.lower(), model) for model in provider.models]
        found = (
            next((model for known, model in ids if known == name), None)
            or next((model for known, model in ids if _is_same(known, name)), None)
            or provider.find_model(name, all_providers=providers)
        )
        if found is not None:
            return _listing(provider, found, at)
    return None


def _find_anywhere(wanted: str, at: datetime, providers: Sequence[types.Provider]) -> Listing | Unlisted:
    everything = [(provider, model) for provider in providers for model in provider.models]
    same = [each for each in everything if _is_same(each[1].id.lower(), wanted)]
    if not same:
        return Unlisted("no provider has a model of this name", _close_to(wanted, providers))
    listings = [listing for each in same if isinstance(listing := _listing(*each, at), Listing)]
    if not listings:
        return _listing(*same[0], at)
    if len({listing.prices for listing in listings}) > 1:
        return Unlisted(
            f"{len(listings)} providers have it, at different prices",
            tuple(f"{listing.provider}/{listing.model}" for listing in listings),
        )
    return listings[0]


def _listing(provider: types.Provider, model: types.ModelInfo, at: datetime) -> Listing | Unlisted:
    # Some prices change with the hour; what is asked for is what a request costs in the mean.
    day = [model.get_prices(at + timedelta(hours=hour)) for hour in range(24)] if model.prices else []
    price = max(day, key=lambda one: sum(one is other for other in day), default=None)
    if price is None or price.input_mtok is None or price.output_mtok is None:
        return Unlisted(f"{provider.id}/{model.id} has no price per token of input and output")
    columns = (price.input_mtok, price.output_mtok, price.cache_read_mtok)
    starts = {tier.start for each in columns if isinstance(each, types.TieredPrices) for tier in each.tiers}
    window = model.context_window
    within = sorted(start for start in starts if start >= 1 and (window is None or start < window))
    cached = price.cache_read_mtok
    return Listing(
        provider.id,
        model.id,
        _price_at(price.input_mtok, 0),
        _price_at(price.output_mtok, 0),
        None if cached is None else _price_at(cached, 0),
        tuple(
            LongContext(
                start,
                _price_at(price.input_mtok, start),
                _price_at(price.output_mtok, start),
                None if cached is None else _price_at(cached, start),
            )
            for start in within
        ),
        window,
    )


def _price_at(price: Decimal | types.TieredPrices, above_tokens: int) -> float:
    """Return the price of a request of more input tokens than that, up to where the next price starts."""
    if not isinstance(price, types.TieredPrices):
        return float(price)
    reached = [tier.price for tier in price.tiers if tier.start <= above_tokens]
    return float(reached[-1] if reached else price.base)


def _makes(provider: types.Provider, name: str) -> bool:
    return provider.model_match is not None and provider.model_match.is_match(name)


def _is_same(one: str, other: str) -> bool:
    """Say whether two ids are one model's: but for the maker, where only one of them says who that is."""
    makers = {maker for maker in (one.rpartition("/")[0], other.rpartition("/")[0]) if maker}
    return len(makers) < 2 and _without_maker(one) == _without_maker(other)


def _without_maker(name: str) -> str:
    return name.lower().rpartition("/")[2]


def _close_to(wanted: str, providers: Sequence[types.Provider]) -> tuple[str, ...]:
    """Return the names nearest to what is wanted, each with its maker, or else a provider that has it."""
    known: dict[str, str] = {}
    for provider in providers:
        for model in provider.models:
            name = _without_maker(model.id)
            if name not in known or _makes(provider, name):
                known[name] = f"{provider.id}/{model.id}"
    return tuple(known[name] for name in get_close_matches(_without_maker(wanted), known, n=3))
