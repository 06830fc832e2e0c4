"""`python -m eval report` from files to files: who judges, what bad input gets, and that a run that ends early
leaves nothing behind."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from runs import FILES, ROOT, outcomes_of, read_report, report, require_readable

from eval.report import write_report
from eval.split import split_rows
from router.errors import ConfigError

Command = Callable[..., Any]
Write = Callable[..., tuple[Path, Path]]
Draw = Callable[..., NDArray[np.float64]]

CODE_WORD, OTHER_WORDS = "zeppelin", ("umbrella", "lavender", "daffodil", "mountain")


# A history alone


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory, write: Write, texts: list[str]) -> tuple[Path, Path]:
    """The small tier passes where a prompt ends in the code word, and there alone; the large one always does."""
    n, folder = 400, tmp_path_factory.mktemp("planted")
    easy = np.random.default_rng(0).random(n) < 0.5
    ends = [CODE_WORD if easy[i] else OTHER_WORDS[i % 4] for i in range(n)]
    prompts = [f"{text} {end}" for text, end in zip(texts[:n], ends, strict=True)]
    score = np.stack([easy.astype(np.float64), np.ones(n)], axis=1)
    return write(folder, prompts, score, names=("small", "large"))


@pytest.fixture(scope="module")
def found(
    planted: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory, evaluate_here: Command
) -> tuple[Any, Path]:
    """The run on the planted history, and where its report is."""
    out = tmp_path_factory.mktemp("found") / "deep" / "report"
    return report(evaluate_here, planted, out), out


def test_a_signal_in_the_words_is_found(found: tuple[Any, Path]) -> None:
    done, out = found
    document = require_readable(done, out)
    verdict = document["verdict"]
    gaps = {entry["name"]: entry["gap_closed"] for entry in document["comparison"]["contenders"]}
    assert gaps == done.result["gap_closed"]
    assert gaps["tierwise"]["value"] > 0.5  # most of it; 0 is random, 1 is hindsight
    assert verdict["word"] in ("ROUTE", "TIE")  # trees find a single word as well, so that there is a tie
    assert {"length", "hand-rule", "always-middle", "random-mix", "tier:small", "tier:large"} <= {
        *verdict["beats"]
    }
    assert not verdict["loses_to"]


def test_a_history_alone_is_divided_into_folds_by_group(found: tuple[Any, Path]) -> None:
    document = read_report(found[1])
    sampling = document["sampling"]
    assert ("group", 5, 0) == (sampling["method"], sampling["folds"], sampling["seed"])
    assert sampling["text"] in found[0].err
    assert 400 == document["comparison"]["prompts"]
    assert document["operating_point"] is None
    assert document["promises"]["text"].startswith("A certificate made on one half of the groups")
    assert 200 == document["promises"]["groups"] == document["promises"]["judged"]["groups"]
    assert {
        "name": "tierwise",
        "text": "what python -m training fit would make, fitted anew for each fold",
    } == (document["subject"])


def test_no_prompt_is_in_any_output(found: tuple[Any, Path], planted: tuple[Path, Path]) -> None:
    done, out = found
    prompts = [str(prompt) for prompt in outcomes_of(planted).prompts]
    told = [done.out, done.err, *(path.read_text(encoding="utf-8") for path in out.iterdir())]
    assert 5 == len(told)
    for text in told:
        assert CODE_WORD not in text
        assert not [prompt for prompt in prompts if prompt[:30] in text]
    assert read_report(out)["misroutes"]  # or there was nothing to hide


def test_nothing_in_the_words_never_routes(
    evaluate_here: Command, write: Write, draw: Draw, texts: list[str], tmp_path: Path
) -> None:
    files = write(tmp_path, texts, draw(600, (0.5, 0.7), seed=6), names=("small", "large"))
    document = require_readable(report(evaluate_here, files, tmp_path / "out"), tmp_path / "out")
    ours = document["comparison"]["contenders"][0]
    assert 600 == document["comparison"]["prompts"]
    assert document["verdict"]["word"] in ("TIE", "DO NOT ROUTE")
    assert ours["gap_closed"]["low"] < 0


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory, write: Write, draw: Draw, texts: list[str]) -> Any:
    """The same prompts, one each hour: with a split column, and without."""
    n, start = 100, datetime(2026, 1, 5, tzinfo=UTC)
    folder, score = tmp_path_factory.mktemp("timed"), draw(n, (0.5, 0.8), seed=1)
    hours = [(start + timedelta(hours=i)).isoformat() for i in range(n)]
    split = ["test" if i % 3 else "train" for i in range(n)]
    both = {"names": ("small", "large"), "timestamp": hours}
    return (
        write(folder / "split", texts[:n], score, split=split, **both),
        write(folder / "bare", texts[:n], score, **both),
    )


@pytest.fixture(scope="module")
def by_time(timed: Any, tmp_path_factory: pytest.TempPathFactory, evaluate_here: Command) -> Any:
    """The reports on both, the second one's folder last."""
    outs = [tmp_path_factory.mktemp("by-time") / "out" for _ in timed]
    runs = [report(evaluate_here, files, out, "--seed", "4") for files, out in zip(timed, outs, strict=True)]
    return *(require_readable(done, out) for done, out in zip(runs, outs, strict=True)), outs[1]


