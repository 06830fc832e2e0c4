"""A real `tierwise serve`, in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from toys import ROOT

MOST_SECONDS = 60.0
LISTENING = re.compile(r"listening.*?(http://[^\s\"]+)")


@contextmanager
def serve(
    *options: str,
    command: Sequence[str] = (sys.executable, "-m", "router"),
    cwd: Path = ROOT,
    environment: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Start a server on a free port and give its address; stop it with SIGTERM, on which it must exit with 0."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("TIERWISE_")}
    env |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)} | dict(environment or {})
    with TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [*command, "serve", "--port", "0", *options],
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )
        try:
            yield _address(process, log)
            process.send_signal(signal.SIGTERM)
            process.wait(MOST_SECONDS)
            assert 0 == process.returncode, log.read_text(encoding="utf-8")
        finally:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + MOST_SECONDS
    while time.monotonic() < deadline:
        found = LISTENING.search(log.read_text(encoding="utf-8"))
        if found:
            return found[1]
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise AssertionError(f"the server did not start:\n{log.read_text(encoding='utf-8')}")
