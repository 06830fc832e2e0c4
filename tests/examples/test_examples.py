"""The examples run as they stand: the model called is the one the router named, else the one to fall back on.

The router's server is a real one; the endpoint of the models is a small stand-in for one of OpenAI's form.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from served import serve
from toys import ROOT

from router import Router

FOLDER = ROOT / "examples" / "http"
PROGRAMS = {".py": sys.executable, ".mjs": "node", ".sh": "bash"}
DEAR = "the-dear-model"
KEY = "key-of-the-router-0123"
MODELS_KEY = "key-of-the-models"

# By the toy model the first goes to the cheapest tier, the last to the dearest.
PROMPTS = ["hello", 'Quote "this", \\ and $(that);\nplease: 世界 🙂 the end', "prove the sum of a list " * 30]

needs_more = pytest.mark.browser
EXAMPLES = [
    pytest.param("route_then_call.py", id="py"),
    pytest.param("route_then_call.mjs", id="mjs", marks=needs_more),
    pytest.param("route_then_call.sh", id="sh", marks=needs_more),
]
each_example = pytest.mark.parametrize("name", EXAMPLES)


class Call(NamedTuple):
    path: str
    authorization: str | None
    body: dict[str, Any]


class Models(ThreadingHTTPServer):
    """Answers chat completions with the name of the model asked, and keeps the calls."""

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.calls: list[Call] = []
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


class _Answer(BaseHTTPRequestHandler):
    server: Models

    def do_POST(self) -> None:
        if self.path != "/v1/chat/completions":
            self.send_error(404)
            return
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.calls.append(Call(self.path, self.headers["Authorization"], body))
        message = {"role": "assistant", "content": f"answered by {body['model']}"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        answer = {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [choice],
        }
        raw = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: Any) -> None:
        """Keep the output of the tests clean."""


@pytest.fixture
def models() -> Iterator[Models]:
    with Models() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes requests and answers none."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def run(name: str, prompt: str, models: Models, tierwise: str, **more: str) -> Any:
    program = shutil.which(PROGRAMS[Path(name).suffix])
    assert program, f"{name} needs {PROGRAMS[Path(name).suffix]}; install it (Debian: nodejs, curl)"
    ours = ("TIERWISE_", "OPENAI_", "FALLBACK_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
    env = {key: value for key, value in os.environ.items() if not key.upper().startswith(ours)}
    env |= {"OPENAI_BASE_URL": models.url, "OPENAI_API_KEY": MODELS_KEY, "FALLBACK_MODEL": DEAR}
    env |= {"TIERWISE_URL": tierwise, "PYTHONDONTWRITEBYTECODE": "1", **more}
    done = subprocess.run(
        [program, str(FOLDER / name), prompt], env=env, capture_output=True, timeout=60, check=False
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture(scope="module")
def server(toy_artifact: Path) -> Iterator[str]:
    with serve("--model", str(toy_artifact)) as url:
        yield url


def test_the_prompts_go_to_different_models(toy_router: Router) -> None:
    routed = {toy_router.route(prompt).model for prompt in PROMPTS}
    assert 1 < len(routed)
    assert DEAR not in routed


@each_example
@pytest.mark.parametrize("prompt", PROMPTS, ids=["plain", "odd", "long"])
def test_the_model_called_is_the_one_the_router_named(
    server: str, models: Models, toy_router: Router, name: str, prompt: str
) -> None:
    messages = [{"role": "user", "content": prompt}]
    named = toy_router.route(messages).model
    # The time allowed is more than an example's own: these machines may be busy.
    assert (0, f"answered by {named}\n", "") == run(name, prompt, models, server, TIERWISE_TIMEOUT_S="30")
    expected = Call("/v1/chat/completions", f"Bearer {MODELS_KEY}", {"model": named, "messages": messages})
    assert [expected] == models.calls


@each_example
def test_a_key_is_sent(
    toy_artifact: Path, models: Models, toy_router: Router, tmp_path: Path, name: str
) -> None:
    (tmp_path / "keys").write_text(f"{KEY}\n")
    named = toy_router.route([{"role": "user", "content": "hello"}]).model
    with serve("--model", str(toy_artifact), "--keys", str(tmp_path / "keys")) as url:
        allowed = run(name, "hello", models, url, TIERWISE_TIMEOUT_S="30", TIERWISE_API_KEY=KEY)
        assert (0, f"answered by {named}\n", "") == allowed
        fell_back(run(name, "hello", models, url, TIERWISE_TIMEOUT_S="30"))
        fell_back(
            run(name, "hello", models, url, TIERWISE_TIMEOUT_S="30", TIERWISE_API_KEY="another-key-012345")
        )


def fell_back(done: tuple[int, str, str]) -> None:
    code, out, err = done
    assert (0, f"answered by {DEAR}\n") == (code, out)
    assert f"calling {DEAR}" in err
    assert KEY not in err


@each_example
def test_without_tierwise_the_dear_model_is_called(toy_artifact: Path, models: Models, name: str) -> None:
    with serve("--model", str(toy_artifact)) as stopped:
        url = stopped
    fell_back(run(name, PROMPTS[1], models, url))
    assert [{"model": DEAR, "messages": [{"role": "user", "content": PROMPTS[1]}]}] == [
        call.body for call in models.calls
    ]


@each_example
def test_a_tierwise_that_does_not_answer_is_not_waited_for(models: Models, silent: str, name: str) -> None:
    fell_back(run(name, "hello", models, silent))


@each_example
def test_another_service_in_its_place_names_no_model(models: Models, name: str) -> None:
    fell_back(run(name, "hello", models, f"{models.url}/tierwise", TIERWISE_TIMEOUT_S="30"))


@each_example
def test_what_the_example_reads_is_in_its_table(name: str) -> None:
    read = set(re.findall(r"[A-Z]+_[A-Z_]+[A-Z]", (FOLDER / name).read_text(encoding="utf-8")))
    told = set(re.findall(r"^\| `([A-Z_]+)`", (FOLDER / "README.md").read_text(encoding="utf-8"), re.M))
    assert {"TIERWISE_URL", "FALLBACK_MODEL"} <= read
    # The SDK reads two by itself.
    assert read | {"OPENAI_BASE_URL", "OPENAI_API_KEY"} == told
