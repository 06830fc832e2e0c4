"""An artefact appears whole or not at all: faults are real ones, injected from outside or by the system."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from router import ArtifactError, ConfigError, Router
from router.artifact import read_golden, sha256_of
from training.package import check_target, model_id_of, write_artifact
from training.package import publish as put_in_place

ROOT = Path(__file__).resolve().parents[2]
Training = Callable[..., "subprocess.Popen[str]"]

# Publishes a variant of an artefact; what a fit does last. Also run in processes that are to be broken.
PUBLISH = """
import gzip, json, os, resource, signal, sys
from pathlib import Path
import numpy as np
from router import ConfigError
from router.artifact import open_artifact
from training.package import write_artifact

def publish(source, out, name):
    golden = [json.loads(line) for line in gzip.open(source / "golden.jsonl.gz", "rt", encoding="utf-8")]
    return write_artifact(
        out,
        model=(source / "model.onnx").read_bytes(),
        embedding=source,
        lexicon=np.load(source / "lexicon.npy") if (source / "lexicon.npy").exists() else None,
        golden=[(case["prompt"], np.array(case["p_pass"], np.float32)) for case in golden],
        manifest={**json.loads((source / "manifest.json").read_bytes()), "name": name, "files": {}},
        card=lambda document: f"# {document['name']}",
    )
"""

# Forks a child per point of the writing, breaks it there, and says what each left behind.
BREAK = (
    PUBLISH
    + """
import shutil, warnings
# Python 3.12 warns that a thread of ONNX Runtime's might hold a lock; these children only write and end.
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
source, old, place, fault, system = *map(Path, sys.argv[1:4]), *sys.argv[4:6]
out = place / "model"

def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else None

def reset():
    for path in place.iterdir():
        shutil.rmtree(path)
    if old.is_dir():
        shutil.copytree(old, out)

def strike():
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "interrupt":
        raise KeyboardInterrupt
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

reset()
sys.platform = system or sys.platform  # another has no call that swaps folders
before = content(out)
publish(source, out, "new")  # in the parent once, so that all is imported
after = content(out)
found, point, code = [], 0, None
while code != 0:
    reset()
    child = os.fork()
    if child == 0:
        seen = 0
        def hook(event, arguments):
            global seen
            if any(str(place) in str(argument) for argument in arguments):
                seen += 1
                if seen == point + 1:
                    strike()
        sys.addaudithook(hook)
        try:
            publish(source, out, "new")
        except ConfigError:
            os._exit(3)
        except KeyboardInterrupt:
            os._exit(130)
        os._exit(0 if seen <= point else 9)  # 9: struck, but there was nothing left to break
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    now = content(out)
    state = "old" if now == before else "new" if now == after else "broken"
    if now is not None:
        open_artifact(out)
    found.append([state, code, sorted(path.name for path in place.iterdir() if path != out)])
    point += 1
