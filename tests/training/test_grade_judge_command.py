"""A judge in `python -m training grade`: from a history and human grades to labels that know how far to trust them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judged import make_rows, passes, write_human
from standin import standin

from training.__main__ import main

GRADERS = """
[[grader]]
name = "short"
kind = "length"
max_characters = 200

[[grader]]
name = "judge"
kind = "judge"
model = "standin-judge"
input_usd_per_mtok = 1.0
output_usd_per_mtok = 4.0
reference = "reference"
human = {human}

[[grader]]
name = "never"
kind = "judge"
model = "standin-judge"
input_usd_per_mtok = 1.0
output_usd_per_mtok = 4.0
unmeasured = true

[[rule]]
when = {{ model = "nobody" }}
graders = ["never"]

[[rule]]
graders = ["short", "judge"]
combine = "all"
"""


def test_from_answers_to_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = make_rows(80)
    history, graders, out = tmp_path / "h.jsonl", tmp_path / "g.toml", tmp_path / "h2.jsonl"
    long = [row.number for row in rows[::20]]
    lines: list[dict[str, Any]] = [
        {
            **row.cells,
            "response": row.response + "!" * 200 * (row.number in long),
            "status": "answered",
            "score": None,
        }
        for row in rows
    ]
    history.write_text("".join(json.dumps(line) + "\n" for line in lines))
    human = write_human(tmp_path / "human.jsonl", rows, 80)
    graders.write_text(GRADERS.format(human=json.dumps(str(human))))
    command = ["grade", "--history", str(history), "--graders", str(graders), "--out", str(out)]
    with standin("--judge-false-pass", "0.1", "--judge-false-fail", "0.1") as server:
        assert 0 == main([*command, "--base-url", server.url])
        bill = server.bill()
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"judge"} == summary["judges"].keys()
    assert summary["judges"]["judge"]["agreement"]["kappa"] > 0.6
    graded = [json.loads(line) for line in out.read_text().splitlines()]
    assert bill["usd"] == pytest.approx(summary["judges"]["judge"]["usd"])
    for row, line in zip(rows, graded, strict=True):
        if row.number in long:  # settled by rule: the judge is not asked
            assert (0.0, 0.0) == (line["score"], line["label_error"])
            assert "judge" not in json.loads(line["grades"])
        else:
            assert 0.0 <= line["label_error"] <= 0.5
    own = [line["score"] for row, line in zip(rows, graded, strict=True) if row.number not in long]
    true = [passes(row) for row in rows if row.number not in long]
    assert np.mean(own) == pytest.approx(np.mean(true), abs=0.06)


def test_a_refused_judge_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = make_rows(40)
    history, graders, out = tmp_path / "h.jsonl", tmp_path / "g.toml", tmp_path / "h2.jsonl"
    lines = [{**row.cells, "response": row.response, "score": None} for row in rows]
    history.write_text("".join(json.dumps(line) + "\n" for line in lines))
    human = write_human(tmp_path / "human.jsonl", rows, 40)
    graders.write_text(GRADERS.format(human=json.dumps(str(human))))
    with standin("--judge-false-pass", "0.6", "--judge-false-fail", "0.6") as server:
        command = ["grade", "--history", str(history), "--graders", str(graders), "--out", str(out)]
        assert 3 == main([*command, "--base-url", server.url])
        assert 40 == server.bill()["calls"]
    assert "below the floor of 0.4" in capsys.readouterr().err
    assert not out.exists()
