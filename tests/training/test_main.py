"""The commands of `python -m training`: help, usage errors, and one document on stdout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import pytest

from training.__main__ import COMMANDS, main


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    captured = capsys.readouterr()
    assert (0, "") == (stopped.value.code, captured.err)
    for name, (_, _, text) in COMMANDS.items():
        assert name in captured.out
        assert text in " ".join(captured.out.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    captured = capsys.readouterr()
    assert (0, "") == (stopped.value.code, captured.err)
    assert captured.out.startswith(f"usage: python -m training {name}")
    at_home = name in ("retrain", "promote", "rollback", "history")
    assert ("--home" if at_home else "--out") in captured.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["fitt"], "invalid choice: 'fitt'"),
        (["fit"], "required: --history, --tiers, --out"),
        (["fit", "--history", "h", "--tiers", "t", "--out", "o", "--seed", "x"], "invalid int value: 'x'"),
        (["fit", "--history", "h", "--tiers", "t", "--out", "o", "--nope"], "unrecognized arguments: --nope"),
        (["synthetic"], "required: --out"),
    ],
)
def test_wrong_usage_exits_with_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    captured = capsys.readouterr()
    assert (2, "") == (stopped.value.code, captured.out)
    assert message in captured.err
    assert captured.err.startswith("usage: ")


def test_the_last_line_on_stdout_is_the_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["synthetic", "--out", str(tmp_path), "--prompts", "20"])
    captured = capsys.readouterr()
    assert 20 == json.loads(captured.out.splitlines()[-1])["prompts"]
    assert "synthetic: wrote" in captured.err


def test_what_is_refused_is_one_line_and_no_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 2 == main(["synthetic", "--out", str(tmp_path), "--prompts", "0"])
    captured = capsys.readouterr()
    assert "" == captured.out
    assert captured.err.splitlines()[-1].startswith("error: expected n_prompts >= 1")


def test_the_module_exits_with_the_code_of_the_command(
    training: Callable[..., Popen[str]], tmp_path: Path
) -> None:
    runs = [
        (0, training("--help")),
        (2, training("unknown")),
        (3, training("fit", "--history", "none.csv", "--tiers", "none.toml", "--out", tmp_path / "model")),
    ]
    for code, process in runs:
        out, err = process.communicate()
        assert code == process.returncode, err
        assert "Traceback" not in err
        assert (code == 0) == bool(out)
