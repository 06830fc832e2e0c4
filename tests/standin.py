"""The stand-in server of examples/standin, in a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

from served import MOST_SECONDS, wait_until
from toys import ROOT

FOLDER = ROOT / "examples" / "standin"
TIERS = FOLDER / "tiers.toml"
MODELS = ("standin-small", "standin-medium", "standin-large")
_LISTENING = re.compile(r"listening on (http://\S+)")
_open = build_opener(ProxyHandler({})).open


@dataclass(frozen=True)
class Standin:
    """A server that runs; `url` is what `--base-url` takes and ends in /v1."""

    url: str
    process: subprocess.Popen[bytes]

    def bill(self) -> dict[str, Any]:
        """What was billed, and what was billed twice: see examples/standin/README.md."""
        return dict(self.ask("/standin/bill"))

    def reset(self) -> None:
        """Forget every bill, key, file and batch, and begin the faults anew."""
        self.ask("/standin/reset", {})

    def fail(self, *faults: Mapping[str, Any]) -> None:
        """Set the faults from here on: `s.fail({"kind": "rate_limited", "rate": 0.5, "attempts": 1})`; none ends them."""
        self.ask("/standin/faults", faults)

    def ask(self, path: str, body: object = None) -> Any:
        """GET, or POST a body as JSON, and return the JSON that comes back; a path is from the server's root."""
        data = None if body is None else json.dumps(body).encode()
        url = self.url.removesuffix("/v1") + path
        request = Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 - our own server
        with _open(request, timeout=MOST_SECONDS) as answer:
            return json.load(answer)

    def complete(self, model: str, prompt: str, **more: Any) -> str:
        """Return a model's answer to one prompt."""
        body = {"model": model, "messages": [{"role": "user", "content": prompt}], **more}
        return str(self.ask("/v1/chat/completions", body)["choices"][0]["message"]["content"])


@contextmanager
def standin(*flags: str, faults: Sequence[Mapping[str, Any]] = ()) -> Iterator[Standin]:
    """Start the stand-in on a free port; it must end with 0 on SIGTERM, and say nothing on stderr."""
    command = [sys.executable, str(FOLDER / "server.py"), "--port", "0", *flags]
    if faults:
        command += ["--faults", json.dumps(list(faults))]
    with TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        with out.open("wb") as stdout, err.open("wb") as stderr:
            env = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
            process = subprocess.Popen(
                command, env=env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
            )
        try:

            def listening() -> re.Match[str] | None:
                assert process.poll() is None, f"the stand-in did not start:\n{err.read_text()}"
                return _LISTENING.search(out.read_text())

            yield Standin(wait_until(listening, "the stand-in does not listen", MOST_SECONDS)[1], process)
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                assert 0 == process.wait(MOST_SECONDS), err.read_text()
            assert "" == err.read_text()
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()


def make_prompts(path: Path, count: int = 60, **options: Any) -> Path:
    """Write a file of prompts by examples/standin/prompts.py and return its path."""
    flags = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    command = [sys.executable, str(FOLDER / "prompts.py"), "--count", str(count), "--out", str(path), *flags]
    subprocess.run(command, check=True, capture_output=True, timeout=MOST_SECONDS)
    return path
