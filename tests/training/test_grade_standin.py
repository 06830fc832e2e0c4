"""The graders of examples/standin find what is known to be right and wrong, and nobody pays twice for a judge."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from standin import FOLDER, TIERS, make_prompts, standin

from training.__main__ import main

TASKS = ("arithmetic", "code", "extraction", "glossary", "json", "ordering", "summary")


def known(folder: Path, prompts: Path, task: str, rows: int) -> Path:
    """Write what is right of a task's answers, as a file of human grades without errors."""
    out = folder / f"{task}.jsonl"
    flags = [
        "--prompts",
        str(prompts),
        "--task",
        task,
        "--rows",
        str(rows),
        "--errors",
        "0",
        "--out",
        str(out),
    ]
    subprocess.run([sys.executable, str(FOLDER / "human.py"), *flags], check=True, capture_output=True)
    return out


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_grades_agree_with_the_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = make_prompts(tmp_path / "prompts.jsonl", 98)
    truth = {
        (row["prompt_id"], row["model"]): row["passed"]
        for task in TASKS
        for row in read(known(tmp_path, prompts, task, 10_000))
    }
    human = known(tmp_path, prompts, "summary", 33).rename(tmp_path / "human.jsonl")
    seen = {(row["prompt_id"], row["model"]) for row in read(human)}
    monkeypatch.chdir(tmp_path)  # graders.toml names human.jsonl from here

    def grade(server: str, out: str) -> tuple[int, dict[str, Any]]:
        files = [
            "--history",
            "history.jsonl",
            "--graders",
            str(FOLDER / "graders.toml"),
            "--tiers",
            str(TIERS),
        ]
        capsys.readouterr()
        code = main(["grade", *files, "--out", out, "--allow-code", "--base-url", server])
        return code, json.loads(capsys.readouterr().out.splitlines()[-1])

    with standin() as server:
        asked = [
            "--prompts",
            str(prompts),
            "--tiers",
            str(TIERS),
            "--out",
            "history.jsonl",
            "--base-url",
            server.url,
        ]
        assert main(["collect", *asked]) == 0
        code, summary = grade(server.url, "graded.jsonl")
        assert (code, summary["graded"], summary["warnings"]) == (0, 294, [])
        bill = server.bill()
        again, second = grade(server.url, "graded.jsonl")
        assert (again, second["grading_usd"]) == (0, summary["grading_usd"])
        assert server.bill() == bill
    rows = read(tmp_path / "graded.jsonl")
    by_rule = [row for row in rows if row["task"] != "summary"]
    judged = [row for row in rows if row["task"] == "summary"]
    assert [row["score"] == 1.0 for row in by_rule] == [
        truth[row["prompt_id"], row["model"]] for row in by_rule
    ]
    assert {row["label_error"] for row in by_rule} == {0.0}
    unseen = [row for row in judged if (row["prompt_id"], row["model"]) not in seen]
    assert unseen
    assert all(0 < row["label_error"] <= 0.5 for row in unseen)
    assert sum(row["grading_usd"] for row in judged) == pytest.approx(summary["grading_usd"])
