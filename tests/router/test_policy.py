"""What may be asked: one schema for Python, HTTP, the command line and TOML, and a sentence for each mistake."""

from __future__ import annotations

import argparse
import json
import math
import pickle
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router import ConfigError, Policy, RequestError, read_policy
from router.flags import add_policy_flags, read_policy_flags
from router.policy import ASKS, OBJECTIVES, PRESETS, Bounds, resolve_bounds
from router.serving.schema import read_request

NAMES = ("small", "medium", "large")
SHARES = ["max_regret", "min_quality"]
AMOUNTS = ["budget", "max_cost_usd"]

# The four ways to state one


def from_python(document: dict[str, Any], folder: Path) -> Policy:  # noqa: ARG001 - as the others
    return Policy(**document)


def from_http(document: dict[str, Any], folder: Path) -> Policy:  # noqa: ARG001 - as the others
    body = json.loads(json.dumps({"prompt": "x", "policy": document}))
    asked = read_request(body).policy
    assert asked is not None
    return asked.to_policy()


def from_toml(document: dict[str, Any], folder: Path) -> Policy:
    # What JSON holds of numbers, strings and lists of them is TOML, too.
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in document.items()]
    (folder / "policy.toml").write_text("".join(lines), encoding="utf-8")
    return read_policy(folder / "policy.toml")


def from_flags(document: dict[str, Any], folder: Path) -> Policy:  # noqa: ARG001 - as the others
    flags = {f"--{name.replace('_', '-')}": value for name, value in document.items()}
    return parse(*(f"{flag}={','.join(v) if isinstance(v, list) else v}" for flag, v in flags.items()))


def parse(*flags: str) -> Policy:
    parser = argparse.ArgumentParser()
    add_policy_flags(parser)
    return read_policy_flags(parser.parse_args(flags))


EXAMPLES: list[dict[str, Any]] = [
    {},
    {"max_regret": 0.05},
    {"max_regret": 0, "slice": "task=math"},
    {"min_quality": 0.98, "floor": "small", "ceiling": "large"},
    {"budget": 0.002, "max_cost_usd": 1e-5},
    *({"preset": name} for name in PRESETS),
    {"preset": "safe", "slice": "feature=ünïcode=1", "allow": ["small", "large"]},
    {"epsilon": 7.5, "needs": ["json", "tools"]},
    {"needs": ["vision"], "allow": ["medium"]},
]


@pytest.mark.parametrize("document", EXAMPLES, ids=json.dumps)
@pytest.mark.parametrize("surface", [from_python, from_http, from_toml, from_flags])
def test_it_is_the_same_policy_however_it_is_stated(
    surface: Any, document: dict[str, Any], tmp_path: Path
) -> None:
    found = surface(document, tmp_path)
    expected = Policy(**{k: tuple(v) if isinstance(v, list) else v for k, v in document.items()})
    assert expected == found
    assert hash(expected) == hash(found)
    assert document == found.to_dict()


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"max_regret": 1.5}, "max_regret"),
        ({"min_quality": -0.1}, "min_quality"),
        ({"budget": 0}, "budget"),
        ({"epsilon": -1}, "epsilon"),
        ({"preset": "savr"}, "preset"),
        ({"slice": "task=math"}, "slice"),
        ({"epsilon": 1, "slice": "task=math"}, "slice"),
        ({"max_regret": 0.1, "slice": "math"}, "slice"),
        ({"max_regret": 0.1, "preset": "safe"}, "preset"),
        ({"needs": [""]}, "needs"),
    ],
    ids=str,
)
@pytest.mark.parametrize("surface", [from_python, from_http, from_toml, from_flags])
def test_a_mistake_is_one_however_it_is_stated(
    surface: Any, document: dict[str, Any], field: str, tmp_path: Path
) -> None:
    with pytest.raises(Exception, match=field) as caught:
        surface(document, tmp_path)
    kinds = {from_python: "RequestError", from_flags: "RequestError", from_toml: "ConfigError"}
    # Over HTTP a value of its own is a problem already, and what fields are together is the policy's to say.
    expected = [kinds[surface]] if surface in kinds else ["Problem", "RequestError"]
    assert caught.type.__name__ in expected


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    share, amount = st.floats(0.0, 1.0), st.floats(1e-9, 1e9)
    names = st.lists(st.text(min_size=1), min_size=1, max_size=3)
    objectives: dict[str, st.SearchStrategy[Any]] = {
        "max_regret": share,
        "min_quality": share,
        "budget": amount,
        "preset": st.sampled_from([*PRESETS]),
        "epsilon": st.floats(0.0, 1e9),
    }
    chosen = draw(st.none() | st.sampled_from([*objectives]))
    found = {} if chosen is None else {chosen: draw(objectives[chosen])}
    if chosen in ("max_regret", "preset") and draw(st.booleans()):
        found["slice"] = f"task={draw(st.text(min_size=1))}"
    others = {
        "floor": st.text(),
        "ceiling": st.text(),
        "allow": names,
        "max_cost_usd": amount,
        "needs": names,
    }
    return found | {name: draw(values) for name, values in others.items() if draw(st.booleans())}


