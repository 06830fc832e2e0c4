"""The commands answer on stdout, fail on stderr with a code that says whose fault it is, and repeat no prompt."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from toys import CERTIFICATE, reseal

from router import Policy, Router, __version__
from router.policy import ASKS

PRIVATE = "confidential zebra"  # stands in the prompts here, and in no error


class Run(NamedTuple):
    code: int
    out: str
    err: str


Cli = Callable[..., Run]


@pytest.fixture
def cli(python: Callable[..., Any]) -> Cli:
    def run(*arguments: str, stdin: bytes = b"", **environment: str) -> Run:
        done = python("-m", "router", *arguments, stdin=stdin, **environment)
        err = done.stderr.decode()
        assert PRIVATE not in err
        assert "Traceback" not in err
        return Run(done.returncode, done.stdout.decode(), err)

    return run


@pytest.fixture
def model(toy_artifact: Path) -> tuple[str, str]:
    return ("--model", str(toy_artifact))


def refused(run: Run, code: int, *words: str) -> None:
    assert (code, "") == (run.code, run.out)
    assert run.err.startswith(("error: ", "usage: "))
    assert [] == [word for word in words if word not in run.err]


def test_route_answers_in_words(cli: Cli, model: tuple[str, str]) -> None:
    run = cli("route", "hello", "--epsilon", "1", *model)
    assert (0, "") == (run.code, run.err)
    first, *bars, cost, last = run.out.splitlines()
    assert "small (tiny-1): sufficient, it saves more than its expected loss is worth" == first
    assert [" > small", "   mediu", "   large"] == [bar[:8] for bar in bars]
    assert re.fullmatch(
        r"   expected cost \$0\.0000\d\d, saves \$0\.00\d{4} against large \(\d\d\.\d%\)", cost
    )
    assert re.fullmatch(r"   novelty 0\.\d{3}, model tw-toy", last)


def test_the_saving_is_that_of_the_decision(cli: Cli, model: tuple[str, str], toy_router: Router) -> None:
    decision = toy_router.route("hello", Policy(epsilon=1.0))
    *_, cost, _ = cli("route", "hello", "--epsilon", "1", *model).out.splitlines()
    saved = decision.tier_cost_usd[-1] - decision.expected_cost_usd
    assert saved == decision.saving_usd
    assert f"saves ${saved:.6f} against large ({saved / decision.tier_cost_usd[-1]:.1%})" in cost


def test_the_top_tier_saves_nothing_and_says_nothing(cli: Cli, model: tuple[str, str]) -> None:
    *_, cost, _ = cli("route", "hello", "--floor", "large", *model).out.splitlines()
    assert re.fullmatch(r"   expected cost \$0\.00\d{4}", cost)


@pytest.mark.parametrize(
    ("options", "policy"),
    [
        ([], None),
        (["--max-regret", "0"], Policy(max_regret=0.0)),
        (["--epsilon", "0"], Policy(epsilon=0.0)),
        (["--floor", "medium", "--ceiling", "medium"], Policy(floor="medium", ceiling="medium")),
        (["--allow", "small, large"], Policy(allow=("small", "large"))),
        (["--max-cost-usd", "1e-4"], Policy(max_cost_usd=1e-4)),
        (["--preset", "saver"], Policy(preset="saver")),
        (["--max-regret", "0.1", "--slice", "task=sums"], Policy(max_regret=0.1, slice="task=sums")),
        (["--min-quality", "0.9"], Policy(min_quality=0.9)),
        (["--budget", "0.002"], Policy(budget=0.002)),
        (["--budget", "1e-9"], Policy(budget=1e-9)),
        (["--needs", "json"], Policy(needs=("json",))),
        (["--max-cost-usd", "5e-3", "--epsilon", "0"], Policy(max_cost_usd=5e-3, epsilon=0.0)),
    ],
)
def test_route_gives_the_routers_decision_as_json(
    cli: Cli, model: tuple[str, str], toy_router: Router, options: list[str], policy: Policy | None
) -> None:
    run = cli("route", PRIVATE, "--json", *options, *model)
    assert (0, "") == (run.code, run.err)
    assert toy_router.route(PRIVATE, policy).to_dict() == json.loads(run.out)
    assert PRIVATE not in run.out


@pytest.mark.parametrize(
    ("options", "asked", "reason"),
    [
        (["--needs", "json"], {"needs": ["json"]}, "capability"),
        (["--needs", "tools, json"], {"needs": ["tools", "json"]}, "capability"),
        (["--context-tokens", "0"], {"context_tokens": 0}, "sufficient"),
        (
            ["--context-tokens", "900", "--cached-tokens", "800"],
            {"context_tokens": 900, "cached_tokens": 800},
            "sufficient",
        ),
        (["--context-tokens", "1001"], {"context_tokens": 1001}, "context"),
        (
            ["--needs", "tools", "--context-tokens", "5000"],
            {"needs": ["tools"], "context_tokens": 5000},
            "context",
        ),
    ],
)
def test_route_takes_what_a_call_needs(
    cli: Cli,
    model: tuple[str, str],
    toy_router: Router,
    options: list[str],
    asked: dict[str, Any],
    reason: str,
) -> None:
    run = cli("route", "hello", "--epsilon", "1", "--json", *options, *model)
    assert (0, "") == (run.code, run.err)
    decision = toy_router.route("hello", Policy(epsilon=1.0), **asked)
    assert decision.to_dict() == json.loads(run.out)
    assert reason == decision.reason
    run = cli("route", "hello", "--epsilon", "1", *options, *model)
    assert run.out.startswith(f"{decision.tier} ({decision.model}): {reason}, ")


def test_a_tier_passed_over_for_its_cost_is_said_in_words(cli: Cli, model: tuple[str, str]) -> None:
    run = cli("route", "hello", "--epsilon", "0", "--max-cost-usd", "0.0001", *model)
    first, *bars, _, _ = run.out.splitlines()
    assert "small (tiny-1): cost, a dearer tier is more than max_cost_usd or the budget allows" == first
    costs = [float(bar.rpartition("$")[2]) for bar in bars]
    assert sorted(costs) == costs
    assert costs[0] < 0.0001 < costs[1]


@pytest.mark.parametrize(
    "text", [PRIVATE.encode(), b"", b"\xff\xfe\x80", b"x" * 1_000_000, "世界\n".encode()]
)
def test_route_reads_standard_input(
    cli: Cli, model: tuple[str, str], toy_router: Router, text: bytes
) -> None:
    run = cli("route", "-", "--json", *model, stdin=text)
    assert (0, "") == (run.code, run.err)
    assert toy_router.route(
        text.decode("utf-8", "surrogateescape").removesuffix("\n")
    ).to_dict() == json.loads(run.out)


def test_route_reads_messages(cli: Cli, model: tuple[str, str], toy_router: Router, tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": PRIVATE}]
    path = tmp_path / "messages.json"
    path.write_text(json.dumps(messages), encoding="utf-8")
    expected = toy_router.route(messages).to_dict()
    for run in (
        cli("route", "--messages", str(path), "--json", *model),
        cli("route", "--messages", "-", "--json", *model, stdin=path.read_bytes()),
        cli("route", "--messages", "-", "--json", *model, stdin=path.read_text().encode("utf-16")),
    ):
        assert (0, "") == (run.code, run.err)
        assert expected == json.loads(run.out)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (f"{PRIVATE}".encode(), "not valid JSON"),
        (f'[{{"role": "user", "content": "{PRIVATE}"'.encode(), "not valid JSON"),
        (b"\xff\xfe\xfa", "not valid JSON"),
        (b"[" * 200_000, "not valid JSON"),
        (f'"{PRIVATE}"'.encode(), "expected a JSON list of chat messages, found str"),
        (f'{{"role": "user", "content": "{PRIVATE}"}}'.encode(), "found dict"),
        (f'["{PRIVATE}"]'.encode(), "a chat message is a mapping"),
        (f'[{{"role": "user", "content": {{"text": "{PRIVATE}"}}}}]'.encode(), "a list of parts; found dict"),
        (b"null", "found NoneType"),
    ],
    ids=["text", "cut", "binary", "deep", "string", "object", "strings", "content", "null"],
)
def test_messages_of_another_form_are_refused(
    cli: Cli, model: tuple[str, str], tmp_path: Path, content: bytes, word: str
) -> None:
    path = tmp_path / "messages.json"
    path.write_bytes(content)
    refused(cli("route", "--messages", str(path), *model), 2, str(path), word)


def test_messages_that_are_not_there_are_refused(cli: Cli, model: tuple[str, str], tmp_path: Path) -> None:
    refused(cli("route", "--messages", str(tmp_path / "no.json"), *model), 2, "no.json", "check the path")
    refused(cli("route", "--messages", str(tmp_path), *model), 2, "cannot be read")


def test_one_prompt_is_expected(cli: Cli, model: tuple[str, str]) -> None:
    refused(cli("route", *model), 2, "expected one of a prompt and --messages")
    refused(cli("route", PRIVATE, "--messages", "-", *model), 2, "expected one of a prompt and --messages")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--floor", "mediun"], ["did you mean medium?", "small, medium, large"]),
        (["--ceiling", "none"], ["unknown tier 'none'"]),
        (["--allow", "small,,large"], ["unknown tier ''"]),
        (["--floor", "large", "--ceiling", "small"], ["floor large is dearer than ceiling small"]),
        (["--epsilon", "nan"], ["epsilon is a finite number, 0 or more; found nan"]),
        (["--max-regret", "5"], ["max_regret is a number from 0 to 1; found 5.0"]),
        (["--max-regret", "0", "--epsilon", "0"], ["found max_regret and epsilon; keep one"]),
        (["--preset", "savr"], ["did you mean saver?"]),
        (["--slice", "task=sums"], ["ask for one of them"]),
        (["--slice", "task=sums", "--budget", "1"], ["ask for one of them in place of budget"]),
        (["--cached-tokens", "-1"], ["cached_tokens", "found -1"]),
        (["--epsilon", "little"], ["invalid float value"]),
        (["--max-cost-usd", "0"], ["max_cost_usd is a number of USD above 0; found 0.0"]),
        (["--max-cost-usd", "inf"], ["above 0; found inf"]),
        (["--max-cost-usd", "nan"], ["above 0; found nan"]),
        (["--max-cost-usd", "cheap"], ["invalid float value"]),
        (["--context-tokens", "-1"], ["context_tokens is a number of tokens", "found -1"]),
        (["--context-tokens", "1.5"], ["invalid int value"]),
    ],
)
def test_a_policy_that_does_not_fit_is_refused(
    cli: Cli, model: tuple[str, str], options: list[str], words: list[str]
) -> None:
    refused(cli("route", PRIVATE, *options, *model), 2, *words)


def test_a_policy_is_read_from_a_file(
    cli: Cli, model: tuple[str, str], toy_router: Router, tmp_path: Path
) -> None:
    path = tmp_path / "policy.toml"
    path.write_text('preset = "saver"\nallow = ["small", "large"]\n', encoding="utf-8")
    run = cli("route", PRIVATE, "--json", "--policy", str(path), "--floor", "small", *model)
    assert (0, "") == (run.code, run.err)
    expected = Policy(preset="saver", allow=("small", "large"), floor="small")
    assert toy_router.route(PRIVATE, expected).to_dict() == json.loads(run.out)
    both = cli("route", PRIVATE, "--policy", str(path), "--preset", "safe", *model)
    refused(both, 2, f"preset is in policy file {path} and in --preset; drop one")
    path.write_text('floor = "mediun"\n', encoding="utf-8-sig")
    for command in (["route", PRIVATE], ["serve", "--port", "0"]):
        refused(cli(*command, "--policy", str(path), *model), 3, "polic", "did you mean medium?")
    path.write_text("max_regret = 2\n", encoding="utf-8")
    for command in (["route", PRIVATE], ["serve", "--port", "0"]):
        refused(cli(*command, "--policy", str(path), *model), 3, f"policy file {path}: max_regret", "found 2")


def test_help_says_what_each_field_asks(cli: Cli) -> None:
    words = " ".join(cli("route", "--help").out.split())
    for name, asked in ASKS.items():
        assert f"--{name.replace('_', '-')} {asked.unit}" in words
        assert asked.text in words


def test_a_model_that_is_not_there_is_refused(cli: Cli, tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    refused(cli("route", PRIVATE, "--model", nowhere), 1, nowhere, "check the path")
    refused(cli("route", PRIVATE, "--model", "x" * 5000), 1, "check the path")
    refused(cli("route", PRIVATE, TIERWISE_MODEL=nowhere), 1, nowhere, "$TIERWISE_MODEL")
    refused(cli("inspect", nowhere), 1, nowhere)


def test_the_variable_names_the_model(cli: Cli, toy_artifact: Path) -> None:
    run = cli("route", PRIVATE, "--json", TIERWISE_MODEL=str(toy_artifact))
    assert (0, "tw-toy") == (run.code, json.loads(run.out)["model_id"])
    assert 0 == cli("inspect", TIERWISE_MODEL=str(toy_artifact)).code


@pytest.mark.parametrize("text", ["\udcff\udc80", "-5 + 3 = ?", "", "日本語 🙂", "\u202e\x07"])
def test_odd_prompts_are_answered(cli: Cli, model: tuple[str, str], toy_router: Router, text: str) -> None:
    run = cli("route", text, "--json", *model)
    assert (0, "") == (run.code, run.err)
    assert toy_router.route(text).to_dict() == json.loads(run.out)


def test_a_terminal_without_utf8_is_answered(cli: Cli, model: tuple[str, str]) -> None:
    run = cli("route", "hello", *model, PYTHONIOENCODING="ascii", LC_ALL="C", PYTHONUTF8="0")
    assert (0, "") == (run.code, run.err)
    assert "█" in run.out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["route", "Summarise", *PRIVATE.split(), PRIVATE], "put a prompt in quotes"),
        (["route", "Summarise", "--strict", PRIVATE], "put a prompt in quotes"),
        ([PRIVATE], "choose from"),
        ([f"{PRIVATE} (choose {PRIVATE}"], "choose from"),
        (["rout", PRIVATE], "choose from"),
        ([], "required: COMMAND"),
    ],
)
def test_a_slip_at_the_keyboard_repeats_no_prompt(cli: Cli, arguments: list[str], word: str) -> None:
    refused(cli(*arguments), 2, word)


def test_inspect_describes_a_verified_model(cli: Cli, toy_artifact: Path) -> None:
    run = cli("inspect", str(toy_artifact))
    assert (0, "") == (run.code, run.err)
    for word in (
        "tw-toy",
        "fitted 2025-01-31",
        str(toy_artifact),
        "verified",
        "tiny-1, tiny-2",
        "at most 5%",
    ):
        assert word in run.out


def test_inspect_gives_the_manifest_as_json(cli: Cli, toy_artifact: Path) -> None:
    run = cli("inspect", str(toy_artifact), "--json")
    assert (0, "") == (run.code, run.err)
    assert json.loads((toy_artifact / "manifest.json").read_bytes()) == json.loads(run.out)


def test_inspect_without_a_certificate_says_so(cli: Cli, toy_artifact_copy: Path) -> None:
    reseal(toy_artifact_copy, certificate=CERTIFICATE | {"n": 12, "table": [], "quality": [], "slices": []})
    run = cli("inspect", str(toy_artifact_copy))
    assert (0, "") == (run.code, run.err)
    assert "Certificate: none" in run.out


def test_inspect_refuses_a_damaged_model(cli: Cli, toy_artifact_copy: Path) -> None:
    (toy_artifact_copy / "model.onnx").write_bytes(b"")
    for options in ([], ["--json"]):
        refused(cli("inspect", str(toy_artifact_copy), *options), 1, "model.onnx is not the file")


def test_version(cli: Cli) -> None:
    assert Run(0, f"tierwise {__version__}\n", "") == cli("--version")
