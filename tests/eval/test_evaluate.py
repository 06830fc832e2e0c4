"""From outcomes to the document: who judges, what a finished model brings, and what allows no judgement."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eval.baselines import BASELINES
from eval.design import Design, describe
from eval.estimators import SUBJECT, estimators
from eval.evaluate import evaluate, undecided
from eval.expected import expected_cost
from eval.folds import Fold, Plan, plan_folds
from eval.history import read_history
from eval.outcomes import Outcomes, tabulate
from eval.promises import Promised
from router.embedding import StaticEmbedding
from router.extractor import Extractor
from router.tiers import read_tiers

N = 240
N_BOOT = 100
KEYS = {"sampling", "data", "comparison", "operating_point", "promises", "slices", "misroutes", "verdict"}


def rate(train: Design, test: Design, seed: int) -> NDArray[np.float64]:  # noqa: ARG001 - as all are called
    """The subject of most tests: each tier's pass rate, and a little more for longer prompts."""
    longer = test.X[:, train.dimension] > np.median(train.X[:, train.dimension])
    rates = np.nanmean(train.passed, axis=0).astype(np.float64)
    return np.clip(rates + 0.01 * longer[:, None] * np.arange(train.n_tiers), 0.0, 1.0)


FITTED = {SUBJECT: rate, "length": BASELINES["length"]}


@pytest.fixture(scope="module")
def outcomes(
    tmp_path_factory: pytest.TempPathFactory,
    write: Callable[..., tuple[Path, Path]],
    draw: Callable[..., NDArray[np.float64]],
    texts: list[str],
) -> Outcomes:
    """Prompts in pairs, of which the longer need a dearer tier, some not answered by the middle one."""
    prompts = texts[:N]
    long = np.array([len(prompt) > 200 for prompt in prompts])
    score = draw(N, (0.8, 0.85, 0.9), seed=1)
    score[long] = draw(N, (0.2, 0.5, 0.9), seed=2)[long]
    score[::12, 1] = np.nan
    history, tiers = write(
        tmp_path_factory.mktemp("pairs"), prompts, score, group=[f"g{i // 2}" for i in range(N)]
    )
    return tabulate(read_history(history), read_tiers(tiers))


@pytest.fixture(scope="module")
def features(toy_embedding: Path) -> Callable[[Outcomes], Design]:
    """From outcomes to a design, by the toy embedding."""
    extractor = Extractor(StaticEmbedding.load(toy_embedding))
    return lambda found: describe(found, extractor.extract_many(found.prompts), extractor)


@pytest.fixture(scope="module")
def design(outcomes: Outcomes, features: Callable[[Outcomes], Design]) -> Design:
    return features(outcomes)


@pytest.fixture(scope="module")
def document(outcomes: Outcomes, design: Design) -> dict[str, Any]:
    """The judgement of a history alone; not to be changed."""
    return evaluate(outcomes, design, plan_folds(outcomes, 3), FITTED, n_boot=N_BOOT, seed=3)


def varying(outcomes: Outcomes) -> NDArray[np.float64]:
    """Costs as they are in the mean, which differ from prompt to prompt."""
    return np.asarray(outcomes.cost_usd * np.random.default_rng(7).choice([0.2, 1.8], (len(outcomes), 1)))


def hold_out(outcomes: Outcomes, share: int = 4) -> Plan:
    """Every `share`-th pair judges."""
    judges = np.array([int(group[1:]) % share == 0 for group in outcomes.groups])
    return Plan((Fold(np.flatnonzero(~judges), np.flatnonzero(judges)),), "held-out", "Held out.")


def judge_model(
    outcomes: Outcomes, design: Design, scores: NDArray[Any], decisions: NDArray[Any], **more: Any
) -> dict[str, Any]:
    return evaluate(
        outcomes,
        design,
        hold_out(outcomes),
        {"length": BASELINES["length"]},
        model_scores=scores,
        decisions=decisions,
        epsilon=0.1,
        n_boot=N_BOOT,
        **more,
    )


