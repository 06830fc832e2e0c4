"""The incumbent: what it has seen judges nobody, and what changed on the ladder is said and acted on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.outcomes import Outcomes
from router import Policy, Router
from router.tiers import Ladder, Tier
from training.pipeline.incumbent import (
    Incumbent,
    compare_ladders,
    contender,
    digest_groups,
    write_digests,
)  # fmt: skip

LADDER = Ladder(
    (
        Tier("small", ("s-1", "s-2"), 1.0, 2.0),
        Tier("medium", ("m-1",), 2.0, 4.0),
        Tier("large", ("l-1",), 9.0, 20.0),
    )
)


def of_groups(names: list[str]) -> Outcomes:
    n = len(names)
    ones = np.ones((n, 3), np.float32)
    return Outcomes(
        ladder=LADDER,
        prompt_ids=np.array([f"p{i}" for i in range(n)], dtype=object),
        prompts=[f"prompt {i}" for i in range(n)],
        groups=np.array(names, dtype=object),
        score=ones,
        passed=ones,
        cost_usd=ones.astype(np.float64),
        cost_estimated=np.zeros((n, 3), np.bool_),
        tags={},
        timestamp=None,
        mean_output_tokens=(1.0, 1.0, 1.0),
        dropped={},
    )


@given(st.lists(st.text(max_size=3), min_size=1, max_size=30))
def test_a_group_that_taught_judges_nobody(names: list[str]) -> None:
    outcomes = of_groups(names)
    taught = np.array([sum(map(ord, name)) % 2 == 0 for name in names])  # by group, so that none straddles
    seen = digest_groups(outcomes, taught)
    assert sorted(set(seen.tolist())) == seen.tolist()
    held = digest_groups(outcomes, ~taught)
    incumbent = Incumbent(1, Path(), Router.__new__(Router), seen, held, compare_ladders(LADDER, LADDER))
    assert (~taught).tolist() == incumbent.unseen(outcomes).tolist()
    assert (~taught).tolist() == incumbent.held_out(outcomes).tolist()


def test_what_nobody_wrote_down_hides_nothing() -> None:
    incumbent = Incumbent(1, Path(), Router.__new__(Router), None, None, compare_ladders(LADDER, LADDER))
    assert [True, True] == incumbent.unseen(of_groups(["a", "b"])).tolist()
    assert [False, False] == incumbent.held_out(of_groups(["a", "b"])).tolist()


def test_digests_are_kept_in_a_file(tmp_path: Path, toy_artifact: Path) -> None:
    outcomes = of_groups(["a", "b", "c"])
    write_digests(tmp_path / "seen.npy", digest_groups(outcomes, np.array([True, False, True])))
    write_digests(tmp_path / "held.npy", digest_groups(outcomes, np.array([False, True, False])))
    router, files = Router.load(toy_artifact), (tmp_path / "seen.npy", tmp_path / "held.npy")
    incumbent = Incumbent.open(7, toy_artifact, *files, router.manifest.ladder)
    assert [False, True, False] == incumbent.unseen(outcomes).tolist()
    assert [False, True, False] == incumbent.held_out(outcomes).tolist()
    assert ((), True, True) == (
        incumbent.change.texts,
        incumbent.change.comparable,
        incumbent.change.same_tiers,
    )
    assert not incumbent.is_void


def test_the_same_ladder_has_not_changed() -> None:
    change = compare_ladders(LADDER, LADDER)
    assert ((), True, True) == (change.texts, change.comparable, change.same_tiers)


def changed(*tiers: Tier, pass_score: float = 0.5) -> tuple[str, bool, bool]:
    change = compare_ladders(LADDER, Ladder(tiers, pass_score))
    return " ".join(change.texts), change.comparable, change.same_tiers


def test_changes_are_said_and_tell_what_can_be_compared() -> None:
    small, medium, large = LADDER.tiers
    text, comparable, same = changed(small, large)
    assert ("Tier medium is gone" in text, comparable, same) == (True, False, False)
    text, comparable, same = changed(small, medium, Tier("huge", ("h-1",), 5.0, 5.0), large)
    assert ("Tier huge is new" in text, comparable, same) == (True, True, False)
    text, comparable, same = changed(small, replace(medium, models=("m-9",)), large)
    assert ("Tier medium is another model now (m-9; it was m-1)" in text, comparable, same) == (
        True,
        False,
        False,
    )
    text, comparable, same = changed(replace(small, models=("s-2", "s-3")), medium, large)
    assert ("", True, True) == (
        text,
        comparable,
        same,
    )  # the tier can still be answered by a model that it had
    text, comparable, same = changed(replace(small, output_usd_per_mtok=3.0), medium, large)
    assert ("Tier small has another price" in text, comparable, same) == (True, True, True)
    text, comparable, same = changed(small, medium, replace(large, context_window=1000))
    assert ("Tier large takes other requests" in text, comparable, same) == (True, True, True)
    text, comparable, same = changed(medium, small, large)
    assert ("another order" in text, comparable, same) == (True, True, False)
    text, comparable, same = changed(small, medium, large, pass_score=0.7)
    assert ("passes at 0.7, before at 0.5" in text, comparable, same) == (True, True, True)


def test_decisions_are_laid_out_by_the_names_of_tiers(toy_artifact: Path) -> None:
    router = Router.load(toy_artifact)
    own, prompts = router.manifest.ladder, [f"Say {word}." for word in ("yes", "no", "it again")]
    decided = [router.route(prompt, Policy(max_regret=0.05)).index for prompt in prompts]
    same = contender(router, prompts, own, 0.05, own.names[-1])
    assert decided == same.chosen.tolist()
    assert same.scores is not None
    assert same.usd is not None
    assert same.scores == pytest.approx(router.score(prompts))
    longer = Ladder((Tier("free", ("f",), 0.0, 0.0), *own.tiers), own.pass_score)
    shifted = contender(router, prompts, longer, 0.05, own.names[-1])
    assert [index + 1 for index in decided] == shifted.chosen.tolist()
    assert shifted.scores is None
    assert [] == contender(router, [], own, 0.05, own.names[-1]).chosen.tolist()
