"""The stand-in answers as a provider of models does, is wrong as it says, and bills what it should.

The openai package is the client wherever it has a way to ask, so what it sends and reads is what is tested.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI
from served import Wire, request
from standin import FOLDER, MODELS, TIERS, Standin, make_prompts, standin

from router.tiers import read_tiers
from training.grade.config import read_grading
from training.grade.grades import Row

PROMPT = "Compute 12 + 34. Answer with the number only."
MESSAGES: list[Any] = [{"role": "user", "content": PROMPT}]
TASKS = {"arithmetic", "extraction", "ordering", "json", "glossary", "code", "summary"}


@pytest.fixture(scope="module")
def running() -> Iterator[Standin]:
    with standin() as server:
        yield server


@pytest.fixture
def server(running: Standin) -> Standin:
    running.fail()
    running.reset()
    return running


CLIENTS: list[OpenAI] = []


@pytest.fixture(autouse=True)
def close_clients() -> Iterator[None]:
    yield
    while CLIENTS:
        CLIENTS.pop().close()


def client(server: Standin, timeout: float = 30.0, key: str = "any") -> OpenAI:
    CLIENTS.append(OpenAI(base_url=server.url, api_key=key, max_retries=0, timeout=timeout))
    return CLIENTS[-1]


@cache
def made(count: int) -> tuple[dict[str, Any], ...]:
    script = f"import json, prompts; print(json.dumps(list(prompts.make({count}, 0, list(prompts.SKILLS)))))"
    return tuple(json.loads(inside(script)))


def inside(script: str, *arguments: str) -> str:
    """Run Python beside the example's own modules."""
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False)
    assert "" == done.stderr
    return done.stdout


def is_right(prompt: dict[str, Any], response: str) -> bool:
    """Grade by what the prompt carries, not by what the server knows."""
    if prompt["task"] == "code":
        source = re.search(r"```python\n(.*?)```", response, re.S)
        assert source
        names: dict[str, Any] = {}
        exec(source[1], names)  # noqa: S102 - our own example's
        return all(eval(line.removeprefix("assert "), names) for line in prompt["tests"].splitlines())  # noqa: S307
    if prompt["task"] == "json":
        try:
            return bool(json.loads(prompt["reference"]) == json.loads(re.sub(r"```(json)?", "", response)))
        except ValueError:
            return False
    return bool(re.search(rf"(?<![\w-]){re.escape(prompt['reference'])}(?![\w-])", response))


def test_every_prompt_can_be_graded_by_what_it_carries() -> None:
    prompts = made(400)
    assert TASKS == {prompt["task"] for prompt in prompts}
    assert len(prompts) == len({prompt["prompt"] for prompt in prompts})
    for prompt in prompts:
        carried = {name for name in ("reference", "tests", "schema") if prompt[name] is not None}
        expected = {"code": {"tests"}, "json": {"reference", "schema"}, "summary": set()}
        assert expected.get(prompt["task"], {"reference"}) == carried


def test_the_better_model_is_right_more_often_and_the_harder_prompt_less(server: Standin) -> None:
    rates: dict[str, list[bool]] = defaultdict(list)
    by_length: dict[bool, list[bool]] = defaultdict(list)
    cheap_passes_dear_fails = 0
    prompts = [prompt for prompt in made(400) if prompt["task"] != "summary"]
    for prompt in prompts:
        right = [is_right(prompt, server.complete(model, prompt["prompt"])) for model in MODELS]
        for model, passed in zip(MODELS, right, strict=True):
            rates[model].append(passed)
        cheap_passes_dear_fails += right[0] > right[2]
        if prompt["task"] == "arithmetic":
            by_length[len(prompt["prompt"]) > 60].append(right[0])
    small, medium, large = (sum(rates[model]) / len(prompts) for model in MODELS)
    assert 0.3 < small < medium - 0.2
    assert medium < large - 0.1 < 0.95
    assert sum(by_length[True]) / len(by_length[True]) < sum(by_length[False]) / len(by_length[False])
    assert 0 < cheap_passes_dear_fails < 0.1 * len(prompts)


