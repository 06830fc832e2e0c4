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

from eval.history import read_history
from eval.outcomes import Outcomes, tabulate
from eval.report import write_report
from eval.split import split_rows
from router.errors import ConfigError
from router.tiers import read_tiers
from training.fit import fit
from training.synthetic import write_demo

Command = Callable[..., Any]
Write = Callable[..., tuple[Path, Path]]
Draw = Callable[..., NDArray[np.float64]]

ROOT = Path(__file__).resolve().parents[2]
FILES = ["report.html", "report.json", "report.md"]
EXIT_CODES = {"ROUTE": 0, "TIE": 10, "DO NOT ROUTE": 11, "CANNOT TELL": 12}
CODE_WORD, OTHER_WORDS = "zeppelin", ("umbrella", "lavender", "daffodil", "mountain")


def report(run: Command, files: tuple[Path, Path], out: Path, *more: str | Path) -> Any:
    """Run the report on a history and its tiers, with one process unless another number is asked for."""
    workers = () if "--workers" in more else ("--workers", "1")
    return run("report", "--history", files[0], "--tiers", files[1], "--out", out, *workers, *more)


def read_report(out: Path) -> Any:
    assert FILES == sorted(path.name for path in out.iterdir())
    return json.loads((out / "report.json").read_bytes())


def outcomes_of(files: tuple[Path, Path]) -> Outcomes:
    return tabulate(read_history(files[0]), read_tiers(files[1]))


def require_readable(done: Any, out: Path) -> Any:
    """Check all that a finished run says and writes, whatever its verdict; return the document."""
    document, result = read_report(out), done.result
    verdict = document["verdict"]
    assert "Traceback" not in done.err
    assert 1 == len(done.out.splitlines())
    assert EXIT_CODES[verdict["word"]] == done.code == result["exit_code"]
    for key, name in (("verdict", "word"), ("headline", "headline"), ("reason", "reason"), ("lead", "lead")):
        assert verdict[name] == result[key]
    assert str(out / "report.html") == result["report"]
    assert FILES == sorted(result["files"])
    for text in (
        done.err,
        (out / "report.html").read_text(encoding="utf-8"),
        (out / "report.md").read_text(encoding="utf-8"),
    ):
        assert verdict["word"] in text
    assert (out / "report.html").read_text(encoding="utf-8").lower().startswith("<!doctype html>")
    assert (out / "report.md").read_text(encoding="utf-8").startswith("# history")
    return document


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


@pytest.fixture(scope="module")
def histories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """A synthetic history of 300 prompts, and the same with 100 more."""
    folder = tmp_path_factory.mktemp("histories")
    return {
        "first": write_demo(folder / "first", n_prompts=300, seed=7),
        "grown": write_demo(folder / "grown", n_prompts=400, seed=7),
    }


