"""Drift reports on a toy router whose probabilities are true: no false alarms, real drift found, the rest untold."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest
from toys import CERTIFICATE, reseal, write_artifact

from eval.drift import measure_drift
from eval.drift_certificate import LOOK_LEVEL, check_certificate
from eval.drift_outcomes import outcome_rows
from eval.drift_rows import ALPHA
from eval.outcomes import TAGS, Outcomes
from router import Policy, Router
from router.tiers import Ladder, Tier
from training.reference import describe_held, describe_reference
from training.synthetic import generate

N_BOOT = 60
MAX_REGRET = 0.05


class World(NamedTuple):
    """Prompts with what the toy router makes of them, and a router that knows a part of them as its history."""

    router: Router
    outcomes: Outcomes
    X: NDArray[np.float32]
    fresh: NDArray[np.intp]  # rows that are no part of the history


def draw_outcomes(prompts: list[Any], p: NDArray[Any], ladder: Ladder, seed: int) -> Outcomes:
    rng = np.random.default_rng(seed)
    n, k = p.shape
    passed = (rng.random((n, k)) < p).astype(np.float32)
    start = np.datetime64("2026-03-02T00:00:00", "ns")
    return Outcomes(
        ladder=ladder,
        prompt_ids=np.array([f"p{i}" for i in range(n)], object),
        prompts=prompts,
        groups=np.array([f"g{i}" for i in range(n)], object),
        score=passed.copy(),
        passed=passed,
        cost_usd=np.geomspace(1e-4, 1e-2, k) * rng.lognormal(0.0, 0.4, (n, k)),
        cost_estimated=np.zeros((n, k), np.bool_),
        tags={name: np.full(n, None, object) for name in TAGS},
        timestamp=start + np.arange(n).astype("timedelta64[m]"),
        mean_output_tokens=(100.0,) * k,
        dropped={},
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Its certificate sends most prompts to the middle tier, whatever it promises."""
    folder = write_artifact(tmp_path_factory.mktemp("drift") / "toy")
    rows = {kind: [row | {"epsilon": 0.3} for row in CERTIFICATE[kind]] for kind in ("table", "quality")}
    reseal(folder, certificate=CERTIFICATE | rows)
    router = Router.load(folder)
    texts = generate(3600, seed=5).prompt.dropna().drop_duplicates().tolist()
    X = router.model.extractor.extract_many(texts)
    scores = router.model.scorer.score(X)
    outcomes = draw_outcomes(texts, scores.p_pass, router.manifest.ladder, seed=6)
    order = np.random.default_rng(7).permutation(len(texts))
    learned, held, fresh = order[:1000], order[1000:1700], order[1700:]
    threshold = float(np.quantile(scores.novelty, 0.99))
    document = router.manifest.document
    document["decision"] = document["decision"] | {"novelty_threshold": threshold}
    document["reference"] = describe_reference(
        X[learned], scores.p_pass[learned], scores.novelty[learned], router.model.names, outcomes.groups[learned]
    )  # fmt: skip
    said = type(scores)(*(part[held] for part in scores))
    document["reference"]["held"] = describe_held(outcomes.take(held), said, threshold)
    return World(router, outcomes, X, fresh)


@pytest.fixture(scope="module")
def measure(world: World) -> Callable[..., dict[str, Any]]:
    def run(outcomes: Outcomes, X: NDArray[np.float32], seed: int = 0, **other: Any) -> dict[str, Any]:
        options = {"max_regret": MAX_REGRET, "n_boot": N_BOOT} | other
        return measure_drift(outcomes, world.router, X, seed=seed, **options)

    return run


def window(world: World, n: int, seed: int) -> tuple[Outcomes, NDArray[np.float32]]:
    rows = np.random.default_rng([seed, n]).choice(world.fresh, n, replace=False)
    return world.outcomes.take(rows), world.X[rows]


