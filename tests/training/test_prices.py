"""Prices come from the package's own list, agree with what the package charges, and nothing is written unasked."""

from __future__ import annotations

import json
import socket
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from genai_prices import Usage, calc_price
from hypothesis import given
from hypothesis import strategies as st

from router import ConfigError
from router.tiers import Ladder, LongContext, Tier, parse_tiers, read_tiers
from training.__main__ import main
from training.price_list import Listing, Unlisted, find_price, package_version
from training.prices import price_ladder, prices, render_tiers

AT = datetime(2026, 6, 1, tzinfo=UTC)

TOML = """\
# Where these are from is written here.
pass_score = 0.7

[[tier]]
name = "small"
models = ["GPT-4o-mini-2024-07-18", "other-model"]
input_usd_per_mtok = 9.0
output_usd_per_mtok = 9.0
context_window = 1000 # ours

[[tier]]
name = "large"
model = "google/gemini-2.5-pro"
input_usd_per_mtok = 10.0
output_usd_per_mtok = 10.0
cached_input_usd_per_mtok = 10.0
capabilities = ["tools"]
"""


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("nothing here may open a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def tiers(tmp_path: Path) -> Path:
    path = tmp_path / "tiers.toml"
    path.write_text(TOML, encoding="utf-8")
    return path


def listed(model: str, provider: str | None = None) -> Listing:
    found = find_price(model, AT, provider)
    assert isinstance(found, Listing), found
    return found


def unlisted(model: str, provider: str | None = None) -> Unlisted:
    found = find_price(model, AT, provider)
    assert isinstance(found, Unlisted), found
    return found


# What the list says


def test_a_price_by_hand() -> None:
    found = listed("gpt-4o")
    assert ("openai", "gpt-4o", 2.5, 10.0, 1.25, ()) == (found.provider, found.model, *found.prices)
    assert 128_000 == found.context_window


def test_a_long_context_by_hand() -> None:
    longer = LongContext(200_000, 2.5, 15.0, 0.25)
    assert (1.25, 10.0, 0.125, (longer,)) == listed("gemini-2.5-pro").prices


def test_prices_that_no_input_can_reach_are_left_out() -> None:
    """Those of Claude Sonnet 4.5 above 200,000 tokens are of a time when it took more than that."""
    found = listed("claude-sonnet-4-5")
    assert (200_000, ()) == (found.context_window, found.long_context)


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("gpt-4o", "openai"),
        ("gpt-4-1106-preview", "openai"),
        ("gemini-2.5-pro", "google"),
        ("claude-3-5-haiku-20241022", "anthropic"),
        ("mistral-large-latest", "mistral"),
    ],
)
@pytest.mark.parametrize("tokens", [(1000, 0, 100), (1000, 700, 0), (120_000, 0, 500), (400_000, 100_000, 9)])
def test_a_tier_charges_what_the_package_does(
    model: str, provider: str, tokens: tuple[int, int, int]
) -> None:
    n_in, cached, n_out = tokens
    found = listed(model)
    tier = Tier("t", (model,), *found.prices[:3], long_context=found.long_context)  # type: ignore[arg-type]
    if found.cached_input_usd_per_mtok is None or n_in > (found.context_window or n_in):
        cached, n_in = 0, min(n_in, found.context_window or n_in)
    usage = Usage(input_tokens=n_in, cache_read_tokens=cached, output_tokens=n_out)
    expected = calc_price(usage, model, provider_id=provider, genai_request_timestamp=AT)
    assert pytest.approx(float(expected.total_price)) == tier.cost_usd(n_in, n_out, cached)


def test_a_price_that_changes_with_the_hour_is_that_of_most_hours() -> None:
    """A model's ordinary price holds for fewer hours than the one for 00:30 to 16:30, whatever the hour of asking."""
    found = {
        find_price("deepseek-reasoner", datetime(2026, 6, 1, hour, 45, tzinfo=UTC)) for hour in range(24)
    }
    assert 1 == len(found)


# How a model is found


@pytest.mark.parametrize(
    "name",
    ["GPT-4o", " gpt-4o ", "openai/gpt-4o", "OpenAI/GPT-4o", "gpt-4o-2024-08-06", "openai/gpt-4o-2024-08-06"],
)
def test_names_are_forgiven_their_spelling(name: str) -> None:
    assert listed("gpt-4o") == listed(name)


def test_a_provider_is_named_in_the_name_or_beside_it() -> None:
    beside, within = listed("gemini-2.5-pro", "openrouter"), listed("openrouter/google/gemini-2.5-pro")
    assert beside == within
    assert ("openrouter", "google/gemini-2.5-pro") == (within.provider, within.model)
    assert "google" == listed("google/gemini-2.5-pro").provider
    assert listed("gpt-4o") == listed("openai/gpt-4o", "openai") == listed("gpt-4o", "OpenAI")


