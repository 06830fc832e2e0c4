"""A voided copy is the same model with a certificate that holds nothing, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from router import ArtifactError, ConfigError, Policy, Reason, Router
from router.artifact import sha256_of
from training.card import render_card
from training.void import void

SAID = {"why": "Of 400 new prompts 61 fail where large passes", "date": "2026-11-22"}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def voided(artefact: Path, tmp_path: Path) -> Path:
    void(artefact, tmp_path / "voided", **SAID)
    return tmp_path / "voided"


def test_a_copy_differs_in_what_is_said_of_the_certificate(artefact: Path, tmp_path: Path) -> None:
    before = contents(artefact)
    manifest = void(artefact, tmp_path / "voided", **SAID)
    assert before == contents(artefact)
    assert ["voided"] == [path.name for path in tmp_path.iterdir()]
    after = contents(tmp_path / "voided")
    assert manifest == json.loads(after["manifest.json"])
    old = json.loads(before["manifest.json"])
    assert {"model_id", "certificate", "files"} == {key for key in manifest if manifest[key] != old[key]}
    assert old["certificate"] | {"void": SAID} == manifest["certificate"]
    assert old["model_id"] != manifest["model_id"]
    assert set(before) == set(after)
    changed = {name for name in after if after[name] != before[name]}
    assert {"manifest.json", "MODEL_CARD.md"} == changed
    assert {name: sha256_of(tmp_path / "voided" / name) for name in manifest["files"]} == manifest["files"]
    assert render_card(manifest) == after["MODEL_CARD.md"].decode()


def test_the_copy_sends_everything_to_the_best_tier(artefact: Path, voided: Path) -> None:
    original, router = Router.load(artefact), Router.load(voided)
    prompts = [f"Translate the invoice of day {i}, please." for i in range(20)]
    best = original.tiers[original.manifest.defaults.reference].name
    for policy in (None, Policy(preset="saver"), Policy(budget=1e-9), Policy(epsilon=1e9)):
        decisions = router.route_many(prompts, policy)
        assert {(best, Reason.UNCERTIFIED)} == {(d.tier, d.reason) for d in decisions}
    assert original.score(prompts).tolist() == router.score(prompts).tolist()


def test_the_same_is_the_same_and_another_reason_is_another_model(
    artefact: Path, voided: Path, tmp_path: Path
) -> None:
    void(artefact, tmp_path / "again", **SAID)
    assert contents(voided) == contents(tmp_path / "again")
    ids = {
        void(artefact, tmp_path / "again", why=why, date=date)["model_id"]
        for why in ("it fails", "they fail")
        for date in ("2026-11-22", "2026-11-23")
    }
    assert 4 == len(ids)


def test_a_place_can_be_the_original_s_own(toy_artifact_copy: Path) -> None:
    """With a lexicon or a card of its own, and where one is void already."""
    of = Router.load(toy_artifact_copy).model_id
    first = void(toy_artifact_copy, toy_artifact_copy, **SAID)
    second = void(toy_artifact_copy, toy_artifact_copy, why="Still", date="2026-11-29")
    assert 3 == len({of, first["model_id"], second["model_id"]})
    assert {"why": "Still", "date": "2026-11-29"} == second["certificate"]["void"]
    card = (toy_artifact_copy / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card.startswith("> **CERTIFICATE VOID since 2026-11-29:** Still. ")
    assert card.endswith("\n\n# A toy\n")
    assert ["copy"] == [path.name for path in toy_artifact_copy.parent.iterdir()]


def test_words_are_copied_too(toy_artifact_with_lexicon: Path, tmp_path: Path) -> None:
    void(toy_artifact_with_lexicon, tmp_path / "voided", **SAID)
    expected = Router.load(toy_artifact_with_lexicon).score(["prove the sum"])
    assert expected.tolist() == Router.load(tmp_path / "voided").score(["prove the sum"]).tolist()


def test_files_of_others_stay_behind(toy_artifact_copy: Path, tmp_path: Path) -> None:
    """A registry keeps its own beside the artefact's."""
    (toy_artifact_copy / "MLmodel").write_text("flavors: {}", encoding="utf-8")
    void(toy_artifact_copy, tmp_path / "voided", **SAID)
    assert not (tmp_path / "voided" / "MLmodel").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"why": ""}, "void: a reason is expected, in a sentence; found none"),
        ({"why": " \n"}, "void: a reason is expected, in a sentence; found none"),
        ({"date": ""}, "void: the date is one such as 2026-01-31; found ''"),
        ({"date": "2026-13-01"}, "void: the date is one such as 2026-01-31; found '2026-13-01'"),
        ({"date": "20260131"}, "void: the date is one such as 2026-01-31; found '20260131'"),
    ],
)
def test_what_is_not_said_is_refused(
    toy_artifact: Path, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        void(toy_artifact, tmp_path / "voided", **(SAID | changes))
    assert sentence == str(caught.value)
    assert [] == [*tmp_path.iterdir()]


def test_a_reason_is_one_line(toy_artifact: Path, tmp_path: Path) -> None:
    manifest = void(toy_artifact, tmp_path / "voided", why=" of many\n lines ", date=SAID["date"])
    assert "of many lines" == manifest["certificate"]["void"]["why"]


def test_a_damaged_artefact_is_no_original(toy_artifact_copy: Path, tmp_path: Path) -> None:
    with (toy_artifact_copy / "model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ArtifactError, match=f"{toy_artifact_copy}: model.onnx is not the file"):
        void(toy_artifact_copy, tmp_path / "voided", **SAID)
    assert ["copy"] == [path.name for path in tmp_path.iterdir()]


def test_what_cannot_be_replaced_is_left_alone(toy_artifact: Path, tmp_path: Path) -> None:
    out = tmp_path / "notes"
    out.mkdir()
    (out / "important.md").write_text("text", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds files that are not an artefact"):
        void(toy_artifact, out, **SAID)
    assert {"important.md": b"text"} == contents(out)