def drifted(document: dict[str, Any]) -> set[str]:
    return {row["kind"] for row in document["rows"] if row["drifted"]}


def rows_of(document: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in document["rows"] if row["kind"] == kind}


def rewrite(world: World, outcomes: Outcomes, prompts: list[Any]) -> tuple[Outcomes, NDArray[np.float32]]:
    """The same outcomes of other prompts."""
    return replace(outcomes, prompts=prompts), world.router.model.extractor.extract_many(prompts)


def turn(outcomes: Outcomes, tier: int, share: float, to: float, seed: int = 0) -> Outcomes:
    """Outcomes of which a share on one tier passes, or fails, whatever it did."""
    hit = np.random.default_rng(seed).random(len(outcomes)) < share
    passed, score = outcomes.passed.copy(), outcomes.score.copy()
    passed[hit, tier] = score[hit, tier] = to
    return replace(outcomes, passed=passed, score=score)


@pytest.mark.parametrize("n", [60, 300])
def test_where_nothing_drifted_few_reports_say_so(
    world: World, measure: Callable[..., dict[str, Any]], n: int
) -> None:
    reports = [measure(*window(world, n, seed), seed) for seed in range(30)]
    assert all(report["told"] == report["looked_at"] == 58 for report in reports)
    found = Counter(kind for report in reports for kind in drifted(report))
    # One in twenty is what is promised; that thirty hold five or more has a chance of two in a hundred even so.
    assert sum(report["drifted"] for report in reports) <= 4, found
    assert ALPHA == reports[0]["alpha"]


def test_groups_of_copies_are_no_drift(world: World, measure: Callable[..., dict[str, Any]]) -> None:
    alarms = 0
    for seed in range(12):
        outcomes, X = window(world, 80, seed)
        copies = np.repeat(np.arange(80), 5)
        alarms += measure(outcomes.take(copies), X[copies], seed)["drifted"]
    assert alarms <= 2


def test_longer_prompts_are_found(world: World, measure: Callable[..., dict[str, Any]]) -> None:
    outcomes, _ = window(world, 200, 1)
    found = measure(*rewrite(world, outcomes, [f"{text} {text} {text}" for text in outcomes.prompts]))
    row = rows_of(found, "feature")["log_chars"]
    assert row["drifted"]
    assert row["now"] > row["before"]
    assert "characters" in row["text"]


def test_another_script_is_found_in_one_prompt_of_ten(
    world: World, measure: Callable[..., dict[str, Any]]
) -> None:
    outcomes, _ = window(world, 200, 2)
    prompts = [
        "请把下面的句子翻译成英文。" if i % 10 == 0 else text for i, text in enumerate(outcomes.prompts)
    ]
    row = rows_of(measure(*rewrite(world, outcomes, prompts)), "feature")["share_cjk"]
    assert row["drifted"]
    assert row["now"] > row["before"]


def test_another_mix_of_topics_is_found(world: World, measure: Callable[..., dict[str, Any]]) -> None:
    code = np.array(["def " in text or "{" in text or "SELECT" in text for text in world.outcomes.prompts])
    rows = np.intersect1d(world.fresh, np.flatnonzero(code))[:150]
    found = measure(world.outcomes.take(rows), world.X[rows])
    assert {"embedding", "feature"} <= drifted(found)


@pytest.mark.parametrize(("tier", "share", "to"), [(1, 0.35, 0.0), (2, 0.25, 0.0), (0, 0.25, 1.0)])
def test_a_tier_that_changed_is_found_and_the_others_are_left_alone(
    world: World, measure: Callable[..., dict[str, Any]], tier: int, share: float, to: float
) -> None:
    outcomes, X = window(world, 400, 3)
    found = measure(turn(outcomes, tier, share, to), X)
    names = world.router.model.names
    assert {names[tier]} == {name for name, row in rows_of(found, "label").items() if row["drifted"]}
    row = rows_of(found, "label")[names[tier]]
    assert (to == 1.0) == (row["now"] > row["before"])
    assert row["low"] < row["now"] < row["high"]
    assert rows_of(found, "calibration")[f"{names[tier]}: p and pass rate"]["drifted"]
    assert not drifted(found) & {"embedding", "feature", "score", "novelty", "cost"}


