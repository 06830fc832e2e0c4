"""A manifest is whole and of this schema, or it is refused with the key that is wrong."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router import ArtifactError
from router.manifest import SCHEMA, Certificate, Manifest, parse_manifest

REQUIRED = (
    ("model_id",),
    ("files",),
    ("features",),
    ("tiers",),
    ("cost",),
    ("cost", "usd_per_answer"),
    ("decision",),
    ("decision", "default_epsilon"),
    ("decision", "novelty_threshold"),
    ("certificate",),
    ("certificate", "table"),
    ("certificate", "delta"),
    ("certificate", "n"),
    ("certificate", "table", 0, "alpha"),
    ("certificate", "table", 0, "epsilon"),
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
    assert ("tw-toy", 0.05, 0.8) == (
        manifest.model_id,
        manifest.default_epsilon,
        manifest.novelty_threshold,
    )
    assert ("small", "medium", "large") == manifest.ladder.names
    assert Certificate((0.02, 0.05, 0.1), (0.01, 0.05, 0.15), 0.05, 400) == manifest.certificate
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
    fits = {("model_id",): "text", ("certificate", "n"): 7.5, ("decision", "novelty_threshold"): 7.5}
    if path in fits and value == fits[path]:
        parse_manifest(put(document, path, value))
    else:
        refuse(put(document, path, value))


@pytest.mark.parametrize("schema", [None, 0, 2, "1", [1]], ids=repr)
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
        ("decision", "default_epsilon"),
        ("certificate", "delta"),
        ("certificate", "table", 1, "alpha"),
        ("certificate", "table", 1, "epsilon"),
    ],
    ids=str,
)
@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan, math.inf, True, "0.5"], ids=repr)
def test_a_share_is_from_zero_to_one(document: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    refuse(put(document, path, value), "a number from 0 to 1")


@pytest.mark.parametrize("path", [("decision", "novelty_threshold"), ("cost", "usd_per_answer", 0)], ids=str)
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
    assert expected == Certificate((0.02, 0.05, 0.1), (0.01, 0.05, 0.15)).epsilon_for(max_regret)


def test_a_certified_epsilon_of_zero_is_not_none() -> None:
    assert 0.0 == Certificate((0.0,), (0.0,)).epsilon_for(0.0)
    assert None is Certificate().epsilon_for(1.0)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=6), st.floats(0, 1), st.floats(0, 1))
def test_asking_for_more_regret_is_never_stricter(
    rows: list[tuple[float, float]], a: float, b: float
) -> None:
    certificate = Certificate(tuple(a for a, _ in rows), tuple(e for _, e in rows))
    strict, permissive = (certificate.epsilon_for(x) for x in sorted((a, b)))
    assert strict is None or (permissive is not None and strict <= permissive)


def test_an_empty_certificate_is_a_certificate(document: dict[str, Any]) -> None:
    manifest = parse_manifest(put(document, ("certificate", "table"), []))
    assert None is manifest.certificate.epsilon_for(1.0)