def test_the_document_is_json_and_whole(document: dict[str, Any], outcomes: Outcomes) -> None:
    json.dumps(document, allow_nan=False)
    assert set(document) == KEYS
    assert document["operating_point"] is None  # nothing decides but a model
    assert {"method": "group", "folds": 5, "seed": 3} == {
        key: document["sampling"][key] for key in ("method", "folds", "seed")
    }
    assert (N, 220) == (document["data"]["prompts"], document["comparison"]["prompts"])
    assert int(outcomes.complete.sum()) == document["comparison"]["prompts"]
    assert [N, 220, N] == [row["observed"] for row in document["comparison"]["calibration"]]
    assert {SUBJECT, "length", "hand-rule", "always-middle", "random-mix", "oracle"} <= {
        entry["name"] for entry in document["comparison"]["contenders"]
    }


def test_the_prompts_are_shown_only_if_asked_for(
    document: dict[str, Any], outcomes: Outcomes, design: Design
) -> None:
    told = json.dumps(document, ensure_ascii=False)
    assert document["misroutes"]
    assert not [prompt for prompt in outcomes.prompts if str(prompt)[:40] in told]
    shown = evaluate(
        outcomes, design, plan_folds(outcomes, 3), FITTED, n_boot=N_BOOT, seed=3, with_prompts=True
    )
    texts = dict(zip(outcomes.prompt_ids, outcomes.prompts, strict=True))
    assert shown["misroutes"]
    for row in shown["misroutes"]:
        assert str(texts[row["prompt_id"]]).startswith(row["prompt"][:100])
    assert document["comparison"] == shown["comparison"]


def test_the_same_seed_gives_the_same_document_and_another_another(
    document: dict[str, Any], outcomes: Outcomes, design: Design
) -> None:
    again = evaluate(outcomes, design, plan_folds(outcomes, 3), FITTED, n_boot=N_BOOT, seed=3)
    other = evaluate(outcomes, design, plan_folds(outcomes, 3), FITTED, n_boot=N_BOOT, seed=4)
    assert document == again
    assert document["comparison"]["contenders"] != other["comparison"]["contenders"]


def test_every_fold_and_estimator_ticks_once(outcomes: Outcomes, design: Design) -> None:
    ticks: list[str] = []
    evaluate(outcomes, design, plan_folds(outcomes, 0, 3), FITTED, n_boot=10, tick=ticks.append)
    assert {SUBJECT: 3, "length": 3} == Counter(ticks)


def explained(document: dict[str, Any]) -> list[float | None]:
    return [tier["cost_explained"] for tier in document["comparison"]["tiers"]]


def test_without_answers_a_call_is_taken_to_cost_its_tiers_mean(
    document: dict[str, Any], outcomes: Outcomes, design: Design
) -> None:
    assert [None] * 3 == explained(document)
    varied = replace(outcomes, cost_usd=varying(outcomes))
    bare = evaluate(varied, design, plan_folds(varied, 3), FITTED, n_boot=N_BOOT, seed=3)
    assert [None] * 3 == explained(bare)


def test_answers_are_predicted_fold_by_fold_for_all_alike(outcomes: Outcomes, design: Design) -> None:
    varied = replace(outcomes, cost_usd=varying(outcomes))
    plan, judges = plan_folds(varied, 3), []

    def spy(train: Design, test: Design) -> NDArray[np.float64]:
        assert not set(train.groups.tolist()) & set(test.groups.tolist())  # type: ignore[union-attr]
        assert (None, None, None) == (test.cost_usd, test.answer_usd, test.answer_seen)
        assert np.isnan(test.passed).all()
        judges.append(len(test))
        return np.full(test.passed.shape, 2.0)

    found = evaluate(varied, design, plan, FITTED, spy, n_boot=N_BOOT, seed=3)
    assert [len(fold.test) for fold in plan.folds] == judges
    said = expected_cost(varied, np.full(varied.passed.shape, 2.0))
    given = evaluate(varied, design, plan, FITTED, model_costs=said, n_boot=N_BOOT, seed=3)
    assert given == found
    assert None not in explained(found)