def test_probabilities_that_no_longer_tell_prompts_apart_are_found(
    world: World, measure: Callable[..., dict[str, Any]]
) -> None:
    outcomes, X = window(world, 600, 4)
    p = world.router.model.scorer.score(X).p_pass[:, 1]
    passed, score = outcomes.passed.copy(), outcomes.score.copy()
    rank = np.argsort(np.argsort(p))
    passed[:, 1] = score[:, 1] = np.sort(passed[:, 1])[::-1][rank]  # as many as before, on the wrong prompts
    found = measure(replace(outcomes, passed=passed, score=score), X)
    assert rows_of(found, "calibration")["medium: ECE"]["drifted"]
    assert not rows_of(found, "label")["medium"]["drifted"]


def test_dearer_calls_are_found(world: World, measure: Callable[..., dict[str, Any]]) -> None:
    outcomes, X = window(world, 200, 5)
    dearer = outcomes.cost_usd * np.array([1.0, 1.0, 1.6])
    found = measure(replace(outcomes, cost_usd=dearer), X)
    assert {"large"} == {name for name, row in rows_of(found, "cost").items() if row["drifted"]}


def test_novel_prompts_are_found(world: World, measure: Callable[..., dict[str, Any]]) -> None:
    outcomes, _ = window(world, 200, 6)
    prompts = ["\u4e16" * 40 if i % 5 == 0 else text for i, text in enumerate(outcomes.prompts)]
    assert "novelty" in drifted(measure(*rewrite(world, outcomes, prompts)))


@pytest.mark.parametrize("n", [0, 1, 10])
def test_a_small_window_is_untold(world: World, measure: Callable[..., dict[str, Any]], n: int) -> None:
    found = measure(world.outcomes.take(world.fresh[:n]), world.X[world.fresh[:n]])
    assert (58, 0, False) == (found["looked_at"], found["told"], found["drifted"])
    assert all(row["text"].startswith("untold: ") and "30 are needed" in row["text"] for row in found["rows"])
    assert (n == 0) == (found["from"] is None)
    assert ("untold" if n == 0 else "unproven") == found["certificate"]["status"]
    assert found["text"].startswith("Nothing can be told of drift")


def test_one_group_is_untold_however_many_prompts(
    world: World, measure: Callable[..., dict[str, Any]]
) -> None:
    outcomes, X = window(world, 300, 7)
    found = measure(replace(outcomes, groups=np.full(300, "one", object)), X)
    assert (0, 1) == (found["told"], found["groups"])
    assert 1 == found["certificate"]["groups"]
    assert "unproven" == found["certificate"]["status"]


def test_without_a_complete_row_only_the_certificate_is_untold(
    world: World, measure: Callable[..., dict[str, Any]]
) -> None:
    outcomes, X = window(world, 300, 8)
    passed, score = outcomes.passed.copy(), outcomes.score.copy()
    passed[::2, 0] = score[::2, 0] = passed[1::2, 2] = score[1::2, 2] = np.nan
    found = measure(replace(outcomes, passed=passed, score=score), X)
    assert "untold" == found["certificate"]["status"]
    assert "no new prompt was tried on every tier" in found["certificate"]["text"]
    assert 58 == found["told"]


