"""What `tierwise inspect` prints: every promise in words, whatever the ladder, and never wider than a terminal."""

from __future__ import annotations

import unicodedata
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.inspection import describe
from router.manifest import SCHEMA, parse_manifest
from router.promise import READABLE, certified, missing_words, percent, preset_rows, slice_row

ALPHAS = [round(0.005 * i, 3) for i in range(1, 41)]


def manifest(tiers: tuple[str, ...] = ("small", "medium", "large")) -> dict[str, Any]:
    """A manifest as a fit writes it: regret certified from 1% on, quality from 3%, one slice of three from 5%."""
    shares = [1 / len(tiers)] * len(tiers)
    rows = [
        {
            "alpha": a,
            "epsilon": 2 * a,
            "observed": a / 2,
            "bound": a,
            "saving": 2 * a,
            "share_per_tier": shares,
        }
        for a in ALPHAS
    ]
    kept = [
        {"min_quality": 1 - a, "epsilon": a, "observed": 1 - a / 2, "saving": a, "share_per_tier": shares}
        for a in ALPHAS
    ]
    return {
        "schema": SCHEMA,
        "name": "toy",
        "model_id": "tw-toy",
        "created": "2026-11-22T09:00:00+00:00",
        "files": {"model.onnx": "0" * 64},
        "features": {},
        "tiers": {
            "pass_score": 0.5,
            "tier": [
                {
                    "name": name,
                    "model": f"m-{i}",
                    "input_usd_per_mtok": 1.0 + i,
                    "output_usd_per_mtok": 4.0 + i,
                }
                for i, name in enumerate(tiers)
            ],
        },
        "cost": {"usd_per_answer": [1e-3 * (i + 1) for i in range(len(tiers))]},
        "data": {
            "files": [{"name": "history.parquet"}],
            "split": {"train": 3000, "calibration": 900, "test": 900},
        },
        "model": {"members": ["linear", "trees"]},
        "decision": {
            "default_epsilon": 0.1,
            "default_loss": "regret",
            "default_max_regret": 0.05,
            "basis": "certificate",
            "reference": tiers[-1],
            "dominated": False,
            "unit_usd": 0.003,
            "novelty_threshold": 0.8,
            "spend": [],
        },
        "certificate": {
            "delta": 0.05,
            "n": 412,
            "date": "2026-11-22",
            "split": "hash",
            "reference": tiers[-1],
            "table": rows[1:],
            "quality": kept[5:],
            "slices": [
                {"name": "task=math", "n": 180, "delta": 0.02, "table": rows[6:]},
                {"name": "task=code", "n": 120, "delta": 0.02, "table": rows[15:]},
                {"name": "task=talk", "n": 100, "delta": 0.02, "table": []},
            ],
            "needed": {"0.005": 598},
        },
    }


def said(document: dict[str, Any]) -> str:
    return describe(parse_manifest(document), "models/toy", 3_000_000)


def columns(line: str) -> int:
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line
    )


def test_a_promise_is_a_row_of_its_words_its_saving_and_its_shares() -> None:
    lines = said(manifest()).split("\n")
    start = next(i for i, line in enumerate(lines) if "Fail where the best tier passes" in line)
    assert ["saves", "small", "medium", "large"] == lines[start].split()[-4:]
    assert ["at", "most", "5%", "of", "prompts", "10%", "33%", "33%", "33%"] == lines[start + 4].split()
    assert [percent(alpha) for alpha in READABLE] == [
        line.split()[2] for line in lines[start + 1 : start + 9]
    ]
    kept = next(i for i, line in enumerate(lines) if "Kept of the best tier's quality" in line)
    assert ["at", "least", "97%", "3%", "33%", "33%", "33%"] == lines[kept + 1].split()
    assert ["97%", "95%", "92.5%", "90%", "85%", "80%"] == [
        line.split()[2] for line in lines[kept + 1 : kept + 7]
    ]


def test_confidence_data_and_date_stand_with_the_promises() -> None:
    text = " ".join(said(manifest()).split())
    for part in (
        "with 95% confidence",
        "412 groups",
        "(history.parquet) on 2026-11-22",
        "Savings are against large",
        "Asked for nothing, the router keeps the promise: at most 5% of prompts fail where the best tier passes",
    ):
        assert part in text