def test_a_model_of_many_providers_needs_one_named() -> None:
    name = "meta-llama/llama-3.3-70b-instruct"
    found = unlisted(name)
    assert "at different prices" in found.reason
    assert len(found.close) > 2
    for close in found.close:
        provider, _, model = close.partition("/")
        assert (provider, model) == (listed(close).provider, listed(close).model)
    assert (
        "groq" == listed("meta-llama/Llama-3.3-70B-Instruct", "huggingface_groq").provider.rpartition("_")[2]
    )


def test_another_makers_model_of_the_same_name_is_another() -> None:
    assert "no provider has a model" in unlisted("nobody/llama-3.3-70b-instruct").reason


def test_what_is_not_found_is_told_what_is_near() -> None:
    assert "openai/gpt-4o-mini" in unlisted("gpt4o-mini").close
    assert () == unlisted("zzzzzzzz").close
    close = unlisted("llama-3.3-70b", "groq").close
    assert close
    assert all(name.startswith("groq/") for name in close)  # where one provider is asked for, there


def test_a_model_without_a_price_per_token_is_not_free() -> None:
    assert "has no price per token" in unlisted("whisper-1").reason


def test_an_unknown_provider_is_refused_with_those_known() -> None:
    with pytest.raises(ConfigError, match=r"no prices of provider 'opeai'; known are .*openai"):
        find_price("gpt-4o", AT, "opeai")


# What becomes of a ladder


def test_a_ladder_is_filled_in(tiers: Path) -> None:
    ladder, found = price_ladder(read_tiers(tiers), AT)
    small, large = ladder.tiers
    assert (0.15, 0.6, 0.075) == (
        small.input_usd_per_mtok,
        small.output_usd_per_mtok,
        small.cached_input_usd_per_mtok,
    )
    assert (1.25, 10.0, 0.125, (LongContext(200_000, 2.5, 15.0, 0.25),)) == (
        large.input_usd_per_mtok,
        large.output_usd_per_mtok,
        large.cached_input_usd_per_mtok,
        large.long_context,
    )
    assert (("GPT-4o-mini-2024-07-18", "other-model"), ("tools",)) == (small.models, large.capabilities)
    assert (0.7, ["small", "large"]) == (ladder.pass_score, list(found))


def test_what_is_known_better_stays() -> None:
    mine = Tier("t", ("gpt-4-turbo",), 1.0, 2.0, 0.5, 4000, long_context=(LongContext(9, 3.0, 3.0),))
    (found,) = price_ladder(Ladder((mine,)), AT)[0].tiers
    assert (10.0, 30.0) == (found.input_usd_per_mtok, found.output_usd_per_mtok)
    assert (0.5, 4000) == (found.cached_input_usd_per_mtok, found.context_window)
    assert () == found.long_context  # the list knows this one's prices, and that they are flat


def test_a_tier_that_is_not_found_stays_as_it_is() -> None:
    mine = Tier("t", ("no such model",), 1.0, 2.0, 0.5, 4000, ("json",), (LongContext(9, 3.0, 3.0),))
    other = Tier("u", ("gpt-4o",), 1.0, 2.0)
    ladder, found = price_ladder(Ladder((mine, other)), AT)
    assert mine == ladder.tiers[0]
    assert [Unlisted, Listing] == [type(each) for each in found.values()]


def test_a_tiers_model_can_be_called_by_another_name() -> None:
    ladder = Ladder((Tier("t", ("our-deployment",), 1.0, 2.0),))
    found = price_ladder(ladder, AT, models={"t": "openai/gpt-4o"})[0].tiers[0]
    assert (("our-deployment",), 2.5) == (found.models, found.input_usd_per_mtok)
    with pytest.raises(ConfigError, match="no tier tt; the tiers are t"):
        price_ladder(ladder, AT, models={"tt": "gpt-4o"})


# TOML

PRICES = st.floats(0.01, 1e300)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@given(
    name=NAMES,
    models=st.lists(NAMES, min_size=1, max_size=3, unique=True),
    numbers=st.lists(PRICES, min_size=8, max_size=8),
    window=st.none() | st.integers(1, 2**60),
    capabilities=st.none() | st.lists(NAMES, max_size=2),
    starts=st.sets(st.integers(1, 10**12), max_size=2),
)
def test_what_is_rendered_is_read_as_the_same(
    name: str,
    models: list[str],
    numbers: list[float],
    window: int | None,
    capabilities: list[str] | None,
    starts: set[int],
) -> None:
    longer = tuple(LongContext(start, *numbers[:3]) for start in sorted(starts))
    named = None if capabilities is None else tuple(capabilities)
    tier = Tier(name, tuple(models), *numbers[3:6], window, named, longer)
    bare = Tier(name + "2", (models[0] + "!2" * 9,), 1e301, 1e301, long_context=longer[:1])
    ladder = Ladder((tier, bare), 0.25)
    assert ladder == parse_tiers(tomllib.loads(render_tiers(ladder)))


