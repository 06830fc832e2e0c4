"""The example logs give the very rows that stand beside these tests, and what was read is counted."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from toys import ROOT

from eval.history import COLUMNS, read_history
from training.__main__ import main
from training.imports import writing

LOGS = ROOT / "examples" / "logs"
EXPECTED = Path(__file__).parent / "imported"
EXAMPLES = {
    "openai": ("openai.jsonl", "openai-batch-input.jsonl", "openai-batch-output.jsonl"),
    "anthropic": ("anthropic.jsonl", "anthropic-batch-requests.jsonl", "anthropic-batch-results.jsonl"),
    "litellm": ("litellm.csv",),
    "langfuse": ("langfuse-observations.jsonl", "langfuse-traces.jsonl", "langfuse-scores.jsonl"),
    "otel": ("otel.jsonl",),
}
FLAGS = {"openai": ("--redact", "builtin"), "langfuse": ("--score", "helpful"), "litellm": ("--keep-users",)}
each_format = pytest.mark.parametrize("form", EXAMPLES)


def imported(form: str, out: Path, *flags: str) -> int:
    logs = [str(LOGS / name) for name in EXAMPLES[form]]
    return main(
        ["import", "--format", form, "--logs", *logs, "--out", str(out), *FLAGS.get(form, ()), *flags]
    )


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def last_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


@each_format
def test_an_example_gives_the_expected_rows(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert imported(form, tmp_path / "p.jsonl") == 0
    assert lines_of(EXPECTED / f"{form}.jsonl") == lines_of(tmp_path / "p.jsonl")
    summary = last_json(capsys)
    assert summary["rows"] == len(lines_of(EXPECTED / f"{form}.jsonl"))
    assert ({}, []) == (summary["bad"], summary["cut_off"])


@each_format
@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_every_output_is_the_same_history(form: str, suffix: str, tmp_path: Path) -> None:
    imported(form, tmp_path / "p.jsonl")
    imported(form, tmp_path / f"p{suffix}")
    expected, found = read_history(tmp_path / "p.jsonl"), read_history(tmp_path / f"p{suffix}")
    assert expected.prompts.drop(columns="source").equals(found.prompts.drop(columns="source"))
    known = [name for name in COLUMNS if name in expected.rows.columns]
    assert expected.rows[known].equals(found.rows[known])
    unknown = {"response", "status", "finish_reason", "cached_input_tokens", "repeats"}
    assert unknown <= set(found.rows.columns)
    assert list(expected.rows["response"]) == [text or None for text in found.rows["response"]]


@each_format
def test_importing_twice_gives_the_same_bytes(form: str, tmp_path: Path) -> None:
    for name in ("a.parquet", "b.parquet"):
        assert imported(form, tmp_path / name) == 0
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "b.parquet"]


def test_the_statuses_of_the_examples_are_of_all_kinds() -> None:
    statuses = {row["status"] for form in EXAMPLES for row in lines_of(EXPECTED / f"{form}.jsonl")}
    expected = {"answered", "tool_call", "length", "refused", "filtered", "timeout", "rate_limited"}
    assert expected | {"rejected", "server_error"} == statuses


def test_what_failed_and_was_tried_again_is_one_row_with_its_answer() -> None:
    rows = lines_of(EXPECTED / "openai.jsonl")
    again = [row for row in rows if row["repeats"]]
    assert [("answered", 1)] == [(row["status"], row["repeats"]) for row in again]
    assert "<EMAIL> and <PHONE>" in again[0]["prompt"]
    assert "<EMAIL>, <PHONE>" in again[0]["response"]


def test_columns_stand_in_the_order_of_the_contract(tmp_path: Path) -> None:
    imported("openai", tmp_path / "p.jsonl")
    columns = list(lines_of(tmp_path / "p.jsonl")[0])
    assert [name for name in writing.COLUMNS if name in columns] == columns


def test_the_readme_names_every_log_and_each_is_imported_here() -> None:
    named = set(re.findall(r"`([\w.-]+\.(?:jsonl|csv))`", (LOGS / "README.md").read_text(encoding="utf-8")))
    there = {path.name for path in LOGS.iterdir() if path.name != "README.md"}
    assert named == there == {name for names in EXAMPLES.values() for name in names}


def test_no_example_holds_what_looks_like_a_real_address() -> None:
    for path in LOGS.iterdir():
        found = re.findall(r"[\w.]+@([\w.-]+)", path.read_text(encoding="utf-8"))
        assert all(domain.endswith(".example") for domain in found), path
