"""Tiers are read as written, and each way to write them wrong has its message."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router import ConfigError
from router.tiers import MAX_TOKENS, Ladder, LongContext, Tier, parse_tiers, read_tiers

GOOD: dict[str, Any] = {
    "name": "small",
    "model": "tiny",
    "input_usd_per_mtok": 0.18,
    "output_usd_per_mtok": 0.2,
}
OTHER: dict[str, Any] = {**GOOD, "name": "large", "model": "giant"}

TOML = """\
pass_score = 0.7
[[tier]]
name = "small"
model = "tiny"
input_usd_per_mtok = 0.18
output_usd_per_mtok = 1
cached_input_usd_per_mtok = 0.02
context_window = 128000
capabilities = ["tools", "vision"]
[[tier.long_context]]
above_tokens = 32000
input_usd_per_mtok = 0.36
output_usd_per_mtok = 2
[[tier.long_context]]
above_tokens = 64000
input_usd_per_mtok = 0.5
output_usd_per_mtok = 2.5
cached_input_usd_per_mtok = 0.05
[[tier]]
name = "large"
models = ["giant", "titan"]
input_usd_per_mtok = 3.0
output_usd_per_mtok = 15.0
"""
LONGER = (LongContext(32000, 0.36, 2.0), LongContext(64000, 0.5, 2.5, 0.05))
LONG: dict[str, Any] = {"above_tokens": 200_000, "input_usd_per_mtok": 0.36, "output_usd_per_mtok": 0.3}


def without(key: str) -> dict[str, Any]:
    return {k: v for k, v in GOOD.items() if k != key}


def refuse(document: Any, *words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_tiers(document, "my tiers")
    assert [] == [word for word in ("my tiers", *words) if word not in str(caught.value)]


def test_a_file_is_read_as_written(tmp_path: Path) -> None:
    (tmp_path / "tiers.toml").write_text(TOML, encoding="utf-8")
    small = Tier("small", ("tiny",), 0.18, 1.0, 0.02, 128000, ("tools", "vision"), LONGER)
    large = Tier("large", ("giant", "titan"), 3.0, 15.0)
    ladder = read_tiers(tmp_path / "tiers.toml")
    assert Ladder((small, large), 0.7) == ladder
    assert (("small", "large"), 2, "giant") == (ladder.names, len(ladder), large.model)
    assert ladder == read_tiers(str(tmp_path / "tiers.toml"))


def test_the_pass_score_is_a_half_unless_said() -> None:
    assert 0.5 == parse_tiers({"tier": [GOOD]}).pass_score
    assert 1.0 == parse_tiers({"tier": [GOOD], "pass_score": 1}).pass_score


PRICES = st.floats(0.0, 1e6)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
LONG_CONTEXTS = st.lists(
    st.builds(
        LongContext,
        above_tokens=st.integers(1, MAX_TOKENS),
        input_usd_per_mtok=PRICES,
        output_usd_per_mtok=st.floats(0.01, 1e6),
        cached_input_usd_per_mtok=st.none() | PRICES,
    ),
    max_size=3,
    unique_by=lambda longer: longer.above_tokens,
).map(lambda tables: tuple(sorted(tables, key=lambda longer: longer.above_tokens)))
TIERS = st.builds(
    Tier,
    name=NAMES,
    models=st.lists(NAMES, min_size=1, max_size=3, unique=True).map(tuple),
    input_usd_per_mtok=PRICES,
    output_usd_per_mtok=PRICES,
    cached_input_usd_per_mtok=st.none() | PRICES,
    context_window=st.none() | st.integers(1, 10**7),
    capabilities=st.none() | st.lists(st.sampled_from(["tools", "vision", "json"]), unique=True).map(tuple),
) | st.builds(
    Tier,
    name=NAMES,
    models=NAMES.map(lambda name: (name,)),
    input_usd_per_mtok=PRICES,
    output_usd_per_mtok=st.floats(0.01, 1e6),
    long_context=LONG_CONTEXTS,
)


@given(
    st.lists(TIERS, min_size=1, max_size=5, unique_by=(lambda t: t.name, lambda t: t.models[0])),
    st.floats(0.0, 1.0, exclude_min=True),
)
def test_a_ladder_survives_the_round_trip(tiers: list[Tier], pass_score: float) -> None:
    tiers = sorted(tiers, key=lambda tier: (tier.input_usd_per_mtok, tier.output_usd_per_mtok))
    models = [model for tier in tiers for model in tier.models]
    if len(set(models)) < len(models):
        tiers = tiers[:1]
    ladder = Ladder(tuple(tiers), pass_score)
    assert ladder == parse_tiers(ladder.to_dict())


def test_the_toml_survives_the_round_trip() -> None:
    document = tomllib.loads(TOML)
    assert parse_tiers(document) == parse_tiers(parse_tiers(document).to_dict())


@pytest.mark.parametrize("entries", [None, [], {}, "small", {"name": "small"}, 3])
def test_no_tiers_at_all(entries: Any) -> None:
    refuse({"tier": entries}, "at least one [[tier]]", "cheapest first")


def test_unknown_keys_are_errors() -> None:
    refuse({"tier": [GOOD], "pass_scor": 0.5}, "unknown key pass_scor", "known keys: pass_score, tier")
    refuse({"tier": [GOOD | {"price": 1}]}, "tier 1", "unknown key price", "input_usd_per_mtok")
    refuse({}, "at least one [[tier]]")


@pytest.mark.parametrize("entry", [None, "small", 1, [GOOD]])
def test_a_tier_is_a_table(entry: Any) -> None:
    refuse({"tier": [OTHER, entry]}, "tier 2", "expected a [[tier]] table")


@pytest.mark.parametrize("name", ["", "  ", None, 3, ["small"]])
def test_a_tier_has_a_name(name: Any) -> None:
    refuse({"tier": [GOOD | {"name": name}]}, "tier 1", "expected a name")
    refuse({"tier": [without("name")]}, "tier 1", "expected a name")


def test_a_tier_has_one_of_model_and_models() -> None:
    refuse({"tier": [without("model")]}, "tier 1 (small)", "one of model and models")
    refuse({"tier": [GOOD | {"models": ["x"]}]}, "tier 1 (small)", "one of model and models")
    refuse({"tier": [without("model") | {"models": []}]}, "models is empty")


@pytest.mark.parametrize("models", ["tiny", [1], [""], [None], {"a": 1}, 3, None])
def test_models_is_a_list_of_names(models: Any) -> None:
    refuse({"tier": [without("model") | {"models": models}]}, "(small)", "models is a list of names")


@pytest.mark.parametrize("model", ["", 3, None, ["tiny"]])
def test_model_is_a_name(model: Any) -> None:
    refuse({"tier": [GOOD | {"model": model}]}, "(small)", "models is a list of names")


@pytest.mark.parametrize("key", ["input_usd_per_mtok", "output_usd_per_mtok", "cached_input_usd_per_mtok"])
@pytest.mark.parametrize("value", [-0.01, math.nan, math.inf, -math.inf, True, "0.1", [1], 10**400], ids=repr)
def test_a_price_is_a_finite_number(key: str, value: Any) -> None:
    refuse({"tier": [GOOD | {key: value}]}, "(small)", f"{key} is a number, 0.0 or more")


@pytest.mark.parametrize("key", ["input_usd_per_mtok", "output_usd_per_mtok"])
def test_prices_are_required(key: str) -> None:
    refuse({"tier": [without(key)]}, "(small)", f"{key} is missing")


@pytest.mark.parametrize("value", [0, 0.0, -1, 1.01, math.nan, math.inf, True, "0.5", None, [0.5]], ids=repr)
def test_a_pass_score_is_above_zero_and_at_most_one(value: Any) -> None:
    refuse({"tier": [GOOD], "pass_score": value}, "pass_score", "above 0.0, at most 1.0")


@pytest.mark.parametrize("value", [0, -1, 1.5, 8000.0, True, "8000", [8000]], ids=repr)
def test_a_context_window_counts_tokens(value: Any) -> None:
    refuse({"tier": [GOOD | {"context_window": value}]}, "(small)", "context_window is a number of tokens")


@pytest.mark.parametrize("value", ["tools", [1], [""], {"tools": True}, 3, True], ids=repr)
def test_capabilities_are_names(value: Any) -> None:
    refuse({"tier": [GOOD | {"capabilities": value}]}, "(small)", "capabilities is a list of names")


def test_no_capabilities_is_not_unknown_capabilities() -> None:
    assert () == parse_tiers({"tier": [GOOD | {"capabilities": []}]}).tiers[0].capabilities
    assert None is parse_tiers({"tier": [GOOD]}).tiers[0].capabilities


@pytest.mark.parametrize("value", [{}, "long", 3, [1], [[LONG]], {"above_tokens": 1}, None], ids=repr)
def test_long_contexts_are_tables(value: Any) -> None:
    refuse({"tier": [GOOD | {"long_context": value}]}, "tier 1 (small)", "[[tier.long_context]] tables")


def test_a_long_context_has_known_keys_only() -> None:
    refuse(
        {"tier": [GOOD | {"long_context": [LONG | {"context_window": 9}]}]},
        "tier 1 (small), long_context 1: unknown key context_window",
        "known keys: above_tokens, input_usd_per_mtok",
    )


@pytest.mark.parametrize("value", [0, -1, 1.5, 2e5, True, "200000", [8], None, MAX_TOKENS + 1], ids=repr)
def test_a_long_context_begins_above_a_number_of_tokens(value: Any) -> None:
    refuse(
        {"tier": [OTHER, GOOD | {"long_context": [LONG | {"above_tokens": value}]}]},
        "tier 2 (small), long_context 1",
        f"above_tokens is a number of tokens, 1 to {MAX_TOKENS}; found {value!r}",
    )
    missing = {key: value for key, value in LONG.items() if key != "above_tokens"}
    refuse({"tier": [GOOD | {"long_context": [missing]}]}, "long_context 1: above_tokens is a number")


@pytest.mark.parametrize("next_start", [1, 199_999, 200_000])
def test_long_contexts_stand_in_ascending_order(next_start: int) -> None:
    refuse(
        {"tier": [GOOD | {"long_context": [LONG, LONG | {"above_tokens": next_start}]}]},
        "long_context 2",
        f"ascending order, more than 200000; found {next_start}",
    )


@pytest.mark.parametrize("key", ["input_usd_per_mtok", "output_usd_per_mtok", "cached_input_usd_per_mtok"])
@pytest.mark.parametrize("value", [-0.01, math.nan, math.inf, True, "0.1", [1]], ids=repr)
def test_a_price_of_a_long_context_is_a_finite_number(key: str, value: Any) -> None:
    refuse({"tier": [GOOD | {"long_context": [LONG | {key: value}]}]}, "long_context 1", f"{key} is a number")


@pytest.mark.parametrize("key", ["input_usd_per_mtok", "output_usd_per_mtok"])
def test_prices_of_a_long_context_are_required(key: str) -> None:
    missing = {name: value for name, value in LONG.items() if name != key}
    refuse({"tier": [GOOD | {"long_context": [missing]}]}, "long_context 1", f"{key} is missing")


@pytest.mark.parametrize(("own", "longer"), [(0.0, 0.3), (0.3, 0.0)])
def test_answers_are_free_at_every_length_or_at_none(own: float, longer: float) -> None:
    document = GOOD | {"output_usd_per_mtok": own, "long_context": [LONG | {"output_usd_per_mtok": longer}]}
    refuse({"tier": [document]}, "long_context 1", "or in neither", f"found {own} and {longer}")
    free = GOOD | {"output_usd_per_mtok": 0.0, "long_context": [LONG | {"output_usd_per_mtok": 0}]}
    assert 0.0 == parse_tiers({"tier": [free]}).tiers[0].long_context[0].output_usd_per_mtok


def test_names_and_models_stand_once() -> None:
    refuse({"tier": [GOOD, OTHER | {"name": "small"}]}, "each name", "found twice: small")
    refuse({"tier": [GOOD, OTHER | {"model": "tiny"}]}, "each model", "found twice: tiny")
    refuse({"tier": [without("model") | {"models": ["a", "a"]}]}, "each model", "found twice: a")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["cannot be read", "No such file", "check the path"]),
        (b'pass_score = 0.5\n[[tier]]\nname = "sm\xe4ll"', ["expected UTF-8", "byte 36", "save it as UTF-8"]),
        (b"\xff\xfe[\x00", ["expected UTF-8", "byte 0"]),
        (b"[[tier]\nname = 1", ["not valid TOML", "line 1"]),
        (b'[[tier]]\nname = "a"\nname = "b"', ["not valid TOML"]),
        (b"pass_score = " + b"9" * 5000, ["not valid TOML"]),
        (b"", ["at least one [[tier]]"]),
        (b"tier = 3", ["at least one [[tier]]"]),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, content: bytes | None, words: list[str]) -> None:
    path = tmp_path / "tiers.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_tiers(path)
    assert [] == [word for word in (str(path), *words) if word not in str(caught.value)]


def test_a_folder_is_no_tiers_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_tiers(tmp_path)


def test_costs_by_hand() -> None:
    tier = Tier("t", ("m",), 2.0, 10.0)
    assert pytest.approx(1000 * 2e-6 + 50 * 10e-6) == tier.cost_usd(1000, 50)
    assert (0.0, 2.0) == (tier.cost_usd(0, 0), tier.cost_usd(1e6, 0))


def test_cached_tokens_by_hand() -> None:
    tier = Tier("t", ("m",), 2.0, 10.0, cached_input_usd_per_mtok=0.5)
    assert pytest.approx(400 * 2e-6 + 600 * 0.5e-6 + 50 * 10e-6) == tier.cost_usd(1000, 50, 600)
    assert pytest.approx(1000 * 0.5e-6) == tier.cost_usd(1000, 0, 1000) == tier.cost_usd(1000, 0, 9999)
    free = Tier("t", ("m",), 2.0, 10.0, cached_input_usd_per_mtok=0.0)
    assert 0.0 == free.cost_usd(1000, 0, 1000)
    unsaid = Tier("t", ("m",), 2.0, 10.0)
    assert unsaid.cost_usd(1000, 50) == unsaid.cost_usd(1000, 50, 600)


def test_a_long_context_is_priced_as_a_whole() -> None:
    """Gemini 2.5 Pro: 1.25, 10 and .125 up to 200,000 tokens of input, twice, 1.5 times and twice that above."""
    longer = LongContext(200_000, 2.5, 15.0, 0.25)
    tier = Tier("pro", ("gemini-2.5-pro",), 1.25, 10.0, 0.125, long_context=(longer,))
    assert pytest.approx(0.25 + 0.01) == tier.cost_usd(200_000, 1000)
    assert pytest.approx(200_001 * 2.5e-6 + 0.015) == tier.cost_usd(200_001, 1000)
    assert pytest.approx(0.1 * 1.25 + 0.1 * 0.125 + 0.01) == tier.cost_usd(200_000, 1000, 100_000)
    assert pytest.approx(0.2 * 2.5 + 0.2 * 0.25 + 0.015) == tier.cost_usd(400_000, 1000, 200_000)
    # Without a cached price of its own, a long context's cached tokens cost what its others do.
    bare = Tier("pro", ("m",), 1.25, 10.0, 0.125, long_context=(LongContext(200_000, 2.5, 15.0),))
    assert pytest.approx(0.4 * 2.5 + 0.015) == bare.cost_usd(400_000, 1000, 200_000)


def test_the_longest_context_reached_counts() -> None:
    tier = Tier("t", ("m",), 1.0, 1.0, long_context=(LongContext(10, 2.0, 1.0), LongContext(20, 4.0, 1.0)))
    found = [tier.cost_usd(n, 0) * 1e6 for n in (10, 11, 20, 21, 1000)]
    assert pytest.approx([10, 22, 40, 84, 4000]) == found
    assert [0, 10, 20] == [price.above_tokens for price in tier.prices]


def test_a_tier_dearer_in_both_prices_may_not_stand_first() -> None:
    dear = {**GOOD, "name": "dear", "model": "d", "input_usd_per_mtok": 9.0, "output_usd_per_mtok": 9.0}
    with pytest.raises(ConfigError, match="dear stands before small and is dearer in both prices"):
        parse_tiers({"tier": [dear, {**GOOD, "name": "small"}]})
    crossed = {**dear, "output_usd_per_mtok": 0.0}
    assert ("dear", "small") == parse_tiers({"tier": [crossed, {**GOOD, "name": "small"}]}).names
