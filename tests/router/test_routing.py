"""The router decides on any string, the same each time, alone or in a batch, in any thread."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from math import log1p
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alike import assert_all_alike
from hypothesis import example, given
from hypothesis import strategies as st
from toys import DIMENSION, WORDS, reseal

from router import Decision, Policy, Reason, RequestError, Router

ANY_TEXT = st.text(st.characters())  # every code point, lone surrogates too
TOP = "large"
IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}


def generated(n: int, seed: int) -> list[Any]:
    """Return prompts of every form and length, most of them of known words."""
    rng = np.random.default_rng(seed)
    prompts: list[Any] = []
    for i in range(n):
        text = " ".join(rng.choice(WORDS, int(rng.integers(0, 6) ** 4)))
        text = [text, text.upper() + "?", f"{text}\n```\nx = {i}\n```", f"世界 {text}", "\ud800" + text][
            i % 5
        ]
        prompts.append(
            [
                text,
                [{"role": "user", "content": text}],
                [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}],
                [{"role": "user", "content": text}, {"role": "tool", "content": "{}"}],
                [{"role": "user", "content": [{"type": "text", "text": text}, IMAGE]}],
            ][int(rng.integers(0, 5))]
        )
    return prompts


PROMPTS = generated(300, seed=3)
POLICIES = [
    None,
    Policy(),
    Policy(epsilon=0.0),
    Policy(epsilon=1.0),
    Policy(max_regret=0.05),
    Policy(max_regret=0.001),
    Policy(min_quality=0.9),
    Policy(budget=0.003),
    Policy(budget=1e-9),
    Policy(preset="saver"),
    Policy(max_regret=0.1, slice="task=sums"),
    Policy(epsilon=0.3, needs=["tools"]),
    Policy(epsilon=0.1, floor="medium"),
    Policy(epsilon=0.1, ceiling="medium"),
    Policy(max_regret=0.1, allow=["small", "large"]),
]


# Scores


def test_scores_are_float32_per_prompt_and_tier(toy_router: Router) -> None:
    scores = toy_router.score(PROMPTS)
    assert (np.float32, (300, 3)) == (scores.dtype, scores.shape)
    assert ((scores > 0) & (scores < 1)).all()
    alone = [toy_router.route(prompt).p_pass for prompt in PROMPTS]
    np.testing.assert_allclose(scores, alone, rtol=0, atol=1e-5)


def test_no_prompts_give_no_scores_and_no_costs(toy_router: Router) -> None:
    for nothing in ([], ()):
        scores = toy_router.score(nothing)
        assert (np.float32, (0, 3)) == (scores.dtype, scores.shape)
        assert [] == toy_router.route_many(nothing)
        costs = toy_router.expected_cost(nothing)
        assert (np.float64, (0, 3)) == (costs.dtype, costs.shape)


# Decisions


def check(router: Router, decision: Decision) -> None:
    tier = router.tiers[decision.index]
    assert (tier.name, tier.model, "tw-toy") == (decision.tier, decision.model, decision.model_id)
    assert all(0.0 <= p <= 1.0 for p in decision.p_pass)
    assert 3 == len(decision.p_pass)
    assert 0.0 < decision.expected_cost_usd < float("inf")
    assert -1e-5 <= decision.novelty <= 2.0
    assert isinstance(decision.reason, Reason)


@given(text=ANY_TEXT)
@example(text="")
@example(text="\x00")
@example(text="\ud800")
@example(text="\udfff" * 3000)
@example(text="".join(map(chr, range(0x20))))
@example(text="\u202e\u200b\ufeff\ufffe\U0010ffff")
def test_any_string_gets_a_decision(toy_router: Router, text: str) -> None:
    for policy in (None, Policy(epsilon=0.0), Policy(max_regret=0.001)):
        decision = toy_router.route(text, policy)
        check(toy_router, decision)
        assert decision == toy_router.route(text, policy)


def test_a_string_of_ten_million_gets_a_decision(toy_router: Router) -> None:
    decision = toy_router.route("a line of text \ud800\x00\n" * 600_000)
    check(toy_router, decision)
    assert (TOP, Reason.CONTEXT) == (decision.tier, decision.reason)


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_a_batch_is_one_by_one_in_any_order(toy_router: Router, policy: Policy | None) -> None:
    alone = [toy_router.route(prompt, policy) for prompt in PROMPTS]
    assert_all_alike(toy_router, PROMPTS, alone, toy_router.route_many(PROMPTS, policy), policy)
    rng = np.random.default_rng(17)
    for size in (1, 2, 7, 64, 299):
        order = rng.permutation(len(PROMPTS))[:size]
        some = [PROMPTS[i] for i in order]
        found = toy_router.route_many(some, policy)
        assert_all_alike(toy_router, some, [alone[i] for i in order], found, policy)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 600])
def test_a_batch_of_any_size_is_one_by_one(toy_router: Router, size: int) -> None:
    prompts = (PROMPTS * 2)[:size]
    alone = [toy_router.route(prompt) for prompt in prompts]
    assert_all_alike(toy_router, prompts, alone, toy_router.route_many(prompts))
    assert (size, 3) == toy_router.score(prompts).shape
    assert (size, 3) == toy_router.expected_cost(prompts).shape


def test_the_generated_prompts_are_no_monoculture(toy_router: Router) -> None:
    decisions = toy_router.route_many(PROMPTS, Policy(epsilon=0.1))
    assert {0, 1, 2} == {decision.index for decision in decisions}
    assert {0, 1, 2} == {decision.predicted for decision in decisions}
    assert {
        Reason.SUFFICIENT,
        Reason.NEEDED,
        Reason.NOVEL,
        Reason.EMPTY,
        Reason.CAPABILITY,
    } == {decision.reason for decision in decisions}


def test_a_larger_epsilon_never_costs_more_tiers(toy_router: Router) -> None:
    ladders = [
        [d.index for d in toy_router.route_many(PROMPTS[:200], Policy(epsilon=e))]
        for e in (0.0, *np.geomspace(0.002, 10, 12))
    ]
    for strict, permissive in pairwise(ladders):
        assert all(a >= b for a, b in zip(strict, permissive, strict=True))


def test_one_user_message_is_routed_like_its_text(toy_router: Router) -> None:
    texts = [prompt for prompt in PROMPTS if isinstance(prompt, str)]
    assert len(texts) > 30
    messages = [[{"role": "user", "content": text}] for text in texts]
    assert toy_router.route_many(texts) == toy_router.route_many(messages)


# Reasons


@pytest.mark.parametrize("prompt", ["", " \n\t", "\u2003", [], [{"role": "user", "content": None}]])
@pytest.mark.parametrize("policy", [None, Policy(epsilon=1.0), Policy(max_regret=0.0), Policy(budget=1e-9)])
def test_nothing_to_read_is_empty(toy_router: Router, prompt: Any, policy: Policy | None) -> None:
    decision = toy_router.route(prompt, policy)
    assert (TOP, Reason.EMPTY) == (decision.tier, decision.reason)


def test_an_image_alone_is_not_empty(toy_router: Router) -> None:
    decision = toy_router.route([{"role": "user", "content": [IMAGE]}], Policy(epsilon=1.0))
    assert (TOP, Reason.NOVEL) == (decision.tier, decision.reason)


@pytest.mark.parametrize("text", ["世界", "\x00\x01", "\U0001f34e", "\u0bb5\u0ba3"])
def test_unlike_anything_known_is_novel(toy_router: Router, text: str) -> None:
    decision = toy_router.route(text, Policy(epsilon=1.0))
    assert (TOP, Reason.NOVEL, 1.0, 0) == (
        decision.tier,
        decision.reason,
        decision.novelty,
        decision.predicted,
    )
    assert Reason.SUFFICIENT == toy_router.route("hello", Policy(epsilon=1.0)).reason


def test_a_novelty_at_the_threshold_is_not_above_it(toy_artifact_copy: Path) -> None:
    document = json.loads((toy_artifact_copy / "manifest.json").read_bytes())["decision"]
    reseal(toy_artifact_copy, decision=document | {"novelty_threshold": 1.0})
    assert Reason.SUFFICIENT == Router.load(toy_artifact_copy).route("世界", Policy(epsilon=1.0)).reason


@pytest.mark.parametrize("max_regret", [0.0, 0, 0.001, 0.0199])
def test_a_regret_not_certified_goes_to_the_top(toy_router: Router, max_regret: float) -> None:
    decision = toy_router.route("hello", Policy(max_regret=max_regret))
    assert (TOP, Reason.UNCERTIFIED) == (decision.tier, decision.reason)
    decision = toy_router.route("hello", Policy(max_regret=max_regret, ceiling="medium"))
    assert ("medium", Reason.UNCERTIFIED) == (decision.tier, decision.reason)


@pytest.mark.parametrize(("max_regret", "epsilon"), [(0.02, 0.01), (0.05, 0.05), (0.3, 0.15), (1, 0.15)])
def test_a_certified_regret_is_its_epsilon(toy_router: Router, max_regret: float, epsilon: float) -> None:
    assert toy_router.route_many(PROMPTS, Policy(epsilon=epsilon)) == toy_router.route_many(
        PROMPTS, Policy(max_regret=max_regret)
    )


def test_no_policy_is_the_models_default(toy_router: Router) -> None:
    default = toy_router.route_many(PROMPTS)
    assert default == toy_router.route_many(PROMPTS, Policy())
    assert default == toy_router.route_many(PROMPTS, Policy(epsilon=0.05))


def test_zero_is_not_none(toy_router: Router) -> None:
    """An epsilon of 0 is asked for: nothing is given away, where the default gives something away."""
    words = [" ".join(WORDS[i:j]) for i in range(8) for j in range(i + 1, 15)]
    strict, default = (toy_router.route_many(words, policy) for policy in (Policy(epsilon=0.0), None))
    assert strict != default
    assert {(TOP, Reason.NEEDED)} == {(decision.tier, decision.reason) for decision in strict}


@pytest.mark.parametrize(
    ("tier", "reason", "n_chars"),
    [
        ("small", Reason.SUFFICIENT, 4_000),  # 1000 tokens fit a window of 1000
        ("medium", Reason.CONTEXT, 4_001),
        ("medium", Reason.CONTEXT, 16_000),
        ("large", Reason.CONTEXT, 16_001),
        ("large", Reason.CONTEXT, 400_001),  # too long for all: the dearest tries
    ],
)
def test_a_long_prompt_goes_where_it_fits(
    toy_router: Router, tier: str, reason: Reason, n_chars: int
) -> None:
    decision = toy_router.route(("hello " * n_chars)[:n_chars], Policy(epsilon=1.0))
    assert (tier, reason, 0) == (decision.tier, decision.reason, decision.predicted)


def test_what_a_prompt_needs_goes_where_it_is_offered(toy_router: Router) -> None:
    ask = {"role": "user", "content": "hello"}
    tool = {"role": "tool", "content": "a list"}
    picture = {"role": "user", "content": [{"type": "text", "text": "hello"}, IMAGE]}
    anything = Policy(epsilon=1.0)
    for expected, reason, messages in (
        ("small", Reason.SUFFICIENT, [ask]),
        ("medium", Reason.CAPABILITY, [tool, ask]),
        ("large", Reason.CAPABILITY, [picture]),
        ("large", Reason.CAPABILITY, [tool, picture]),
    ):
        decision = toy_router.route(messages, anything)
        assert (expected, reason) == (decision.tier, decision.reason)
    decision = toy_router.route([picture], Policy(epsilon=1.0, ceiling="medium"))
    assert ("medium", Reason.CAPABILITY) == (decision.tier, decision.reason)


def test_bounds_are_kept_and_named(toy_router: Router) -> None:
    cheap, dear = "hello", "hello " * 600  # one that any tier passes, one that only the top does
    assert 0 == toy_router.route(cheap, Policy(epsilon=1.0)).predicted
    assert 2 == toy_router.route(dear, Policy(epsilon=0.1)).predicted
    for expected, reason, prompt, policy in (
        ("medium", Reason.FLOOR, cheap, Policy(epsilon=1.0, floor="medium")),
        ("large", Reason.FLOOR, cheap, Policy(epsilon=1.0, floor="large")),
        ("small", Reason.CEILING, dear, Policy(epsilon=0.1, ceiling="small")),
        ("medium", Reason.ALLOW, cheap, Policy(epsilon=1.0, allow=["medium"])),
        ("small", Reason.ALLOW, dear, Policy(epsilon=0.1, allow={"small"})),
        ("small", Reason.SUFFICIENT, cheap, Policy(epsilon=1.0, allow="small")),
    ):
        decision = toy_router.route(prompt, policy)
        assert (expected, reason) == (decision.tier, decision.reason)


# What a tier may cost, and what a call needs beyond its prompt


def test_a_decision_tells_what_each_tier_costs(toy_router: Router) -> None:
    for prompt in PROMPTS[:100]:
        decision = toy_router.route(prompt)
        assert toy_router.expected_cost([prompt])[0].tolist() == list(decision.tier_cost_usd)
        assert decision.tier_cost_usd[decision.index] == decision.expected_cost_usd
    together = toy_router.route_many(PROMPTS)
    assert toy_router.expected_cost(PROMPTS).tolist() == [list(d.tier_cost_usd) for d in together]


@pytest.mark.parametrize("policy", [None, Policy(epsilon=0.0), Policy(epsilon=0.0, floor="medium")])
def test_a_limit_moves_the_choice_to_what_it_allows(toy_router: Router, policy: Policy | None) -> None:
    asked = policy or Policy()
    reasons = set()
    for prompt in [p for p in PROMPTS if p][:100]:
        free = toy_router.route(prompt, policy)
        for limit in (*free.tier_cost_usd, free.tier_cost_usd[0] * 0.99, 5e-324, 1e300):
            decision = toy_router.route(prompt, replace(asked, max_cost_usd=limit))
            reasons.add(decision.reason)
            assert (free.p_pass, free.tier_cost_usd) == (decision.p_pass, decision.tier_cost_usd)
            assert decision.index <= free.index  # on this ladder what is dearer costs more
            if decision.expected_cost_usd > limit:
                assert decision.reason in (Reason.COST, free.reason)
            if limit >= free.tier_cost_usd[-1]:
                assert free == decision
            if policy is not None and policy.floor is not None:
                assert decision.index >= 1
    assert Reason.COST in reasons


def test_a_limit_by_hand(toy_router: Router) -> None:
    small, medium, large = toy_router.route("hello").tier_cost_usd
    strict = Policy(epsilon=0.0)
    for expected, reason, limit in (
        ("large", Reason.NEEDED, large),
        ("medium", Reason.COST, large - 1e-12),
        ("medium", Reason.COST, medium),
        ("small", Reason.COST, medium - 1e-12),
        ("small", Reason.COST, small),
        ("small", Reason.COST, small / 2),  # all are above: the cheapest
    ):
        decision = toy_router.route("hello", replace(strict, max_cost_usd=limit))
        assert (expected, reason) == (decision.tier, decision.reason), limit
    assert Reason.SUFFICIENT == toy_router.route("hello", Policy(epsilon=1.0, max_cost_usd=small)).reason


def test_a_limit_holds_where_the_router_is_not_sure(toy_router: Router) -> None:
    for prompt, reason in (("世界", Reason.NOVEL), ("", Reason.EMPTY)):
        costs = toy_router.route(prompt).tier_cost_usd
        decision = toy_router.route(prompt, Policy(max_cost_usd=costs[1]))
        assert ("medium", reason) == (decision.tier, decision.reason)
    decision = toy_router.route("hello", Policy(max_regret=0.0, max_cost_usd=1e-9))
    assert ("small", Reason.COST) == (decision.tier, decision.reason)


def test_a_limit_does_not_send_to_where_it_cannot_be_served(toy_router: Router) -> None:
    """A tier that lacks what is needed stays out, however little it costs."""
    decision = toy_router.route("hello", Policy(max_cost_usd=1e-9), needs=["tools"])
    assert ("medium", Reason.COST) == (decision.tier, decision.reason)
    decision = toy_router.route("hello", Policy(max_cost_usd=1e-9), needs=["wings"])
    assert (TOP, Reason.CAPABILITY) == (decision.tier, decision.reason)


NEEDS = {
    "tools": [{"role": "tool", "content": ""}, {"role": "user", "content": "hello"}],
    "vision": [{"role": "user", "content": [{"type": "text", "text": "hello"}, IMAGE]}],
}


@pytest.mark.parametrize("name", NEEDS)
@pytest.mark.parametrize(
    "policy", [None, Policy(epsilon=1.0), Policy(epsilon=1.0, ceiling="medium"), Policy(max_cost_usd=1e-4)]
)
def test_what_is_said_is_the_same_as_what_messages_show(
    toy_router: Router, name: str, policy: Policy | None
) -> None:
    shown = toy_router.route(NEEDS[name], policy)
    assert shown == toy_router.route(NEEDS[name], policy, needs=[name])
    said = toy_router.route("hello", policy, needs=[name])
    assert ((said.index, said.reason) == (shown.index, shown.reason)) or shown.p_pass != said.p_pass
    able = [tier.name for tier in toy_router.tiers if tier.capabilities is None or name in tier.capabilities]
    if policy is None or (policy.ceiling is None and policy.max_cost_usd is None):
        assert said.tier in able


def test_needs_go_where_they_are_offered(toy_router: Router) -> None:
    anything = Policy(epsilon=1.0)
    for expected, reason, needs in (
        ("small", Reason.SUFFICIENT, []),
        ("medium", Reason.CAPABILITY, ["tools"]),
        ("large", Reason.CAPABILITY, ["json"]),
        ("large", Reason.CAPABILITY, ("tools", "json")),
        ("large", Reason.CAPABILITY, {"wings"}),  # nobody's: the dearest tries
    ):
        decision = toy_router.route("hello", anything, needs=needs)
        assert (expected, reason, 0) == (decision.tier, decision.reason, decision.predicted)


def test_tools_need_a_tier_that_has_them_and_cost_their_length(toy_router: Router) -> None:
    tools = [{"type": "function", "function": {"name": "f", "description": "d" * 400}}]
    length = len(json.dumps(tools, separators=(",", ":")))
    anything = Policy(epsilon=1.0)
    plain, found = toy_router.route("hello", anything), toy_router.route("hello", anything, tools=tools)
    assert ("medium", Reason.CAPABILITY, plain.p_pass) == (found.tier, found.reason, found.p_pass)
    for each, tier in enumerate(toy_router.tiers):
        more = length / 4 * tier.input_usd_per_mtok * 1e-6
        assert pytest.approx(plain.tier_cost_usd[each] + more) == found.tier_cost_usd[each]
    assert plain == toy_router.route("hello", anything, tools=[])
    long = [{"description": "d" * 16_000}]
    found = toy_router.route(
        "hello", anything, tools=long
    )  # the whole is too long for the cheapest, and for the next
    assert (TOP, Reason.CONTEXT) == (found.tier, found.reason)


@pytest.mark.parametrize(
    ("tier", "reason", "tokens"),
    [
        ("small", Reason.SUFFICIENT, 0),
        ("small", Reason.SUFFICIENT, 1000),
        ("medium", Reason.CONTEXT, 1001),
        ("medium", Reason.CONTEXT, 4000),
        ("large", Reason.CONTEXT, 4001),
        ("large", Reason.CONTEXT, 100_001),  # too long for all: the dearest tries
        ("large", Reason.CONTEXT, 10**12),
    ],
)
def test_tokens_that_are_counted_go_before_characters(
    toy_router: Router, tier: str, reason: Reason, tokens: int
) -> None:
    decision = toy_router.route("hello " * 300, Policy(epsilon=10.0), context_tokens=tokens)
    assert (tier, reason, 0) == (decision.tier, decision.reason, decision.predicted)
    plain = toy_router.route("hello " * 300)
    for each, ours in enumerate(toy_router.tiers):
        more = (tokens - 450) * ours.input_usd_per_mtok * 1e-6
        assert pytest.approx(plain.tier_cost_usd[each] + more, rel=1e-9) == decision.tier_cost_usd[each]


@given(n=st.integers(1, 6000))
def test_four_characters_are_a_token(toy_router: Router, n: int) -> None:
    """What the caller counts is the same as what would be counted for him, if he counts alike."""
    text = "hello " * n
    text = text[: len(text) // 4 * 4]
    assert toy_router.route(text) == toy_router.route(text, context_tokens=len(text) // 4)


def test_arguments_are_named(toy_router: Router) -> None:
    with pytest.raises(TypeError):
        toy_router.route("hello", None, ["json"])  # type: ignore[misc]
    for wrong in ({"needs": "json"}, {"tools": {}, "needs": [1]}, {"context_tokens": -1}):
        with pytest.raises(RequestError):
            toy_router.route("hello", **wrong)  # type: ignore[arg-type]


# Expected costs


@pytest.mark.parametrize("n_questions", [0, 1, 7, 200])
def test_expected_costs_by_hand(toy_router: Router, n_questions: int) -> None:
    text = ("?" * n_questions + "hello " * 100)[:400]  # 400 characters are 100 tokens
    asked = log1p(n_questions)
    expected = [
        100 * 0.2e-6 + 50 * 0.4e-6 * (0.5 + 0.75 * asked),
        100 * 1e-6 + 100 * 4e-6 * (1.0 + 0.5 * asked),
        100 * 5e-6 + 200 * 20e-6 * (1.5 + 0.25 * asked),
    ]
    assert pytest.approx(expected, rel=1e-6) == toy_router.expected_cost([text])[0].tolist()
    for name, usd in zip(("small", "medium", "large"), expected, strict=True):
        decision = toy_router.route(text, Policy(allow=name))
        assert (name, pytest.approx(usd, rel=1e-6)) == (decision.tier, decision.expected_cost_usd)


def test_all_that_is_sent_costs(toy_router: Router) -> None:
    """System prompt, earlier turns and tool results are input; which of them is which does not matter."""
    turns = [
        ("system", "a" * 90),
        ("user", "b" * 700),
        ("assistant", "c" * 9),
        ("tool", "d" * 1),
        ("user", ""),
    ]
    conversation = [{"role": role, "content": content} for role, content in turns]
    found = toy_router.expected_cost([conversation, "e" * 800])
    assert found[0].tolist() == found[1].tolist()


FORMS: list[Any] = [
    "hello",
    "Is the sum odd? Prove it.",
    "",
    " \n\t",
    "\x00",
    "\ud800",
    "is it?\udfff" * 3000,
    "世界？",
    "a line of text? \ud800\x00\n" * 100_000,
    [],
    [{"role": "user"}],
    [{"role": "user", "content": None}],
    [{"role": "user", "content": "\udc00 who? \ud800"}],
    [{"role": "user", "content": "why? " * 200_000}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Which number?"}],
    [{"role": "user", "content": "Sum?"}, {"role": "tool", "content": "{}"}],
    [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, IMAGE]}],
    [{"role": "user", "content": [IMAGE]}],
]


@pytest.mark.parametrize("tier", [None, "small", "medium", "large"])
def test_a_decision_costs_what_its_tier_is_expected_to(toy_router: Router, tier: str | None) -> None:
    policy = None if tier is None else Policy(allow=tier)
    prompts = FORMS + PROMPTS
    costs = toy_router.expected_cost(prompts)
    assert (np.float64, (len(prompts), 3)) == (costs.dtype, costs.shape)
    together = toy_router.route_many(prompts, policy)
    assert [row[d.index] for row, d in zip(costs, together, strict=True)] == [
        d.expected_cost_usd for d in together
    ]
    for prompt, row, decision in zip(prompts, costs, together, strict=True):
        alone = toy_router.route(prompt, policy)
        assert decision.expected_cost_usd == alone.expected_cost_usd
        assert tier in (None, alone.tier)
        assert row.tolist() == toy_router.expected_cost([prompt])[0].tolist()


def test_a_decision_that_is_no_forced_one_costs_its_own_tier(toy_router: Router) -> None:
    """Bounds, limits and escalation move the decision after the model has spoken: the cost moves with it."""
    policies = [Policy(epsilon=e, floor=f) for e in (0.0, 0.1, 1.0) for f in (None, "medium")]
    costs = toy_router.expected_cost(PROMPTS)
    moved = 0
    for policy in policies:
        for row, decision in zip(costs, toy_router.route_many(PROMPTS, policy), strict=True):
            assert row[decision.index] == decision.expected_cost_usd
            moved += decision.index != decision.predicted
    assert moved > 300


def test_costs_by_any_order_and_size_of_the_batch_are_the_same(toy_router: Router) -> None:
    expected = toy_router.expected_cost(PROMPTS)
    rng = np.random.default_rng(23)
    for size in (1, 2, 7, 64, 299):
        order = rng.permutation(len(PROMPTS))[:size]
        found = toy_router.expected_cost([PROMPTS[i] for i in order])
        assert expected[order].tolist() == found.tolist()
    assert expected.tolist() == toy_router.expected_cost(tuple(PROMPTS)).tolist()


def test_costs_rise_with_the_length_of_the_prompt_where_the_answer_stays(toy_router: Router) -> None:
    lengths = [0, 1, 2, 100, 2_047, 2_048, 2_049, 2_050, 40_000, 1_000_000]  # across the edge of the window
    costs = toy_router.expected_cost(["a" * n for n in lengths])
    assert (np.diff(costs, axis=0) > 0).all()
    per_char = np.diff(costs, axis=0) / np.diff(lengths)[:, None]
    prices = np.array([0.2, 1.0, 5.0]) * 1e-6 / 4
    np.testing.assert_allclose(per_char, np.tile(prices, (len(per_char), 1)), rtol=1e-6)


def test_costs_rise_with_the_answer_where_the_length_stays(toy_router: Router) -> None:
    prompts = ["?" * n + "a" * (500 - n) for n in (0, 1, 5, 50, 500)]
    assert (np.diff(toy_router.expected_cost(prompts), axis=0) > 0).all()


@given(texts=st.lists(ANY_TEXT, min_size=1, max_size=4))
@example(texts=["", "\x00", "\ud800", "\udfff" * 3000])
@example(texts=["".join(map(chr, range(0x20))), "\u202e\u200b\ufeff\ufffe\U0010ffff"])
@example(texts=["?" * 100_000, "\ud800?" * 3000, "\u0378" * 5000, "a\u0300" * 5000])
def test_any_string_has_finite_costs_that_are_not_negative(toy_router: Router, texts: list[str]) -> None:
    costs = toy_router.expected_cost(texts)
    assert (np.float64, (len(texts), 3)) == (costs.dtype, costs.shape)
    assert np.isfinite(costs).all()
    assert (costs >= 0).all()
    assert costs.tolist() == toy_router.expected_cost(texts).tolist()


def test_a_string_of_ten_million_has_costs(toy_router: Router) -> None:
    found = toy_router.expected_cost(["a" * 10_000_000])[0].tolist()
    assert pytest.approx([0.5 + 1e-5, 2.5 + 4e-4, 12.5 + 6e-3], rel=1e-6) == found


def test_free_tiers_are_expected_to_cost_nothing(toy_artifact_copy: Path) -> None:
    tiers = json.loads((toy_artifact_copy / "manifest.json").read_bytes())["tiers"]
    for tier in tiers["tier"][:2]:
        tier |= {"input_usd_per_mtok": 0.0, "output_usd_per_mtok": 0.0}
    reseal(toy_artifact_copy, tiers=tiers, cost={"usd_per_answer": [0.0, 0.0, 4e-3]})
    router = Router.load(toy_artifact_copy)
    costs = router.expected_cost(["", "hello?", "hello " * 999])
    assert [[0.0, 0.0]] * 3 == costs[:, :2].tolist()
    assert (costs[:, 2] > 0).all()
    assert 0.0 == router.route("hello?", Policy(allow="medium")).expected_cost_usd


# Wrong requests


@pytest.mark.parametrize(
    "prompt", [b"confidential", 3, None, 1.5, {"role": "user"}, ["confidential"], object()]
)
def test_a_prompt_of_another_type_is_refused(toy_router: Router, prompt: Any) -> None:
    for call in (
        lambda: toy_router.route(prompt),
        lambda: toy_router.route_many(["fine", prompt]),
        lambda: toy_router.score([prompt]),
        lambda: toy_router.expected_cost(["fine", prompt]),
    ):
        with pytest.raises(TypeError) as caught:
            call()
        assert "confidential" not in str(caught.value)


@pytest.mark.parametrize(
    "prompts",
    ["confidential", b"x", 3, None, {"a": 1}, {"a"}, (p for p in "ab"), np.array(["a"])],
    ids=lambda prompts: type(prompts).__name__,
)
def test_prompts_are_a_list(toy_router: Router, prompts: Any) -> None:
    for call in (toy_router.score, toy_router.expected_cost, toy_router.route_many):
        with pytest.raises(TypeError, match="expected a list of prompts") as caught:
            call(prompts)
        assert "confidential" not in str(caught.value)


def test_one_conversation_is_not_a_list_of_prompts(toy_router: Router) -> None:
    conversation: Any = [{"role": "user", "content": "hello"}]
    for call in (toy_router.score, toy_router.expected_cost, toy_router.route_many):
        with pytest.raises(TypeError, match="list of chat messages"):
            call(conversation)


@pytest.mark.parametrize("policy", [0.05, "small", {"epsilon": 0.1}, True, ()], ids=repr)
def test_a_policy_is_a_policy(toy_router: Router, policy: Any) -> None:
    for call in (lambda: toy_router.route("hello", policy), lambda: toy_router.route_many([], policy)):
        with pytest.raises(TypeError, match=r"a policy is a router\.Policy"):
            call()


def test_an_unknown_tier_is_refused_every_time(toy_router: Router) -> None:
    for _ in range(2):
        with pytest.raises(RequestError, match="did you mean medium"):
            toy_router.route("hello", Policy(floor="mediun"))
    with pytest.raises(RequestError, match="known tiers: small, medium, large"):
        toy_router.route_many([], Policy(allow="none"))


def test_ever_new_policies_do_not_pile_up(toy_router: Router) -> None:
    expected = toy_router.route("hello", Policy(epsilon=0.25))
    for i in range(3000):
        toy_router.route("", Policy(epsilon=i / 3000))
    assert len(toy_router._model._resolved) <= 1024
    assert expected == toy_router.route("hello", Policy(epsilon=0.25))


# Sharing


def test_eight_threads_get_the_same_answers(toy_artifact: Path) -> None:
    router = Router.load(toy_artifact)
    expected = [router.route(prompt, policy) for prompt in PROMPTS[:60] for policy in POLICIES]

    def work(_: int) -> list[Decision]:
        return [router.route(prompt, policy) for prompt in PROMPTS[:60] for policy in POLICIES]

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(work, range(8)):
            assert expected == found


def test_two_loads_decide_alike(toy_artifact: Path, toy_router: Router) -> None:
    assert toy_router.route_many(PROMPTS) == Router.load(toy_artifact).route_many(PROMPTS)


def test_a_prompt_is_not_changed(toy_router: Router) -> None:
    before = pickle.dumps(PROMPTS)
    toy_router.route_many(PROMPTS, Policy(epsilon=0.3))
    toy_router.expected_cost(PROMPTS)
    assert before == pickle.dumps(PROMPTS)


def test_a_model_without_limits_has_no_obstacles(toy_artifact_copy: Path) -> None:
    tiers = json.loads((toy_artifact_copy / "manifest.json").read_bytes())["tiers"]
    for tier in tiers["tier"]:
        tier.pop("context_window")
        tier.pop("capabilities")
    reseal(toy_artifact_copy, tiers=tiers)
    router = Router.load(toy_artifact_copy)
    picture = [{"role": "user", "content": [{"type": "text", "text": "hello " * 9999}, IMAGE]}]
    decision = router.route(picture, Policy(epsilon=1.0))
    assert ("small", Reason.SUFFICIENT) == (decision.tier, decision.reason)


DEFAULT_ROUTE = """
import sys
opened, called = [], []
def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        opened.append(str(arguments[0]))
    if event.startswith("socket."):
        called.append(event)