def test_tiers_are_matched_by_name(world: World, measure: Callable[..., dict[str, Any]]) -> None:
    outcomes, X = window(world, 300, 9)
    tiers = outcomes.ladder.tiers
    renamed = (replace(tiers[0], name="mini"), tiers[1], replace(tiers[2], models=("titan",)))
    found = measure(replace(outcomes, ladder=replace(outcomes.ladder, tiers=renamed)), X)
    label = rows_of(found, "label")
    assert [False, True, True] == [label[name]["told"] for name in ("small", "medium", "large")]
    assert "no tier of that name" in label["small"]["text"]
    assert "untold" == found["certificate"]["status"]
    assert "small is no tier" in found["certificate"]["text"]
    assert any("mini" in note for note in found["notes"])
    assert any("titan" in note for note in found["notes"])


def test_the_order_of_tiers_and_new_ones_do_not_matter(
    world: World, measure: Callable[..., dict[str, Any]]
) -> None:
    outcomes, X = window(world, 300, 10)
    expected = measure(outcomes, X)
    more = replace(outcomes.ladder.tiers[2], name="huge")
    ladder = replace(outcomes.ladder, tiers=(*outcomes.ladder.tiers, more))
    wide: dict[str, Any] = {
        name: np.concatenate([getattr(outcomes, name), getattr(outcomes, name)[:, 2:]], axis=1)
        for name in ("score", "passed", "cost_usd", "cost_estimated")
    }
    found = measure(replace(outcomes, ladder=ladder, mean_output_tokens=(100.0,) * 4, **wide), X)
    assert expected["rows"] == found["rows"]
    assert expected["certificate"] == found["certificate"]
    assert any("huge" in note for note in found["notes"])


def test_passes_are_by_the_models_own_pass_score(
    world: World, measure: Callable[..., dict[str, Any]]
) -> None:
    outcomes, X = window(world, 300, 11)
    expected = measure(outcomes, X)
    strict = replace(outcomes, ladder=replace(outcomes.ladder, pass_score=0.9), passed=0 * outcomes.passed)
    found = measure(strict, X)
    assert expected["rows"] == found["rows"]
    assert any("0.9" in note for note in found["notes"])


def test_an_older_manifest_still_tells_of_features(
    world: World, measure: Callable[..., dict[str, Any]]
) -> None:
    outcomes, X = window(world, 300, 12)
    document = world.router.manifest.document
    reference = document["reference"]
    document["reference"] = {
        key: value for key, value in reference.items() if key not in ("bins", "groups", "held")
    }
    try:
        found = measure(outcomes, X)
        longer = measure(*rewrite(world, outcomes, [f"{text} {text} {text}" for text in outcomes.prompts]))
        document["reference"] = None
        nothing = measure(outcomes, X)
    finally:
        document["reference"] = reference
    assert not found["drifted"]
    assert {"embedding", "feature"} == {row["kind"] for row in found["rows"] if row["told"]}
    assert rows_of(longer, "feature")["log_chars"]["drifted"]
    assert 0 == nothing["told"]
    assert all("fit it again" in row["text"] for row in nothing["rows"])


def test_the_same_seed_gives_the_same_report_without_a_prompts_text(
    world: World, measure: Callable[..., dict[str, Any]]
) -> None:
    outcomes, X = window(world, 120, 13)
    found = measure(outcomes, X)
    assert found == measure(outcomes, X)
    text = json.dumps(found, allow_nan=False)
    assert found == json.loads(text)
    assert not [prompt for prompt in outcomes.prompts if str(prompt)[:40] in text]


def test_the_order_of_prompts_does_not_matter_to_what_is_seen(
    world: World, measure: Callable[..., dict[str, Any]]
) -> None:
    outcomes, X = window(world, 120, 14)
    back = np.arange(120)[::-1]
    one, other = measure(outcomes, X), measure(outcomes.take(back), X[back])
    for first, second in zip(one["rows"], other["rows"], strict=True):
        assert first["name"] == second["name"]
        np.testing.assert_allclose(first["now"], second["now"], rtol=1e-6, atol=1e-9)


