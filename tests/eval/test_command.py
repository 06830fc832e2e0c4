"""How a command ends: its exit code, one document on stdout, one sentence on stderr; never a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eval.__main__ import COMMANDS, main
from eval.command import Command, run_command

TOY = """
from router.errors import ArtifactError, ConfigError, RequestError

def add_arguments(parser):
    parser.add_argument("--end", default="well")
    parser.add_argument("--code", type=int)

def run(options):
    print("on the way")
    ends = {"config": ConfigError, "request": RequestError, "artefact": ArtifactError}
    if options.end == "interrupted":
        raise KeyboardInterrupt
    if options.end == "fault":
        raise RuntimeError("a fault of ours")
    if options.end in ends:
        raise ends[options.end](f"ended by {options.end}")
    return {"end": options.end} | ({} if options.code is None else {"exit_code": options.code})
"""


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Command]:
    """A command that ends as it is told, one that needs what nobody has, one whose import is stopped."""
    (tmp_path / "toy_command.py").write_text(TOY, encoding="utf-8")
    (tmp_path / "toy_needy.py").write_text("import no_such_package_here\n", encoding="utf-8")
    (tmp_path / "toy_stopped.py").write_text("raise KeyboardInterrupt\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return {
        "toy": ("toy_command", "train", "ends as it is told"),
        "needy": ("toy_needy", "embed", "needs what nobody has"),
        "stopped": ("toy_stopped", "train", "is interrupted while it starts"),
    }


def run(commands: dict[str, Command], *arguments: str) -> int:
    return run_command("python -m toys", "Toys.", commands, arguments)


def test_the_last_line_is_the_document_and_done_is_0(
    commands: dict[str, Command], capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == run(commands, "toy")
    captured = capsys.readouterr()
    assert ["on the way", json.dumps({"end": "well"})] == captured.out.splitlines()
    assert "" == captured.err


def test_a_result_may_say_the_exit_code(
    commands: dict[str, Command], capsys: pytest.CaptureFixture[str]
) -> None:
    for code in (0, 10, 12):
        assert code == run(commands, "toy", "--code", str(code))
        assert {"end": "well", "exit_code": code} == json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize(("end", "code"), [("artefact", 1), ("request", 2), ("config", 3)])
def test_an_error_is_a_sentence_and_the_code_of_its_kind(
    commands: dict[str, Command], capsys: pytest.CaptureFixture[str], end: str, code: int
) -> None:
    assert code == run(commands, "toy", "--end", end)
    captured = capsys.readouterr()
    assert f"error: ended by {end}\n" == captured.err
    assert "on the way\n" == captured.out


@pytest.mark.parametrize("arguments", [("toy", "--end", "interrupted"), ("stopped",)])
def test_an_interrupt_is_130_wherever_it_comes(
    commands: dict[str, Command], capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    assert 130 == run(commands, *arguments)
    assert "interrupted; nothing was replaced\n" == capsys.readouterr().err


def test_a_fault_of_ours_is_not_hidden(commands: dict[str, Command]) -> None:
    with pytest.raises(RuntimeError, match="a fault of ours"):
        run(commands, "toy", "--end", "fault")


def test_a_missing_package_names_the_extra(
    commands: dict[str, Command], capsys: pytest.CaptureFixture[str]
) -> None:
    assert 3 == run(commands, "needy")
    captured = capsys.readouterr()
    expected = (
        "error: needy needs no_such_package_here, which is not installed: pip install 'tierwise[embed]'\n"
    )
    assert ("", expected) == (captured.out, captured.err)
    assert 0 == run(commands, "toy")  # the others do not need it


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((), "required: COMMAND"), (("toys",), "invalid choice: 'toys'"), (("toy", "--ends"), "unrecognized")],
)
def test_wrong_usage_is_2(
    commands: dict[str, Command],
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(commands, *arguments)
    captured = capsys.readouterr()
    assert (2, "") == (stopped.value.code, captured.out)
    assert message in captured.err


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_of_the_package_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    captured = capsys.readouterr()
    assert (0, "") == (stopped.value.code, captured.err)
    assert captured.out.startswith(f"usage: python -m eval {name}")
    _, _, text = COMMANDS[name]
    assert text[1:] in " ".join(captured.out.split())


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert 0 == stopped.value.code
    for name, (_, _, text) in COMMANDS.items():
        assert f"{name} {text}" in said
