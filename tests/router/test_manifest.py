"""A manifest is whole and of this schema, or it is refused with the key that is wrong."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router import ArtifactError
from router.manifest import SCHEMA, Certificate, Defaults, Manifest, Void, parse_manifest
from router.rule import Loss

REQUIRED = (
    ("model_id",),
    ("files",),
    ("features",),
    ("tiers",),
    ("cost",),
    ("cost", "usd_per_answer"),
    ("decision",),
    ("decision", "default_epsilon"),
    ("decision", "default_loss"),
    ("decision", "reference"),
    ("decision", "unit_usd"),
    ("decision", "novelty_threshold"),
    ("decision", "spend"),
    ("decision", "spend", 1, "epsilon"),
    ("decision", "spend", 1, "usd"),
    ("certificate",),
    ("certificate", "table"),
    ("certificate", "quality"),
    ("certificate", "slices"),
    ("certificate", "delta"),
    ("certificate", "n"),
    ("certificate", "table", 0, "alpha"),
    ("certificate", "table", 0, "epsilon"),
    ("certificate", "quality", 0, "min_quality"),
    ("certificate", "quality", 0, "epsilon"),
    ("certificate", "slices", 0, "name"),
    ("certificate", "slices", 0, "table"),
    ("certificate", "slices", 0, "table", 0, "alpha"),
    ("certificate", "slices", 0, "table", 0, "epsilon"),
)


@pytest.fixture
def document(toy_artifact: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((toy_artifact / "manifest.json").read_bytes())
    return loaded


def put(document: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """Return a copy with a value somewhere inside."""
    changed = copy.deepcopy(document)
    inner: Any = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


def refuse(document: Any, *words: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        parse_manifest(document, "here/manifest.json")
    assert [] == [
        word for word in ("here/manifest.json", "fit again", *words) if word not in str(caught.value)
    ]


def test_a_whole_manifest_is_read(document: dict[str, Any]) -> None:
    manifest = parse_manifest(document)
    assert isinstance(manifest, Manifest)
    assert "tw-toy" == manifest.model_id
    assert ("small", "medium", "large") == manifest.ladder.names
    spend = ((0.0, 0.004), (0.05, 0.002), (1.0, 0.0001))
    assert Defaults(0.05, Loss.REGRET, 2, 0.004, 0.8, spend) == manifest.defaults
    expected = Certificate(
        regret=((0.02, 0.01), (0.05, 0.05), (0.1, 0.15)),
        quality=((0.97, 0.02), (0.9, 0.2)),
        slices={"task=sums": ((0.1, 0.05),)},
        delta=0.05,
        n=400,
    )
    assert expected == manifest.certificate
    assert document == manifest.document
    assert document["files"] == manifest.files
    assert pytest.approx([2e-5, 4e-4, 4e-3]) == manifest.costs.usd_per_answer


@pytest.mark.parametrize("path", REQUIRED, ids=str)
def test_a_missing_key_is_named(document: dict[str, Any], path: tuple[Any, ...]) -> None:
    changed = copy.deepcopy(document)
    inner: Any = changed
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    refuse(changed, f"{path[-1]!r} is missing")


@pytest.mark.parametrize("path", REQUIRED, ids=str)
@pytest.mark.parametrize("value", [None, 7.5, [None], "text"], ids=repr)
def test_a_value_of_another_type_is_refused(
    document: dict[str, Any], path: tuple[Any, ...], value: Any
) -> None:
    numbers = [
        ("certificate", "n"),
        ("certificate", "table", 0, "epsilon"),
        ("certificate", "quality", 0, "epsilon"),
        ("certificate", "slices", 0, "table", 0, "epsilon"),
        *(("decision", name) for name in ("novelty_threshold", "default_epsilon", "unit_usd")),
        *(("decision", "spend", 1, name) for name in ("epsilon", "usd")),
    ]
    texts: list[tuple[Any, ...]] = [("model_id",), ("certificate", "slices", 0, "name")]
    fits = dict.fromkeys(numbers, 7.5) | dict.fromkeys(texts, "text")
    if path in fits and value == fits[path]:
        parse_manifest(put(document, path, value))
    else:
        refuse(put(document, path, value))


@pytest.mark.parametrize("schema", [None, 0, 1, 3, "2", [2]], ids=repr)
def test_another_schema_is_refused(document: dict[str, Any], schema: Any) -> None:
    refuse(document | {"schema": schema}, f"schema {schema!r}", f"({SCHEMA})", "install the version")


def test_no_schema_is_refused(document: dict[str, Any]) -> None:
    refuse({key: value for key, value in document.items() if key != "schema"}, "schema None")
    refuse({}, "schema None")


@pytest.mark.parametrize("document", [None, [], "text", 3, [{"schema": 1}]], ids=repr)
def test_a_manifest_is_an_object(document: Any) -> None:
    refuse(document, "expected a JSON object")


@pytest.mark.parametrize(
    "name",
    ["../model.onnx", "/etc/passwd", "a/b", "..", ".", ".hidden", "..\\model.onnx", "C:\\model.onnx", ""],
)
def test_a_file_stays_in_the_folder(document: dict[str, Any], name: str) -> None:
    refuse(put(document, ("files", name), "0" * 64))


@pytest.mark.parametrize("digest", [None, "", 3, ["0"]], ids=repr)
def test_a_digest_is_text(document: dict[str, Any], digest: Any) -> None:
    refuse(put(document, ("files", "model.onnx"), digest), "expected text")


@pytest.mark.parametrize(
    "path",
    [
        ("certificate", "delta"),
        ("certificate", "table", 1, "alpha"),
        ("certificate", "quality", 1, "min_quality"),
        ("certificate", "slices", 0, "table", 0, "alpha"),
    ],
    ids=str,
)
@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan, math.inf, True, "0.5"], ids=repr)
def test_a_share_is_from_zero_to_one(document: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    refuse(put(document, path, value), "a number from 0 to 1")


EPSILONS = (
    ("decision", "default_epsilon"),
    ("decision", "spend", 0, "epsilon"),
    ("certificate", "table", 1, "epsilon"),
    ("certificate", "quality", 1, "epsilon"),
    ("certificate", "slices", 0, "table", 0, "epsilon"),
)


@pytest.mark.parametrize("path", EPSILONS, ids=str)
def test_an_epsilon_may_be_above_one_but_not_below_zero(
    document: dict[str, Any], path: tuple[Any, ...]
) -> None:
    for value in (0, 0.0, 1.5, 1e9):
        parse_manifest(put(document, path, value))
    for wrong in (-0.01, -1e-300):
        refuse(put(document, path, wrong), "a number of 0 or more")
    for wrong in (math.nan, math.inf, True, "0.5"):
        refuse(put(document, path, wrong), "a finite number")


@pytest.mark.parametrize("usd", [0, 0.0, -0.001])
def test_an_average_call_costs_something(document: dict[str, Any], usd: float) -> None:
    refuse(put(document, ("decision", "unit_usd"), usd), "unit_usd is above 0", repr(usd))


@pytest.mark.parametrize("loss", ["", "Regret", "gain", "REGRET"])
def test_a_loss_is_one_of_two(document: dict[str, Any], loss: str) -> None:
    refuse(put(document, ("decision", "default_loss"), loss), repr(loss))


@pytest.mark.parametrize(("position", "tier"), [(0, "small"), (1, "medium"), (2, "large")])
def test_any_tier_may_be_the_reference(document: dict[str, Any], position: int, tier: str) -> None:
    assert position == parse_manifest(put(document, ("decision", "reference"), tier)).defaults.reference


@pytest.mark.parametrize("tier", ["Large", "huge", ""])
def test_the_reference_is_a_tier(document: dict[str, Any], tier: str) -> None:
    refuse(put(document, ("decision", "reference"), tier), "small, medium, large", repr(tier))


@pytest.mark.parametrize(
    "path",
    [
        ("decision", "novelty_threshold"),
        ("decision", "unit_usd"),
        ("decision", "spend", 2, "usd"),
        ("cost", "usd_per_answer", 0),
    ],
    ids=str,
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, "0.5", None], ids=repr)
def test_what_would_silence_a_check_is_refused(
    document: dict[str, Any], path: tuple[Any, ...], value: Any
) -> None:
    refuse(put(document, path, value), "a finite number")


@pytest.mark.parametrize("n", [math.inf, math.nan, "many"], ids=repr)
def test_a_count_is_a_number(document: dict[str, Any], n: Any) -> None:
    refuse(put(document, ("certificate", "n"), n))


@pytest.mark.parametrize("means", [[], [1.0], [1.0] * 4])
def test_each_tier_has_its_mean_answer(document: dict[str, Any], means: list[float]) -> None:
    refuse(put(document, ("cost", "usd_per_answer"), means))


def test_tiers_are_checked_as_a_tiers_file_is(document: dict[str, Any]) -> None:
    refuse(put(document, ("tiers", "tier", 1, "name"), "small"), "found twice: small")
    refuse(put(document, ("tiers", "tier"), []), "at least one [[tier]]")
    refuse(put(document, ("tiers", "tier", 0, "color"), "red"), "unknown key color")


@pytest.mark.parametrize(
    ("expected", "max_regret"),
    [
        (None, 0.0),
        (None, 0.0199),
        (0.01, 0.02),
        (0.01, 0.049),
        (0.05, 0.05),
        (0.15, 0.1),
        (0.15, 0.5),
        (0.15, 1.0),
    ],
)
def test_the_most_permissive_certified_epsilon(expected: float | None, max_regret: float) -> None:
    rows = ((0.02, 0.01), (0.05, 0.05), (0.1, 0.15))
    assert expected == Certificate(regret=rows).epsilon_for_regret(max_regret)
    sliced = Certificate(slices={"task=sums": rows})
    assert expected == sliced.epsilon_for_regret(max_regret, "task=sums")
    assert None is sliced.epsilon_for_regret(max_regret, "task=tales")
    assert None is sliced.epsilon_for_regret(max_regret)  # a slice promises nothing of the rest
    assert None is Certificate(regret=rows).epsilon_for_regret(max_regret, "task=sums")


@pytest.mark.parametrize(
    ("expected", "min_quality"),
    [(None, 1.0), (None, 0.9701), (0.02, 0.97), (0.02, 0.9001), (0.2, 0.9), (0.2, 0.5), (0.2, 0.0)],
)
def test_the_most_permissive_epsilon_that_keeps_quality(expected: float | None, min_quality: float) -> None:
    certificate = Certificate(quality=((0.97, 0.02), (0.9, 0.2)))
    assert expected == certificate.epsilon_for_quality(min_quality)
    assert None is Certificate().epsilon_for_quality(min_quality)


@pytest.mark.parametrize(
    ("expected", "usd"),
    [(0.0, 1.0), (0.0, 0.004), (0.05, 0.0039), (0.05, 0.002), (1.0, 0.0019), (1.0, 0.0001), (None, 9e-5)],
)
def test_the_least_epsilon_that_keeps_a_budget(
    document: dict[str, Any], expected: float | None, usd: float
) -> None:
    assert expected == parse_manifest(document).defaults.epsilon_for_budget(usd)
    assert None is parse_manifest(put(document, ("decision", "spend"), [])).defaults.epsilon_for_budget(usd)


def test_a_certified_epsilon_of_zero_is_not_none() -> None:
    assert 0.0 == Certificate(regret=((0.0, 0.0),)).epsilon_for_regret(0.0)
    assert 0.0 == Certificate(quality=((1.0, 0.0),)).epsilon_for_quality(1.0)
    assert None is Certificate().epsilon_for_regret(1.0)


SHARES = st.floats(0, 1)


@given(st.lists(st.tuples(SHARES, st.floats(0, 10)), max_size=6), SHARES, SHARES)
def test_asking_for_less_is_never_stricter(rows: list[tuple[float, float]], a: float, b: float) -> None:
    certificate = Certificate(regret=tuple(rows), quality=tuple(rows), slices={"task=all": tuple(rows)})
    low, high = sorted((a, b))
    for strict, permissive in (
        (certificate.epsilon_for_regret(low), certificate.epsilon_for_regret(high)),
        (certificate.epsilon_for_regret(low, "task=all"), certificate.epsilon_for_regret(high, "task=all")),
        (certificate.epsilon_for_quality(high), certificate.epsilon_for_quality(low)),
    ):
        assert strict is None or (permissive is not None and strict <= permissive)


def test_an_empty_certificate_is_a_certificate(document: dict[str, Any]) -> None:
    for part in ("table", "quality", "slices"):
        document = put(document, ("certificate", part), [])
    certificate = parse_manifest(document).certificate
    assert None is certificate.epsilon_for_regret(1.0)
    assert None is certificate.epsilon_for_quality(0.0)
    assert None is certificate.epsilon_for_regret(1.0, "task=sums")


def test_a_certificate_holds_where_it_does_not_say_that_it_is_void(document: dict[str, Any]) -> None:
    assert None is parse_manifest(document).certificate.void
    assert None is parse_manifest(put(document, ("certificate", "void"), None)).certificate.void


def test_a_void_certificate_says_since_when_and_why(document: dict[str, Any]) -> None:
    said = {"date": "2026-01-31", "why": "9 of 100 fail."}
    certificate = parse_manifest(put(document, ("certificate", "void"), said)).certificate
    assert Void("2026-01-31", "9 of 100 fail.") == certificate.void
    assert replace(parse_manifest(document).certificate, void=certificate.void) == certificate


@pytest.mark.parametrize(
    ("void", "words"),
    [
        (True, ["void is an object with date and why; found True"]),
        ("2026-01-31", ["void is an object"]),
        ([], ["void is an object"]),
        ({}, ["'date' is missing"]),
        ({"date": "2026-01-31"}, ["'why' is missing"]),
        ({"date": "2026-01-31", "why": ""}, ["expected text, found ''"]),
        ({"date": "2026-01-31", "why": " \n"}, ["void says why; found blanks"]),
        ({"date": "2026-01-31", "why": 9}, ["expected text, found 9"]),
        ({"date": "2026-02-30", "why": "it fails"}, ["a date such as 2026-01-31; found '2026-02-30'"]),
        ({"date": "20260131", "why": "it fails"}, ["found '20260131'"]),
        ({"date": 20260131, "why": "it fails"}, ["expected text, found 20260131"]),
    ],
    ids=str,
)
def test_what_is_said_of_a_void_certificate_is_checked(
    document: dict[str, Any], void: Any, words: list[str]
) -> None:
    refuse(put(document, ("certificate", "void"), void), *words)