def test_with_times_the_past_judges_the_future_and_a_split_plays_no_part(by_time: Any) -> None:
    with_split, bare, _ = by_time
    assert ("time", 4, 4) == tuple(with_split["sampling"][key] for key in ("method", "folds", "seed"))
    assert 80 == with_split["comparison"]["prompts"]  # the oldest fifth only teaches
    assert {"test": 66, "train": 34} == with_split["data"]["split"]
    for key in ("sampling", "comparison", "slices", "misroutes", "verdict"):
        assert with_split[key] == bare[key]


def test_the_same_seed_gives_the_same_report_by_more_workers_too_and_replaces_it(
    timed: Any, by_time: Any, evaluate_here: Command, tmp_path: Path
) -> None:
    first, out = by_time[1], tmp_path / "out"
    shutil.copytree(by_time[2], out)
    done = report(evaluate_here, timed[1], out, "--seed", "4", "--workers", "2")
    again = require_readable(done, out)
    differ = {key for key in first if first[key] != again[key]}
    assert differ <= {"created", "command"}
    assert f"--out {out} --seed 4" in again["command"]
    assert first["command"].replace(str(by_time[2]), str(out)) == again["command"]


# A finished model


@pytest.mark.parametrize("which", ["first", "grown"])
def test_a_model_is_judged_on_what_it_held_out(
    histories: dict[str, tuple[Path, Path]], model: Path, evaluate_here: Command, tmp_path: Path, which: str
) -> None:
    done = report(evaluate_here, histories[which], tmp_path / "out", "--model", model)
    document = require_readable(done, tmp_path / "out")
    outcomes, before = outcomes_of(histories[which]), outcomes_of(histories["first"])
    test = split_rows(outcomes, 2, "group").test
    learned = set(before.groups[~split_rows(before, 2, "group").test])
    misrouted = {row["prompt_id"] for row in document["misroutes"]}
    assert misrouted
    assert misrouted <= set(outcomes.prompt_ids[test])
    assert not {row["group"] for row in document["misroutes"]} & learned
    assert int((test & outcomes.complete).sum()) == document["comparison"]["prompts"]
    assert ("held-out", 1) == (document["sampling"]["method"], document["sampling"]["folds"])
    assert f"Judged on the {test.sum()} prompts" in document["sampling"]["text"]
    assert 0.0 <= document["operating_point"]["epsilon"]
    assert 1.0 == pytest.approx(sum(document["operating_point"]["share_per_tier"].values()))
    manifest = json.loads((model / "manifest.json").read_bytes())
    assert document["subject"]["text"].startswith(f"model {manifest['model_id']} (tierwise), fitted 20")
    promises = document["promises"]
    assert promises["text"].startswith("The model's certificate")
    assert manifest["certificate"]["n"] == promises["groups"]
    assert [row["saving"] for row in manifest["certificate"]["table"]] == [
        row["saving"] for row in promises["lines"]["regret"]
    ]
    assert promises["rows"]
    assert document["comparison"]["prompts"] == promises["judged"]["prompts"]
    assert f"--model {model}" in document["command"]


def test_of_an_unseen_history_every_prompt_judges(
    histories: dict[str, tuple[Path, Path]], model: Path, evaluate_here: Command, tmp_path: Path
) -> None:
    files = histories["other"]
    done = report(evaluate_here, files, tmp_path / "out", "--model", model, "--unseen")
    document = require_readable(done, tmp_path / "out")
    outcomes = outcomes_of(files)
    assert outcomes.timestamp is not None  # by time, the oldest would not judge
    assert int(outcomes.complete.sum()) == document["comparison"]["prompts"]
    assert ("group", 5) == (document["sampling"]["method"], document["sampling"]["folds"])
    assert "said to have seen none of them" in document["sampling"]["text"]
    assert "--unseen" in document["command"]


