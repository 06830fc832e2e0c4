"""What a call needs beyond what its prompt shows. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any, NamedTuple

from router.errors import RequestError
from router.prompt import PromptView
from router.tiers import CHARS_PER_TOKEN, MAX_TOKENS

__all__ = ["MAX_TOKENS", "Demand", "read_demand"]


class Demand(NamedTuple):
    """What tiers are held against, besides the pass probability.

    Attributes
    ----------
    n_chars : float
        Length of the whole input in characters, at four a token where tokens were given.
    needs : frozenset of str
        Capabilities, such as "tools", "vision", "json".
    cached_tokens : float
        Tokens of the input that the provider reads from its cache, at most as many as there are.
    """

    n_chars: float
    needs: frozenset[str]
    cached_tokens: float = 0


def read_demand(
    view: PromptView,
    needs: Iterable[str] = (),
    tools: Sequence[Mapping[str, Any]] = (),
    context_tokens: int | None = None,
    cached_tokens: int | None = None,
) -> Demand | None:
    """Return what a call needs, or None if that is what its prompt shows. Pure.

    Parameters
    ----------
    needs : iterable of str
        Capabilities that the tier must have.
    tools : list of mappings
        Definitions of tools, as sent to the model; they need the capability "tools", and count as input.
    context_tokens : int or None
        Tokens of the whole input where the caller knows them; else characters are counted.
    cached_tokens : int or None
        How many of them the provider has in its cache. Never more than `context_tokens`; where that is not
        given, what is beyond the counted characters is taken for an error of the counting.

    Raises
    ------
    RequestError
        A value is of another form.
    """
    if not needs and not tools and context_tokens is None and cached_tokens is None:
        return None
    if isinstance(needs, str) or not isinstance(needs, Iterable):
        raise RequestError(f"needs is a list of capabilities; found {type(needs).__name__}", field="needs")
    needed = list(needs)
    if not all(isinstance(name, str) and name for name in needed):
        raise RequestError("needs is a list of capabilities, each a str and not empty", field="needs")
    n_chars: float = view.n_chars
    if isinstance(tools, str | bytes) or not isinstance(tools, Sequence):
        raise RequestError(f"tools is a list of definitions; found {type(tools).__name__}", field="tools")
    if not all(isinstance(tool, Mapping) for tool in tools):
        raise RequestError("tools is a list of definitions, each a mapping", field="tools")
    if tools:
        try:
            n_chars += len(json.dumps(list(tools), ensure_ascii=False, separators=(",", ":")))
        except (TypeError, ValueError, RecursionError):
            raise RequestError("tools is a list of definitions that JSON can hold", field="tools") from None
        needed.append("tools")
    if context_tokens is not None:
        n_chars = _read_tokens(context_tokens, "context_tokens") * CHARS_PER_TOKEN
    if cached_tokens is None:
        return Demand(n_chars, frozenset(needed))
    cached, whole = _read_tokens(cached_tokens, "cached_tokens"), n_chars / CHARS_PER_TOKEN
    if context_tokens is not None and cached > whole:
        raise RequestError(
            f"cached_tokens is a number of tokens among context_tokens, at most {int(whole)}; found {cached}",
            field="cached_tokens",
        )
    return Demand(n_chars, frozenset(needed), min(cached, whole))


def _read_tokens(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise RequestError(f"{name} is a number of tokens; found {type(value).__name__}", field=name)
    tokens = int(value)
    if not 0 <= tokens <= MAX_TOKENS:
        found = tokens if abs(tokens) < 10**15 else "one of more digits"
        raise RequestError(f"{name} is a number of tokens, 0 to {MAX_TOKENS}; found {found}", field=name)
    return tokens
