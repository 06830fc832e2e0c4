"""`python -m eval labels`, as a command: its files, its last line, its refusals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from runs import strict
from sample_labels import history_of, ladder, plausible_rows, row, table

from eval.command import run_command

COMMANDS = {"labels": ("eval.labels", "train", "what labels are worth")}


def write(folder: Path, rows: Sequence[dict[str, Any]]) -> tuple[Path, Path]:
    """Rows and the ladder, as files."""
    folder.mkdir(parents=True, exist_ok=True)
    history_of(list(rows), folder)
    tables = [
        f'[[tier]]\nname = "{tier.name}"\nmodel = "{tier.model}"\ninput_usd_per_mtok = 1.0\noutput_usd_per_mtok = 1.0\n'
        for tier in ladder().tiers
    ]
    (folder / "tiers.toml").write_text("\n".join(tables), encoding="utf-8")
    return folder / "history.jsonl", folder / "tiers.toml"


def run(*arguments: str | Path) -> int:
    return run_command("python -m eval", "Is a router worth it?", COMMANDS, ["labels", *map(str, arguments)])


def test_the_report_is_written_in_three_forms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history, tiers = write(tmp_path, plausible_rows(120))
    out = tmp_path / "made" / "out"
    assert 0 == run("--history", history, "--tiers", tiers, "--out", out)
    said = capsys.readouterr()
    result = strict(said.out.splitlines()[-1])
    assert (
        ["labels.html", "labels.json", "labels.md"]
        == sorted(path.name for path in out.iterdir())
        == sorted(result["files"])
    )
    document = strict((out / "labels.json").read_text(encoding="utf-8"))
    assert 1 == document["schema"]
    assert result["headline"] == document["headline"]
    assert document["headline"] in (out / "labels.html").read_text(encoding="utf-8")
    assert document["rates"]["all"]["tiers"][0]["rate"]["value"] == result["rates"]["small"]["value"]
    assert "How often each tier passes" in said.err
    assert "Question" not in said.out + said.err + "".join(
        path.read_text(encoding="utf-8") for path in out.iterdir()
    )


def test_without_a_folder_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history, tiers = write(tmp_path, table({"a": "011", "b": "111"}))
    before = sorted(tmp_path.iterdir())
    assert 0 == run("--history", history, "--tiers", tiers)
    result = strict(capsys.readouterr().out.splitlines()[-1])
    assert (None, [], 6) == (result["report"], result["files"], result["labels"])
    assert before == sorted(tmp_path.iterdir())


def test_the_same_seed_gives_the_same_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history, tiers = write(tmp_path, plausible_rows(90))
    documents = []
    for seed in ("3", "3", "4"):
        assert 0 == run("--history", history, "--tiers", tiers, "--out", tmp_path / "out", "--seed", seed)
        found = json.loads((tmp_path / "out" / "labels.json").read_text(encoding="utf-8"))
        documents.append(
            {key: value for key, value in found.items() if key not in ("created", "command", "seed")}
        )
    assert documents[0] == documents[1] != documents[2]
    assert capsys.readouterr().out.count("\n") == 3


def test_slices_and_people_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row(f"p{i}", 0, float(i % 2), team=("red", "blue")[i % 2]) for i in range(60)]
    history, tiers = write(tmp_path, rows)
    pd.DataFrame({"prompt_id": [f"p{i}" for i in range(40)], "model": "m-0", "score": 1.0}).to_parquet(
        tmp_path / "human.parquet"
    )
    assert 0 == run(
        "--history",
        history,
        "--tiers",
        tiers,
        "--slices",
        "team",
        "--human",
        tmp_path / "human.parquet",
        "--out",
        tmp_path / "out",
    )
    document = json.loads((tmp_path / "out" / "labels.json").read_text(encoding="utf-8"))
    assert ["blue", "red"] == [each["value"] for each in document["rates"]["slices"]]
    assert [("label", "human", 40, 0.5)] == [
        (pair["a"], pair["b"], pair["n"], pair["share"]) for pair in document["agreement"]["pairs"]
    ]
    assert "so agrees by construction" in (tmp_path / "out" / "labels.md").read_text(encoding="utf-8")
    assert document["command"].endswith(f"--slices team --human {tmp_path / 'human.parquet'}")
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--slices", "taks"], "did you mean task"),
        (["--seed", "-1"], "--seed is 0 to"),
        (["--out", "history.jsonl"], "is a file; name a folder"),
        (["--human", "nobody.csv"], "expected a file to read"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    history, tiers = write(tmp_path, table({"a": "011", "b": "111"}))
    monkeypatch.chdir(tmp_path)
    assert 3 == run("--history", history, "--tiers", tiers, *arguments)
    streams = capsys.readouterr()
    assert "" == streams.out
    assert said in streams.err.splitlines()[-1]
    assert ["history.jsonl", "tiers.toml"] == sorted(path.name for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row("a", 0, None), row("b", 1, None)], "grade them first: python -m training grade"),
        (
            [row("a", 0, 1.0, grades="not JSON at all, but what somebody asked")],
            "row 1 (prompt_id a, model m-0), column grades",
        ),
        ([row("a", 7, 1.0)], "expected rows of the tiers' models"),
    ],
)
def test_bad_histories_are_refused_with_their_row(
    rows: list[dict[str, Any]], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history, tiers = write(tmp_path, rows)
    assert 3 == run("--history", history, "--tiers", tiers)
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: history")
    assert said in error
    assert "somebody" not in error


def test_a_folder_that_cannot_be_written_keeps_nothing_half(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history, tiers = write(tmp_path, table({"a": "011", "b": "111"}))
    (tmp_path / "out" / "labels.md").mkdir(parents=True)  # a folder stands where a file goes
    assert 3 == run("--history", history, "--tiers", tiers, "--out", tmp_path / "out")
    assert "cannot be written" in capsys.readouterr().err
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]