def test_rows_of_another_width_are_refused(world: World, measure: Callable[..., dict[str, Any]]) -> None:
    outcomes, X = window(world, 40, 15)
    with pytest.raises(ValueError, match="rows of shape"):
        measure(outcomes, X[:, 1:])
    with pytest.raises(ValueError, match="n_boot"):
        measure(outcomes, X, n_boot=0)


def regret_of(world: World, outcomes: Outcomes, promise: float) -> float:
    chosen = [d.index for d in world.router.route_many(outcomes.prompts, Policy(max_regret=promise))]
    passed = outcomes.passed == 1.0
    return float((passed[:, 2] & ~passed[np.arange(len(chosen)), chosen]).mean())


def test_a_certificate_is_void_where_the_cheap_tier_broke(
    world: World, measure: Callable[..., dict[str, Any]]
) -> None:
    outcomes, X = window(world, 400, 16)
    broken = turn(turn(turn(outcomes, 0, 1.0, 0.0), 1, 1.0, 0.0), 2, 1.0, 1.0)
    found = measure(broken, X)["certificate"]
    first = found["promises"][0]
    assert ("regret", MAX_REGRET, True) == (first["kind"], first["promise"], first["asked"])
    assert regret_of(world, broken, MAX_REGRET) == first["observed"] > MAX_REGRET
    assert ("void", "void") == (first["status"], found["status"])
    assert first["low"] > MAX_REGRET
    assert "void" in found["text"]
    assert {"void"} == {row["status"] for row in found["promises"] if row["kind"] == "quality"}


def test_a_certificate_holds_where_nothing_is_regretted(
    world: World, measure: Callable[..., dict[str, Any]]
) -> None:
    outcomes, X = window(world, 400, 17)
    found = measure(turn(outcomes, 2, 1.0, 0.0), X)["certificate"]
    assert (0.0, "holding") == (found["promises"][0]["observed"], found["status"])
    assert {"holding", "unproven"} >= {row["status"] for row in found["promises"]}


def test_one_row_of_each_group_counts_for_regret(
    world: World, measure: Callable[..., dict[str, Any]]
) -> None:
    outcomes, X = window(world, 100, 18)
    once = measure(outcomes, X)["certificate"]
    copies = np.repeat(np.arange(100), 4)
    often = measure(outcomes.take(copies), X[copies])["certificate"]
    assert (100, 400) == (often["groups"], often["prompts"])
    regret = [[row for row in found["promises"] if row["kind"] == "regret"] for found in (once, often)]
    assert regret[0] == regret[1]


def test_a_promise_that_was_never_made_is_untold(
    world: World, measure: Callable[..., dict[str, Any]]
) -> None:
    outcomes, X = window(world, 100, 19)
    found = measure(turn(outcomes, 2, 1.0, 0.0), X, max_regret=0.001)["certificate"]
    assert "untold" == found["status"]
    assert "No promise of at most 0.1% regret was certified" in found["text"]
    assert not any(row["asked"] for row in found["promises"])


def test_where_no_such_promise_was_made_another_that_breaks_is_told_and_voids_nothing(
    world: World, measure: Callable[..., dict[str, Any]]
) -> None:
    outcomes, X = window(world, 400, 16)
    broken = turn(turn(turn(outcomes, 0, 1.0, 0.0), 1, 1.0, 0.0), 2, 1.0, 1.0)
    found = measure(broken, X, max_regret=0.001)["certificate"]
    assert "void" in {row["status"] for row in found["promises"]}
    assert "untold" == found["status"]
    assert "Broken is the promise that at most 2% of prompts fail" in found["text"]
    assert found["text"].startswith("No promise of at most 0.1% regret was certified")