print(json.dumps(found))
"""
)


@pytest.fixture
def publish() -> Callable[..., dict[str, Any]]:
    """`publish` of the script, in this process."""
    names: dict[str, Any] = {}
    exec(compile(PUBLISH, "publish", "exec"), names)  # noqa: S102 - the same lines that the children run
    return names["publish"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def run_script(script: str, *arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


# Writing


def test_what_is_written_loads_and_describes_itself(
    toy_artifact: Path, tmp_path: Path, publish: Callable[..., dict[str, Any]]
) -> None:
    document = publish(toy_artifact, tmp_path / "model", "fresh")
    out = tmp_path / "model"
    assert document == json.loads((out / "manifest.json").read_bytes())
    assert {path.name for path in out.iterdir()} == {*document["files"], "manifest.json"}
    assert {name: sha256_of(out / name) for name in document["files"]} == document["files"]
    assert "# fresh" == (out / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert ["model"] == [path.name for path in tmp_path.iterdir()]
    assert Router.load(out).model_id == document["model_id"]
    assert 0o755 == out.stat().st_mode & 0o777


def test_a_lexicon_is_written_described_and_loaded(
    toy_artifact_with_lexicon: Path, tmp_path: Path, publish: Callable[..., dict[str, Any]]
) -> None:
    out = tmp_path / "model"
    document = publish(toy_artifact_with_lexicon, out, "worded")
    assert sha256_of(out / "lexicon.npy") == document["files"]["lexicon.npy"]
    np.testing.assert_array_equal(
        np.load(toy_artifact_with_lexicon / "lexicon.npy"), np.load(out / "lexicon.npy")
    )
    prompts = ["Hello", "Prove it.", ""]
    expected = Router.load(toy_artifact_with_lexicon).score(prompts)
    np.testing.assert_array_equal(expected, Router.load(out).score(prompts))


def test_a_model_without_words_leaves_no_lexicon_of_the_older_one(
    toy_artifact: Path,
    toy_artifact_with_lexicon: Path,
    tmp_path: Path,
    publish: Callable[..., dict[str, Any]],
) -> None:
    out = tmp_path / "model"
    publish(toy_artifact_with_lexicon, out, "worded")
    document = publish(toy_artifact, out, "plain")
    assert not (out / "lexicon.npy").exists()
    assert "lexicon.npy" not in document["files"]
    Router.load(out)


def test_a_lexicon_that_the_graph_does_not_read_is_never_published(
    toy_artifact: Path,
    toy_artifact_with_lexicon: Path,
    tmp_path: Path,
    publish: Callable[..., dict[str, Any]],
) -> None:
    """What was forgotten, or is too much, is found before anything is replaced."""
    for source, wrong in (
        (toy_artifact_with_lexicon, toy_artifact),
        (toy_artifact, toy_artifact_with_lexicon),
    ):
        mixed = tmp_path / f"from {wrong.parent.name}"
        shutil.copytree(wrong, mixed)
        (mixed / "lexicon.npy").unlink(missing_ok=True)
        if (source / "lexicon.npy").exists():
            shutil.copy(source / "lexicon.npy", mixed)
        with pytest.raises(ArtifactError, match="fitted on other features"):
            publish(mixed, tmp_path / "model", "mixed")
        assert not (tmp_path / "model").exists()


def test_the_same_content_is_the_same_bytes(
    toy_artifact: Path, tmp_path: Path, publish: Callable[..., dict[str, Any]]
) -> None:
    publish(toy_artifact, tmp_path / "one", "twin")
    publish(toy_artifact, tmp_path / "two", "twin")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_an_older_artefact_is_replaced_whole(
    toy_artifact: Path, tmp_path: Path, publish: Callable[..., dict[str, Any]]
) -> None:
    out = tmp_path / "model"
    shutil.copytree(toy_artifact, out)
    (out / "left-over.txt").write_text("of an older version", encoding="utf-8")
    publish(toy_artifact, out, "newer")
    assert "newer" == json.loads((out / "manifest.json").read_bytes())["name"]
    assert not (out / "left-over.txt").exists()
    assert ["model"] == [path.name for path in tmp_path.iterdir()]


def test_an_empty_folder_is_filled(
    toy_artifact: Path, tmp_path: Path, publish: Callable[..., dict[str, Any]]
) -> None:
    (tmp_path / "model").mkdir()
    publish(toy_artifact, tmp_path / "model", "fresh")
    assert ["model"] == [path.name for path in tmp_path.iterdir()]
    Router.load(tmp_path / "model")


@pytest.mark.parametrize("full", [False, True])
def test_the_current_folder_can_be_the_target(
    full: bool,
    toy_artifact: Path,
    tmp_path: Path,
    publish: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "model"
    if full:
        shutil.copytree(toy_artifact, out)
    else:
        out.mkdir()
    monkeypatch.chdir(out)
    check_target(Path())
    publish(toy_artifact, Path(), "here")
    assert "here" == json.loads((out / "manifest.json").read_bytes())["name"]
    assert ["model"] == [path.name for path in tmp_path.iterdir()]


def test_a_link_to_an_artefact_stays_a_link(
    toy_artifact: Path, tmp_path: Path, publish: Callable[..., dict[str, Any]]
) -> None:
    real, link = tmp_path / "releases" / "one", tmp_path / "current"
    shutil.copytree(toy_artifact, real)
    link.symlink_to(real)
    check_target(link)
    publish(toy_artifact, link, "linked")
    assert link.is_symlink()
    assert "linked" == json.loads((real / "manifest.json").read_bytes())["name"]


def test_a_model_that_serving_would_refuse_is_never_published(toy_artifact: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    shutil.copytree(toy_artifact, out)
    before = contents(out)
    golden = read_golden(toy_artifact)
    manifest = json.loads((toy_artifact / "manifest.json").read_bytes())
    # Golden scores that the graph does not give.
    with pytest.raises(ArtifactError, match="golden scores do not come out"):
        write_artifact(
            out,
            model=(toy_artifact / "model.onnx").read_bytes(),
            embedding=toy_artifact,
            lexicon=None,
            golden=[(case["prompt"], np.zeros(3, np.float32)) for case in golden],
            manifest=manifest,
            card=lambda _: "",
        )
    assert before == contents(out)
    assert ["model"] == [path.name for path in tmp_path.iterdir()]


def test_a_number_that_json_lacks_is_never_published(
    toy_artifact: Path, tmp_path: Path, publish: Callable[..., dict[str, Any]]
) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        publish(toy_artifact, tmp_path / "model", float("nan"))
    assert [] == list(tmp_path.iterdir())


# Publishing a folder that is finished


@pytest.mark.parametrize("before", ["nothing", "an empty folder", "another", "a link"])
def test_a_finished_folder_takes_a_place(tmp_path: Path, before: str) -> None:
    work, out, real = tmp_path / "work", tmp_path / "out", tmp_path / "real"
    (work / "deeper").mkdir(parents=True, mode=0o700)
    (work / "deeper" / "new").write_text("new", encoding="utf-8")
    if before == "an empty folder":
        out.mkdir()
    elif before != "nothing":
        place = real if before == "a link" else out
        place.mkdir()
        (place / "old").write_text("old", encoding="utf-8")
        if before == "a link":
            out.symlink_to(real)
    put_in_place(work, out)
    assert ["deeper"] == [path.name for path in out.iterdir()]
    assert "new" == (out / "deeper" / "new").read_text(encoding="utf-8")
    assert (before == "a link") == out.is_symlink()
    assert 0o755 == out.stat().st_mode & 0o777
    assert {"out", *(["real"] if before == "a link" else [])} == {path.name for path in tmp_path.iterdir()}


def test_what_cannot_take_a_place_leaves_all_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "new").touch()
    (tmp_path / "file").write_text("text", encoding="utf-8")
    for out, why in ((tmp_path / "file", "Not a directory"), (tmp_path / "no" / "where", "No such file")):
        with pytest.raises(ConfigError, match=rf"{out}: cannot be written \({why}.*\); make room or name"):
            put_in_place(tmp_path / "work", out)
        assert ["new"] == [path.name for path in (tmp_path / "work").iterdir()]
    assert "text" == (tmp_path / "file").read_text(encoding="utf-8")


# Targets


def test_targets_that_cannot_be_replaced_are_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text", encoding="utf-8")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "important.md").write_text("text", encoding="utf-8")
    for name, message in (
        ("file", "is a file"),
        ("notes", "not an artefact"),
        ("file/model", "its parent cannot be made"),
        ("file/deeper/model", "its parent cannot be made"),
    ):
        with pytest.raises(ConfigError, match=message):
            check_target(tmp_path / name)
    assert "text" == (tmp_path / "notes" / "important.md").read_text(encoding="utf-8")


def test_new_empty_and_older_targets_are_taken(toy_artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "empty", tmp_path / "new", tmp_path / "a" / "b" / "new"):
        check_target(out)
    shutil.copytree(toy_artifact, tmp_path / "old")
    check_target(tmp_path / "old")


def test_the_model_id_names_what_decides() -> None:
    table = np.arange(6, dtype=np.float32).reshape(2, 3)
    base = (b"graph", table, {"default_epsilon": 0.1}, {"version": 1})
    name = model_id_of(*base)
    assert name == model_id_of(b"graph", table.copy(), {"default_epsilon": 0.1}, {"version": 1})
    assert name.startswith("tw-")
    assert 15 == len(name)
    others = [
        model_id_of(b"other", *base[1:]),
        model_id_of(base[0], None, *base[2:]),
        model_id_of(base[0], table + 1, *base[2:]),
        model_id_of(*base[:2], {"default_epsilon": 0.2}, base[3]),
        model_id_of(*base[:3], {"version": 2}),
    ]
    assert 6 == len({name, *others})
    assert model_id_of(b"", None, {"a": 1, "b": 2}, {}) == model_id_of(b"", None, {"b": 2, "a": 1}, {})


# Faults


def break_everywhere(
    fault: str, source: Path, old: Path, place: Path, system: str = ""
) -> list[tuple[str, int, list[str]]]:
    """Per point of the writing, where the fault strikes: what stands, the exit code, what lies about."""
    place.mkdir()
    done = run_script(BREAK, source, old, place, fault, system)
    assert "" == done.stderr
    found = [tuple(row) for row in json.loads(done.stdout)]
    assert len(found) > 20
    assert ("new", 0, []) == found[-1]  # the last came through
    return found[:-1]


@pytest.fixture(params=["replaces", "is new"])
def old(request: pytest.FixtureRequest, toy_artifact: Path, tmp_path: Path) -> Path:
    """What stands at the target before."""
    return toy_artifact if request.param == "replaces" else tmp_path / "nothing"


def test_killed_at_any_point_the_old_artefact_or_the_new_one_stands(
    old: Path, toy_artifact_with_lexicon: Path, tmp_path: Path
) -> None:
    found = break_everywhere("kill", toy_artifact_with_lexicon, old, tmp_path / "place")
    states = [state for state, _, _ in found]
    assert {-signal.SIGKILL} == {code for _, code, _ in found}
    assert {"old", "new"} >= set(states)
    assert sorted(states, key=["old", "new"].index) == states  # once it is the new one, it stays


@pytest.mark.parametrize("system", ["", "elsewhere"])
def test_interrupted_at_any_point_the_old_artefact_or_the_new_one_stands(
    system: str, old: Path, toy_artifact: Path, tmp_path: Path
) -> None:
    found = break_everywhere("interrupt", toy_artifact, old, tmp_path / "place", system)
    assert {130} == {code for _, code, _ in found}
    assert {"old", "new"} == {state for state, _, _ in found}
    # Interrupted while it deletes what it replaced, the last of all, it may leave that lying.
    assert not any(left for state, _, left in found if state == "old")


@pytest.mark.parametrize("system", ["", "elsewhere"])
def test_with_the_disk_full_from_any_point_on_the_old_artefact_stands(
    system: str, old: Path, toy_artifact: Path, tmp_path: Path
) -> None:
    found = break_everywhere("full", toy_artifact, old, tmp_path / "place", system)
    assert {("old", 3, 0), ("new", 9, 0)} == {(state, code, len(left)) for state, code, left in found}


LOCKED = (
    PUBLISH
    + """
