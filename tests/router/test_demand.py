"""What a call needs beyond its prompt: said by arguments it is the same as shown by messages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router import RequestError
from router.demand import MAX_TOKENS, Demand, read_demand
from router.prompt import PromptView, read_prompt

VIEW = read_prompt("hello")
PRIVATE = "confidential zebra"
TOOL = {"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}


def test_nothing_said_is_nothing_needed() -> None:
    assert read_demand(VIEW) is None
    assert read_demand(VIEW, (), (), None) is None
    assert read_demand(VIEW, [], []) is None


def test_zero_tokens_are_said() -> None:
    assert Demand(0, frozenset()) == read_demand(VIEW, context_tokens=0)


@pytest.mark.parametrize(
    "needs",
    [
        ["json", "vision"],
        ("vision", "json"),
        {"json", "vision"},
        {"json": 1, "vision": 2},
        ["json", "vision", "json"],
    ],
)
def test_needs_are_any_iterable_of_names(needs: Any) -> None:
    assert Demand(5, frozenset({"json", "vision"})) == read_demand(VIEW, needs)


def test_needs_are_read_once() -> None:
    assert Demand(5, frozenset({"json"})) == read_demand(VIEW, (name for name in ["json"]))
    assert Demand(5, frozenset()) == read_demand(VIEW, (name for name in ()))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@given(tools=st.lists(st.dictionaries(st.text(max_size=9), JSON_VALUES, max_size=3), min_size=1, max_size=4))
def test_tools_need_tools_and_cost_their_length(tools: list[dict[str, Any]]) -> None:
    """In characters of what goes over the wire without spaces, each definition and what stands between them."""
    demand = read_demand(VIEW, tools=tools)
    assert demand is not None
    assert frozenset({"tools"}) == demand.needs
    lengths = [len(json.dumps(tool, ensure_ascii=False, separators=(",", ":"))) for tool in tools]
    assert VIEW.n_chars + sum(lengths) + len(tools) + 1 == demand.n_chars
    assert demand == read_demand(VIEW, tools=tuple(tools)) == read_demand(VIEW, ["tools"], tools)


@given(tokens=st.integers(0, MAX_TOKENS), tools=st.sampled_from([(), (TOOL,)]))
def test_tokens_are_of_the_whole_input(tokens: int, tools: Any) -> None:
    demand = read_demand(VIEW, tools=tools, context_tokens=tokens)
    assert demand is not None
    assert 4 * tokens == demand.n_chars
    assert demand == read_demand(PromptView("", 10**9), tools=tools, context_tokens=tokens)


def test_cached_tokens_are_some_of_the_input() -> None:
    view = read_prompt("x" * 400)
    assert Demand(400, frozenset(), 60) == read_demand(view, cached_tokens=60)
    assert Demand(400, frozenset(), 0) == read_demand(view, cached_tokens=0)
    assert Demand(400, frozenset(), 100) == read_demand(view, cached_tokens=100)
    assert Demand(4000, frozenset({"json"}), 1000) == read_demand(view, ["json"], (), 1000, 1000)
    assert 0 == Demand(400, frozenset()).cached_tokens


@given(cached=st.integers(0, MAX_TOKENS), length=st.integers(0, 10**6))
def test_more_than_was_counted_is_all_that_was_counted(cached: int, length: int) -> None:
    demand = read_demand(PromptView("", length), cached_tokens=cached)
    assert demand is not None
    assert (length, min(cached, length / 4)) == (demand.n_chars, demand.cached_tokens)


@given(cached=st.integers(0, MAX_TOKENS), tokens=st.integers(0, MAX_TOKENS))
def test_more_than_the_whole_input_is_a_contradiction(cached: int, tokens: int) -> None:
    if cached <= tokens:
        assert Demand(4 * tokens, frozenset(), cached) == read_demand(VIEW, (), (), tokens, cached)
        return
    with pytest.raises(RequestError, match=r"^cached_tokens is .* context_tokens, at most ") as caught:
        read_demand(VIEW, (), (), tokens, cached)
    assert "cached_tokens" == caught.value.field
    assert str(caught.value).endswith(f"at most {tokens}; found {cached}")


def test_definitions_of_tools_can_be_cached() -> None:
    plain, demand = read_demand(VIEW, (), [TOOL]), read_demand(VIEW, (), [TOOL], None, 10**6)
    assert plain is not None
    assert demand is not None
    assert plain.n_chars / 4 == demand.cached_tokens > VIEW.n_chars / 4


@pytest.mark.parametrize("tokens", [np.int64(7), np.int32(7), np.uint8(7)])
def test_numpys_whole_numbers_are_numbers(tokens: Any) -> None:
    demand = read_demand(VIEW, context_tokens=tokens)
    assert Demand(28, frozenset()) == demand
    assert isinstance(demand, Demand)
    assert float is type(demand.n_chars)  # and none of numpy's, which JSON does not know
    cached = read_demand(VIEW, context_tokens=tokens, cached_tokens=tokens)
    assert Demand(28, frozenset(), 7) == cached
    assert isinstance(cached, Demand)
    assert type(cached.cached_tokens) in (int, float)


class Frozen(Mapping[str, Any]):
    """A mapping that json does not know."""

    def __getitem__(self, name: str) -> Any:
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 1


deep: list[Any] = []
for _ in range(100_000):
    deep = [deep]
circular: dict[str, Any] = {}
circular["self"] = circular


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("needs", "json"),
        ("needs", PRIVATE),
        ("needs", 5),
        ("needs", [5]),
        ("needs", ["json", None]),
        ("needs", [b"json"]),
        ("tools", PRIVATE),
        ("tools", b"tools"),
        ("tools", 5),
        ("tools", TOOL),  # one, and not a list of one
        ("tools", {TOOL["type"]: TOOL}),
        ("tools", [PRIVATE]),
        ("tools", [TOOL, None]),
        ("tools", [[]]),
        ("tools", [{"a": object()}]),
        ("tools", [{(1, 2): 3}]),
        ("tools", [circular]),
        ("tools", [{"a": deep}]),
        ("tools", [Frozen()]),
        ("tools", iter([TOOL])),
        ("context_tokens", -1),
        ("context_tokens", MAX_TOKENS + 1),
        ("context_tokens", 10**5000),
        ("context_tokens", -(10**5000)),
        ("context_tokens", 1.0),
        ("context_tokens", True),
        ("context_tokens", "5"),
        ("context_tokens", PRIVATE),
        ("context_tokens", float("nan")),
        ("context_tokens", [1]),
        ("cached_tokens", -1),
        ("cached_tokens", MAX_TOKENS + 1),
        ("cached_tokens", 10**5000),
        ("cached_tokens", 1.0),
        ("cached_tokens", True),
        ("cached_tokens", PRIVATE),
        ("cached_tokens", float("nan")),
        ("cached_tokens", [1]),
    ],
    ids=lambda value: str(type(value)) if not isinstance(value, str) else value,
)
def test_what_is_of_another_form_is_refused_by_its_name(field: str, value: Any) -> None:
    with pytest.raises(RequestError, match=f"^{field} is ") as caught:
        read_demand(VIEW, **{field: value})
    assert (field, 422) == (caught.value.field, caught.value.http_status)
    assert PRIVATE not in str(caught.value)
    assert len(str(caught.value)) < 120


def test_a_number_out_of_range_is_repeated_if_it_is_short() -> None:
    for value in (-5, MAX_TOKENS + 1):
        with pytest.raises(RequestError, match=f"found {value}$"):
            read_demand(VIEW, context_tokens=value)
        with pytest.raises(RequestError, match=f"^cached_tokens .*found {value}$"):
            read_demand(VIEW, cached_tokens=value)
