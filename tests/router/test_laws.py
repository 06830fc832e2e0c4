"""Laws of decisions, whatever the prompt: who asks for more saving never gets a dearer tier, and bounds hold."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alike import assert_alike
from hypothesis import given
from hypothesis import strategies as st
from prompts import PROMPTS
from toys import WORDS, reseal

from router import Policy, Reason, Router

NAMES = ("small", "medium", "large")
SHORT = st.builds(
    lambda words, n: " ".join(words) * n,
    st.lists(st.sampled_from([*WORDS, "sum?"]), min_size=1, max_size=5),
    st.sampled_from([1, 1, 1, 7, 60]),
)
ANY = SHORT | PROMPTS
NEEDS = st.sampled_from([(), (), (), ("tools",), ("json",), ("wings",)])
BOUNDS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"floor": st.sampled_from(NAMES)}),
    st.fixed_dictionaries({"ceiling": st.sampled_from(NAMES)}),
    st.fixed_dictionaries({"allow": st.sets(st.sampled_from(NAMES), min_size=1).map(tuple)}),
    st.fixed_dictionaries({"max_cost_usd": st.floats(1e-6, 0.02)}),
)
# What can be asked for, from a number that asks for more saving the higher it is.
ASKS: dict[str, Callable[[float], dict[str, Any]]] = {
    "epsilon": lambda x: {"epsilon": 10.0 * x**3 if x < 1.0 else 1.7e308},
    "max_regret": lambda x: {"max_regret": 0.15 * x},
    "max_regret of a slice": lambda x: {"max_regret": 0.2 * x, "slice": "task=sums"},
    "preset": lambda x: {"preset": ("safe", "balanced", "saver")[min(int(3 * x), 2)]},
    "min_quality": lambda x: {"min_quality": 1.0 - 0.2 * x},
    "budget": lambda x: {"budget": 0.005 * (1.0 - x) + 5e-5},
}
SHARES = st.floats(0, 1)


@pytest.fixture(scope="module", params=NAMES)
def whatever_is_best(
    request: pytest.FixtureRequest, toy_artifact: Path, tmp_path_factory: pytest.TempPathFactory
) -> Router:
    folder = Path(shutil.copytree(toy_artifact, tmp_path_factory.mktemp("laws") / "toy"))
    decision = json.loads((folder / "manifest.json").read_bytes())["decision"]
    reseal(folder, decision=decision | {"reference": request.param, "dominated": request.param != "large"})
    return Router.load(folder)


@pytest.mark.parametrize("ask", ASKS)
@given(prompt=ANY, bounds=BOUNDS, needs=NEEDS, one=SHARES, other=SHARES)
def test_who_asks_for_more_saving_gets_no_dearer_tier(
    whatever_is_best: Router, ask: str, prompt: Any, bounds: Any, needs: Any, one: float, other: float
) -> None:
    careful, frugal = (
        whatever_is_best.route(prompt, Policy(**ASKS[ask](x), **bounds), needs=needs)
        for x in sorted((one, other))
    )
    assert frugal.index <= careful.index


@pytest.mark.parametrize("ask", ASKS)
def test_saving_more_does_change_decisions(toy_router: Router, ask: str) -> None:
    """The laws above hold of something."""
    prompts = [" ".join(WORDS[i : i + 3]) for i in range(12)]
    if ask == "max_regret of a slice":
        prompts = ["hello"]  # certified, or not
    careful, frugal = (toy_router.route_many(prompts, Policy(**ASKS[ask](x))) for x in (0.0, 1.0))
    assert sum(d.index for d in frugal) < sum(d.index for d in careful)


@pytest.mark.parametrize("ask", ASKS)
@given(prompt=ANY, bounds=BOUNDS, needs=NEEDS, saving=SHARES)
def test_no_decision_leaves_what_is_permitted(
    toy_router: Router,
    whatever_is_best: Router,
    ask: str,
    prompt: Any,
    bounds: Any,
    needs: Any,
    saving: float,
) -> None:
    policy = Policy(**ASKS[ask](saving), **bounds)
    for router in (toy_router, whatever_is_best):
        for decision in (router.route(prompt, policy, needs=needs), *router.route_many([prompt], policy)):
            if policy.floor is not None:
                assert decision.index >= NAMES.index(policy.floor)
            if policy.ceiling is not None:
                assert decision.index <= NAMES.index(policy.ceiling)
            assert policy.allow is None or decision.tier in policy.allow


@pytest.mark.parametrize("ask", ASKS)
@given(prompt=ANY, allow=st.permutations(NAMES), kept=st.integers(1, 3), saving=SHARES)
def test_the_order_of_what_is_allowed_is_irrelevant(
    toy_router: Router, ask: str, prompt: Any, allow: list[str], kept: int, saving: float
) -> None:
    asked = ASKS[ask](saving)
    expected = toy_router.route(prompt, Policy(**asked, allow=tuple(sorted(allow[:kept]))))
    assert expected == toy_router.route(prompt, Policy(**asked, allow=tuple(allow[:kept])))
    assert expected == toy_router.route(prompt, Policy(**asked, allow=tuple(allow[:kept] * 2)))
    if kept == len(NAMES):
        assert expected == toy_router.route(prompt, Policy(**asked))


@pytest.mark.parametrize("ask", ASKS)
@given(prompts=st.lists(ANY, min_size=1, max_size=6), saving=SHARES, data=st.data())
def test_the_order_of_prompts_is_irrelevant(
    toy_router: Router, ask: str, prompts: list[Any], saving: float, data: st.DataObject
) -> None:
    policy = Policy(**ASKS[ask](saving))
    order = data.draw(st.permutations(range(len(prompts))))
    together = toy_router.route_many(prompts, policy)
    shuffled = toy_router.route_many([prompts[i] for i in order], policy)
    for i, found in zip(order, shuffled, strict=True):
        assert_alike(toy_router, prompts[i], together[i], found, policy)


# Promises by other names


@given(prompt=ANY, name=st.sampled_from([("safe", 0.02), ("balanced", 0.05), ("saver", 0.1)]), bounds=BOUNDS)
def test_a_preset_is_its_promise(
    toy_router: Router, prompt: Any, name: tuple[str, float], bounds: Any
) -> None:
    preset, max_regret = name
    expected = toy_router.route(prompt, Policy(max_regret=max_regret, **bounds))
    assert expected == toy_router.route(prompt, Policy(preset=preset, **bounds))


# What the provider has cached


@given(prompt=ANY, cached=st.integers(0, 2000), policy=st.sampled_from([None, Policy(epsilon=0.0)]))
def test_cached_tokens_are_cheaper_where_the_tier_has_a_price_for_them(
    toy_router: Router, prompt: Any, cached: int, policy: Policy | None
) -> None:
    """On this ladder large alone has one: 0.5 USD per million, a tenth of the others'."""
    plain = toy_router.route(prompt, policy, context_tokens=2000)
    found = toy_router.route(prompt, policy, context_tokens=2000, cached_tokens=cached)
    assert plain.p_pass == found.p_pass
    expected = np.array(plain.tier_cost_usd) - [0.0, 0.0, cached * 4.5e-6]
    np.testing.assert_allclose(expected, found.tier_cost_usd, rtol=1e-9, atol=0)
    assert found.tier_cost_usd[found.index] == found.expected_cost_usd
    assert found.index >= plain.index  # what got cheaper is the dearest tier


def test_a_cache_can_make_the_dearest_tier_worth_its_price(toy_router: Router) -> None:
    prompt, policy = "hello " * 600, Policy(epsilon=0.35)
    alone = toy_router.route(prompt, policy)
    cached = toy_router.route(prompt, policy, cached_tokens=10**6)
    assert ("medium", Reason.SUFFICIENT) == (alone.tier, alone.reason)
    assert ("large", Reason.NEEDED) == (cached.tier, cached.reason)
    assert alone == toy_router.route(prompt, policy, cached_tokens=0)
    assert cached == toy_router.route(prompt, policy, cached_tokens=900)  # all that there is