@pytest.fixture(scope="module")
def model(histories: dict[str, tuple[Path, Path]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artefact fitted on the first of them, divided by group; not to be changed."""
    history, tiers = histories["first"]
    out = tmp_path_factory.mktemp("model") / "model"
    fit([history], tiers, out, seed=2, split_method="group", embedding=ROOT / "models" / "default")
    return out


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
    assert 0.0 <= document["operating_point"]["epsilon"] <= 1.0
    assert 1.0 == pytest.approx(sum(document["operating_point"]["share_per_tier"].values()))
    manifest = json.loads((model / "manifest.json").read_bytes())
    assert document["subject"]["text"].startswith(f"model {manifest['model_id']} (tierwise), fitted 20")
    assert f"--model {model}" in document["command"]


def test_of_an_unseen_history_every_prompt_judges(
    histories: dict[str, tuple[Path, Path]], model: Path, evaluate_here: Command, tmp_path: Path
) -> None:
    files = histories["first"]
    done = report(evaluate_here, files, tmp_path / "out", "--model", model, "--unseen")
    document = require_readable(done, tmp_path / "out")
    outcomes = outcomes_of(files)
    assert outcomes.timestamp is not None  # by time, the oldest would not judge
    assert int(outcomes.complete.sum()) == document["comparison"]["prompts"]
    assert ("group", 5) == (document["sampling"]["method"], document["sampling"]["folds"])
    assert "saw none of these prompts" in document["sampling"]["text"]
    assert "--unseen" in document["command"]
    # Of these, the fit learned from some: without --unseen they must not judge, and above they did not.
    learned = set(outcomes.prompt_ids[~split_rows(outcomes, 2, "group").test])
    assert learned & {row["prompt_id"] for row in document["misroutes"]}


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


# Bad input that still gets a report: most of it cannot be judged, none of it says ROUTE


N = 60


def case(name: str, texts: list[str], draw: Draw) -> dict[str, Any]:
    """Return what to write for a bad history."""
    score, prompts = draw(N, (0.4, 0.6, 0.8), seed=0), texts[:N]
    usual: dict[str, Any] = {"prompts": prompts, "score": score}
    apart = np.where(np.arange(3) == np.arange(N)[:, None] % 3, score, np.nan)
    sparse = draw(400, (0.4, 0.6, 0.8), seed=0)
    sparse[25:, 1] = np.nan
    return {
        "one tier": usual | {"score": score[:, :1], "names": ("only",)},
        "no overlap": usual | {"score": apart},
        "all pass": usual | {"score": np.ones((N, 3))},
        "all fail": usual | {"score": np.zeros((N, 3))},
        "ten rows": {"prompts": prompts[:10], "score": score[:10]},
        "one group": usual | {"group": ["all"] * N},
        "same text": usual | {"prompts": ["Same question."] * N},
        "same text in groups": usual | {"prompts": ["Same question."] * N, "group": [f"g{i}" for i in range(N)]},
        "hardly a tier": {"prompts": texts[:400], "score": sparse},
        "no cost": usual | {"cost_usd": np.zeros((N, 3))},
        "one cost": usual | {"cost_usd": np.full((N, 3), 0.002)},
        "middling scores": usual | {"score": 0.4 + 0.2 * np.random.default_rng(0).random((N, 3))},
        "half empty": usual | {"prompts": ["" if i % 2 else prompts[i] for i in range(N)], "score": score},
        "few prompts": {"prompts": prompts[:35], "score": score[:35], "group": [f"g{i % 12}" for i in range(35)]},
    }[name]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("one tier", "fewer than two tiers"),
        ("no overlap", "no overlap between tiers"),
        ("all pass", "Every tier passes every prompt"),
        ("all fail", "No tier passes any prompt"),
        ("ten rows", "Only 10 prompts"),
        ("one group", "10 are the least"),
        ("same text", "10 are the least"),
        ("same text in groups", "the same to a router"),
        ("hardly a tier", "Only 25 prompts"),
        ("no cost", "costs the same here, 0 USD"),
        ("one cost", "costs the same here, 0.002 USD"),
    ],
)
def test_what_cannot_be_judged_gets_a_report_that_says_why(
    evaluate_here: Command, write: Write, draw: Draw, texts: list[str], tmp_path: Path, name: str, reason: str
) -> None:
    files = write(tmp_path, **case(name, texts, draw))
    done = report(evaluate_here, files, tmp_path / "out")
    document = require_readable(done, tmp_path / "out")
    assert 12 == done.code
    assert reason in document["verdict"]["reason"]
    assert document["comparison"] is None
    assert {} == done.result["gap_closed"]
    assert " ".join(document["verdict"]["reason"].split()) in " ".join(done.err.split())
    assert len(outcomes_of(files)) == document["data"]["prompts"]


@pytest.mark.parametrize("name", ["middling scores", "half empty", "few prompts"])
def test_what_is_poor_is_judged_and_not_routed(
    evaluate_here: Command, write: Write, draw: Draw, texts: list[str], tmp_path: Path, name: str
) -> None:
    files = write(tmp_path, **case(name, texts, draw))
    done = report(evaluate_here, files, tmp_path / "out")
    document = require_readable(done, tmp_path / "out")
    assert document["verdict"]["word"] in ("TIE", "DO NOT ROUTE")
    left_out = document["data"]["dropped"]["blank prompt"]
    assert {"half empty": 30}.get(name, 0) == left_out
    assert (f"left out: {left_out} prompts (blank prompt)" in done.err) == bool(left_out)


def test_broken_characters_are_judged_like_any_other(
    evaluate_here: Command, draw: Draw, write: Write, tmp_path: Path
) -> None:
    """JSON can say half of a character, which no file in UTF-8 can hold."""
    score = draw(40, (0.5, 0.8), seed=0)
    _, tiers = write(tmp_path, ["a"] * 40, score, names=("small", "large"))
    rows = [
        {"prompt_id": f"p{i}", "prompt": f"\ud800 {i} \udfff", "model": model, "score": float(score[i, k])}
        for i in range(40)
        for k, model in enumerate(("m-small", "m-large"))
    ]
    history = tmp_path / "history.jsonl"
    history.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    done = report(evaluate_here, (history, tiers), tmp_path / "out", "--show-prompts")
    document = require_readable(done, tmp_path / "out")
    assert 40 == document["comparison"]["prompts"]


# What is refused: one sentence, and nothing is written


def damaged(model: Path, place: Path) -> Path:
    shutil.copytree(model, place)
    (place / "model.onnx").write_bytes(b"no model")
    return place


def test_what_is_refused_is_one_sentence(
    evaluate_here: Command,
    write: Write,
    draw: Draw,
    texts: list[str],
    model: Path,
    histories: dict[str, tuple[Path, Path]],
    tmp_path: Path,
) -> None:
    history, tiers = histories["first"]
    score = draw(40, (0.5, 0.8), seed=0)
    empty, _ = write(tmp_path / "empty", ["  "] * 40, score, names=("small", "large"))
    _, others = write(tmp_path / "others", texts[:40], score, names=("tiny", "huge"))
    table = pd.read_parquet(history)
    bare, wrong = tmp_path / "bare.parquet", tmp_path / "wrong.parquet"
    table.drop(columns="score").to_parquet(bare)
    table.assign(score=2.0).to_parquet(wrong)
    (tmp_path / "file").write_text("taken", encoding="utf-8")
    typo, gone = tmp_path / "histroy.parquet", tmp_path / "no-model"
    text = tiers.read_text(encoding="utf-8")
    (tmp_path / "renamed.toml").write_text(text.replace('"medium"', '"middle"'), encoding="utf-8")
    out = tmp_path / "out"
    cases = [
        (history, tiers, ["--unseen"], 3, "--unseen says what a model has seen"),
        (history, tiers, ["--seed", "-1"], 3, "--seed is 0 to 4294967295 and --workers 1 or more; found -1"),
        (history, tiers, ["--seed", str(2**32)], 3, "found 4294967296 and 1"),
        (history, tiers, ["--workers", "0"], 3, "--workers 1 or more"),
        (history, tiers, ["--out", tmp_path / "file"], 3, "file is a file; name a folder"),
        (history, tiers, ["--out", tmp_path / "file" / "deeper"], 3, "file is a file; name a folder"),
        (history, tiers, ["--model", gone], 1, "no-model"),
        (history, tiers, ["--model", damaged(model, tmp_path / "damaged")], 1, "model.onnx"),
        (history, tmp_path / "renamed.toml", ["--model", model], 3, "(small, medium, large), found small, middle"),
        (typo, tiers, [], 3, "histroy.parquet"),
        (history, tmp_path / "tires.toml", [], 3, "tires.toml: cannot be read"),
        (bare, tiers, [], 3, "expected a column score or passed"),
        (wrong, tiers, [], 3, "column score: expected a number from 0 to 1"),
        (history, others, [], 3, "expected rows of the tiers' models (m-tiny, m-huge)"),
        (empty, others, [], 3, "expected"),
    ]  # fmt: skip
    for path, ladder, more, code, sentence in cases:
        done = report(evaluate_here, (path, ladder), out, *more)
        said = [line for line in done.err.splitlines() if not line.startswith("[")]
        assert (code, "", 1) == (done.code, done.out, len(said)), (more, done.err)
        assert said[0].startswith("error: ")
        assert sentence in said[0]
        assert not out.exists()
    assert "taken" == (tmp_path / "file").read_text(encoding="utf-8")


def test_prompts_that_are_all_empty_are_refused(
    evaluate_here: Command, write: Write, draw: Draw, tmp_path: Path
) -> None:
    done = report(evaluate_here, write(tmp_path, [""] * 40, draw(40, (0.5, 0.6, 0.7), 0)), tmp_path / "out")
    assert 3 == done.code
    assert "blank prompt: 40" in done.err
    assert not (tmp_path / "out").exists()


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