def test_an_answer_depends_on_model_messages_and_seed_alone() -> None:
    prompts = [prompt["prompt"] for prompt in made(60)]
    with standin("--seed", "1") as one, standin("--seed", "2") as two:
        first = [one.complete("standin-small", prompt) for prompt in prompts]
        again = [one.complete("standin-small", prompt, temperature=1.0) for prompt in reversed(prompts)]
        other = [two.complete("standin-small", prompt) for prompt in prompts]
    assert first == again[::-1]
    assert first != other


def test_a_longer_list_of_prompts_begins_with_a_shorter_one(tmp_path: Path) -> None:
    short, long = (make_prompts(tmp_path / f"{n}.jsonl", n) for n in (10, 20))
    read = [[json.loads(line)["prompt"] for line in path.read_text().splitlines()] for path in (short, long)]
    assert read[0] == read[1][:10]


def test_it_is_billed_at_the_prices_of_the_tiers_file(server: Standin) -> None:
    usage = client(server).chat.completions.create(model="standin-large", messages=MESSAGES).usage
    assert usage
    tier = read_tiers(TIERS).tiers[2]
    assert tier.cost_usd(usage.prompt_tokens, usage.completion_tokens) == pytest.approx(server.bill()["usd"])
    assert 1 == server.bill()["models"]["standin-large"]["calls"]


def test_a_known_key_gets_the_same_answer_and_no_second_bill(server: Standin) -> None:
    ask = client(server).chat.completions.create
    answers = [
        ask(model="standin-small", messages=MESSAGES, extra_headers={"Idempotency-Key": "k"}).id
        for _ in range(3)
    ]
    assert 1 == len(set(answers))
    bill = server.bill()
    assert (1, 2, 0) == (bill["calls"], bill["given_again"], bill["billed_twice"])
    with pytest.raises(openai.BadRequestError):  # the key of another request
        ask(model="standin-medium", messages=MESSAGES, extra_headers={"Idempotency-Key": "k"})


def test_without_keys_the_bill_says_what_was_paid_twice() -> None:
    with standin("--ignore-idempotency") as server:
        for _ in range(2):
            client(server).chat.completions.create(
                model="standin-small", messages=MESSAGES, extra_headers={"Idempotency-Key": "k"}
            )
        bill = server.bill()
    assert (2, 0, 1, 1) == tuple(
        bill[k] for k in ("calls", "given_again", "billed_twice", "keys_billed_twice")
    )