@given(documents())
def test_what_is_set_is_what_makes_it_again(document: dict[str, Any]) -> None:
    policy = Policy.from_mapping(document)
    assert document == policy.to_dict()
    assert policy == Policy.from_mapping(json.loads(json.dumps(policy.to_dict())))
    assert policy == pickle.loads(pickle.dumps(policy))  # noqa: S301 - as a worker gets it


def test_each_field_says_what_it_asks_in_a_line() -> None:
    assert [field.name for field in fields(Policy)] == list(ASKS)
    assert set(OBJECTIVES) < set(ASKS)
    texts = [asked.text for asked in ASKS.values()]
    assert [] == [text for text in texts if not text or "\n" in text or text.endswith(".")]
    assert len(texts) == len(set(texts))


def test_presets_are_promises_from_careful_to_frugal() -> None:
    assert ["safe", "balanced", "saver"] == list(PRESETS)
    assert sorted(PRESETS.values()) == list(PRESETS.values())
    for name, regret in PRESETS.items():
        assert regret == Policy(preset=name).regret == Policy(max_regret=regret).regret
    assert None is Policy(min_quality=0.9).regret is Policy().regret


# Values


@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, True, False, -0.01, 1.01, 10**400, 10**5000, "0.1", [0.1], 1j, b"1"],
    ids=lambda value: repr(value)[:20] if value != 10**5000 else "huge",
)
def test_a_share_out_of_range_is_refused(name: str, value: Any) -> None:
    with pytest.raises(RequestError, match=f"^policy: {name} is a number from 0 to 1; found") as caught:
        Policy(**{name: value})
    assert name == caught.value.field
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize("value", [0, 0.0, -0.0, 1, 1.0, 0.05, 5e-324, np.float64(0.5), Fraction(1, 3)])
def test_a_share_in_range_is_taken(name: str, value: Any) -> None:
    found = getattr(Policy(**{name: value}), name)
    assert (float(value), float) == (found, type(found))


@pytest.mark.parametrize("value", [-1, -5e-324, math.nan, math.inf, True, "1", 10**400], ids=repr)
def test_an_epsilon_that_is_no_price_is_refused(value: Any) -> None:
    with pytest.raises(
        RequestError, match=r"^policy: epsilon is a finite number, 0 or more; found"
    ) as caught:
        Policy(epsilon=value)
    assert "epsilon" == caught.value.field


@pytest.mark.parametrize("value", [0, 0.5, 1, 2.5, 1e300, np.float32(4)])
def test_an_epsilon_may_be_above_one(value: Any) -> None:
    assert float(value) == Policy(epsilon=value).epsilon


@pytest.mark.parametrize("name", AMOUNTS)
@pytest.mark.parametrize(
    "value",
    [0, 0.0, -0.0, -1, -5e-324, math.nan, math.inf, -math.inf, True, False, "0.1", [0.1], 1j, b"1", 10**400],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_amount_is_refused(name: str, value: Any) -> None:
    with pytest.raises(RequestError, match=f"^policy: {name} is a number of USD above 0; found") as caught:
        Policy(**{name: value})
    assert name == caught.value.field


@pytest.mark.parametrize("name", AMOUNTS)
@pytest.mark.parametrize(
    "value", [5e-324, 0.001, 1, 10**12, 1e308, np.float32(0.5), Fraction(1, 3)], ids=repr
)
def test_any_amount_is_taken(name: str, value: Any) -> None:
    assert float(value) == getattr(Policy(**{name: value}), name)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("savr", "did you mean saver?"),
        ("Safe", "did you mean safe?"),
        ("balance", "did you mean balanced?"),
        ("zzz", ""),
        ("", ""),
        (5, ""),
        ([], ""),
    ],
)
def test_a_preset_that_is_none_gets_a_hint(value: Any, hint: str) -> None:
    with pytest.raises(
        RequestError, match=r"^policy: preset is one of safe, balanced, saver; found"
    ) as caught:
        Policy(preset=value)
    assert str(caught.value).endswith(f"found {value!r}" + (f" ({hint})" if hint else ""))
    assert "preset" == caught.value.field