def test_what_a_model_expects_goes_before_what_is_predicted(outcomes: Outcomes, design: Design) -> None:
    varied = replace(outcomes, cost_usd=varying(outcomes))
    decisions = np.zeros(N, dtype=np.intp)
    scores = np.tile([0.3, 0.6, 0.9], (N, 1))

    def never(_train: Design, _test: Design) -> NDArray[np.float64]:
        raise AssertionError("the model has said what calls cost")

    found = judge_model(varied, design, scores, decisions, answers=never, model_costs=varied.cost_usd)
    assert [1.0] * 3 == pytest.approx(explained(found))
    blind = judge_model(varied, design, scores, decisions)
    assert [None] * 3 == explained(blind)
    # It is the same to what is decided already, and to the tiers.
    assert blind["operating_point"] == found["operating_point"]
    ours, theirs = (
        {entry["name"]: entry["gap_closed"]["value"] for entry in document["comparison"]["contenders"]}
        for document in (found, blind)
    )
    assert ours["tier:medium"] == theirs["tier:medium"]
    assert ours[SUBJECT] != theirs[SUBJECT]


def test_our_own_estimator_stands_beside_every_baseline() -> None:
    assert [SUBJECT, *BASELINES] == list(estimators())


# A finished model


def test_a_model_is_judged_on_its_held_out_rows_alone(outcomes: Outcomes, design: Design) -> None:
    rng = np.random.default_rng(0)
    scores, decisions = rng.random((N, 3)), rng.integers(0, 3, N)
    judged = hold_out(outcomes).folds[0].test
    first = judge_model(outcomes, design, scores, decisions)
    others = np.setdiff1d(np.arange(N), judged)
    elsewhere, choice = scores.copy(), decisions.copy()
    elsewhere[others], choice[others] = 1.0 - scores[others], 2 - decisions[others]
    assert first == judge_model(outcomes, design, elsewhere, choice)
    elsewhere[judged] = 1.0 - scores[judged]
    assert first != judge_model(outcomes, design, elsewhere, choice)  # or the test above could not fail
    assert int(outcomes.complete[judged].sum()) == first["comparison"]["prompts"]
    assert {row["prompt_id"] for row in first["misroutes"]} <= set(outcomes.prompt_ids[judged])
    assert [SUBJECT, "length"] == [entry["name"] for entry in first["comparison"]["contenders"]][:2]


@pytest.mark.parametrize(("tier", "saving"), [(0, 0.99), (1, 0.9), (2, 0.0)])
def test_the_operating_point_is_what_the_model_decides(
    outcomes: Outcomes, design: Design, tier: int, saving: float
) -> None:
    scores, decisions = np.full((N, 3), 0.5), np.full(N, tier)
    point = judge_model(outcomes, design, scores, decisions)["operating_point"]
    assert 0.1 == point["epsilon"]
    assert saving == pytest.approx(point["saving"]["value"])
    assert {name: float(k == tier) for k, name in enumerate(outcomes.ladder.names)} == point["share_per_tier"]
    judged = outcomes.take(hold_out(outcomes).folds[0].test)
    complete = judged.take(judged.complete)
    regret = np.mean((complete.passed[:, 2] == 1) & (complete.passed[:, tier] == 0))
    assert regret == pytest.approx(point["regret"]["value"])


