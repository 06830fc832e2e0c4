"""A model is judged on what it held out: never on a prompt, or a group, that taught or certified it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eval.folds import require_no_leak
from eval.history import read_history
from eval.holdout import held_out
from eval.outcomes import Outcomes, tabulate
from eval.split import split_rows
from router import Router
from router.errors import ConfigError
from router.tiers import Ladder, read_tiers
from training.fit import fit

N = 160
START = datetime(2026, 1, 5, tzinfo=UTC)
ROOT = Path(__file__).resolve().parents[2]
METHODS = ("group", "time", "given")


def history_of(prompts: list[str], score: NDArray[Any], n: int) -> dict[str, Any]:
    """Columns of the first n prompts: pairs are a group, an hour apart; the second half's odd pairs are the test."""
    return {
        "prompts": prompts[:n],
        "score": score[:n],
        "group": [f"g{i // 2}" for i in range(n)],
        "timestamp": [(START + timedelta(hours=i)).isoformat() for i in range(n)],
        "split": ["test" if i >= n // 2 and i // 2 % 2 else "train" for i in range(n)],
    }


Histories = dict[str, tuple[Path, Path]]


@pytest.fixture(scope="module")
def histories(
    tmp_path_factory: pytest.TempPathFactory,
    write: Callable[..., tuple[Path, Path]],
    draw: Callable[..., NDArray[np.float64]],
    texts: list[str],
) -> Histories:
    """A history, and the same grown by a quarter."""
    folder = tmp_path_factory.mktemp("histories")
    score = draw(N + 40, (0.4, 0.6, 0.8), seed=4)
    return {
        "first": write(folder / "first", **history_of(texts, score, N)),
        "grown": write(folder / "grown", **history_of(texts, score, N + 40)),
    }


@pytest.fixture(scope="module")
def manifests(histories: Histories, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What fits on the first history wrote down, by how they divided it; not to be changed."""
    found = {}
    for method in METHODS:
        out = tmp_path_factory.mktemp("fitted") / method
        history, tiers = histories["first"]
        fit([history], tiers, out, seed=3, split_method=method, embedding=ROOT / "models" / "default")
        found[method] = Router.load(out).manifest.document
    return found


def read(history: Path, tiers: Path) -> Outcomes:
    return tabulate(read_history(history), read_tiers(tiers))


def judges(histories: Histories, which: str, manifest: dict[str, Any]) -> tuple[Outcomes, NDArray[np.intp]]:
    """Return the outcomes and the rows that judge, once it is sure that all rows are on one side."""
    history, tiers = histories[which]
    outcomes = read(history, tiers)
    plan = held_out(outcomes, [history], manifest)
    require_no_leak(plan, outcomes)
    assert ("held-out", 1) == (plan.method, len(plan.folds))
    fold = plan.folds[0]
    assert set(range(len(outcomes))) == {*fold.train.tolist(), *fold.test.tolist()}
    assert len(outcomes) == len(fold.train) + len(fold.test)
    assert f"Judged on the {len(fold.test)} prompts" in plan.text
    assert f"the other {len(fold.train)}." in plan.text
    return outcomes, fold.test


def taught(histories: Histories, method: str) -> tuple[set[str], set[str]]:
    """Return ids and groups of the prompts that a fit on the first history learned from or was certified on."""
    outcomes = read(*histories["first"])
    split = split_rows(outcomes, 3, method)
    rows = split.train | split.calibration
    return set(outcomes.prompt_ids[rows]), set(outcomes.groups[rows])


def with_split(manifest: dict[str, Any], **changes: Any) -> dict[str, Any]:
    data = manifest["data"]
    return manifest | {"data": data | {"split": data["split"] | changes}}


@pytest.mark.parametrize("method", METHODS)
def test_the_same_history_is_judged_on_exactly_what_the_fit_held_out(
    histories: Histories, manifests: dict[str, Any], method: str
) -> None:
    outcomes, rows = judges(histories, "first", manifests[method])
    said = manifests[method]["data"]["split"]
    learned, _ = taught(histories, method)
    assert method == said["method"]
    assert (said["test"], said["train"] + said["calibration"]) == (len(rows), len(learned))
    assert set(outcomes.prompt_ids) - learned == set(outcomes.prompt_ids[rows])


@pytest.mark.parametrize("method", METHODS)
def test_a_grown_history_never_judges_by_what_taught(
    histories: Histories, manifests: dict[str, Any], method: str
) -> None:
    outcomes, rows = judges(histories, "grown", manifests[method])
    ids, groups = taught(histories, method)
    if method == "given":  # its own column says what judges; a new one may say anything of old prompts
        assert set(outcomes.tags["split"][rows]) == {"test"}
        return
    assert not ids & set(outcomes.prompt_ids[rows])
    assert not groups & set(outcomes.groups[rows])
    assert set(outcomes.prompt_ids[rows]) & {f"p{i}" for i in range(N, N + 40)}  # new prompts judge as well


def test_with_another_seed_what_taught_would_judge(histories: Histories, manifests: dict[str, Any]) -> None:
    """Or the tests above could not fail."""
    history, tiers = histories["first"]
    outcomes = read(history, tiers)
    rows = held_out(outcomes, [history], with_split(manifests["group"], seed=4)).folds[0].test
    assert taught(histories, "group")[0] & set(outcomes.prompt_ids[rows])


def test_by_group_the_groups_that_judged_judge_again(histories: Histories, manifests: dict[str, Any]) -> None:
    before, rows = judges(histories, "first", manifests["group"])
    after, grown = judges(histories, "grown", manifests["group"])
    assert set(before.groups[rows]) == set(after.groups[grown]) & set(before.groups)


def test_by_time_all_that_is_newer_than_what_taught_judges(
    histories: Histories, manifests: dict[str, Any]
) -> None:
    learned_until = datetime.fromisoformat(manifests["time"]["data"]["split"]["learned_until"])
    outcomes, rows = judges(histories, "grown", manifests["time"])
    newest = START + timedelta(hours=127)  # four fifths of 160 prompts, an hour apart from the first on
    assert newest == learned_until
    assert {f"p{i}" for i in range(128, N + 40)} == set(outcomes.prompt_ids[rows])


def test_by_time_a_group_that_began_before_does_not_judge(
    histories: Histories, manifests: dict[str, Any]
) -> None:
    outcomes = read(*histories["grown"])
    groups = outcomes.groups.copy()
    groups[-1] = groups[0]  # an old conversation goes on
    plan = held_out(replace(outcomes, groups=groups), [histories["grown"][0]], manifests["time"])
    assert {f"p{i}" for i in range(128, N + 39)} == set(outcomes.prompt_ids[plan.folds[0].test])


def test_by_time_another_ladder_is_another_history(
    histories: Histories, manifests: dict[str, Any], tmp_path: Path
) -> None:
    """Where other models answered the older prompts alone, the newest fifth of these taught the model."""
    history, tiers = histories["first"]
    text = tiers.read_text(encoding="utf-8").replace('model = "m-small"', 'models = ["m-small", "m-new"]')
    (tmp_path / "tiers.toml").write_text(text, encoding="utf-8")
    outcomes = read(history, tmp_path / "tiers.toml").take(np.arange(100))
    fifth = split_rows(outcomes, 3, "time").test
    assert set(outcomes.prompt_ids[fifth]) <= taught(histories, "time")[0]
    with pytest.raises(ConfigError, match="0 of 100 held out"):
        held_out(outcomes, [history], manifests["time"])


def test_the_files_count_by_what_they_hold_not_by_their_names(
    histories: Histories, manifests: dict[str, Any], tmp_path: Path
) -> None:
    history, tiers = histories["first"]
    other = tmp_path / "renamed.parquet"
    other.write_bytes(history.read_bytes())
    outcomes = read(other, tiers)
    plan = held_out(outcomes, [other], manifests["time"])
    assert "the newest judge" in plan.text
    assert set(judges(histories, "first", manifests["time"])[1]) == set(plan.folds[0].test)


def test_the_newest_that_taught_is_written_down(manifests: dict[str, Any]) -> None:
    for manifest in manifests.values():
        told = datetime.fromisoformat(manifest["data"]["split"]["learned_until"])
        assert timedelta(0) == told.utcoffset()
        assert START <= told < START + timedelta(hours=N)


def test_a_history_without_times_has_no_newest(
    write: Callable[..., tuple[Path, Path]],
    draw: Callable[..., NDArray[np.float64]],
    texts: list[str],
    tmp_path: Path,
) -> None:
    history, tiers = write(tmp_path, texts[:100], draw(100, (0.4, 0.6, 0.8), seed=4))
    fit([history], tiers, tmp_path / "model", embedding=ROOT / "models" / "default")
    split = Router.load(tmp_path / "model").manifest.document["data"]["split"]
    assert ("group", None) == (split["method"], split["learned_until"])


# What is refused


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"data": None},
        {"data": {"split": {"method": "group"}, "files": []}},
        {"data": {"split": {"method": "group", "seed": "x"}, "files": []}},
        {"data": {"split": {"method": "group", "seed": 0}, "files": [{}]}},
    ],
)
def test_a_manifest_that_does_not_tell_is_refused(histories: Histories, manifest: dict[str, Any]) -> None:
    history, tiers = histories["first"]
    with pytest.raises(ConfigError, match="does not say how its history was divided"):
        held_out(read(history, tiers), [history], manifest)


def test_an_unknown_way_to_divide_is_refused(histories: Histories, manifests: dict[str, Any]) -> None:
    history, tiers = histories["first"]
    with pytest.raises(ConfigError, match="split moon: expected auto, given, time, group"):
        held_out(read(history, tiers), [history], with_split(manifests["group"], method="moon"))


@pytest.mark.parametrize("until", [None, "", "yesterday", 3])
def test_by_time_a_model_that_does_not_say_until_when_it_learned_is_refused(
    histories: Histories, manifests: dict[str, Any], until: object
) -> None:
    history, tiers = histories["grown"]
    with pytest.raises(ConfigError, match="newest that it learned from"):
        held_out(read(history, tiers), [history], with_split(manifests["time"], learned_until=until))


@pytest.mark.parametrize("missing", ["one", "all"])
def test_by_time_a_history_with_a_prompt_of_no_time_is_refused(
    histories: Histories, manifests: dict[str, Any], missing: str
) -> None:
    history, tiers = histories["grown"]
    outcomes = read(history, tiers)
    assert outcomes.timestamp is not None
    stamps = outcomes.timestamp.copy()
    stamps[5] = np.datetime64("NaT")
    outcomes = replace(outcomes, timestamp=None if missing == "all" else stamps)
    with pytest.raises(ConfigError, match="every prompt here needs a timestamp"):
        held_out(outcomes, [history], manifests["time"])


@pytest.mark.parametrize(("until", "found"), [("2027-01-01", "0 of 200"), ("2025-01-01", "200 of 200")])
def test_a_history_that_is_all_old_or_all_new_cannot_divide_itself(
    histories: Histories, manifests: dict[str, Any], until: str, found: str
) -> None:
    history, tiers = histories["grown"]
    manifest = with_split(manifests["time"], learned_until=f"{until}T00:00:00+00:00")
    with pytest.raises(ConfigError, match=f"{found} held out; use --unseen"):
        held_out(read(history, tiers), [history], manifest)


def test_given_needs_the_column(histories: Histories, manifests: dict[str, Any]) -> None:
    history, tiers = histories["first"]
    outcomes = read(history, tiers)
    bare = replace(outcomes, tags=outcomes.tags | {"split": np.full(N, None, dtype=object)})
    with pytest.raises(ConfigError, match="holds no train and test"):
        held_out(bare, [history], manifests["given"])


def test_another_ladder_may_not_change_what_a_hash_decides(
    histories: Histories, manifests: dict[str, Any]
) -> None:
    outcomes, rows = judges(histories, "first", manifests["group"])
    ladder = Ladder(outcomes.ladder.tiers, 0.7)
    plan = held_out(replace(outcomes, ladder=ladder), [histories["first"][0]], manifests["group"])
    assert rows.tolist() == plan.folds[0].test.tolist()
