"""training/recipes/weekly.toml names every key there is, and the defaults in it are the real ones."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from toys import ROOT

from training.pipeline.config import parse_settings
from training.pipeline.settings import Files, Promotion, Query, Settings

RECIPE = ROOT / "training" / "recipes" / "weekly.toml"
TEXT = RECIPE.read_text(encoding="utf-8")
ASSIGNED = re.compile(r"^(?:# )?(\w+ = .*? # .*|\[\w+\].*)$", re.M)
TABLES = {"history": "[history]", "promotion": "[promotion]"}


def uncommented(*, example: bool) -> dict[str, Any]:
    """Return the recipe with its defaults, or with its examples, in force; a table's head stands with what is under it."""
    lines = [
        line for line in ASSIGNED.findall(TEXT) if ("# example" in line) == example or line.startswith("[")
    ]
    if example:
        lines = [line for line in lines if not line.startswith("history = ")]
    else:
        lines = [line for line in lines if line.split(" #")[0] != TABLES["history"]]
    return tomllib.loads("\n".join(lines))


DEFAULTS, EXAMPLES = uncommented(example=False), uncommented(example=True)


def test_as_it_stands_it_reads_the_demo() -> None:
    settings = parse_settings(tomllib.loads(TEXT))
    assert Files(("demo/history.parquet",)) == settings.history
    assert Path("demo/tiers.toml") == settings.tiers
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "--history demo/history.parquet --tiers demo/tiers.toml" in makefile


def test_every_key_is_there_with_a_comment() -> None:
    assert {each.name for each in fields(Settings)} == {*DEFAULTS, *EXAMPLES}
    assert {each.name for each in fields(Promotion)} == set(DEFAULTS["promotion"])
    assert {"url_env", "query"} == set(EXAMPLES["history"])
    for line in TEXT.splitlines():
        if re.match(r"(# )?(\w+ = |\[)", line):
            assert re.search(r" # \S", line) or line.startswith("# ["), line


def test_the_defaults_are_the_real_ones() -> None:
    told = parse_settings(DEFAULTS)
    assert told == parse_settings({"history": "demo/history.parquet", "tiers": "demo/tiers.toml"})
    assert DEFAULTS["promotion"] == {each.name: getattr(Promotion(), each.name) for each in fields(Promotion)}


@pytest.mark.parametrize("key", sorted({*DEFAULTS} - {"history", "tiers", "promotion"}))
def test_each_default_is_stated_as_it_is(key: str) -> None:
    default = parse_settings({"history": "a", "tiers": "b"})
    assert getattr(default, key) == getattr(
        parse_settings({"history": "a", "tiers": "b", key: DEFAULTS[key]}), key
    )


def test_the_examples_can_be_read() -> None:
    document = {
        "tiers": "demo/tiers.toml",
        **{key: value for key, value in EXAMPLES.items() if key != "promotion"},
    }
    settings = parse_settings(document)
    assert isinstance(settings.history, Query)
    assert (timedelta(weeks=26), timedelta(days=14)) == (settings.window, settings.max_age)


def test_every_example_differs_from_the_default() -> None:
    default = parse_settings({"history": "a", "tiers": "b"})
    for key in set(EXAMPLES) - {"promotion", "history"}:
        found = parse_settings({"history": "a", "tiers": "b", key: EXAMPLES[key]})
        assert getattr(default, key) != getattr(found, key), key