def test_a_stream_says_the_same(server: Standin) -> None:
    ask = client(server).chat.completions.create
    chunks = list(
        ask(model="standin-large", messages=MESSAGES, stream=True, stream_options={"include_usage": True})
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    whole = ask(model="standin-large", messages=MESSAGES)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage


def test_a_limit_of_tokens_cuts(server: Standin) -> None:
    note = next(prompt["prompt"] for prompt in made(60) if prompt["task"] == "summary")
    messages: list[Any] = [{"role": "user", "content": note}]
    cut = client(server).chat.completions.create(model="standin-large", messages=messages, max_tokens=5)
    assert ("length", 5) == (cut.choices[0].finish_reason, cut.usage and cut.usage.completion_tokens)


def test_the_models_are_listed_and_another_is_not_there(server: Standin) -> None:
    assert [*MODELS, "standin-judge"] == [model.id for model in client(server).models.list()]
    with pytest.raises(openai.NotFoundError):
        client(server).chat.completions.create(model="gpt", messages=MESSAGES)


def test_a_key_is_asked_for() -> None:
    with standin("--api-key", "right") as server:
        with pytest.raises(openai.AuthenticationError):
            client(server).chat.completions.create(model="standin-small", messages=MESSAGES)
        good = client(server, key="right")
        assert good.chat.completions.create(model="standin-small", messages=MESSAGES).choices


# Faults

ERRORS: dict[str, type[openai.OpenAIError]] = {
    "unauthorized": openai.AuthenticationError,
    "unknown_model": openai.NotFoundError,
    "rate_limited": openai.RateLimitError,
    "server_error": openai.InternalServerError,
    "rejected": openai.BadRequestError,
    "filtered_400": openai.BadRequestError,
    "closed": openai.APIConnectionError,
    "timeout": openai.APITimeoutError,
    "cut_off": openai.APIConnectionError,
}


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_is_one_to_the_client(server: Standin, kind: str) -> None:
    server.fail({"kind": kind, "models": ["standin-small"]})
    with pytest.raises(ERRORS[kind]):
        client(server, timeout=1.0).chat.completions.create(model="standin-small", messages=MESSAGES)
    assert client(server).chat.completions.create(model="standin-medium", messages=MESSAGES).choices
    billed = kind in ("timeout", "cut_off")  # the work was done
    bill = server.bill()
    assert (billed, 1, {kind: 1}) == (
        bill["models"]["standin-small"]["calls"],
        bill["models"]["standin-medium"]["calls"],
        bill["faults"],
    )


def test_bad_answers_are_billed_and_look_like_it(server: Standin) -> None:
    found = {}
    for kind in ("empty", "refused", "filtered", "length", "tool_call", "no_usage"):
        server.fail({"kind": kind})
        answer = client(server).chat.completions.create(model="standin-large", messages=MESSAGES)
        message, reason = answer.choices[0].message, answer.choices[0].finish_reason
        found[kind] = (
            reason,
            bool(message.content),
            bool(message.refusal),
            bool(message.tool_calls),
            bool(answer.usage),
        )
    assert {
        "empty": ("stop", False, False, False, True),
        "refused": ("stop", False, True, False, True),
        "filtered": ("content_filter", False, False, False, True),
        "length": ("stop", True, False, False, True),  # it has one token only
        "tool_call": ("tool_calls", False, False, True, True),
        "no_usage": ("stop", True, False, False, False),
    } == found
    assert 6 == server.bill()["calls"]
    server.fail({"kind": "malformed"})
    with pytest.raises(json.JSONDecodeError):
        client(server).chat.completions.create(model="standin-large", messages=MESSAGES)
    server.fail({"kind": "no_completion"})
    assert [] == client(server).chat.completions.create(model="standin-large", messages=MESSAGES).choices


def test_a_fault_is_drawn_by_the_key_and_ends_after_its_attempts(server: Standin) -> None:
    server.fail({"kind": "server_error", "rate": 0.5, "attempts": 2})

    asker = client(server)

    def attempts(key: str) -> int:
        """How often it had to be tried."""
        for n in range(1, 9):
            try:
                asker.chat.completions.create(
                    model="standin-small", messages=MESSAGES, extra_headers={"Idempotency-Key": key}
                )
            except openai.InternalServerError:
                continue
            return n
        raise AssertionError("it never answered")

    keys = [f"key-{i}" for i in range(30)]
    first = [attempts(key) for key in keys]
    assert {1, 3} == set(first)
    server.reset()
    assert first[::-1] == [attempts(key) for key in reversed(keys)]


def test_a_storm_ends_after_as_many_requests_and_says_how_long_to_wait(server: Standin) -> None:
    server.fail({"kind": "rate_limited", "first": 3, "retry_after": 2})
    waits = []
    for _ in range(3):
        with pytest.raises(openai.RateLimitError) as refused:
            client(server).chat.completions.create(model="standin-small", messages=MESSAGES)
        waits.append(refused.value.response.headers["retry-after"])
    assert ["2", "2", "2"] == waits
    assert client(server).chat.completions.create(model="standin-small", messages=MESSAGES).choices
    server.fail({"kind": "rate_limited", "retry_after": "date"})
    with pytest.raises(openai.RateLimitError) as refused:
        client(server).chat.completions.create(model="standin-small", messages=MESSAGES)
    assert refused.value.response.headers["retry-after"].endswith("GMT")


@pytest.mark.parametrize(
    ("flag", "given", "said"),
    [
        ("--faults", "[{}]", "expected a kind of unauthorized"),
        ("--faults", '[{"kind": "nothing"}]', "found 'nothing'"),
        ("--faults", '[{"kind": "empty", "often": 1}]', "unknown key often"),
        ("--faults", '[{"kind": "empty", "rate": "x"}]', "rate of empty is of another form"),
        ("--faults", "gone.toml", "the file cannot be read (No such file or directory)"),
        ("--fail", "timeout", "--fail timeout: expected KIND=RATE"),
        ("--fail", "timeout=x", "--fail timeout=x: expected KIND=RATE"),
        ("--fail", "nothing=1", "found 'nothing'"),
        ("--port", "99999", "--port 99999: expected 0 to 65535"),
    ],
)
def test_a_flag_that_is_wrong_is_said(flag: str, given: str, said: str) -> None:
    script = "import sys, server; server.read_options(sys.argv[1:])"
    command = [sys.executable, "-c", script, flag, given]
    run = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    assert 2 == run.returncode
    assert said in run.stderr


# The judge

NONCE = "0123456789abcdef"


def judged(question: str, **responses: str) -> str:
    kind = "absolute" if "RESPONSE" in responses else "pairwise"
    parts = {"QUESTION": question} | {name.replace("_", " "): text for name, text in responses.items()}
    fences = "\n".join(
        f"<<<{name} {NONCE}>>>\n{text}\n<<<END {name} {NONCE}>>>" for name, text in parts.items()
    )
    return f"Task id: {NONCE}\nKind: {kind}\nJudge it.\n{fences}\n"


def verdict(answer: str) -> Any:
    found = json.loads(answer.splitlines()[-1])
    assert NONCE == found["id"]
    return found.get("score", found.get("winner"))


def test_the_judge_errs_as_often_as_it_says() -> None:
    questions = [prompt for prompt in made(400) if prompt["task"] == "arithmetic"]
    with standin("--judge-false-pass", "0.3", "--judge-false-fail", "0") as server:
        right = [
            verdict(server.complete("standin-judge", judged(p["prompt"], RESPONSE=p["reference"])))
            for p in questions
        ]
        wrong = [
            verdict(server.complete("standin-judge", judged(p["prompt"], RESPONSE="1"))) for p in questions
        ]
    assert {4, 5} == set(right)
    assert {1, 2, 4, 5} == set(wrong)
    assert 0.15 < sum(score >= 4 for score in wrong) / len(wrong) < 0.45


def test_the_judge_of_pairs_has_no_favourite_place_unless_it_is_told_to() -> None:
    with standin("--judge-error", "0") as fair, standin("--judge-position-bias", "1") as biased:
        orders = ({"RESPONSE_A": "46", "RESPONSE_B": "1"}, {"RESPONSE_A": "1", "RESPONSE_B": "46"})
        asked = [judged(PROMPT, **order) for order in orders]
        assert ["A", "B"] == [verdict(fair.complete("standin-judge", each)) for each in asked]
        assert ["A", "A"] == [verdict(biased.complete("standin-judge", each)) for each in asked]
        assert "tie" == verdict(
            fair.complete("standin-judge", judged(PROMPT, RESPONSE_A="46", RESPONSE_B="It is 46."))
        )


def test_the_judge_answers_off_format_on_demand() -> None:
    with standin("--judge-off-format", "1") as server:
        answer = server.complete("standin-judge", judged(PROMPT, RESPONSE="46"))
    assert not re.fullmatch(rf'\{{"id": "{NONCE}", "score": [1-5]\}}', answer.splitlines()[-1])


def test_human_grades_are_those_of_the_answers(tmp_path: Path, server: Standin) -> None:
    prompts = make_prompts(tmp_path / "prompts.jsonl", 60)
    out = tmp_path / "human.jsonl"
    command = [sys.executable, str(FOLDER / "human.py"), "--prompts", str(prompts), "--out", str(out)]
    subprocess.run([*command, "--task", "arithmetic", "--errors", "0"], check=True, capture_output=True)
    grades = [json.loads(line) for line in out.read_text().splitlines()]
    by_id = {prompt["prompt_id"]: prompt for prompt in made(60)}
    assert {True, False} == {grade["passed"] for grade in grades}
    for grade in grades:
        prompt = by_id[grade["prompt_id"]]
        assert is_right(prompt, server.complete(grade["model"], prompt["prompt"])) == grade["passed"]


def test_the_graders_of_the_example_say_what_is_right(server: Standin) -> None:
    grading = read_grading(FOLDER / "graders.toml")
    by_task = {rule.when["task"][0]: grading.graders[rule.graders[0]] for rule in grading.rules}
    assert {*by_task} == TASKS
    seen = set()
    for number, prompt in enumerate(made(200)):
        if prompt["task"] in ("summary", "code"):
            continue
        for model in MODELS:
            response = server.complete(model, prompt["prompt"])
            grade = by_task[prompt["task"]].grade(Row(number, "here", prompt, response, None, False))
            right = is_right(prompt, response)
            assert (1.0 if right else 0.0) == grade.score
            seen.add((prompt["task"], right))
    assert {(task, right) for task in TASKS - {"summary", "code"} for right in (True, False)} == seen


# Files and batches


def submit(server: Standin, lines: list[dict[str, Any]], **more: Any) -> Any:
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    uploaded = client(server).files.create(file=("in.jsonl", content), purpose="batch")
    assert content == client(server).files.content(uploaded.id).read()
    return client(server).batches.create(
        input_file_id=uploaded.id, endpoint="/v1/chat/completions", completion_window="24h", **more
    )


def line(custom_id: str, model: str = "standin-small") -> dict[str, Any]:
    body = {"model": model, "messages": MESSAGES}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


def finish(server: Standin, batch: Any) -> tuple[Any, list[str]]:
    states = [batch.status]
    for _ in range(500):
        batch = client(server).batches.retrieve(batch.id)
        if batch.status != states[-1]:
            states.append(batch.status)
        if batch.status in ("completed", "failed", "expired", "cancelled"):
            return batch, states
    raise AssertionError(states)


def results(server: Standin, file_id: str | None) -> dict[str, Any]:
    if file_id is None:
        return {}
    text = client(server).files.content(file_id).text
    return {each["custom_id"]: each for each in map(json.loads, text.splitlines())}


def test_a_batch_is_done_and_costs_half(server: Standin) -> None:
    whole = client(server).chat.completions.create(model="standin-small", messages=MESSAGES)
    price = server.bill()["usd"]
    server.reset()
    batch = submit(server, [line("a"), line("b"), line("c", "gone")], metadata={"tag": "t"})
    done, states = finish(server, batch)
    assert ["validating", "in_progress", "finalizing", "completed"] == states
    assert {"tag": "t"} == done.metadata
    assert (3, 2, 1) == (done.request_counts.total, done.request_counts.completed, done.request_counts.failed)
    good, bad = results(server, done.output_file_id), results(server, done.error_file_id)
    answer = good["a"]["response"]["body"]["choices"][0]["message"]["content"]
    assert whole.choices[0].message.content == answer
    assert 404 == bad["c"]["response"]["status_code"]
    assert server.bill()["usd"] == pytest.approx(price)  # two, at half
    assert (2, 1) == (server.bill()["models"]["standin-small"]["calls_in_batches"], server.bill()["batches"])


@pytest.mark.parametrize(("kind", "code"), [("expired", "batch_expired"), ("cancelled", "batch_cancelled")])
def test_what_a_batch_did_not_come_to_is_not_billed(server: Standin, kind: str, code: str) -> None:
    server.fail({"kind": f"batch_{kind}", "rate": 0.4})
    done, _ = finish(server, submit(server, [line(f"id-{i}") for i in range(10)]))
    assert kind == done.status
    assert 6 == len(results(server, done.output_file_id)) == server.bill()["calls"]
    assert [code] * 4 == [each["error"]["code"] for each in results(server, done.error_file_id).values()]


def test_a_batch_can_be_cancelled(server: Standin) -> None:
    server.fail({"kind": "batch_held"})
    batch = submit(server, [line(f"id-{i}") for i in range(10)])
    assert "in_progress" == client(server).batches.retrieve(batch.id).status
    assert "cancelling" == client(server).batches.cancel(batch.id).status
    done, _ = finish(server, client(server).batches.retrieve(batch.id))
    assert "cancelled" == done.status
    assert 10 == len(results(server, done.output_file_id)) + len(results(server, done.error_file_id))


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([], "empty_file"),
        ([line("a"), line("a")], "duplicate_custom_id"),
        ([{"custom_id": "a"}], "invalid_json_line"),
        ([line("a") | {"url": "/v1/embeddings"}], "mismatched_url"),
        ([line(f"id-{i}") for i in range(4)], "too_many_requests"),
    ],
)
def test_a_bad_file_fails_validation(lines: list[dict[str, Any]], code: str) -> None:
    with standin("--batch-requests", "3") as server:
        done, states = finish(server, submit(server, lines))
        assert ["validating", "failed"] == states
        assert [code] == [each.code for each in done.errors.data]
        assert 0 == server.bill()["calls"]


