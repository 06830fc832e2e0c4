"""A service's own default: what holds where a request states no policy, and only there."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served import Served, ask, connect, refuse, request, start
from toys import reseal

from router import Policy, Router
from router.policy import PRESETS

PROMPTS = [*(f"hello {i}" for i in range(6)), "prove it", ""]
DEFAULT = Policy(epsilon=1.0, floor="medium")
PAGE = Path(__file__).parents[2] / "router" / "serving" / "page.html"


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "policy.toml"
    path.write_text('epsilon = 1\nfloor = "medium"\n', encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "workers"])
def served(
    request: pytest.FixtureRequest, policy: Path, toy_artifact: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    place = Path(shutil.copytree(toy_artifact, tmp_path_factory.mktemp("place") / "model"))
    options = ("--model", str(place), "--policy", str(policy), "--workers", str(request.param))
    with start(*options) as served:
        yield served
        assert [] == served.events("failure")


@pytest.fixture(scope="module")
def default(toy_artifact: Path) -> Router:
    return Router.load(toy_artifact, DEFAULT)


def decisions(served: Served, *bodies: dict[str, Any]) -> list[dict[str, Any]]:
    """Ask for each on a connection of its own, so that each worker gets some."""
    with connect(served, len(bodies)) as wires:
        for wire, body in zip(wires, bodies, strict=True):
            wire.send(request("POST", "/v1/route", json.dumps(body).encode()))
        found = [wire.read().json for wire in wires]
    for decision in found:
        del decision["request_id"], decision["tiers"]
    return found


def test_it_holds_where_a_request_states_none(served: Served, default: Router, toy_router: Router) -> None:
    expected = [default.route(prompt).to_dict() for prompt in PROMPTS]
    assert expected == [toy_router.route(prompt, DEFAULT).to_dict() for prompt in PROMPTS]
    assert expected != [toy_router.route(prompt).to_dict() for prompt in PROMPTS]
    assert expected == decisions(served, *({"prompt": prompt} for prompt in PROMPTS))
    assert expected == decisions(served, *({"prompt": prompt, "policy": None} for prompt in PROMPTS))


def test_a_request_of_another_way_gets_it_too(served: Served, default: Router) -> None:
    """In chunks it is FastAPI that answers."""
    body = b'{"prompt":"hello"}'
    head = b"POST /v1/route HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    with connect(served, 1) as (wire,):
        reply = wire.ask(
            head + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        )
    assert default.route("hello").to_dict().items() <= reply.json.items()
    items = json.dumps({"items": [{"prompt": prompt} for prompt in PROMPTS]}).encode()
    found = ask(served, "POST", "/v1/route/batch", items).json["results"]
    assert [d.tier for d in default.route_many(PROMPTS)] == [d["tier"] for d in found]


@pytest.mark.parametrize(
    "stated", [{}, {"epsilon": 1}, {"max_regret": 0}, {"ceiling": "small"}, {"preset": "saver"}]
)
def test_a_requests_own_replaces_it_wholly(
    served: Served, toy_router: Router, stated: dict[str, Any]
) -> None:
    expected = [toy_router.route(prompt, Policy(**stated)).to_dict() for prompt in PROMPTS]
    assert expected == decisions(served, *({"prompt": prompt, "policy": stated} for prompt in PROMPTS))


def test_the_service_says_what_it_is(served: Served) -> None:
    assert DEFAULT.to_dict() == ask(served, "GET", "/v1/model").json["policy"]


def test_a_model_that_it_does_not_fit_is_refused_and_the_old_one_serves_on(
    served: Served, default: Router, toy_artifact: Path
) -> None:
    place = Path(served.process.args[served.process.args.index("--model") + 1])  # type: ignore[union-attr, arg-type, index]
    manifest = json.loads((place / "manifest.json").read_bytes())
    manifest["tiers"]["tier"][1]["name"] = "middling"
    reseal(place, model_id="tw-other", tiers=manifest["tiers"])
    reply = ask(served, "POST", "/v1/model/reload")
    assert (503, "model-refused") == (reply.status, reply.problem)
    words = ["policy", "floor names an unknown tier 'medium'", "small, middling, large", "tw-toy serves on"]
    assert [] == [word for word in words if word not in reply.json["detail"]]
    assert [default.route("hello").to_dict()] * 20 == decisions(served, *[{"prompt": "hello"}] * 20)
    shutil.rmtree(place)
    shutil.copytree(toy_artifact, place)
    assert 200 == ask(served, "POST", "/v1/model/reload").status
    assert [default.route("hello").to_dict()] * 20 == decisions(served, *[{"prompt": "hello"}] * 20)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_one_that_does_not_fit_the_model_is_told_at_start(
    toy_artifact: Path, tmp_path: Path, workers: str
) -> None:
    path = tmp_path / "policy.toml"
    path.write_text('ceiling = "mediun"\n', encoding="utf-8")
    code, out, err = refuse("--model", str(toy_artifact), "--policy", str(path), "--workers", workers)
    assert (3, "") == (code, out)
    assert err.startswith("error: serve: the policy of --policy does not fit the model: ceiling names")
    assert "did you mean medium?" in err
    assert 1 == len(err.splitlines())


def test_without_one_the_models_own_holds(server: str, toy_router: Router) -> None:
    assert {} == ask(server, "GET", "/v1/model").json["policy"]
    reply = ask(server, "POST", "/v1/route", b'{"prompt":"hello"}')
    assert toy_router.route("hello").to_dict().items() <= reply.json.items()


def test_the_page_offers_the_presets() -> None:
    (found,) = re.findall(r"const PRESETS = \{(.*?)\};", PAGE.read_text(encoding="utf-8"))
    pairs = (pair.split(":") for pair in found.split(","))
    assert dict(PRESETS) == {name.strip(): float(share) for name, share in pairs}
