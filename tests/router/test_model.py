"""What each kind of policy comes to: recomputed from the manifest, p_pass, spread and costs, in plain steps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from toys import WORDS, reseal

from router import Decision, Policy, Reason, RequestError, Router
from router.prompt import read_prompt

NAMES = ("small", "medium", "large")
PRESETS = {"safe": 0.02, "balanced": 0.05, "saver": 0.1}
# Known words, short to long, of many scores; one unlike anything known; nothing at all.
PROMPTS = [
    *(" ".join(WORDS[i : i + n]) + "?" * (i % 4) for i in range(0, 12, 2) for n in (1, 2, 4)),
    *(" ".join(WORDS[i:]) * 12 for i in range(0, 12, 3)),
    "世界",
    " ",
]
UNCERTIFIED = [
    Policy(max_regret=0.0),
    Policy(max_regret=0.0199),
    Policy(min_quality=1.0),
    Policy(min_quality=0.9701),
    Policy(max_regret=0.0999, slice="task=sums"),
    Policy(max_regret=1.0, slice="task=tales"),  # a slice that the certificate does not know
    Policy(preset="saver", slice="feature=none"),
]
CERTIFIED = [
    Policy(),
    *(Policy(max_regret=alpha) for alpha in (0.02, 0.049, 0.05, 0.1, 1.0)),
    *(Policy(min_quality=share) for share in (0.97, 0.95, 0.9, 0.0)),
    *(Policy(preset=name) for name in PRESETS),
    *(Policy(budget=usd) for usd in (1.0, 0.004, 0.0039, 0.002, 0.001, 1e-4)),
    *(Policy(epsilon=epsilon) for epsilon in (0.0, 0.01, 0.07, 0.3, 2.0, 50.0)),
    Policy(max_regret=0.1, slice="task=sums"),
    Policy(preset="saver", slice="task=sums"),
]
OVERSPENT = [Policy(budget=9.9e-5), Policy(budget=5e-324)]
BOUNDS: list[dict[str, Any]] = [
    {},
    {"floor": "medium"},
    {"ceiling": "medium"},
    {"allow": ["large", "small"]},
    {"allow": ["small"]},
    {"floor": "large"},
]


def dominate(folder: Path, **changes: Any) -> Path:
    """Make medium the reference tier of an artefact."""
    decision = json.loads((folder / "manifest.json").read_bytes())["decision"]
    reseal(folder, decision=decision | {"reference": "medium", "dominated": True} | changes)
    return folder


@pytest.fixture(scope="module", params=["ordinary", "dominated", "by quality"])
def router(
    request: pytest.FixtureRequest, toy_artifact: Path, tmp_path_factory: pytest.TempPathFactory
) -> Router:
    folder = Path(shutil.copytree(toy_artifact, tmp_path_factory.mktemp("model") / "toy"))
    if request.param == "dominated":
        dominate(folder)
    elif request.param == "by quality":
        dominate(folder, reference="large", default_loss="quality", default_epsilon=0.2)
    return Router.load(folder)


@pytest.fixture
def dominated(toy_artifact_copy: Path) -> Router:
    return Router.load(dominate(toy_artifact_copy))


def meant(document: dict[str, Any], policy: Policy) -> tuple[str, float | None]:
    """Which loss a policy goes by, and the epsilon that the manifest gives it; None where it gives none."""
    certificate, decision = document["certificate"], document["decision"]
    most = policy.max_regret if policy.preset is None else PRESETS[policy.preset]
    if most is not None:
        table = certificate["table"]
        if policy.slice is not None:
            table = [
                r for part in certificate["slices"] if part["name"] == policy.slice for r in part["table"]
            ]
        return "regret", max((row["epsilon"] for row in table if row["alpha"] <= most), default=None)
    if policy.min_quality is not None:
        kept = [row for row in certificate["quality"] if row["min_quality"] >= policy.min_quality]
        return "quality", max((row["epsilon"] for row in kept), default=None)
    if policy.budget is not None:
        within = [row["epsilon"] for row in decision["spend"] if row["usd"] <= policy.budget]
        return "quality", min(within, default=None)
    if policy.epsilon is not None:
        return "regret", policy.epsilon
    return decision["default_loss"], decision["default_epsilon"]


def permitted_by(policy: Policy) -> list[int]:
    first = 0 if policy.floor is None else NAMES.index(policy.floor)
    last = 2 if policy.ceiling is None else NAMES.index(policy.ceiling)
    return [k for k in range(first, last + 1) if policy.allow is None or NAMES[k] in policy.allow]


def least_value(losses: Sequence[float], usd: Sequence[float], price: float, tiers: list[int]) -> int:
    """Of some tiers, the one of least loss plus price times the highest cost so far; the cheaper of two."""
    return min(tiers, key=lambda k: (losses[k] + price * max(usd[: k + 1]), k))


def recompute(
    router: Router, prompt: str, decision: Decision, policy: Policy
) -> tuple[int, int | None, set[str]]:
    """Return the choice, the one without bounds (None: not recomputed), and the reasons that fit."""
    document = router.manifest.document
    best, unit = NAMES.index(document["decision"]["reference"]), document["decision"]["unit_usd"]
    p, usd = decision.p_pass, decision.tier_cost_usd
    spread = router.model.read_one(read_prompt(prompt))[3:6]
    loss, epsilon = meant(document, policy)
    losses = [0.0, 0.0, 0.0]
    for k in (k for k in range(3) if k != best):
        nested, independent = max(p[best] - p[k], 0.0), p[best] * (1.0 - p[k])
        losses[k] = spread[k] + ((nested + independent) / 2 if loss == "regret" else p[best] - p[k])
        if k > best:
            losses[k] = max(losses[k], 0.0)
    permitted = permitted_by(policy)
    overspent = epsilon is None and policy.budget is not None
    if not prompt.strip():
        reason = "empty"
    elif epsilon is None and not overspent:
        reason = "uncertified"
    elif decision.novelty > document["decision"]["novelty_threshold"]:
        reason = "novel"
    else:
        price = (1e9 if epsilon is None else epsilon) / unit
        index = least_value(losses, usd, price, permitted)
        predicted = least_value(losses, usd, price, [0, 1, 2])
        if overspent:
            return index, predicted, {"cost"}
        if index != predicted:
            return index, predicted, {"floor", "ceiling", "allow"}
        return index, predicted, {"sufficient"} if index < best else {"needed"}
    return best if best in permitted else permitted[-1], None, {reason}


@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
@pytest.mark.parametrize("policy", [*CERTIFIED, *UNCERTIFIED, *OVERSPENT], ids=lambda p: str(p.to_dict()))
def test_a_decision_is_what_the_manifest_and_the_graph_come_to(
    router: Router, policy: Policy, bounds: dict[str, Any]
) -> None:
    asked = Policy(**policy.to_dict(), **bounds)
    for prompt in PROMPTS:
        decision = router.route(prompt, asked)
        index, predicted, reasons = recompute(router, prompt, decision, asked)
        assert (index, NAMES[index]) == (decision.index, decision.tier)
        assert predicted in (None, decision.predicted)
        assert decision.reason.value in reasons
        assert decision.tier_cost_usd[index] == decision.expected_cost_usd


def test_the_cases_above_are_no_monoculture(router: Router) -> None:
    decisions = [router.route(prompt, policy) for prompt in PROMPTS for policy in (*CERTIFIED, *OVERSPENT)]
    reference = router.manifest.defaults.reference
    assert set(range(reference + 1)) == {decision.index for decision in decisions}
    expected = {Reason.SUFFICIENT, Reason.NEEDED, Reason.NOVEL, Reason.EMPTY, Reason.COST}
    assert expected == {decision.reason for decision in decisions}
    by_policy = {tuple(router.route(prompt, policy).index for prompt in PROMPTS) for policy in CERTIFIED}
    assert len(by_policy) >= 7


# What is not certified, and what cannot be kept


@pytest.mark.parametrize("policy", UNCERTIFIED, ids=lambda p: str(p.to_dict()))
def test_what_is_not_certified_goes_to_the_reference_tier(toy_router: Router, policy: Policy) -> None:
    decision = toy_router.route("hello", policy)
    assert ("large", Reason.UNCERTIFIED) == (decision.tier, decision.reason)
    assert 0.0 == decision.saving_usd


@pytest.mark.parametrize("policy", OVERSPENT, ids=lambda p: str(p.to_dict()))
def test_a_budget_that_cannot_be_kept_is_kept_as_far_as_can_be(toy_router: Router, policy: Policy) -> None:
    for prompt in PROMPTS[:-2]:
        decision = toy_router.route(prompt, policy)
        assert ("small", Reason.COST, 0) == (decision.tier, decision.reason, decision.predicted)
    for prompt, reason in (("世界", Reason.NOVEL), ("", Reason.EMPTY)):
        assert ("large", reason) == ((d := toy_router.route(prompt, policy)).tier, d.reason)
    decision = toy_router.route("hello", policy, needs=["tools"])
    assert ("medium", Reason.COST) == (decision.tier, decision.reason)


def test_a_service_without_spend_cannot_keep_any_budget(toy_artifact_copy: Path) -> None:
    decision = json.loads((toy_artifact_copy / "manifest.json").read_bytes())["decision"]
    reseal(toy_artifact_copy, decision=decision | {"spend": []})
    found = Router.load(toy_artifact_copy).route("hello", Policy(budget=1e9))
    assert ("small", Reason.COST) == (found.tier, found.reason)


# A certificate that is void


@pytest.fixture(scope="module", params=["large", "medium"])
def voided(
    request: pytest.FixtureRequest, toy_artifact: Path, tmp_path_factory: pytest.TempPathFactory
) -> Router:
    folder = dominate(
        Path(shutil.copytree(toy_artifact, tmp_path_factory.mktemp("void") / "toy")),
        reference=request.param,
        dominated=request.param != "large",
    )
    certificate = json.loads((folder / "manifest.json").read_bytes())["certificate"]
    reseal(folder, certificate=certificate | {"void": {"date": "2026-01-31", "why": "it fails"}})
    return Router.load(folder)


@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
@pytest.mark.parametrize("policy", [*CERTIFIED, *UNCERTIFIED, *OVERSPENT], ids=lambda p: str(p.to_dict()))
def test_of_a_void_certificate_everything_goes_to_the_reference_tier(
    voided: Router, policy: Policy, bounds: dict[str, Any]
) -> None:
    asked = Policy(**policy.to_dict(), **bounds)
    permitted, best = permitted_by(asked), voided.manifest.defaults.reference
    for prompt, alone, many in zip(
        PROMPTS,
        [voided.route(prompt, asked) for prompt in PROMPTS],
        voided.route_many(PROMPTS, asked),
        strict=True,
    ):
        expected = best if best in permitted else permitted[-1]
        reason = Reason.UNCERTIFIED if prompt.strip() else Reason.EMPTY
        for decision in (alone, many):
            assert (expected, reason) == (decision.index, decision.reason)


def test_of_a_void_certificate_asking_for_nothing_asks_for_the_reference_tier(voided: Router) -> None:
    best = voided.tiers[voided.manifest.defaults.reference].name
    assert (best, Reason.UNCERTIFIED) == ((d := voided.route("hello")).tier, d.reason)
    needed = voided.route("hello", needs=["json"])
    assert ("large", Reason.UNCERTIFIED) == (needed.tier, needed.reason)
    cheap = voided.route("hello", Policy(max_cost_usd=1e-4))
    assert ("small", Reason.UNCERTIFIED) == (cheap.tier, cheap.reason)


def test_a_void_certificate_changes_no_score(voided: Router, toy_router: Router) -> None:
    for prompt in PROMPTS:
        expected, found = toy_router.route(prompt, Policy(epsilon=0.5)), voided.route(prompt)
        assert (expected.p_pass, expected.novelty) == (found.p_pass, found.novelty)
        assert expected.tier_cost_usd == found.tier_cost_usd


# A ladder whose dearest tier is not the best


@pytest.mark.parametrize(
    ("tier", "bounds"),
    [
        ("medium", {}),
        ("medium", {"floor": "medium"}),
        ("medium", {"ceiling": "medium"}),
        ("medium", {"allow": ["small", "medium"]}),
        ("large", {"allow": ["small", "large"]}),  # the dearest one
        ("large", {"floor": "large"}),
        ("small", {"ceiling": "small"}),  # the dearest that is left
        ("small", {"allow": ["small"]}),
    ],
)
def test_what_is_not_sure_goes_to_the_best_tier_and_not_to_the_dearest(
    dominated: Router, tier: str, bounds: dict[str, Any]
) -> None:
    for prompt, asked, reason in (
        ("hello", {"max_regret": 0.001}, Reason.UNCERTIFIED),
        ("hello", {"min_quality": 0.999}, Reason.UNCERTIFIED),
        ("世界", {"epsilon": 50.0}, Reason.NOVEL),
        ("世界", {}, Reason.NOVEL),
        ("", {}, Reason.EMPTY),
    ):
        decision = dominated.route(prompt, Policy(**asked, **bounds))
        assert (tier, reason) == (decision.tier, decision.reason)


def test_what_is_not_sure_goes_to_the_best_that_can(dominated: Router) -> None:
    uncertified = Policy(max_regret=0.001)
    for tier, needs in (
        ("medium", ()),
        ("medium", ("tools",)),
        ("large", ("json",)),
        ("large", ("tools", "json")),
    ):
        decision = dominated.route("hello", uncertified, needs=needs)
        assert (tier, Reason.UNCERTIFIED) == (decision.tier, decision.reason)
    small, medium, large = dominated.route("hello").tier_cost_usd
    for tier, limit in (("medium", large), ("medium", medium), ("small", medium * 0.99), ("small", small)):
        decision = dominated.route("hello", Policy(max_regret=0.001, max_cost_usd=limit))
        assert (tier, Reason.UNCERTIFIED) == (decision.tier, decision.reason)


def test_of_a_dominated_ladder_the_dearest_is_chosen_only_where_nothing_else_is_left(
    dominated: Router,
) -> None:
    """By regret: nothing is lost on the reference tier, and it costs less."""
    for epsilon in (0.0, 0.05, 1.0):
        found = [dominated.route(prompt, Policy(epsilon=epsilon)) for prompt in PROMPTS]
        assert max(decision.index for decision in found) == 1
    strict = dominated.route("hello", Policy(epsilon=0.0))
    assert ("medium", Reason.NEEDED) == (strict.tier, strict.reason)
    assert strict.saving_usd > 0.0


# What a call needs, stated in the policy


@pytest.mark.parametrize("needs", [[], ["tools"], ["json"], ["vision", "tools"], ["wings"]], ids=str)
@pytest.mark.parametrize(
    "asked", [{}, {"epsilon": 1.0}, {"budget": 1e-9}, {"epsilon": 1.0, "ceiling": "medium"}]
)
def test_needs_of_a_policy_are_needs_of_the_call(
    toy_router: Router, asked: dict[str, Any], needs: list[str]
) -> None:
    for prompt in PROMPTS:
        said = toy_router.route(prompt, Policy(**asked), needs=needs)
        assert said == toy_router.route(prompt, Policy(**asked, needs=needs))
        assert said == toy_router.route(prompt, Policy(**asked, needs=needs), needs=needs)


def test_needs_of_policy_and_call_add_up(toy_router: Router) -> None:
    anything = {"epsilon": 1.0}
    for tier, stated, said in (
        ("medium", ["tools"], []),
        ("large", ["tools"], ["json"]),
        ("large", ["json"], []),
    ):
        decision = toy_router.route("hello", Policy(**anything, needs=stated), needs=said)
        assert (tier, Reason.CAPABILITY) == (decision.tier, decision.reason)
    together = toy_router.route_many(["hello"] * 3, Policy(epsilon=1.0, needs=["json"]))
    assert {"large"} == {decision.tier for decision in together}


# A policy that holds where none is stated


@pytest.mark.parametrize(
    "policy",
    [*CERTIFIED, *OVERSPENT, Policy(max_regret=0.0), Policy(floor="medium")],
    ids=lambda p: str(p.to_dict()),
)
def test_a_default_policy_holds_where_none_is_stated(
    toy_artifact: Path, toy_router: Router, policy: Policy
) -> None:
    router = Router.load(toy_artifact, policy)
    assert [toy_router.route(prompt, policy) for prompt in PROMPTS] == [
        router.route(prompt) for prompt in PROMPTS
    ]
    assert toy_router.route_many(PROMPTS, policy) == router.route_many(PROMPTS)
    other = Policy(epsilon=0.02)
    assert toy_router.route_many(PROMPTS, other) == router.route_many(PROMPTS, other)


def test_a_default_policy_holds_after_a_reload(toy_artifact: Path, toy_artifact_copy: Path) -> None:
    policy = Policy(max_regret=0.05)
    router = Router.load(toy_artifact, policy)
    before = router.route_many(PROMPTS)
    reseal(dominate(toy_artifact_copy), model_id="tw-other")
    router.reload(toy_artifact_copy)
    assert Router.load(toy_artifact_copy).route_many(PROMPTS, policy) == router.route_many(PROMPTS)
    assert before != router.route_many(PROMPTS)
    router.reload(toy_artifact)
    assert before == router.route_many(PROMPTS)


def test_a_default_policy_that_does_not_fit_the_model_is_refused(
    toy_artifact: Path, toy_artifact_copy: Path
) -> None:
    with pytest.raises(RequestError, match="did you mean medium"):
        Router.load(toy_artifact, Policy(floor="mediun"))
    tiers = json.loads((toy_artifact_copy / "manifest.json").read_bytes())["tiers"]
    tiers["tier"][1]["name"] = "midi"
    reseal(toy_artifact_copy, tiers=tiers)
    router = Router.load(toy_artifact, Policy(floor="medium"))
    before, model = router.route_many(PROMPTS), router.model
    with pytest.raises(RequestError, match="known tiers: small, midi, large"):
        router.reload(toy_artifact_copy)
    assert model is router.model
    assert before == router.route_many(PROMPTS)