def test_batches_are_listed_the_newest_first_and_in_pages(server: Standin) -> None:
    made_ids = [submit(server, [line("a")]).id for _ in range(5)]
    assert made_ids[::-1] == [batch.id for batch in client(server).batches.list(limit=2)]


def test_a_file_that_is_too_long_is_refused() -> None:
    with standin("--batch-bytes", "100") as server, pytest.raises(openai.BadRequestError):
        submit(server, [line("a")])


# The wire


def test_a_request_in_pieces_and_two_at_once_are_answered(server: Standin) -> None:
    raw = request("GET", "/v1/models")
    with Wire(server.url) as wire:
        wire.send(raw[:10])
        wire.send(raw[10:] + raw)
        assert wire.read().json == wire.read().json
        assert 411 == wire.ask(raw.replace(b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\n")).status
        assert b"" == wire.rest()


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/chat/completions", b"[" * 100_000, 400),
        ("/v1/chat/completions", b'{"model": ["standin-small"], "messages": [5]}', 400),
        ("/v1/batches", b"[" * 100_000, 400),
        ("/v1/batches", b'{"input_file_id": ["a"], "endpoint": 5}', 400),
    ],
)
def test_a_body_that_is_wrong_is_refused(server: Standin, path: str, body: bytes, status: int) -> None:
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    with Wire(server.url) as wire:
        assert status == wire.ask(head + body).status
        assert 200 == wire.ask(request("GET", "/v1/batches?limit=many")).status


@pytest.mark.parametrize(
    ("size", "status"), [("99999999999", 413), ("9" * 5000, 411), ("²", 411), ("-1", 411)]
)
def test_a_body_is_bounded(server: Standin, size: str, status: int) -> None:
    with Wire(server.url) as wire:
        raw = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n"
        assert status == wire.ask(raw.encode("latin-1")).status
        assert b"" == wire.rest()


def test_a_port_that_is_taken_is_said(server: Standin) -> None:
    port = server.url.split(":")[2].removesuffix("/v1")
    command = [sys.executable, str(FOLDER / "server.py"), "--port", port]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (1, "") == (run.returncode, run.stdout)
    assert run.stderr.startswith(f"cannot listen on 127.0.0.1:{port}: ")
    assert 1 == run.stderr.count("\n")


def test_it_listens_on_this_machine_alone(server: Standin) -> None:
    assert server.url.startswith("http://127.0.0.1:")


def test_the_readme_says_what_the_models_can() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \|.*\| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", (FOLDER / "README.md").read_text(), re.M
    )
    told = {model: {row[0]: float(row[i]) for row in rows} for i, model in enumerate(MODELS, start=1)}
    assert json.loads(inside("import json, abilities; print(json.dumps(abilities.ABILITY))")) == told


def test_the_readme_names_every_fault_and_flag() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    kinds, flags = json.loads(
        inside(
            "import argparse, json, faults, server\n"
            "flags = []\n"
            "add = argparse.ArgumentParser.add_argument\n"
            "argparse.ArgumentParser.add_argument = lambda s, *a, **k: (flags.append(a[0]), add(s, *a, **k))[1]\n"
            "server.read_options([])\n"
            "print(json.dumps([list(faults.KINDS), [f for f in flags if f.startswith('--')]]))"
        )
    )
    assert set() == {name for name in [*kinds, *flags] if f"`{name}`" not in readme}