def test_a_promise_that_is_just_kept_is_called_void_in_five_looks_one_time_in_twenty(world: World) -> None:
    router, document = world.router, world.router.manifest.document
    certificate = document["certificate"]
    assert 0.05 == certificate["delta"]
    one = [row for row in certificate["table"] if row["alpha"] == MAX_REGRET]
    chosen = np.array(
        [d.index for d in router.route_many(world.outcomes.prompts, Policy(max_regret=MAX_REGRET))]
    )
    routed = np.flatnonzero(chosen != 2)  # the others have nothing to regret
    scores = router.model.scorer.score(world.X)
    rng, n, champions, looks, void = np.random.default_rng(0), 200, 80, 5, 0
    try:
        document["certificate"] = certificate | {"table": one, "quality": []}
        for _ in range(champions):
            statuses = []
            for _ in range(looks):
                rows = rng.choice(routed, n, replace=False)
                fails = rng.random(n) < MAX_REGRET
                passed = np.repeat(~fails[:, None], 3, axis=1).astype(np.float32)
                passed[:, 2] = 1.0
                seen = replace(world.outcomes.take(rows), passed=passed, score=passed)
                part = type(scores)(*(each[rows] for each in scores))
                found = check_certificate(seen, router, part, max_regret=MAX_REGRET)
                assert fails.mean() == found["promises"][0]["observed"]
                statuses.append(found["status"])
            void += "void" in statuses
    finally:
        document["certificate"] = certificate
    assert binomtest(void, champions, 0.05, alternative="greater").pvalue > 0.01


def test_the_confidence_of_a_look_is_told(world: World, measure: Callable[..., dict[str, Any]]) -> None:
    found = measure(*window(world, 100, 20))["certificate"]
    first, *others = found["promises"]
    assert 0.01 == LOOK_LEVEL == found["level"] == first["level"]
    assert {LOOK_LEVEL / len(others)} == {row["level"] for row in others}
    assert "each with 99% confidence" in found["text"]


def test_prompts_that_the_manifest_describes_count_for_the_certificate_only(
    world: World, measure: Callable[..., dict[str, Any]]
) -> None:
    outcomes, X = window(world, 200, 21)
    described = np.arange(200) < 80
    rest, certificate = measure(outcomes.take(~described), X[~described]), measure(outcomes, X)["certificate"]
    found = measure(outcomes, X, described=described)
    assert [
        "80 of 200 prompts describe the model in its manifest, so they count for the certificate only."
    ] == found["notes"]
    assert certificate == found["certificate"] != rest["certificate"]
    for key in set(found) - {"notes", "certificate", "text"}:
        assert rest[key] == found[key], key


@pytest.mark.parametrize("left", [0, 29])
def test_where_too_few_prompts_are_news_all_are_compared(
    world: World, measure: Callable[..., dict[str, Any]], left: int
) -> None:
    outcomes, X = window(world, 100, 21)
    found, plain = measure(outcomes, X, described=np.arange(100) >= left), measure(outcomes, X)
    (note,) = found.pop("notes")
    assert note.startswith(f"{100 - left} of 100 prompts describe the model in its manifest, too")
    assert found == {key: plain[key] for key in plain if key != "notes"}


def test_a_cost_of_which_two_groups_tell_nothing_has_a_limit_that_json_can_hold() -> None:
    n, names = 40, tuple(f"t{i}" for i in range(5))
    rng = np.random.default_rng(0)
    ladder = Ladder(tuple(Tier(name, (name,), 1.0 + i, 2.0 + i) for i, name in enumerate(names)))
    outcomes = draw_outcomes([f"prompt {i}" for i in range(n)], np.full((n, 5), 0.5), ladder, seed=0)
    then = {"mean_usd": 0.001, "error_usd": 0.002, "groups": 2}
    manifest = {"reference": {"held": {"passed": {}, "cost": dict.fromkeys(names, then)}}}
    found = outcome_rows(outcomes, np.full((n, 5), 0.5), names, manifest, 100, rng)
    costs = [row for row in found if row["kind"] == "cost"]
    assert 5 == len(costs)
    assert all(row["told"] and not row["drifted"] and 1e8 < row["limit"] < 1e9 for row in costs)
    json.dumps(found, allow_nan=False)