def test_a_model_is_held_to_its_promises_on_its_held_out_rows(outcomes: Outcomes, design: Design) -> None:
    rng = np.random.default_rng(0)
    judged = hold_out(outcomes).folds[0].test
    seen = {"epsilon": 0.1, "observed": 0.01, "bound": 0.04, "saving": 0.5, "share_per_tier": [0.5, 0.0, 0.5]}
    certificate = {"delta": 0.05, "n": 77, "table": [{"alpha": 0.05} | seen], "quality": []}
    decision = {"reference": "large", "dominated": False}
    choice = rng.integers(0, 3, N)
    elsewhere = np.where(np.isin(np.arange(N), judged), choice, 0)
    first, second = (
        judge_model(
            outcomes,
            design,
            np.full((N, 3), 0.5),
            np.full(N, 2),
            promised=Promised(certificate, decision, {("regret", 0.05): chosen}),
        )["promises"]
        for chosen in (choice, elsewhere)
    )
    assert first == second
    (row,) = first["rows"]
    complete = judged[outcomes.complete[judged]]
    shares = {name: float(share) for name, share in row["measured"]["share_per_tier"].items()}
    assert np.mean(choice[complete] == 0) == pytest.approx(shares["small"], abs=0.05)  # groups count alike
    assert (77, len(complete)) == (first["groups"], first["judged"]["prompts"])


def test_a_model_that_says_nothing_of_promises_has_none(outcomes: Outcomes, design: Design) -> None:
    assert judge_model(outcomes, design, np.full((N, 3), 0.5), np.full(N, 2))["promises"] is None


def test_a_history_is_promised_what_its_own_scores_certify(
    document: dict[str, Any], outcomes: Outcomes
) -> None:
    promises = document["promises"]
    complete = len(np.unique(outcomes.groups[outcomes.complete].astype(str)))
    assert complete == promises["groups"] + promises["judged"]["groups"]
    assert outcomes.ladder.names[-1] == promises["reference"]


def test_the_misroutes_of_a_model_are_those_of_its_decisions(outcomes: Outcomes, design: Design) -> None:
    scores = np.full((N, 3), 0.5)
    all_top = judge_model(outcomes, design, scores, np.full(N, 2))["misroutes"]
    all_cheap = judge_model(outcomes, design, scores, np.zeros(N, dtype=np.intp))["misroutes"]
    assert {("over", "large")} == {(row["kind"], row["chosen"]) for row in all_top}
    assert {("under", "small")} == {(row["kind"], row["chosen"]) for row in all_cheap}


def test_a_plan_that_leaks_is_refused(outcomes: Outcomes, design: Design) -> None:
    everything = np.arange(N)
    plan = Plan((Fold(everything[::2], everything[1::2]),), "held-out", "Halves of pairs.")
    with pytest.raises(ValueError, match="on both sides"):
        evaluate(outcomes, design, plan, FITTED, n_boot=10)


# What allows no judgement

Change = Callable[[Outcomes], Outcomes]


def only_small(outcomes: Outcomes) -> Outcomes:
    return outcomes.on([0])


def scoring(value: float) -> Change:
    return lambda outcomes: replace(
        outcomes,
        score=np.full_like(outcomes.score, value),
        passed=np.full_like(outcomes.passed, float(value >= 0.5)),
    )


def costing(*usd: float) -> Change:
    return lambda outcomes: replace(outcomes, cost_usd=np.tile(usd, (len(outcomes), 1)))


def in_groups(n: int) -> Change:
    return lambda outcomes: replace(
        outcomes, groups=np.array([f"g{i % n}" for i in range(len(outcomes))], dtype=object)
    )


def one_tier_each(outcomes: Outcomes) -> Outcomes:
    hidden = np.arange(3) != np.arange(len(outcomes))[:, None] % 3
    score, passed = outcomes.score.copy(), outcomes.passed.copy()
    score[hidden] = passed[hidden] = np.nan
    return replace(outcomes, score=score, passed=passed)


def never_middle(outcomes: Outcomes) -> Outcomes:
    score, passed = outcomes.score.copy(), outcomes.passed.copy()
    score[20:, 1] = passed[20:, 1] = np.nan
    return replace(outcomes, score=score, passed=passed)