import onnxruntime, training.fit
from training.__main__ import main
if os.getuid() == 0:  # root may write anywhere: be nobody, who may read what lies in the current folder
    os.setgid(65534)
    os.setuid(65534)
code = main(["fit", "--history", "none.csv", "--tiers", "none.toml", "--out", "locked/model"])
try:
    publish(Path("source"), Path("locked/model"), "new")
except ConfigError as error:
    print(error, file=sys.stderr)
    code += error.exit_code
sys.exit(code)
"""
)


def test_a_parent_that_cannot_be_written_is_refused(toy_artifact: Path, tmp_path: Path) -> None:
    shutil.copytree(toy_artifact, tmp_path / "source")
    shutil.copytree(toy_artifact, tmp_path / "locked" / "model")
    before = contents(tmp_path / "locked" / "model")
    for folder in (tmp_path, tmp_path / "source"):
        folder.chmod(0o755)
    (tmp_path / "locked").chmod(0o555)
    done = run_script(LOCKED, cwd=tmp_path)
    (tmp_path / "locked").chmod(0o755)
    refused, failed = done.stderr.splitlines()
    assert refused == "error: --out locked/model: locked is not writable; name another folder"
    assert failed == "locked/model: cannot be written (Permission denied); make room or name another folder"
    assert 6 == done.returncode
    assert before == contents(tmp_path / "locked" / "model")


def test_a_router_keeps_deciding_while_its_artefact_is_replaced(
    toy_artifact: Path, tmp_path: Path, publish: Callable[..., dict[str, Any]]
) -> None:
    out = tmp_path / "model"
    publish(toy_artifact, out, "first")
    router = Router.load(out)
    prompts = ["Hello", "Prove it.", "Translate the invoice", "", "sum " * 300]
    expected = router.route_many(prompts)
    stop, wrong, rounds = threading.Event(), [], 0

    def decide() -> None:
        nonlocal rounds
        while not stop.is_set():
            found = router.route_many(prompts)
            rounds += 1
            if found != expected:
                wrong.append(found)

    thread = threading.Thread(target=decide)
    thread.start()
    for name in ("second", "third", "fourth"):
        publish(toy_artifact, out, name)
    shutil.rmtree(out)
    stop.set()
    thread.join()
    assert expected == router.route_many(prompts)
    assert [] == wrong
    assert rounds > 0


# A whole fit, broken from outside


@pytest.fixture(scope="module")
def small_history(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    from training.synthetic import write_demo

    return write_demo(tmp_path_factory.mktemp("small"), n_prompts=150, seed=3)


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    assert any(text in line for line in process.stderr), f"never said {text}"


def test_interrupted_fits_leave_nothing(
    small_history: tuple[Path, Path], toy_embedding: Path, tmp_path: Path, training: Training
) -> None:
    history, tiers = small_history
    moments = ("cross-validating", "measuring")
    runs = []
    for moment in moments:
        out = tmp_path / moment / "model"
        arguments = ("--history", history, "--tiers", tiers, "--out", out, "--embedding", toy_embedding)
        runs.append(training("fit", *arguments))
    for moment, process in zip(moments, runs, strict=True):
        wait_for(process, f"] {moment}")
        process.send_signal(signal.SIGINT)
    for moment, process in zip(moments, runs, strict=True):
        stdout, stderr = process.communicate()
        assert (130, "") == (process.returncode, stdout), stderr
        assert "interrupted; nothing was replaced" == stderr.splitlines()[-1]
        assert "Traceback" not in stderr
        assert [] == list((tmp_path / moment).iterdir())


def test_a_killed_refit_leaves_the_old_artefact_or_the_new_one(
    small_history: tuple[Path, Path],
    toy_artifact: Path,
    toy_embedding: Path,
    tmp_path: Path,
    training: Training,
) -> None:
    history, tiers = small_history
    old = contents(toy_artifact)
    runs = {}
    for delay_ms in (0, 20):
        out = tmp_path / str(delay_ms) / "model"
        shutil.copytree(toy_artifact, out)
        arguments = ("--history", history, "--tiers", tiers, "--out", out, "--embedding", toy_embedding)
        runs[delay_ms] = out, training("fit", *arguments)
    for delay_ms, (_, process) in runs.items():
        wait_for(process, "] writing")
        threading.Event().wait(delay_ms / 1000)
        process.kill()
    for out, process in runs.values():
        process.communicate()
        Router.load(out)
        assert contents(out) == old or "tierwise" == json.loads((out / "manifest.json").read_bytes())["name"]