def test_characters_that_toml_has_to_escape_are() -> None:
    ladder = Ladder((Tier('a"\\\n\x7f\x00é😀', ("m",), 1e-7, 5e-324),))
    assert ladder == parse_tiers(tomllib.loads(render_tiers(ladder)))


# The command


def test_by_default_nothing_is_written(
    tiers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == main(["prices", "--tiers", str(tiers)])
    captured = capsys.readouterr()
    assert TOML == tiers.read_text(encoding="utf-8")
    assert [tiers] == list(tmp_path.iterdir())
    (line,) = captured.out.splitlines()
    document = json.loads(line)
    assert (None, ["small", "large"], {}) == (document["out"], document["changed"], document["missing"])
    assert {"provider": "openai", "model": "gpt-4o-mini"} == document["found"]["small"]
    assert f"genai-prices {package_version()}" == document["source"]
    shown = captured.err.splitlines()
    assert (
        "small (GPT-4o-mini-2024-07-18): openai/gpt-4o-mini; its context window there is 128000, and stays 1000"
        in shown
    )
    assert {"-input_usd_per_mtok = 9.0", "+input_usd_per_mtok = 0.15", "+[[tier.long_context]]"} <= set(shown)


def test_a_new_file_is_written_where_it_is_asked_for(tiers: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "priced.toml"
    document = prices(tiers, out, at=AT)
    expected, _ = price_ladder(read_tiers(tiers), AT)
    assert expected == read_tiers(out) == parse_tiers(document["ladder"])
    assert TOML == tiers.read_text(encoding="utf-8")
    assert [out] == list(out.parent.iterdir())
    header, _, _ = out.read_text(encoding="utf-8").partition("\n")
    assert f"# Prices: genai-prices {package_version()}, as of 2026-06-01." == header
    again = prices(out, tiers, at=AT)  # an older file is replaced
    assert ([], expected) == (again["changed"], read_tiers(tiers))


def test_the_tiers_file_is_not_written_over(tiers: Path, tmp_path: Path) -> None:
    for out in (tiers, tmp_path / "new" / ".." / tiers.name):
        with pytest.raises(ConfigError, match="is the tiers file itself, whose comments would be lost"):
            prices(tiers, out)
    assert TOML == tiers.read_text(encoding="utf-8")


def test_a_tier_that_is_not_found_is_listed(tiers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiers.write_text(TOML.replace("GPT-4o-mini-2024-07-18", "gpt4o-mini"), encoding="utf-8")
    document = prices(tiers, at=AT)
    assert ["large"] == list(document["found"])
    assert "openai/gpt-4o-mini" in document["missing"]["small"]["close"]
    assert "small (gpt4o-mini): left as it is, no provider has a model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["--provider", "groq"],
            ["no prices in genai-prices", "small (GPT-4o-mini-2024-07-18): groq has no model"],
        ),
        (["--provider", "opeai"], ["no prices of provider 'opeai'"]),
        (["--model", "large"], ["--model is TIER=MODEL", "found 'large'"]),
        (["--model", "=gpt-4o"], ["--model is TIER=MODEL"]),
        (["--model", "huge=gpt-4o"], ["no tier huge; the tiers are small, large"]),
        (
            ["--model", "small=openai/gpt-4"],
            ["small stands before large and is dearer in both prices; reorder"],
        ),
    ],
)
def test_what_is_refused_is_3_and_writes_nothing(
    tiers: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: list[str]
) -> None:
    out = tiers.with_name("out.toml")
    assert 3 == main(["prices", "--tiers", str(tiers), "--out", str(out), *options])
    captured = capsys.readouterr()
    assert "" == captured.out
    assert [] == [word for word in words if word not in captured.err.splitlines()[-1]]
    assert not out.exists()


def test_where_no_model_is_found_near_ones_are_named(tiers: Path) -> None:
    tiers.write_text(
        '[[tier]]\nname = "t"\nmodel = "gpt4o-mini"\ninput_usd_per_mtok = 1\noutput_usd_per_mtok = 1\n'
    )
    with pytest.raises(
        ConfigError, match=r"t \(gpt4o-mini\): no provider has .*; there are .*openai/gpt-4o-mini"
    ):
        prices(tiers)


def test_a_place_that_cannot_be_written_is_refused(tiers: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        prices(tiers, tiers / "below" / "out.toml", at=AT)
    tiers.with_name("folder").mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        prices(tiers, tiers.with_name("folder"), at=AT)
    assert ["folder", "tiers.toml"] == sorted(path.name for path in tiers.parent.iterdir())


def test_without_the_package_its_extra_is_named(
    tiers: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("training.prices", "training.price_list"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "genai_prices", None)  # type: ignore[arg-type]
    assert 3 == main(["prices", "--tiers", str(tiers)])
    expected = "error: prices needs genai_prices, which is not installed: pip install 'tierwise[prices]'\n"
    assert ("", expected) == tuple(capsys.readouterr())