@pytest.mark.parametrize("one", OBJECTIVES)
@pytest.mark.parametrize("other", OBJECTIVES)
def test_one_thing_is_asked_for(one: str, other: str) -> None:
    values = {"preset": "safe", "max_regret": 0, "min_quality": 0, "epsilon": 0, "budget": 1}
    asked: Any = {one: values[one], other: values[other]}
    if one == other:
        assert asked == Policy(**asked).to_dict()
        return
    with pytest.raises(
        RequestError, match=r"expected at most one of max_regret, .* and epsilon, found"
    ) as caught:
        Policy(**asked)
    assert caught.value.field in asked
    assert all(name in str(caught.value).partition("found")[2] for name in asked)


@pytest.mark.parametrize("value", ["", "math", "=math", "task=", 5, ["task=math"], b"task=math"], ids=repr)
def test_a_slice_is_a_kind_and_a_name(value: Any) -> None:
    with pytest.raises(RequestError, match=r"^policy: slice is a kind and a name, such as task=math; found"):
        Policy(max_regret=0.1, slice=value)


@pytest.mark.parametrize("asked", [{}, {"epsilon": 0.1}, {"min_quality": 0.9}, {"budget": 1}])
def test_a_slice_is_for_promises_of_regret(asked: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="slice says what max_regret or preset is promised for") as caught:
        Policy(slice="task=math", **asked)
    assert "slice" == caught.value.field


@pytest.mark.parametrize("field", ["floor", "ceiling"])
@pytest.mark.parametrize("value", [0, 1, b"small", ["small"], True])
def test_a_tier_is_named(field: str, value: Any) -> None:
    with pytest.raises(RequestError, match=f"{field} is the name of a tier"):
        Policy(**{field: value})


@pytest.mark.parametrize("allow", [[], (), set(), {}])
def test_something_is_allowed(allow: Any) -> None:
    with pytest.raises(RequestError, match="at least one"):
        Policy(allow=allow)


@pytest.mark.parametrize("field", ["allow", "needs"])
@pytest.mark.parametrize("value", [[0], ["small", None], b"small", [["small"]], 5], ids=repr)
def test_a_list_is_of_names(field: str, value: Any) -> None:
    with pytest.raises(RequestError, match=f"^policy: {field} is a list of .*; found") as caught:
        Policy(**{field: value})
    assert field == caught.value.field


@pytest.mark.parametrize("field", ["allow", "needs"])
@pytest.mark.parametrize(
    "value", [["large"], ("large",), {"large"}, frozenset(["large"]), "large", {"large": 1}]
)
def test_a_list_is_any_iterable_of_names(field: str, value: Any) -> None:
    assert ("large",) == getattr(Policy(**{field: value}), field)


@pytest.mark.parametrize("needs", [None, [], (), set(), np.array([])], ids=repr)
def test_nothing_may_be_needed(needs: Any) -> None:
    assert Policy() == Policy(needs=needs)
    assert {} == Policy(needs=needs).to_dict()


def test_a_policy_is_a_value() -> None:
    one, other = Policy(epsilon=0, allow=["small", "large"]), Policy(epsilon=0.0, allow=("small", "large"))
    assert one == other
    assert 1 == len({one, other})
    assert Policy() != Policy(epsilon=0.0)
    assert Policy() != Policy(max_regret=0.0)
    assert Policy(max_cost_usd=1) == Policy(max_cost_usd=1.0) != Policy()
    with pytest.raises(AttributeError):
        one.epsilon = 0.5  # type: ignore[misc]
    assert not hasattr(one, "__dict__")


def test_the_first_fields_may_stand_in_their_old_places() -> None:
    expected = Policy(epsilon=0.1, floor="small", ceiling="large", allow=("small",), max_cost_usd=1.0)
    assert expected == Policy(None, 0.1, "small", "large", ("small",), 1.0)


# Documents


@pytest.mark.parametrize(
    ("document", "words", "field"),
    [
        ({"max_regert": 0.1}, ["unknown field 'max_regert' (did you mean max_regret?)", *ASKS], "max_regert"),
        ({"zzzz": 0.1}, ["unknown field 'zzzz'; known fields"], "zzzz"),
        ({5: 0.1}, ["unknown field 5; known fields"], None),
        ({"x" * 500: 0.1}, ["unknown field", "...", "known fields"], "x" * 500),
        ({"budget": "cheap"}, ["budget is a number of USD above 0; found 'cheap'"], "budget"),
        ([], ["expected fields such as max_regret, found []"], None),
        ("max_regret", ["expected fields such as max_regret, found 'max_regret'"], None),
        (None, ["found None"], None),
    ],
)
def test_a_document_is_read_strictly(document: Any, words: list[str], field: str | None) -> None:
    with pytest.raises(RequestError) as caught:
        Policy.from_mapping(document, "the policy of this test")
    assert str(caught.value).startswith("the policy of this test: ")
    assert [] == [word for word in words if word not in str(caught.value)]
    assert field == caught.value.field