def test_a_history_that_the_model_was_fitted_on_is_not_unseen(
    histories: dict[str, tuple[Path, Path]], model: Path, evaluate_here: Command, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.parquet"
    shutil.copyfile(histories["first"][0], copy)
    files = (copy, histories["first"][1])
    done = report(evaluate_here, files, tmp_path / "out", "--model", model, "--unseen")
    assert 3 == done.code
    assert f"error: --unseen: the model was fitted on {copy}; leave --unseen out" in done.err
    assert not (tmp_path / "out").exists()


def test_prompts_are_shown_if_asked_for(
    histories: dict[str, tuple[Path, Path]], model: Path, evaluate_here: Command, tmp_path: Path
) -> None:
    files, out = histories["first"], tmp_path / "out"
    done = report(evaluate_here, files, out, "--model", model, "--show-prompts")
    rows = require_readable(done, out)["misroutes"]
    texts = pd.read_parquet(files[0]).dropna(subset="prompt").set_index("prompt_id")["prompt"].to_dict()
    told = [row for row in rows if row["prompt_id"] in texts]
    assert told
    for row in told:
        assert texts[row["prompt_id"]].startswith(row["prompt"][:50])
    shown = " ".join((out / "report.md").read_text(encoding="utf-8").replace("\\", "").split())
    assert any(" ".join(row["prompt"].split())[:20] in shown for row in told)
    assert not [row for row in told if row["prompt"][:20] in done.out + done.err]


@pytest.fixture(scope="module")
def any_report(
    histories: dict[str, tuple[Path, Path]],
    model: Path,
    tmp_path_factory: pytest.TempPathFactory,
    evaluate_here: Command,
) -> Path:
    """A report, to be copied."""
    out = tmp_path_factory.mktemp("any") / "report"
    report(evaluate_here, histories["first"], out, "--model", model)
    return out


# Ends before the end


@pytest.mark.parametrize(("workers", "old"), [("1", True), ("2", False)])
def test_an_interrupt_while_fitting_leaves_what_was_there(
    start: Command, planted: tuple[Path, Path], any_report: Path, tmp_path: Path, workers: str, old: bool
) -> None:
    out = tmp_path / "out"
    if old:
        shutil.copytree(any_report, out)
    before = {path.name: path.read_bytes() for path in out.glob("*")}
    process: subprocess.Popen[str] = report(
        lambda *arguments: start(*arguments, start_new_session=True), planted, out, "--workers", workers
    )
    assert process.stderr is not None
    assert any("fitting" in line for line in process.stderr)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers as well
    said, err = process.communicate()
    assert (130, "") == (process.returncode, said)
    assert "interrupted; nothing was replaced\n" == err
    assert old == out.exists()
    assert before == {path.name: path.read_bytes() for path in out.glob("*")}


def test_with_the_disk_full_the_old_report_stays(any_report: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(any_report, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    document = json.loads(before["report.json"]) | {"title": "A later one"}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    largest = max(map(len, before.values()))
    for room in (0, largest // 2):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
        try:
            with pytest.raises(
                ConfigError, match=r"cannot be written \(.*\); make room or name another folder"
            ):
                write_report(document, out)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert before == {path.name: path.read_bytes() for path in out.iterdir()}
    assert FILES == sorted(write_report(document, out))
    assert "A later one" in (out / "report.md").read_text(encoding="utf-8")
    assert FILES == sorted(path.name for path in out.iterdir())


LOCKED = """
import os, sys
import eval.report
from eval.__main__ import main
if os.getuid() == 0:  # root may write anywhere: be nobody, who may read what lies in the current folder
    os.setgid(65534)
    os.setuid(65534)
sys.exit(main(["report", "--history", "none.csv", "--tiers", "none.toml", "--out", "locked/report"]))
"""


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(python: Command, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir()
    tmp_path.chmod(0o755)
    (tmp_path / "locked").chmod(0o555)
    done = python("-c", LOCKED, cwd=tmp_path, PYTHONPATH=str(ROOT))
    (tmp_path / "locked").chmod(0o755)
    sentence = "error: --out locked/report: locked is not writable; name another folder\n"
    assert (3, b"", sentence) == (done.returncode, done.stdout, done.stderr.decode())


def test_a_folder_that_cannot_be_made_is_a_sentence(any_report: Path) -> None:
    document = json.loads((any_report / "report.json").read_bytes())
    with pytest.raises(ConfigError, match=r"--out /proc/report: cannot be written \(.*\); make room"):
        write_report(document, Path("/proc/report"))  # where not even root may write


def test_a_process_of_its_own_exits_with_the_verdict(
    evaluate_apart: Command, write: Write, draw: Draw, texts: list[str], tmp_path: Path
) -> None:
    files = write(tmp_path, texts[:12], draw(12, (0.4, 0.6, 0.8), seed=0))
    done = report(evaluate_apart, files, tmp_path / "out")
    assert "CANNOT TELL" == require_readable(done, tmp_path / "out")["verdict"]["word"]
    assert 12 == done.code
