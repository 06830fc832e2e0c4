"""What is seen while it runs: a bar with money and time on a terminal, plain lines elsewhere."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path

from collecting import MOST_SECONDS, finish, start
from standin import make_prompts, standin


def read_all(terminal: int) -> str:
    """All that is written to a terminal until its other side is closed."""
    said = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # Linux's way to say that no one is left on the other side
            return said.decode()
        if not part:
            return said.decode()
        said += part


def test_a_terminal_has_a_bar_with_money_spent_and_time_left(tmp_path: Path) -> None:
    prompts = make_prompts(tmp_path / "prompts.jsonl", 40)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 150, 0, 0))
    with standin("--latency-ms", "40") as server:
        process = start(prompts, tmp_path / "h.jsonl", server.url, "--concurrency", 4, stderr=theirs)
        os.close(theirs)
        said = read_all(ours)
        os.close(ours)
        out, _ = process.communicate(timeout=MOST_SECONDS)
    assert 0 == process.returncode, said
    assert 120 == json.loads(out.splitlines()[-1])["rows"]
    bars = [line for line in said.split("\r") if "%" in line]
    assert bars, said
    assert any(re.search(r"\$\s?\d", line) for line in bars), said
    assert any(re.search(r"\d\d:\d\d<", line) for line in bars), said
    assert "What is" not in said


def test_a_pipe_has_plain_lines(tmp_path: Path) -> None:
    prompts = make_prompts(tmp_path / "prompts.jsonl", 10)
    with standin() as server:
        ended = finish(start(prompts, tmp_path / "h.jsonl", server.url))
    assert 0 == ended.code, ended.err
    assert 1 == len(ended.out.splitlines())
    assert "\r" not in ended.err
    assert "%" not in ended.err
    lines = ended.err.splitlines()
    assert ["tier", "small", "medium", "large", "all"] == [
        line.split()[0] for line in lines if line[:1].isalpha()
    ][:5]


def test_output_that_no_one_reads_is_no_failure_of_the_history(tmp_path: Path) -> None:
    prompts = make_prompts(tmp_path / "prompts.jsonl", 10)
    with standin() as server:
        process = start(prompts, tmp_path / "h.jsonl", server.url, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        process.stdout.close()
        process.wait(timeout=MOST_SECONDS)
    assert 30 == len((tmp_path / "h.jsonl").read_text(encoding="utf-8").splitlines())
