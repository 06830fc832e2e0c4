"""Every bound is above nothing, and the flags of the command are the bounds that there are."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest

from router import ConfigError
from router.cli import _parser
from router.serving.limits import MAX_DEPTH, MAX_HEADER_BYTES, Limits

NAMES = [field.name for field in fields(Limits)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, -math.inf, 1e12])
def test_a_bound_is_a_number_above_nothing(name: str, value: float) -> None:
    flag = f"--{name.replace('_', '-')}"
    with pytest.raises(ConfigError) as caught:
        Limits(**{name: value})  # type: ignore[arg-type]
    assert f"serve: {flag} is a number above 0; found {value!r}" == str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_bound_may_be_moved(name: str) -> None:
    for value in (1, 10**6):
        assert value == getattr(Limits(**{name: value}), name)  # type: ignore[arg-type]


def test_the_command_has_a_flag_for_each_with_the_same_default() -> None:
    options = vars(_parser().parse_args(["serve"]))
    defaults: dict[str, Any] = {name: getattr(Limits(), name) for name in NAMES}
    assert defaults == {name: options[name] for name in NAMES}
    assert {type(value) for value in defaults.values()} == {int, float}
    assert [type(value) for value in defaults.values()] == [type(options[name]) for name in NAMES]


def test_what_no_flag_moves() -> None:
    assert (32 * 1024, 32) == (MAX_HEADER_BYTES, MAX_DEPTH)