def test_none_is_a_field_that_is_not_there() -> None:
    assert Policy() == Policy.from_mapping(dict.fromkeys(ASKS))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"max_regret = ", ["not valid TOML"]),
        (b"max_regret: 0.1", ["not valid TOML"]),
        (b"a = " + b"[" * 5000, ["not valid TOML"]),
        (b"max_regret = 0.1\nmax_regret = 0.2", ["not valid TOML"]),
        (b"preset = '\xff'", ["expected UTF-8", "byte 10"]),
        ("preset = 'safe'".encode("utf-16"), ["expected UTF-8"]),
        (b"max_regret = 2", ["max_regret is a number from 0 to 1; found 2"]),
        (b"max_regret = '0.1'", ["found '0.1'"]),
        (b"max_regret = " + b"9" * 5000, ["not valid TOML"]),
        (b"max_regret = nan", ["found nan"]),
        (b"maxregret = 0.1", ["did you mean max_regret?"]),
        (b"[policy]\nmax_regret = 0.1", ["unknown field 'policy'; known fields"]),
        (b"preset = 'safe'\nbudget = 1", ["found budget and preset; keep one"]),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_file_that_is_wrong_is_named(content: bytes, words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_policy(path)
    assert str(caught.value).startswith(f"policy file {path}: ")
    assert [] == [word for word in words if word not in str(caught.value)]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path, "a\0b"):
        with pytest.raises(ConfigError, match=r"cannot be read .*; check the path"):
            read_policy(path)


def test_an_empty_file_asks_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("# the default\n", encoding="utf-8")
    assert Policy() == read_policy(str(path))


def test_flags_add_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text('preset = "safe"\nneeds = ["json"]\n', encoding="utf-8")
    file = f"--policy={path}"
    assert Policy(preset="safe", needs=("json",)) == parse(file)
    assert Policy(preset="safe", needs=("json",), ceiling="large") == parse(file, "--ceiling=large")
    with pytest.raises(RequestError, match=r"needs is in policy file .*policy.toml and in --needs; drop one"):
        parse(file, "--needs=tools")
    with pytest.raises(RequestError, match=r"policy file .* and the flags: .* found max_regret and preset"):
        parse(file, "--max-regret=0.1")


# On a ladder


@pytest.mark.parametrize(
    ("expected", "policy"),
    [
        (Bounds((0, 1, 2), 0, 2), Policy()),
        (Bounds((1, 2), 1, 2), Policy(floor="medium")),
        (Bounds((0, 1), 0, 1), Policy(ceiling="medium")),
        (Bounds((1,), 1, 1), Policy(floor="medium", ceiling="medium")),
        (Bounds((0, 2), 0, 2), Policy(allow=["large", "small"])),
        (Bounds((2,), 1, 2), Policy(floor="medium", allow={"small", "large"})),
        (Bounds((1,), 0, 2), Policy(allow="medium")),
        (Bounds((1,), 0, 2), Policy(allow=("medium", "medium"))),
    ],
)
def test_names_become_positions(expected: Bounds, policy: Policy) -> None:
    assert expected == resolve_bounds(policy, NAMES)


@pytest.mark.parametrize(
    ("words", "policy"),
    [
        (["floor", "'smal'", "did you mean small?", "small, medium, large"], Policy(floor="smal")),
        (["ceiling", "'Large'", "did you mean large?"], Policy(ceiling="Large")),
        (["allow", "'mediun'", "did you mean medium?"], Policy(allow=["small", "mediun"])),
        (["floor", "''", "known tiers"], Policy(floor="")),
        (["floor large is dearer than ceiling small"], Policy(floor="large", ceiling="small")),
        (["no tier is left", "allow is small", "floor medium"], Policy(floor="medium", allow=["small"])),
        (["no tier is left", "ceiling medium"], Policy(ceiling="medium", allow=["large"])),
    ],
)
def test_names_that_do_not_fit_are_refused(words: list[str], policy: Policy) -> None:
    with pytest.raises(RequestError) as caught:
        resolve_bounds(policy, NAMES)
    assert [] == [word for word in words if word not in str(caught.value)]


def test_a_name_unlike_any_gets_no_hint() -> None:
    with pytest.raises(RequestError, match="known tiers") as caught:
        resolve_bounds(Policy(floor="gpt-zz"), NAMES)
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "ask"),
    [
        ("floor", {"floor": "smal"}),
        ("ceiling", {"ceiling": "smal"}),
        ("allow", {"allow": ["small", "smal"]}),
        ("floor", {"floor": "large", "ceiling": "small"}),
        ("allow", {"floor": "large", "allow": ["small"]}),
    ],
)
def test_an_error_names_its_field(field: str, ask: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        resolve_bounds(Policy(**ask), NAMES)
    assert field == caught.value.field


def test_an_error_of_another_kind_names_none() -> None:
    assert RequestError("x").field is None
