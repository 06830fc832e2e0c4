"""The card says what the manifest says, also where there is little to say."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from router.promise import certified, promise_words, whole
from training.card import render_card, render_voided


@pytest.fixture
def manifest(artefact: Path) -> dict[str, Any]:
    return copy.deepcopy(json.loads((artefact / "manifest.json").read_bytes()))


def tables(card: str) -> list[list[str]]:
    return [block.splitlines() for block in card.split("\n\n") if block.startswith("|")]


def assert_well_formed(card: str) -> None:
    assert card.startswith("# ")
    assert card.endswith("\n")
    assert "\n\n\n" not in card
    for rows in tables(card):
        assert 1 == len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}), rows
        assert re.fullmatch(r"\|( --- \|)+", rows[1])
    for unsaid in ("nan", "None", "inf "):
        assert unsaid not in card.replace("\nNone: ", "\n")


def test_the_written_card_is_the_rendered_manifest(artefact: Path, manifest: dict[str, Any]) -> None:
    card = (artefact / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card == render_card(manifest)
    assert_well_formed(card)


def test_the_card_holds_every_section_and_the_figures(manifest: dict[str, Any]) -> None:
    card = render_card(manifest)
    headings = re.findall(r"^## (.*)$", card, re.MULTILINE)
    assert ["Tiers", "Data", "Model", "Certificate", "Metrics"] == headings
    assert manifest["model_id"] in card
    assert manifest["versions"]["tierwise"] in card
    for tier in ("small", "medium", "large"):
        assert f"| {tier} | synthetic-{tier} |" in card
    assert manifest["data"]["files"][0]["sha256"][:16] in card
    assert f"{manifest['metrics']['router']['operating_point']['saving']['value']:.1%}" in card
    for row in certified(manifest["certificate"], "regret"):
        shares = " | ".join(whole(share) for share in row.share_per_tier)
        assert (
            f"| {promise_words('regret', row.loss)} | {whole(row.saving)} | {shares} | {row.observed:.1%} |"
            in card
        )


def test_the_card_says_what_a_censored_or_weighted_history_is(manifest: dict[str, Any]) -> None:
    plain = render_card(manifest)
    summary = manifest["data"]["summary"]
    assert (None, None) == (summary["censored"], summary["representative"])
    summary |= {"representative": 123, "censored": {"sentences": ["Censored: one.", "Two."]}}
    card = render_card(manifest)
    assert_well_formed(card)
    assert "\n\nCensored: one. Two.\n\n" in card
    assert f"123 of its {summary['prompts']:,} prompts, drawn by weight, stand for the traffic" in card
    assert plain == render_card(manifest | {"data": {**manifest["data"], "summary": {"prompts": 1}}})


def test_the_card_names_each_member_and_its_weight(manifest: dict[str, Any]) -> None:
    card = render_card(manifest)
    for name, weight in manifest["model"]["weights"].items():
        assert f"{name} ({weight:.0%})" in card
    manifest["model"]["weights"] = {"length": 1.0}
    assert "Blend of length (100%) on" in render_card(manifest)


def test_the_card_compares_all_together_with_length_alone(manifest: dict[str, Any]) -> None:
    for row in manifest["model"]["candidates"]:
        row |= {"log_loss": 9.0, "gap_closed": 0.9, "gap_closed_standard_error": 0.09}
    length = next(row for row in manifest["model"]["candidates"] if row["members"] == ["length"])
    length |= {"log_loss": 0.75, "gap_closed": 0.125, "gap_closed_standard_error": 0.5}
    manifest["model"]["candidates"][-1] |= {"log_loss": 0.25, "gap_closed": 0.5}
    said = "the log loss is 0.250, by length alone 0.750, and the gap closed 0.500 ± 0.090, by length alone 0.125 ± 0.500"
    assert said in render_card(manifest)


def test_notes_stand_below_the_heading(manifest: dict[str, Any]) -> None:
    card = render_card(manifest, "\n## Limits\n\nOnly a test.\n\n")
    assert_well_formed(card)
    assert card.index("# tierwise") < card.index("## Limits") < card.index("## Tiers")
    assert render_card(manifest, " \n") == render_card(manifest)


def promise(manifest: dict[str, Any]) -> None:
    """Give the manifest a certificate of both kinds, and two slices."""
    seen = {"saving": 0.25, "share_per_tier": [0.2, 0.3, 0.5]}
    table = [
        {"alpha": alpha, "epsilon": 2 * alpha, "observed": alpha / 2, "bound": 0.9 * alpha, **seen}
        for alpha in (0.02, 0.025, 0.05, 0.1)
    ]
    manifest["certificate"] |= {
        "n": 321,
        "date": "2026-11-22",
        "table": table,
        "quality": [{"min_quality": 0.97, "epsilon": 0.125, "observed": 0.981, **seen}],
        "slices": [
            {"name": "task=a|b", "n": 140, "delta": 0.025, "table": table},
            {"name": "task=c", "n": 120, "delta": 0.025, "table": []},
        ],
        "needed": {"0.005": 598, "0.01": 299},
    }
    manifest["decision"] |= {"basis": "certificate", "default_epsilon": 0.1, "default_loss": "regret"}


def test_the_certificate_is_a_table_for_each_kind_of_promise(manifest: dict[str, Any]) -> None:
    promise(manifest)
    card = render_card(manifest)
    assert_well_formed(card)
    for said in (
        "with 95% confidence, on prompts like those of the calibration part (321 groups, 2026-11-22)",
        "| at most 5% of prompts fail where the best tier passes | 25% | 20% | 30% | 50% | 2.5% | 4.5% | 0.1 |",
        "| keeps at least 97% of the best tier's quality | 25% | 20% | 30% | 50% | 98.1% | 0.125 |",
        "| promise | saves | to small | to medium | to large | observed | upper bound | epsilon |",
        "1% (299 groups), 3%, 7.5%, 15%, 20%.",
        "Savings are against large for all prompts.",
    ):
        assert said in card
    assert "2.5% of prompts fail" not in card  # people are shown round promises


def test_the_card_says_what_presets_and_slices_mean(manifest: dict[str, Any]) -> None:
    promise(manifest)
    manifest["certificate"]["table"] = manifest["certificate"]["table"][2:]
    card = render_card(manifest)
    assert_well_formed(card)
    for said in (
        "| safe | at most 2% of prompts fail where the best tier passes | not certified |  |",
        "| balanced | at most 5% of prompts fail where the best tier passes | 25% | yes |",
        "| saver | at most 10% of prompts fail where the best tier passes | 25% |  |",
        "holds for all of them together with 95% confidence.",
        r"| task=a\|b | 140 | at most 5% of prompts fail where the best tier passes | 25% |",
        "| task=c | 120 | no promise | – |",
    ):
        assert said in card


def test_a_dominated_ladder_is_said_in_the_card(manifest: dict[str, Any]) -> None:
    promise(manifest)
    manifest["decision"] |= {"reference": "medium", "dominated": True}
    card = render_card(manifest)
    assert (
        "The ladder is dominated: medium is better than large, the dearest tier, so promises are against medium."
        in card
    )
    assert "Savings are against medium for all prompts." in card


def test_without_a_certificate_the_card_says_so(manifest: dict[str, Any]) -> None:
    manifest["certificate"] |= {"table": [], "quality": [], "slices": [], "n": 12, "needed": {"0.2": 14}}
    manifest["decision"] |= {"basis": "cross-validation", "default_epsilon": 0.125}
    card = render_card(manifest)
    assert_well_formed(card)
    assert "None: 12 calibration groups support no promise" in card
    assert "20% (14 groups)." in card
    assert "it accepts an expected loss of 0.125 for saving one average call of large" in card
    assert "| preset |" not in card


def test_without_measurements_the_card_says_so(manifest: dict[str, Any]) -> None:
    nothing = {"prompts": 0, "groups": 0, "calibration": manifest["metrics"]["router"]["calibration"]}
    manifest["metrics"] = {"router": nothing, "length": nothing}
    for row in manifest["model"]["candidates"]:
        row |= {"gap_closed": None, "gap_closed_standard_error": None}
    card = render_card(manifest)
    assert_well_formed(card)
    assert "No prompt of the test part was tried on every tier." in card
    assert "and the gap closed unknown, by length alone unknown (where" in card


def test_unknown_figures_are_dashes(manifest: dict[str, Any]) -> None:
    manifest["metrics"]["router"]["calibration"]["large"]["auc"] = None
    manifest["metrics"]["router"]["gap_closed"] = {"value": None, "low": None, "high": None}
    manifest["metrics"]["router"]["operating_point"]["regret"] |= {"low": None, "high": None}
    card = render_card(manifest)
    assert_well_formed(card)
    assert "–" in card


def test_each_source_with_measurements_has_a_row(manifest: dict[str, Any]) -> None:
    part = {name: manifest["metrics"][name] for name in ("router", "length")}
    empty = {name: {"prompts": 0, "groups": 0, "calibration": {}} for name in ("router", "length")}
    manifest["metrics"]["by_source"] = {"inbox": part, "unanswered": empty}
    card = render_card(manifest)
    assert_well_formed(card)
    assert "| all |" in card
    assert "| inbox |" in card
    assert "| unanswered |" not in card


def test_the_same_manifest_is_the_same_card(manifest: dict[str, Any]) -> None:
    assert render_card(manifest) == render_card(copy.deepcopy(manifest))


VOID = {"date": "2026-11-22", "why": "9 of 100 fail: more than 5% | of them"}
WARNING = "> **CERTIFICATE VOID since 2026-11-22:** 9 of 100 fail: more than 5% | of them. No promise of this model holds."


def test_a_void_certificate_is_said_at_the_top_and_in_its_section(manifest: dict[str, Any]) -> None:
    promise(manifest)
    manifest["certificate"]["void"] = VOID
    card = render_card(manifest, "Some notes.")
    assert_well_formed(card)
    paragraphs = card.split("\n\n")
    assert [True, False] == [paragraph.startswith(WARNING) for paragraph in paragraphs[2:4]]
    assert "Some notes." == paragraphs[3]
    section = card.partition("## Certificate\n\n")[2].partition("\n\n## ")[0]
    assert paragraphs[2] == section
    assert "keeps the promise" not in card


@pytest.mark.parametrize(
    "notes", ["", "What it is for.", "A heading\n\n### Of its own\n\n| a | b |\n| --- | --- |"]
)
def test_a_card_of_a_void_copy_keeps_the_notes(manifest: dict[str, Any], notes: str) -> None:
    voided = copy.deepcopy(manifest)
    voided["certificate"]["void"] = VOID
    expected = render_card(voided, notes)
    assert expected == render_voided(voided, render_card(manifest, notes))
    assert expected == render_voided(voided, expected)  # void for the second time


def test_a_card_that_someone_wrote_stays_below_the_warning(manifest: dict[str, Any]) -> None:
    manifest["certificate"]["void"] = VOID
    card = render_voided(manifest, "# Mine\n\nText.\n")
    assert card.startswith(WARNING)
    assert card.endswith("\n\n# Mine\n\nText.\n")
    assert card == render_voided(manifest, card)
