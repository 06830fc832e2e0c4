"""The ledger: what is done is not done again, what was changed or broken is, and a crash leaves what was whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from router import RouterError
from training.pipeline.ledger import Ledger, clear, digest, run_folders


class Step:
    """A step that writes a file and counts how often it is done."""

    def __init__(self, folder: Path, text: str = "result") -> None:
        self.folder, self.text, self.times = folder, text, 0

    def __call__(self) -> dict[str, Any]:
        self.times += 1
        (self.folder / "file.txt").write_text(self.text, encoding="utf-8")
        (self.folder / "sub").mkdir(exist_ok=True)
        (self.folder / "sub" / "deep.txt").write_text(self.text, encoding="utf-8")
        return {"said": self.text}

    def run(self, ledger: Ledger, **inputs: Any) -> dict[str, Any]:
        return ledger.run("step", inputs, self, ["file.txt", "sub"])


def test_a_step_is_done_once_also_by_another_process(tmp_path: Path) -> None:
    step, told = Step(tmp_path), []
    first = Ledger(tmp_path, lambda name, entry: told.append((name, entry["inputs"])))
    assert (
        {"said": "result"} == step.run(first, a=1) == step.run(first, a=1) == step.run(Ledger(tmp_path), a=1)
    )
    assert 1 == step.times
    assert [("step", digest({"a": 1}))] == told
    assert ["step"] == list(first.seconds)
    assert {} == Ledger(tmp_path).seconds
    assert ["file.txt", "sub/deep.txt"] == sorted(first.entries["step"]["files"])


def test_other_inputs_are_another_step(tmp_path: Path) -> None:
    step = Step(tmp_path)
    step.run(Ledger(tmp_path), a=1)
    step.run(Ledger(tmp_path), a=2)
    assert 2 == step.times
    step.run(Ledger(tmp_path), a=1)
    assert 3 == step.times


@pytest.mark.parametrize("file", ["file.txt", "sub/deep.txt", "steps.json"])
@pytest.mark.parametrize("damage", ["gone", "changed", "cut"])
def test_what_is_gone_or_changed_is_done_again(tmp_path: Path, file: str, damage: str) -> None:
    step = Step(tmp_path)
    step.run(Ledger(tmp_path), a=1)
    path = tmp_path / file
    match damage:
        case "gone":
            path.unlink()
        case "changed":
            path.write_text("{}" if file == "steps.json" else "other", encoding="utf-8")
        case "cut":
            path.write_bytes(path.read_bytes()[:-3])
    step.run(Ledger(tmp_path), a=1)
    assert 2 == step.times
    step.run(Ledger(tmp_path), a=1)
    assert 2 == step.times


def test_a_step_that_fails_is_not_done_and_the_ones_before_are(tmp_path: Path) -> None:
    step, ledger = Step(tmp_path), Ledger(tmp_path)
    step.run(ledger, a=1)

    def fail() -> dict[str, Any]:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        ledger.run("next", {}, fail)
    again = Ledger(tmp_path)
    assert ["step"] == list(again.entries)
    assert {"done": True} == again.run("next", {}, lambda: {"done": True})


def test_only_what_runs_left_is_cleared(tmp_path: Path) -> None:
    work = tmp_path / "work"
    for name in ("one", "two"):
        Ledger(work / name).run("step", {}, dict)
    (work / "own").mkdir()
    (work / "own" / "thesis.txt").write_text("mine", encoding="utf-8")
    assert ["two"] == [folder.name for folder in run_folders(work, but="one")]
    clear(work, *run_folders(work, but=""), work / "not there")
    assert ["own"] == [path.name for path in work.iterdir()]
    (work / "own" / "thesis.txt").unlink()
    (work / "own").rmdir()
    clear(work)
    assert not work.exists()
    clear(work)


def test_a_full_disk_is_told_in_a_sentence(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "run")

    def fail() -> dict[str, Any]:
        raise OSError(28, os.strerror(28))

    with pytest.raises(RouterError, match=r"No space left on device.*it goes on where it stopped"):
        ledger.run("step", {}, fail)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(RouterError, match="cannot be written"):
        Ledger(tmp_path / "file" / "run")


CHILD = """
import os, signal, sys
from pathlib import Path
from training.pipeline import ledger as module
from training.pipeline.ledger import Ledger
folder, when = Path(sys.argv[1]), sys.argv[2]
ledger = Ledger(folder)
ledger.run("one", {}, lambda: {"n": 1})
def die():
    os.kill(os.getpid(), signal.SIGKILL)
if when == "writing":
    module._flush = lambda path: die()
ledger.run("two", {}, lambda: die() if when == "doing" else {"n": 2})
"""


@pytest.mark.parametrize("when", ["doing", "writing"])
def test_a_killed_process_leaves_what_was_done(tmp_path: Path, when: str) -> None:
    root = Path(__file__).resolve().parents[2]
    child = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path), when], cwd=root, check=False)
    assert -signal.SIGKILL == child.returncode
    assert {"one": 1} == {name: entry["result"]["n"] for name, entry in Ledger(tmp_path).entries.items()}
    assert {"n": 2} == Ledger(tmp_path).run("two", {}, lambda: {"n": 2})