sys.addaudithook(watch)
import json, threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from router import Policy, route
def count():
    return [sum(path.endswith(name) for path in opened) for name in ("manifest.json", "tokenizer.json")]
before = count()
gate = threading.Barrier(8)
def work(i):
    gate.wait()
    return route("hello").to_dict()
with ThreadPoolExecutor(8) as pool:
    decisions = list(pool.map(work, range(8)))
loaded = count(), len(opened)
for _ in range(50):
    route("hello", Policy(epsilon=0.2))
print(json.dumps([before, loaded[0], len(opened) - loaded[1], called, decisions]))
"""


def test_the_default_is_loaded_once_and_calls_nobody(
    toy_artifact: Path, toy_router: Router, python: Callable[..., Any]
) -> None:
    run = python("-c", DEFAULT_ROUTE, TIERWISE_MODEL=str(toy_artifact))
    assert b"" == run.stderr
    before, loaded, later, called, decisions = json.loads(run.stdout)
    assert [0, 0] == before
    assert 1 == loaded[0]
    assert (0, []) == (later, called)
    assert [toy_router.route("hello").to_dict()] * 8 == decisions


def test_a_failed_default_is_tried_again(
    toy_artifact: Path, tmp_path: Path, python: Callable[..., Any]
) -> None:
    code = """
import os, sys
from router import ArtifactError, route
try:
    route("hello")
except ArtifactError as error:
    print("refused" if "nowhere" in str(error) else error)
os.environ["TIERWISE_MODEL"] = sys.argv[1]
print(route("hello").model_id)
"""
    run = python("-c", code, str(toy_artifact), TIERWISE_MODEL=str(tmp_path / "nowhere"))
    assert (b"refused\ntw-toy\n", b"") == (run.stdout, run.stderr)


def test_the_toy_knows_its_dimension(toy_router: Router) -> None:
    assert DIMENSION == toy_router._model.extractor.embedding.dimension
    assert ("small", "medium", "large") == tuple(tier.name for tier in toy_router.tiers)
