"""A reloaded router is wholly the new model or wholly the old one, and never none."""

from __future__ import annotations

import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from toys import GOLDEN, WORDS, reseal, write_artifact

from router import ArtifactError, Decision, Policy, RequestError, Router

PROMPTS: list[Any] = [" ".join(WORDS[i : i + 1 + i % 5]) + "?" * (i % 3) for i in range(len(WORDS))] + GOLDEN
POLICIES = [
    None,
    Policy(epsilon=0.2),
    Policy(max_regret=0.05),
    Policy(max_regret=0.001),
    Policy(min_quality=0.9),
    Policy(budget=0.003),
    Policy(preset="saver", slice="task=sums"),
]


@pytest.fixture(scope="module")
def first(toy_artifact: Path) -> Path:
    return toy_artifact


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that differs in all that a model says: rows, scores, ladder, prices and certificate."""
    folder = write_artifact(tmp_path_factory.mktemp("second") / "toy", lexicon=True)
    document = json.loads((folder / "manifest.json").read_bytes())
    tiers = document["tiers"]["tier"]
    for tier, name in zip(tiers, ("mini", "midi", "maxi"), strict=True):
        tier |= {"name": name, "input_usd_per_mtok": 3 * tier["input_usd_per_mtok"]}
        tier.pop("models", None)
        tier["model"] = f"{name}-1"
    certificate = document["certificate"]
    for row in (*certificate["table"], *certificate["quality"], *certificate["slices"][0]["table"]):
        row["epsilon"] *= 2
    reseal(
        folder,
        model_id="tw-second",
        tiers=document["tiers"],
        certificate=document["certificate"],
        decision=document["decision"] | {"default_epsilon": 0.2, "reference": "maxi"},
    )
    return folder


def decisions(router: Router) -> list[Decision]:
    return [router.route(prompt, policy) for policy in POLICIES for prompt in PROMPTS]


def everything(router: Router) -> list[Any]:
    """All that a router says."""
    return [
        router.model_id,
        router.tiers,
        router.manifest.document,
        decisions(router),
        [router.route_many(PROMPTS, policy) for policy in POLICIES],
        router.score(PROMPTS).tolist(),
        router.expected_cost(PROMPTS).tolist(),
    ]


def test_after_a_reload_all_is_the_new_models(first: Path, second: Path) -> None:
    router, one, two = Router.load(first), Router.load(first), Router.load(second)
    assert everything(one) == everything(router)
    assert [] == [a for a, b in zip(everything(one), everything(two), strict=True) if a == b]
    for location, expected in ((second, two), (str(second), two), (first, one), (first, one), (second, two)):
        assert router.reload(location) is None  # type: ignore[func-returns-value]
        assert everything(expected) == everything(router)


def test_without_a_location_it_is_the_default(
    first: Path, second: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = Router.load(first)
    monkeypatch.setenv("TIERWISE_MODEL", str(second))
    router.reload()
    assert "tw-second" == router.model_id


def test_a_folder_whose_content_was_exchanged_is_read_again(
    first: Path, second: Path, tmp_path: Path
) -> None:
    place = tmp_path / "model"
    shutil.copytree(first, place)
    router = Router.load(place)
    before = decisions(router)
    place.rename(tmp_path / "old")
    shutil.copytree(second, place)
    assert before == decisions(router)  # until it is told
    router.reload(place)
    assert decisions(Router.load(second)) == decisions(router)
    shutil.rmtree(tmp_path / "old")
    shutil.rmtree(place)
    assert decisions(Router.load(second)) == decisions(router)


@pytest.mark.parametrize(
    "name", ["manifest.json", "model.onnx", "embedding.int8.npy", "lexicon.npy", "golden.jsonl.gz"]
)
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_damaged_artefact_changes_nothing(
    first: Path, second: Path, tmp_path: Path, name: str, damage: str
) -> None:
    folder = Path(shutil.copytree(second, tmp_path / "damaged"))
    content = (folder / name).read_bytes()
    if damage == "gone":
        (folder / name).unlink()
    else:
        half = len(content) // 2
        rest = bytes([content[half] ^ 0x55]) + content[half + 1 :] if damage == "flipped" else b""
        (folder / name).write_bytes(content[:half] + rest)
    router = Router.load(first)
    model, before = router._model, everything(router)
    with pytest.raises(ArtifactError, match=r"damaged"):
        router.reload(folder)
    assert model is router._model
    assert before == everything(router)


@pytest.mark.parametrize("location", ["nowhere", "", "manifest.json"])
def test_a_folder_that_is_not_there_changes_nothing(first: Path, tmp_path: Path, location: str) -> None:
    router = Router.load(first)
    before = everything(router)
    for _ in range(2):
        with pytest.raises(ArtifactError):
            router.reload(tmp_path / location)
        assert before == everything(router)


def test_policies_are_resolved_by_each_model(first: Path, second: Path) -> None:
    router, certified = Router.load(first), Policy(max_regret=0.05)
    assert decisions(router)  # resolved and kept
    assert router.route_many(PROMPTS, certified) == router.route_many(PROMPTS, Policy(epsilon=0.05))
    router.reload(second)
    assert router.route_many(PROMPTS, certified) == router.route_many(PROMPTS, Policy(epsilon=0.1))
    assert router.route_many(PROMPTS) == router.route_many(PROMPTS, Policy(epsilon=0.2))
    narrow, wide = Policy(epsilon=0.05), Policy(epsilon=0.2)
    assert [d.index for d in router.route_many(PROMPTS, narrow)] != [
        d.index for d in router.route_many(PROMPTS, wide)
    ]


def test_the_tiers_of_a_policy_are_those_of_the_model(first: Path, second: Path) -> None:
    router = Router.load(first)
    old, new = Policy(floor="medium"), Policy(floor="midi")
    for location, fits, does_not in ((first, old, new), (second, new, old), (first, old, new)):
        router.reload(location)
        assert router.route("hello", fits).index >= 1
        with pytest.raises(RequestError, match=f"known tiers: {', '.join(t.name for t in router.tiers)}"):
            router.route("hello", does_not)


def test_what_holds_the_router_follows_and_another_router_does_not(first: Path, second: Path) -> None:
    router, other = Router.load(first), Router.load(first)
    route = router.route
    router.reload(second)
    assert ("tw-second", "tw-toy") == (route("hello").model_id, other.route("hello").model_id)


def test_every_decision_is_wholly_one_models(first: Path, second: Path) -> None:
    """Three threads route while a fourth reloads to and fro."""
    router, singles = Router.load(first), [Router.load(first), Router.load(second)]
    alone = {r.model_id: [*zip(PROMPTS * len(POLICIES), decisions(r), strict=True)] for r in singles}
    together = {r.model_id: [r.route_many(PROMPTS, policy) for policy in POLICIES] for r in singles}
    names = {r.model_id: {tier.name for tier in r.tiers} for r in singles}
    done = Event()

    def route_on() -> set[str]:
        seen = set()
        while not done.is_set():
            for place, (prompt, policy) in enumerate((p, policy) for policy in POLICIES for p in PROMPTS):
                decision = router.route(prompt, policy)
                assert decision.tier in names[decision.model_id]
                assert (prompt, decision) == alone[decision.model_id][place]
                seen.add(decision.model_id)
        return seen

    def route_many_on() -> set[str]:
        seen = set()
        while not done.is_set():
            for place, policy in enumerate(POLICIES):
                batch = router.route_many(PROMPTS, policy)
                assert 1 == len({decision.model_id for decision in batch})
                assert batch == together[batch[0].model_id][place]
                seen.add(batch[0].model_id)
        return seen

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(3) as pool:
            running = [pool.submit(call) for call in (route_on, route_on, route_many_on)]
            try:
                for i in range(60):
                    router.reload((second, first)[i % 2])
                    if i % 20 == 0:
                        with pytest.raises(ArtifactError):
                            router.reload(first / "nowhere")
            finally:
                done.set()
            assert [{"tw-toy", "tw-second"}] * 3 == [each.result() for each in running]
    finally:
        sys.setswitchinterval(interval)
