"""How far a run of calls is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import re
import termios
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from calling import run
from standin import standin

from training.calls import ticker


def test_elsewhere_it_is_a_line_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with standin() as server:
        run(server.url, tmp_path, 5)
        assert "" == capsys.readouterr().err  # it was over before
        monkeypatch.setattr(ticker, "_LINE_EVERY_S", 0.0)
        run(server.url, tmp_path, 12)
    lines = capsys.readouterr().err.splitlines()
    assert 21 == len(lines)  # those that were made: 15 stand in the journal
    pattern = r"\[ +\d+\.\d s\] {} calls, \$0\.\d{{4}} spent, [\d,]+ calls/s{}"
    assert re.fullmatch(pattern.format(1, r", about [\d.]+ (s|min|h) left"), lines[0])
    assert re.fullmatch(pattern.format(21, ""), lines[-1])


def test_on_a_terminal_it_is_a_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    monkeypatch.setattr(ticker, "_BAR_EVERY_S", 0.0)
    parts: list[bytes] = []

    def read() -> None:
        with suppress(OSError):  # the other end is closed
            while part := os.read(ours, 1 << 16):
                parts.append(part)

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(theirs, "w") as terminal, standin("--latency-ms", "30") as server:
        monkeypatch.setattr("sys.stderr", terminal)
        run(server.url, tmp_path, 10)
    reader.join()
    os.close(ours)
    shown = b"".join(parts).decode()
    assert "/30" in shown
    assert re.search(r"\$0\.\d{4} spent", shown)


@pytest.mark.parametrize(("seconds", "text"), [(5, "5 s"), (89, "89 s"), (600, "10 min"), (9000, "2.5 h")])
def test_a_duration(seconds: float, text: str) -> None:
    assert text == ticker._duration(seconds)