@pytest.mark.parametrize(
    ("change", "why", "advice"),
    [
        (only_small, "fewer than two tiers", "two tiers or more"),
        (one_tier_each, "no overlap between tiers", "drawn at random"),
        (never_middle, "18 prompts", "drawn at random"),
        (in_groups(9), "9 groups", "column group"),
        (scoring(1.0), "Every tier passes every prompt", ""),
        (scoring(0.0), "No tier passes any prompt", ""),
        (costing(0.0, 0.0, 0.0), "costs the same here, 0 USD", ""),
        (costing(0.003, 0.003, 0.003), "costs the same here, 0.003 USD", ""),
    ],
    ids=[
        "one tier",
        "no overlap",
        "hardly a tier",
        "few groups",
        "all pass",
        "all fail",
        "no cost",
        "one cost",
    ],
)
def test_what_cannot_be_judged_is_said_in_a_sentence_and_has_no_figures(
    outcomes: Outcomes, features: Callable[[Outcomes], Design], change: Change, why: str, advice: str
) -> None:
    changed = change(outcomes)
    found = evaluate(
        changed, features(changed), plan_folds(changed, 5), FITTED, n_boot=N_BOOT, seed=5, workers=1
    )
    verdict = found["verdict"]
    assert ("CANNOT TELL", 12) == (verdict["word"], verdict["exit_code"])
    assert why in verdict["reason"]
    assert advice in verdict["more_data"]
    assert bool(advice) == bool(verdict["more_data"])
    assert set(found) == KEYS
    assert (None, None, [], []) == tuple(
        found[key] for key in ("comparison", "operating_point", "slices", "misroutes")
    )
    assert 5 == found["sampling"]["seed"]
    assert len(changed) == found["data"]["prompts"]
    json.dumps(found, allow_nan=False)


def test_costs_that_differ_a_little_are_not_the_same(
    outcomes: Outcomes, features: Callable[[Outcomes], Design]
) -> None:
    changed = costing(0.003, 0.00301, 0.00302)(outcomes)
    found = evaluate(changed, features(changed), plan_folds(changed), FITTED, n_boot=N_BOOT)
    assert found["verdict"]["word"] != "CANNOT TELL"


def test_prompts_that_are_all_the_same_cannot_be_judged(
    outcomes: Outcomes, features: Callable[[Outcomes], Design]
) -> None:
    changed = replace(outcomes, prompts=["Same question."] * N)
    verdict = evaluate(changed, features(changed), plan_folds(changed), FITTED, n_boot=10)["verdict"]
    assert 12 == verdict["exit_code"]
    assert "the same to a router" in verdict["reason"]


def test_too_few_held_out_prompts_are_counted_among_those_that_judge(
    outcomes: Outcomes, design: Design
) -> None:
    plan = hold_out(outcomes, share=30)  # four pairs, of each of which the middle tier answered one prompt
    found = evaluate(outcomes, design, plan, {"length": BASELINES["length"]}, model_scores=np.ones((N, 3)))
    assert "Only 4 prompts" in found["verdict"]["reason"]
    assert "the same prompts" in found["verdict"]["more_data"]
    assert "Held out." == found["sampling"]["text"]


def test_an_undecided_document_needs_no_plan(outcomes: Outcomes) -> None:
    found = undecided(only_small(outcomes), "Because.")
    assert set(found) == KEYS
    assert found["sampling"] is None
    assert "Because." == found["verdict"]["reason"]


def test_the_operating_point_is_against_the_reference_tier(outcomes: Outcomes, design: Design) -> None:
    certificate: dict[str, Any] = {"delta": 0.05, "n": 77, "table": [], "quality": []}
    promised = Promised(certificate, {"reference": "medium", "dominated": True}, {})
    for tier, saving in ((0, 0.9), (1, 0.0)):
        point = judge_model(outcomes, design, np.full((N, 3), 0.5), np.full(N, tier), promised=promised)[
            "operating_point"
        ]
        assert "medium" == point["reference"]
        assert saving == pytest.approx(point["saving"]["value"])
    assert (1.0, 0.0) == (point["quality_relative_to_top"]["value"], point["regret"]["value"])