def test_presets_say_what_they_mean_on_this_model() -> None:
    document = manifest()
    document["certificate"]["table"] = document["certificate"]["table"][8:]  # from 5% on
    document["certificate"]["needed"] = {"0.01": 9999, "0.02": 777, "0.03": 555}
    lines = said(document).split("\n")
    safe, balanced, saver = (
        " ".join(line.split()) for line in lines[lines.index("Presets") + 1 : lines.index("Presets") + 4]
    )
    assert "safe at most 2% of prompts fail where the best tier passes not certified, so large" == safe
    assert "balanced at most 5% of prompts fail where the best tier passes saves 10%, the default" == balanced
    assert "saver at most 10% of prompts fail where the best tier passes saves 20%" == saver
    text = " ".join(lines)
    assert "1% (9,999 groups), 2% (777 groups), 3% (555 groups)." in text


def test_a_preset_between_promises_takes_the_laxest_within() -> None:
    document = manifest()
    table = [row for row in document["certificate"]["table"] if row["alpha"] not in (0.05, 0.1)]
    rows = preset_rows({"table": table})
    assert [("safe", 0.04), ("balanced", 0.09), ("saver", 0.19)] == [(n, saving) for n, _, saving in rows]


def test_a_slice_says_its_strictest_promise_where_the_usual_one_is_missing() -> None:
    text = said(manifest())
    assert "Slices, all together with 95% confidence" in text
    for name, promise in (
        ("math", "at most 5% fail where the best passes, saves 10% (180 groups)"),
        ("code", "at most 8% fail where the best passes, saves 16% (120 groups)"),
        ("talk", "no promise (100 groups)"),
    ):
        assert f"  task={name}  {promise}" in text
    document = manifest()
    document["certificate"]["slices"] = []
    assert "Slices" not in said(document)
    assert slice_row({"table": []}) is None


def test_a_dominated_ladder_is_said_in_one_plain_sentence() -> None:
    document = manifest()
    assert "dominated" not in said(document)
    document["decision"].update(reference="medium", dominated=True)
    text = " ".join(said(document).split())
    assert (
        "The ladder is dominated: medium is better than large, the dearest tier, so promises are against medium."
        in text
    )
    assert "Savings are against medium" in text


def test_without_a_certificate_it_says_what_is_needed() -> None:
    document = manifest()
    document["certificate"].update(
        table=[], quality=[], slices=[], n=12, needed={str(a): 100 + i for i, a in enumerate(READABLE)}
    )
    document["decision"].update(basis="cross-validation", default_epsilon=0.25)
    text = " ".join(said(document).split())
    assert "Certificate: none; 12 calibration groups support no promise" in text
    assert "go to large, the best tier" in text
    assert "1% (100 groups), 2% (101 groups)" in text
    assert "20% (107 groups)." in text
    assert (
        "promises nothing: it accepts an expected loss of 0.25 for saving one average call of large" in text
    )
    assert "Presets" not in text


def test_nothing_is_missing_where_all_is_certified() -> None:
    assert "" == missing_words(manifest()["certificate"])
    assert list(READABLE) == [row.loss for row in certified(manifest()["certificate"], "regret")]
    assert 39 == len(certified(manifest()["certificate"], "regret", ()))


def test_many_tiers_are_listed_under_each_promise() -> None:
    names = tuple(f"tier number {i}" for i in range(12))
    document = manifest(names)
    document["certificate"]["table"][4]["share_per_tier"] = [0.5, 0.5] + [0.0] * 10
    lines = said(document).split("\n")
    assert ["      sent to 50% tier number 0, 50% tier number 1"] == [
        line for line in lines if "sent to 50%" in line
    ]


@pytest.mark.parametrize("share", [0.1, 0.2, 1 / 3])
def test_shares_stand_under_their_tiers(share: float) -> None:
    document = manifest(("a", "提示词分类", "a rather long name of a tier"))
    for row in document["certificate"]["table"]:
        row["share_per_tier"] = [share, share, 1 - 2 * share]
    lines = said(document).split("\n")
    start = next(i for i, line in enumerate(lines) if "Fail where" in line)
    ends = {columns(line) for line in lines[start : start + 9]}
    assert 1 == len(ends)


NAMES = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
        lambda t: bool(t.strip())
    ),
    min_size=1,
    max_size=14,
    unique=True,
)


