"""Every way in which a provider fails: recorded as what it is, never as a fail, and no prompt is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from collecting import SMALL, Collect, letters_of, rows_of
from standin import Standin, standin

ENDPOINTS = """
[defaults]
max_attempts = 2
timeout_s = 0.4
"""
PHRASE = "vault"
PROMPTS = [
    {
        "prompt_id": f"q{i}",
        "prompt": f"What is {i} plus {i + 3}? The {PHRASE} is green. Answer with the number.",
    }
    for i in range(3)
]


@pytest.fixture(scope="module")
def server() -> Iterator[Standin]:
    with standin() as running:
        yield running


@pytest.fixture
def quiet(server: Standin) -> Standin:
    server.fail()
    server.reset()
    return server


@pytest.fixture
def collect(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Collect:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "endpoints.toml").write_text(ENDPOINTS, encoding="utf-8")
    return Collect(tmp_path, capsys)


@pytest.mark.parametrize(
    ("kind", "status", "attempts"),
    [
        ("unauthorized", "unauthorized", 1),
        ("unknown_model", "unknown_model", 1),
        ("rate_limited", "rate_limited", 2),
        ("server_error", "server_error", 2),
        ("rejected", "rejected", 1),
        ("filtered_400", "filtered", 1),
        ("closed", "cut_off", 2),
        ("timeout", "timeout", 2),
        ("cut_off", "cut_off", 2),
        ("malformed", "malformed", 1),
        ("no_completion", "malformed", 1),
        ("empty", "empty", 1),
        ("refused", "refused", 1),
        ("filtered", "filtered", 1),
        ("length", "length", 1),
        ("tool_call", "tool_call", None),
        ("no_usage", "answered", None),
    ],
)
def test_each_is_recorded_as_what_it_is(
    quiet: Standin, collect: Collect, kind: str, status: str, attempts: int | None
) -> None:
    quiet.fail({"kind": kind, "rate": 1.0, "models": [SMALL], "retry_after": 0.05})
    prompts = collect.write(PROMPTS)
    ended = collect(prompts, "--base-url", quiet.url, "--endpoints", collect.folder / "endpoints.toml")
    assert 0 == ended.code, ended.err
    rows = rows_of(collect.out)
    assert [None] * 9 == [row["score"] for row in rows]
    assert [status, "answered", "answered"] * 3 == [row["status"] for row in rows]
    tiers = ended.result["tiers"]
    assert ({status: 3}, {"answered": 3}) == (tiers["small"]["by_status"], tiers["large"]["by_status"])
    assert (3, 3) == (tiers["small"]["calls"], tiers["large"]["answered"])
    letters = letters_of(collect.out)
    expected = [] if attempts is None else [(f"q{i}", "small", status, attempts) for i in range(3)]
    assert expected == [
        (each["prompt_id"], each["tier"], each["status"], each["attempts"]) for each in letters
    ]
    if kind != "no_usage":  # where nobody counts, tokens are estimated
        assert ended.result["spent_usd"] + ended.result["possibly_usd"] >= quiet.bill()["usd"] - 1e-12
    for told in (ended.out, ended.err, json.dumps(letters)):
        assert PHRASE not in told
    if kind == "no_usage":
        assert [True, False, False] * 3 == [row["usage_is_estimate"] for row in rows]


@pytest.mark.parametrize("kind", ["rate_limited", "server_error", "closed", "cut_off", "timeout"])
def test_what_passes_is_tried_again_in_the_same_run(quiet: Standin, collect: Collect, kind: str) -> None:
    quiet.fail({"kind": kind, "rate": 0.5, "attempts": 1, "retry_after": 0.01})
    ended = collect(
        collect.write(PROMPTS), "--base-url", quiet.url, "--endpoints", collect.folder / "endpoints.toml"
    )
    assert (0, {"answered": 9}) == (ended.code, ended.result["calls"]["by_status"])
    assert (9, 0) == (quiet.bill()["calls"], quiet.bill()["billed_twice"])


@pytest.mark.parametrize("kind", ["rate_limited", "server_error", "unknown_model"])
def test_what_cost_nothing_is_tried_again_in_the_next_run(
    quiet: Standin, collect: Collect, kind: str
) -> None:
    quiet.fail({"kind": kind, "rate": 1.0, "models": [SMALL], "retry_after": 0.01})
    prompts = collect.write(PROMPTS)
    flags = ("--base-url", quiet.url, "--endpoints", collect.folder / "endpoints.toml")
    assert 3 == collect(prompts, *flags).result["dead_letters"]
    quiet.fail()
    ended = collect(prompts, *flags)
    assert (0, 3, 6, 0) == (
        ended.code, ended.result["calls"]["made"], ended.result["resumed"], ended.result["dead_letters"],
    )  # fmt: skip
    assert (9, 0) == (quiet.bill()["calls"], quiet.bill()["billed_twice"])


def test_a_closed_endpoint_ends_it_and_keeps_the_others_answers(quiet: Standin, collect: Collect) -> None:
    quiet.fail({"kind": "unauthorized", "rate": 1.0, "models": [SMALL]})
    prompts = collect.write([{"prompt_id": f"q{i}", "prompt": f"{PHRASE} {i}"} for i in range(30)])
    ended = collect(prompts, "--base-url", quiet.url, "--concurrency", 2)
    assert (1, "closed") == (ended.code, ended.result["stopped"])
    assert "error: " in ended.err
    assert "small" in ended.err
    assert "OPENAI_API_KEY" in ended.err
    assert PHRASE not in ended.err
    answered = ended.result["tiers"]["large"]["answered"]
    assert answered == sum(
        row["status"] == "answered" and row["model"].endswith("large") for row in rows_of(collect.out)
    )
    quiet.fail()
    again = collect(prompts, "--base-url", quiet.url)
    assert (0, 90, 0) == (again.code, quiet.bill()["calls"], quiet.bill()["billed_twice"])
    assert {"answered"} == {row["status"] for row in rows_of(collect.out)}


def test_no_one_there_is_no_success(quiet: Standin, collect: Collect) -> None:
    prompts = collect.write(PROMPTS)
    flags = ("--endpoints", collect.folder / "endpoints.toml")
    ended = collect(prompts, "--base-url", "http://127.0.0.1:1/v1", *flags)
    assert (1, "no answers", 0.0) == (ended.code, ended.result["stopped"], ended.result["spent_usd"])
    assert {"unreachable": 9} == ended.result["calls"]["by_status"]
    assert "9 calls were not answered and cost nothing; the same command tries them again" in ended.err
    assert "no call has an answer that can be graded: the dead letters" in ended.err
    assert (0, None) == (
        (again := collect(prompts, "--base-url", quiet.url, *flags)).code,
        again.result["stopped"],
    )
    assert {"answered"} == {row["status"] for row in rows_of(collect.out)}


def test_a_mixture_is_counted(quiet: Standin, collect: Collect) -> None:
    kinds = ("malformed", "empty", "refused", "filtered", "length", "rejected")
    quiet.fail(*({"kind": kind, "rate": 0.15} for kind in kinds))
    prompts = collect.write([{"prompt_id": f"q{i}", "prompt": f"{PHRASE} {i}"} for i in range(60)])
    ended = collect(prompts, "--base-url", quiet.url)
    assert 0 == ended.code
    counts: dict[str, int] = {}
    for row in rows_of(collect.out):
        counts[row["status"]] = counts.get(row["status"], 0) + 1
    assert {*kinds, "answered"} == set(counts)
    told: dict[str, int] = {}
    for tier in ended.result["tiers"].values():
        for status, n in tier["by_status"].items():
            told[status] = told.get(status, 0) + n
    assert counts == told == ended.result["calls"]["by_status"]
    assert 180 - counts["answered"] == ended.result["dead_letters"] == len(letters_of(collect.out))
