"""Problems are those of RFC 9457, and a type, once published, keeps its meaning."""

from __future__ import annotations

import json
from http import HTTPStatus

import pytest

from router.serving.problems import MEDIA_TYPE, PROBLEMS, Problem, problem_type

# Clients match on these. To change one is to break them.
PUBLISHED = {
    "bad-http": 400,
    "malformed-json": 400,
    "invalid-utf8": 400,
    "missing-key": 401,
    "wrong-key": 401,
    "forbidden": 403,
    "not-found": 404,
    "method-not-allowed": 405,
    "too-slow": 408,
    "too-large": 413,
    "too-many-items": 413,
    "unsupported-media-type": 415,
    "invalid-request": 422,
    "too-many-batches": 429,
    "headers-too-large": 431,
    "internal": 500,
    "overloaded": 503,
    "not-ready": 503,
    "model-refused": 503,
}


def test_the_types_are_those_that_are_published() -> None:
    assert PUBLISHED == {name: status for name, (status, _) in PROBLEMS.items()}
    assert "application/problem+json" == MEDIA_TYPE


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_problem_has_the_members_of_the_rfc(name: str) -> None:
    problem = Problem(name, "Say what.")
    assert {
        "type": f"urn:tierwise:problem:{name}",
        "title": problem.title,
        "status": problem.status,
        "detail": "Say what.",
    } == problem.to_dict()
    assert problem_type(name) == problem.to_dict()["type"]
    assert problem.status in set(HTTPStatus)
    assert problem.title == problem.title.strip().rstrip(".")


def test_titles_tell_types_apart() -> None:
    assert len(PROBLEMS) == len({title for _, title in PROBLEMS.values()})


def test_a_problem_says_which_fields_and_which_request() -> None:
    problem = Problem("invalid-request", "Both.", [("#/a", "one"), ("#/b/0", "other")])
    assert [
        {"pointer": "#/a", "detail": "one"},
        {"pointer": "#/b/0", "detail": "other"},
    ] == problem.to_dict()["errors"]
    assert "request_id" not in problem.to_dict()
    assert "id-1" == problem.to_dict("id-1")["request_id"]
    assert problem.to_dict("id-1") == json.loads(problem.to_json("id-1"))
    assert problem.to_dict() == json.loads(problem.to_json())


def test_a_problem_is_an_error_with_its_sentence() -> None:
    problem = Problem("overloaded", "ask again later", headers={"retry-after": "1"})
    assert ("ask again later", {"retry-after": "1"}) == (str(problem), problem.headers)
    assert {} == Problem("overloaded", "x").headers


def test_a_type_that_is_not_published_is_no_problem() -> None:
    with pytest.raises(KeyError):
        Problem("new-one", "x")
