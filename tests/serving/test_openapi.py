"""The OpenAPI document says what the service does, and the service does what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from jsonschema_rs import Draft202012Validator, ValidationError
from served import serve
from wire import JSON, NDJSON, PROBLEM, Answer, Client

from router import Reason, Router
from router.policy import OBJECTIVES
from router.serving.gate import ENDPOINTS
from router.serving.problems import PROBLEMS

KEY, ADMIN = "key-of-twenty-characters", "admin-of-twenty-characters"


@pytest.fixture(scope="module")
def guarded(toy_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that wants keys, and takes few things at a time."""
    keys = tmp_path_factory.mktemp("keys")
    (keys / "keys").write_text(KEY, encoding="utf-8")
    (keys / "admin").write_text(ADMIN, encoding="utf-8")
    options = ("--keys", str(keys / "keys"), "--admin-keys", str(keys / "admin"), "--max-batches", "1")
    with serve("--model", str(toy_artifact), *options) as address:
        yield address


@pytest.fixture(scope="module")
def document(server: str) -> dict[str, Any]:
    with Client(server) as client:
        answer = client.get("/openapi.json")
        assert (200, JSON) == (answer.status, answer.headers["content-type"])
        found: dict[str, Any] = answer.json()
        return found


def validator(document: dict[str, Any], schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": document["components"]})


def named(document: dict[str, Any], name: str) -> Draft202012Validator:
    return validator(document, {"$ref": f"#/components/schemas/{name}"})


# The document


def test_the_document_is_one_of_openapi(document: dict[str, Any]) -> None:
    schemathesis.openapi.from_dict(deepcopy(document)).validate()
    broken = deepcopy(document)
    broken["paths"]["/v1/route"]["post"]["responses"] = []
    with pytest.raises(ValidationError):  # so that the check can fail
        schemathesis.openapi.from_dict(broken).validate()


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_references_lead_somewhere(document: dict[str, Any]) -> None:
    found = set(references(document))
    assert found
    schemas = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set() == found - schemas
    assert {"#/components/schemas/BatchRequest", "#/components/schemas/ProblemAnswer"} <= found


def test_every_endpoint_is_in_the_document(document: dict[str, Any]) -> None:
    assert set(ENDPOINTS) - {"/", "/openapi.json"} == set(document["paths"])
    for path, operations in document["paths"].items():
        (operation,) = operations.values()
        assert {"tags", "summary", "responses"} <= set(operation)
        assert ("security" in operation) == path.startswith(("/v1", "/metrics"))


def test_fields_and_reasons_are_told(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert [reason.value for reason in Reason] == schemas["Reason"]["enum"]
    for name in ("RouteRequest", "PolicyRequest", "DecisionAnswer"):
        fields = schemas[name]["properties"]
        assert [] == [
            f for f, what in fields.items() if "description" not in what and "PolicyRequest" not in str(what)
        ]
    assert schemas["RouteRequest"]["additionalProperties"] is False
    assert schemas["PolicyRequest"]["additionalProperties"] is False


def test_the_decision_of_the_document_is_the_routers(document: dict[str, Any], toy_router: Router) -> None:
    """A field added to the one is added to the other."""
    fields = [*toy_router.route("hello").to_dict()]
    schemas = document["components"]["schemas"]
    assert [*fields, "tiers", "request_id"] == [*schemas["DecisionAnswer"]["properties"]]
    assert [*fields, "item"] == [*schemas["ItemAnswer"]["properties"]]
    assert sorted([*fields, "item"]) == sorted(schemas["ItemAnswer"]["required"])


def examples(node: Any, path: str = "#") -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Yield each example with its place and the schema that it is of."""
    if isinstance(node, dict):
        for value in node.get("examples", ()) if isinstance(node.get("examples"), list) else ():
            yield path, node, value
        for name, value in node.items():
            if name != "examples":
                yield from examples(value, f"{path}/{name}")
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from examples(value, f"{path}/{i}")


def test_examples_are_of_their_schemas_and_are_answered(document: dict[str, Any], client: Client) -> None:
    found = list(examples(document["components"]["schemas"]))
    requests = {"#/RouteRequest", "#/BatchRequest", "#/PolicyRequest"}
    answers = {"#/DecisionAnswer", "#/ProblemAnswer"}
    assert requests | answers == {place for place, _, _ in found}
    for place, schema, value in found:
        assert validator(document, schema).is_valid(value), place
        if place in answers:
            continue
        if place == "#/PolicyRequest":
            value = {"prompt": "hello", "policy": value}
        answer = client.post("/v1/route/batch" if place == "#/BatchRequest" else "/v1/route", value)
        assert 200 == answer.status
        assert b'"error"' not in answer.body


# Answers


def check(document: dict[str, Any], method: str, path: str, answer: Answer) -> None:
    """An answer's status, media type and form are documented."""
    responses = document["paths"][path][method.lower()]["responses"]
    assert str(answer.status) in responses, f"{method} {path}: {answer.status} is not documented"
    content = responses[str(answer.status)]["content"]
    media_type = answer.headers["content-type"].partition(";")[0]
    assert media_type in content
    if answer.status >= 400:
        assert [PROBLEM] == list(content)
    schema = content[media_type].get("schema")
    for value in answer.lines() if media_type == NDJSON else [answer.json()] if schema else []:
        assert [] == [error.message for error in validator(document, schema).iter_errors(value)]


PROMPT = {"prompt": "hello"}


def test_answers_are_as_documented(document: dict[str, Any], client: Client) -> None:
    for body in (
        PROMPT,
        {"prompt": ""},
        {"messages": []},
        {},
        {"prompt": 1},
        b"{",
        b"\xff",
        b'"' + b"x" * 1024 * 1024,
    ):
        check(document, "POST", "/v1/route", client.post("/v1/route", body))
        check(document, "POST", "/v1/route/batch", client.post("/v1/route/batch", body))
    for items in ([PROMPT, {}, PROMPT, 5], [], [PROMPT] * 1025):
        check(document, "POST", "/v1/route/batch", client.batch(*items))
    for path in ("/v1/route", "/v1/route/batch"):
        check(document, "POST", path, client.post(path, PROMPT, "text/plain"))
        check(document, "POST", path, client.post(path, PROMPT, Host="evil.example"))
    for path in ("/v1/model", "/healthz", "/readyz", "/metrics"):
        check(document, "GET", path, client.get(path))
    for path in ("/v1/model", "/metrics"):
        check(document, "GET", path, client.get(path, Host="evil.example"))
    check(document, "POST", "/v1/model/reload", client.post("/v1/model/reload", b"", None))
    check(
        document, "POST", "/v1/model/reload", client.post("/v1/model/reload", b"", None, Host="evil.example")
    )


def test_lines_are_as_documented(document: dict[str, Any], client: Client) -> None:
    """A line may be a decision or a problem."""
    check(document, "POST", "/v1/route/batch", client.stream(PROMPT, PROMPT))
    check(document, "POST", "/v1/route/batch", client.stream(PROMPT, {}, b"{\n"))


def test_refusals_for_keys_and_load_are_as_documented(document: dict[str, Any], guarded: str) -> None:
    with (
        Client(guarded) as stranger,
        Client(guarded, "wrong-key-of-twenty") as wrong,
        Client(guarded, KEY) as user,
    ):
        for client in (stranger, wrong):
            for path in ("/v1/model", "/metrics"):
                assert 401 == client.get(path).status
                check(document, "GET", path, client.get(path))
            for path in ("/v1/route", "/v1/route/batch", "/v1/model/reload"):
                assert 401 == client.post(path, PROMPT).status
                check(document, "POST", path, client.post(path, PROMPT))
        refused = user.post("/v1/model/reload", b"", None)
        assert 403 == refused.status
        check(document, "POST", "/v1/model/reload", refused)
        with user.connect() as connection:
            head = user.head(
                "POST",
                "/v1/route/batch",
                f"Content-Type: {NDJSON}",
                "Transfer-Encoding: chunked",
                f"Authorization: Bearer {KEY}",
            )
            line = json.dumps(PROMPT).encode() + b"\n"
            connection.sendall(head + b"%x\r\n%b\r\n" % (len(line), line))
            assert connection.recv(1)
            busy = user.batch(PROMPT)
            assert (429, "1") == (busy.status, busy.headers["retry-after"])
            check(document, "POST", "/v1/route/batch", busy)
            connection.sendall(b"0\r\n\r\n")


def test_the_types_of_problems_are_of_documented_statuses(document: dict[str, Any]) -> None:
    """But for those of any request, which no endpoint is asked by: bad HTTP, no such path, too slow, and our own."""
    told = {
        int(status)
        for operations in document["paths"].values()
        for operation in operations.values()
        for status in operation["responses"]
    }
    assert {404, 405, 408, 431, 500} >= {status for status, _ in PROBLEMS.values()} - told


# Whatever a client may think of


def narrowed(document: dict[str, Any], *, keys: bool) -> dict[str, Any]:
    """Return the document with what only the model at hand knows: the names of its tiers, and which may be together.

    A line of a stream that is wrong is answered with 200 and a problem; `test_batch` holds that.
    """
    found = deepcopy(document)
    policy = found["components"]["schemas"]["PolicyRequest"]["properties"]
    policy["floor"] = {"enum": ["small", None]}
    policy["ceiling"] = {"enum": ["large", None]}
    policy["allow"] = {
        "type": "array",
        "items": {"enum": ["small", "medium", "large"]},
        "minItems": 1,
        "maxItems": 100,
    }
    for field in OBJECTIVES[1:]:  # not together with the first
        del policy[field]
    policy["slice"] = {"type": "null"}  # not without it
    # No more than the whole input has, which another field or the prompt says.
    found["components"]["schemas"]["RouteRequest"]["properties"]["cached_tokens"] = {"enum": [0, None]}
    batch = found["paths"]["/v1/route/batch"]["post"]
    del batch["requestBody"]["content"][NDJSON]
    del batch["responses"]["200"]["content"][NDJSON]
    if keys:
        for operations in found["paths"].values():
            for operation in operations.values():
                if "security" in operation:
                    operation["security"] = [{"key": []}]
    return found


def explore(document: dict[str, Any], address: str, folder: Path, *options: str) -> None:
    """Have Schemathesis ask whatever the document allows, and what it does not; every check must hold."""
    path = folder / "openapi.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    command = [sys.executable, "-m", "schemathesis.cli", "run", str(path), "--url", address, "--no-color"]
    command += [
        "--checks",
        "all",
        "--phases",
        "examples,coverage,fuzzing",
        "--max-examples",
        "60",
        "--seed",
        "7",
    ]
    run = subprocess.run(
        [*command, *options],
        cwd=folder,
        env=os.environ | {"COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert 0 == run.returncode, run.stdout + run.stderr
    assert "Tested: 7" in run.stdout, run.stdout


def test_no_request_that_schemathesis_thinks_of_breaks_the_contract(
    document: dict[str, Any], server: str, tmp_path: Path
) -> None:
    explore(narrowed(document, keys=False), server, tmp_path)


def test_nor_does_one_without_a_key(document: dict[str, Any], guarded: str, tmp_path: Path) -> None:
    header = ("-H", f"Authorization: Bearer {ADMIN}", "--max-examples", "20")
    explore(narrowed(document, keys=True), guarded, tmp_path, *header)
