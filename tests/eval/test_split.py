"""A group never straddles parts, and a part stays what it was when the history grows."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from eval.history import read_history
from eval.outcomes import Outcomes, tabulate
from eval.split import CALIBRATION_SHARE, SPLIT_METHODS, TEST_SHARE, Split, split_rows
from router.errors import ConfigError
from router.tiers import Ladder, Tier

LADDER = Ladder((Tier("small", ("s",), 1.0, 1.0), Tier("large", ("b",), 2.0, 2.0)))
START = datetime(2025, 1, 1, tzinfo=UTC)
PARTS = ("train", "calibration", "test")


def row(i: int, **more: Any) -> dict[str, Any]:
    return {"prompt_id": f"p{i}", "prompt": f"prompt {i}", "model": "s", "score": 1.0} | more


def table(tmp_path: Path, rows: Iterable[dict[str, Any]]) -> Outcomes:
    """Read real rows, each on both models, through the reader that fits use."""
    path = tmp_path / "h.jsonl"
    lines = [json.dumps(r | {"model": model}) for r in rows for model in ("s", "b")]
    path.write_text("\n".join(lines), encoding="utf-8")
    return tabulate(read_history(path), LADDER)


def of_groups(groups: list[str], **more: Any) -> Outcomes:
    n = len(groups)
    names = np.array([f"p{i}" for i in range(n)], dtype=object)
    return Outcomes(
        ladder=LADDER,
        prompt_ids=names,
        prompts=list(names),
        groups=np.array([*groups, None], dtype=object)[:-1],
        score=np.ones((n, 2), np.float32),
        passed=np.ones((n, 2), np.float32),
        cost_usd=np.ones((n, 2)),
        cost_estimated=np.zeros((n, 2), dtype=bool),
        tags={"split": np.array([*more.get("split", [None] * n), 0], dtype=object)[:-1]},
        timestamp=more.get("timestamp"),
        mean_output_tokens=(1.0, 1.0),
        dropped={},
    )


def part_of(outcomes: Outcomes, split: Split) -> dict[str, str]:
    """Return the part of each prompt, once it is sure that each has exactly one."""
    masks: list[NDArray[np.bool_]] = [getattr(split, part) for part in PARTS]
    assert [1] * len(outcomes) == np.sum(masks, axis=0).tolist()
    assert {np.dtype(bool)} == {mask.dtype for mask in masks}
    assert split.method in SPLIT_METHODS
    which = np.argmax(masks, axis=0)
    return {str(name): PARTS[k] for name, k in zip(outcomes.prompt_ids, which, strict=True)}


def assert_whole_groups(outcomes: Outcomes, split: Split) -> None:
    parts = part_of(outcomes, split)
    seen: dict[str, set[str]] = {}
    for name, group in zip(outcomes.prompt_ids, outcomes.groups, strict=True):
        seen.setdefault(str(group), set()).add(parts[str(name)])
    assert {} == {group: found for group, found in seen.items() if len(found) > 1}


GROUPS = st.lists(st.sampled_from([f"g{i}" for i in range(12)]), min_size=1, max_size=60)


@given(GROUPS, st.integers(0, 5), st.data())
def test_no_group_straddles_parts_whatever_decides(groups: list[str], seed: int, data: st.DataObject) -> None:
    n = len(groups)
    days = data.draw(st.none() | st.lists(st.integers(0, 40), min_size=n, max_size=n))
    stamps = None if days is None else np.datetime64("2025-01-01", "ns") + np.array(days).astype("m8[D]")
    split = data.draw(st.lists(st.sampled_from([None, "train", "test"]), min_size=n, max_size=n))
    for outcomes in (
        of_groups(groups),
        of_groups(groups, timestamp=stamps),
        of_groups(groups, timestamp=stamps, split=split),
    ):
        assert_whole_groups(outcomes, split_rows(outcomes, seed))


@given(GROUPS, GROUPS, st.integers(0, 5))
def test_a_part_stays_when_the_history_grows(old: list[str], new: list[str], seed: int) -> None:
    before, after = of_groups(old), of_groups(old + new)
    parts = part_of(before, split_rows(before, seed))
    grown = part_of(after, split_rows(after, seed))
    assert parts == {name: grown[name] for name in parts}


def test_the_order_of_rows_does_not_matter() -> None:
    groups = [f"g{i % 50}" for i in range(300)]
    order = np.random.default_rng(1).permutation(300)
    outcomes = of_groups(groups)
    straight, shuffled = split_rows(outcomes), split_rows(outcomes.take(order))
    for part in PARTS:
        assert getattr(straight, part)[order].tolist() == getattr(shuffled, part).tolist()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_shares_are_near_what_they_are_called(tmp_path: Path, seed: int) -> None:
    plain = table(tmp_path, (row(i) for i in range(3000)))
    stamped = table(
        tmp_path, (row(i, timestamp=(START + timedelta(hours=i)).isoformat()) for i in range(3000))
    )
    given_test = table(tmp_path, (row(i, split="test" if i % 3 == 0 else "train") for i in range(3000)))
    for method, outcomes, test, calibration in (
        ("group", plain, TEST_SHARE, CALIBRATION_SHARE),
        ("time", stamped, TEST_SHARE, CALIBRATION_SHARE),
        ("given", given_test, 1 / 3, CALIBRATION_SHARE * 2 / 3),
    ):
        split = split_rows(outcomes, seed)
        assert method == split.method
        assert test == pytest.approx(split.test.mean(), abs=0.03)
        assert calibration == pytest.approx(split.calibration.mean(), abs=0.03)
        assert_whole_groups(outcomes, split)


def test_the_seed_decides_and_the_same_seed_decides_alike() -> None:
    outcomes = of_groups([f"g{i}" for i in range(200)])
    assert part_of(outcomes, split_rows(outcomes, 1)) == part_of(outcomes, split_rows(outcomes, 1))
    assert part_of(outcomes, split_rows(outcomes, 1)) != part_of(outcomes, split_rows(outcomes, 2))


def test_equal_prompts_stay_together(tmp_path: Path) -> None:
    """Without a group, the reader makes one of equal texts; the same text twice would judge itself."""
    outcomes = table(tmp_path, (row(i, prompt=f"text {i % 40}") for i in range(400)))
    parts = part_of(outcomes, split_rows(outcomes))
    for i in range(40):
        assert 1 == len({parts[f"p{j}"] for j in range(i, 400, 40)})


# The history's own split


def test_a_given_split_is_respected(tmp_path: Path) -> None:
    rows = [row(i, split="test" if i < 30 else "train") for i in range(200)]
    for more in ({}, {"timestamp": START.isoformat()}):  # it goes before the time
        outcomes = table(tmp_path, [r | more for r in rows])
        split = split_rows(outcomes)
        assert ("given", list(range(30))) == (split.method, np.flatnonzero(split.test).tolist())


def test_rows_without_a_part_do_not_judge(tmp_path: Path) -> None:
    tags = ["test", "train", None]
    outcomes = table(tmp_path, (row(i, split=tags[i % 3]) for i in range(90)))
    split = split_rows(outcomes)
    assert list(range(0, 90, 3)) == np.flatnonzero(split.test).tolist()


def test_a_group_with_a_test_row_is_a_test_group(tmp_path: Path) -> None:
    rows = [row(0, group="both", split="train"), row(1, group="both", split="test")]
    rows += [row(i, group=f"g{i}", split="train") for i in range(2, 50)]
    outcomes = table(tmp_path, rows)
    split = split_rows(outcomes)
    assert [0, 1] == np.flatnonzero(split.test).tolist()
    assert_whole_groups(outcomes, split)


@pytest.mark.parametrize("side", ["train", "test"])
def test_a_history_that_is_all_one_part_says_nothing(tmp_path: Path, side: str) -> None:
    bare = table(tmp_path, (row(i) for i in range(200)))
    tagged = table(tmp_path, (row(i, split=side) for i in range(200)))
    half = table(tmp_path, (row(i, split=side if i % 2 else None) for i in range(200)))
    expected = part_of(bare, split_rows(bare))
    for outcomes in (tagged, half):
        split = split_rows(outcomes)
        assert "group" == split.method
        assert expected == part_of(outcomes, split)


# Time


def test_the_newest_judge(tmp_path: Path) -> None:
    order = np.random.default_rng(2).permutation(500)
    outcomes = table(
        tmp_path,
        (row(i, timestamp=(START + timedelta(minutes=int(order[i]))).isoformat()) for i in range(500)),
    )
    split = split_rows(outcomes)
    assert ("time", 100) == (split.method, int(split.test.sum()))
    assert set(range(400, 500)) == set(order[split.test].tolist())


def test_a_group_is_as_new_as_its_newest_row(tmp_path: Path) -> None:
    # Each of 100 groups has an early row and a late one; the groups of the latest rows judge, whole.
    rows = [
        row(
            2 * g + late,
            group=f"g{g}",
            timestamp=(START + timedelta(days=1000 * late, hours=g if late else -g)).isoformat(),
        )
        for g in range(100)
        for late in (0, 1)
    ]
    outcomes = table(tmp_path, rows)
    split = split_rows(outcomes)
    assert_whole_groups(outcomes, split)
    assert {f"g{g}" for g in range(80, 100)} == set(outcomes.groups[split.test])


def test_a_row_without_a_time_leaves_the_hash_to_decide(tmp_path: Path) -> None:
    rows = [row(i, timestamp=(START + timedelta(hours=i)).isoformat()) for i in range(100)]
    assert "time" == split_rows(table(tmp_path, rows)).method
    rows[50]["timestamp"] = None
    assert "group" == split_rows(table(tmp_path, rows)).method


@pytest.mark.parametrize(
    ("newest", "method", "judges"),
    [
        (0, "group", None),
        (30, "time", 30),
        (20, "time", 20),
        (3, "time", 3),
        (45, "group", None),
        (90, "group", None),
    ],
)
def test_coarse_times(newest: int, method: str, judges: int | None) -> None:
    days = np.array(["2026-03-01"] * (100 - newest) + ["2026-03-02"] * newest, dtype="datetime64[ns]")
    outcomes = of_groups([f"g{i}" for i in range(100)], timestamp=days)
    split = split_rows(outcomes)
    assert method == split.method
    assert 0 < split.test.sum() < 45
    if judges is not None:
        assert judges == split.test.sum()
    else:
        with pytest.raises(ConfigError, match="split time: expected a timestamp on every row"):
            split_rows(outcomes, method="time")


def test_a_group_may_have_any_name() -> None:
    outcomes = of_groups(["\ud800", "", "é"])
    assert_whole_groups(outcomes, split_rows(outcomes))


def test_calibration_groups_stay_out_of_training_when_time_passes(tmp_path: Path) -> None:
    rows = [row(i, timestamp=(START + timedelta(hours=i)).isoformat()) for i in range(600)]
    before, after = table(tmp_path, rows[:400]), table(tmp_path, rows)
    old, new = part_of(before, split_rows(before)), part_of(after, split_rows(after))
    assert {"calibration"} == {new[name] for name, part in old.items() if part == "calibration"}
    assert {"train"} == {new[name] for name, part in old.items() if part == "train"}


# A method that is asked for


def test_a_method_asked_for_goes_before_what_the_history_holds(tmp_path: Path) -> None:
    rows = [
        row(i, split="test" if i % 2 else "train", timestamp=(START + timedelta(hours=i)).isoformat())
        for i in range(200)
    ]
    outcomes, bare = table(tmp_path, rows), of_groups([f"g{i}" for i in range(3)])
    assert "given" == split_rows(outcomes).method
    for method in SPLIT_METHODS:
        assert method == split_rows(outcomes, method=method).method
    for method in ("given", "time"):
        with pytest.raises(ConfigError, match=f"split {method}: .*use auto"):
            split_rows(bare, method=method)
    with pytest.raises(ConfigError, match="split random: expected auto, given, time, group"):
        split_rows(bare, method="random")