@given(NAMES, st.integers(0, 3), st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_line_is_wider_than_a_terminal_whatever_the_names(names: list[str], cut: int, none: bool) -> None:
    document = manifest(tuple(f"{i}{name}" for i, name in enumerate(names)))
    document["certificate"]["table"] = [] if none else document["certificate"]["table"][cut:]
    document["certificate"]["quality"] = [] if none else document["certificate"]["quality"]
    document["certificate"]["slices"][0]["name"] = f"task={names[0]}"
    document["decision"]["dominated"] = len(names) > 1
    for line in said(document).split("\n"):
        assert 100 >= columns(line), line
        assert all(c.isprintable() for c in line)


def test_what_was_held_out_is_measured_source_by_source() -> None:
    document = manifest()
    assert "Held-out" not in said(document)
    point = {
        "saving": {"value": 0.423, "low": 0.4, "high": 0.45},
        "quality_relative_to_top": {"value": 0.98, "low": None, "high": None},
        "regret": {"value": None, "low": None, "high": None},
    }
    wild = point | {"saving": {"value": -26.817, "low": -32.738, "high": -22.415}}
    document["metrics"] = {
        "router": {"operating_point": point},
        "by_source": {
            "inbox " * 20: {"router": {"operating_point": wild}},
            "unanswered": {"router": {"operating_point": None}},
        },
    }
    lines = said(document).split("\n")
    lines = lines[next(i for i, line in enumerate(lines) if "Held-out" in line) :]
    assert ["all", "42.3%", "[40.0%,", "45.0%]", "98.0%", "unknown"] == lines[2].split()
    assert "-2681.7% [-3273.8%, -2241.5%]" in lines[3]
    assert 4 == len(lines)
    assert 1 == len({columns(line) for line in lines[1:]})
    assert all(columns(line) <= 100 for line in lines)


def test_a_promise_that_costs_more_says_so() -> None:
    document = manifest()
    for row in document["certificate"]["table"]:
        row["saving"] = -0.031 if row["alpha"] < 0.1 else -0.001
    text = said(document)
    assert "at most 5% fail where the best passes, costs 3% more (180 groups)" in text
    assert "passes  saves 0%" in text  # the saver
    assert "-0%" not in text


def test_describing_changes_nothing() -> None:
    document = manifest()
    same = deepcopy(document)
    said(document)
    assert same == document


def test_the_best_tier_is_named_once_with_its_other_name() -> None:
    document = manifest()
    text = " ".join(said(document).split())
    assert 1 == text.count("The best tier is large: no cheaper one is better beyond chance.")
    assert 1 == text.count("reference tier")
    document["decision"].update(reference="medium", dominated=True)
    assert "The best tier is medium: it is cheaper than the dearest, and better beyond chance." in " ".join(
        said(document).split()
    )


def test_what_is_missing_and_what_is_the_default_stand_apart() -> None:
    document = manifest()
    document["certificate"]["table"] = document["certificate"]["table"][5:]
    sections = said(document).split("\n\n")
    assert 1 == sum(section.startswith("Not certified, for want") for section in sections)
    assert 1 == sum(section.startswith("Asked for nothing, the router") for section in sections)


def test_a_void_certificate_is_said_first_and_nothing_is_promised() -> None:
    document = manifest()
    whole = said(document)
    document["certificate"]["void"] = {
        "date": "2026-11-22",
        "why": "9 of\n100 fail\x1b[2J where large passes.",
    }
    text = said(document)
    lines = text.split("\n")
    start = lines.index("") + 1
    assert lines[start].startswith(
        "CERTIFICATE VOID since 2026-11-22: 9 of 100 fail\ufffd[2J where large passes. No promise"
    )
    assert "Every request goes to large, the best tier" in " ".join(lines)
    for promise in ("Fail where", "Kept of", "Presets", "Slices", "keeps the promise", "confidence"):
        assert promise in whole
        assert promise not in text
    assert max(map(columns, lines)) <= 100


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda t: bool(t.strip())))
@settings(max_examples=40, deadline=None)
def test_no_reason_breaks_a_line_or_drives_a_terminal(why: str) -> None:
    document = manifest()
    document["certificate"]["void"] = {"date": "2026-11-22", "why": why}
    for line in said(document).split("\n"):
        assert 100 >= columns(line), line
        assert all(c.isprintable() for c in line)
