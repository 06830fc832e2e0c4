"""A fitted artefact is opened in a process that has the base install only; what is wrong with it is said in a sentence."""

from __future__ import annotations

import json
import shutil
import sys
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from toys import GOLDEN, ROOT, reseal, write_golden

from router import ArtifactError, Router
from router.artifact import GOLDEN_FILE, MANIFEST_FILE, MODEL_FILE, read_golden
from training.pipeline.fresh import Blocker, check_ways, main, measure, median
from training.pipeline.verify import BASE, base_packages, verify

FORBIDDEN = {
    "pandas",
    "lightgbm",
    "sklearn",
    "mlflow",
    "onnx",
    "pyarrow",
    "training",
    "eval",
    "tests",
    "pytest",
}


# What is found sound


def test_a_sound_artefact_is_opened_decided_by_and_timed(toy_artifact: Path, toy_router: Router) -> None:
    found = verify(toy_artifact)
    assert (toy_router.model_id, len(GOLDEN), 0) == (found["model_id"], found["golden"], found["ties"])
    assert (None, None) == (found["champion_median_us"], found["champion_error"])
    assert 0 < found["median_us"] <= found["p99_us"]
    assert 0 < found["load_s"]
    assert found == json.loads(json.dumps(found))


def test_the_champion_is_timed_beside(toy_artifact: Path, toy_artifact_with_lexicon: Path) -> None:
    found = verify(toy_artifact_with_lexicon, toy_artifact)
    assert 0 < found["champion_median_us"]
    assert found["champion_error"] is None


def test_a_broken_champion_does_not_keep_its_successor_out(toy_artifact: Path, tmp_path: Path) -> None:
    found = verify(toy_artifact, tmp_path / "gone")
    assert found["champion_median_us"] is None
    assert str(tmp_path / "gone") in found["champion_error"]
    assert 0 < found["median_us"]


def test_neither_the_folder_nor_variables_matter(
    toy_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A module that hides one of the standard library's, where Python would find it: it would end the child.
    (tmp_path / "json.py").write_text("raise SystemExit(9)\n", encoding="utf-8")
    shutil.copytree(toy_artifact, tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("TIERWISE_MODEL", str(tmp_path / "gone"))
    assert len(GOLDEN) == verify(Path("model"))["golden"]


# What is refused: the artefact


def damage_model(folder: Path) -> None:
    path = folder / MODEL_FILE
    path.write_bytes(path.read_bytes()[:-1])


def lose_golden(folder: Path) -> None:
    (folder / GOLDEN_FILE).unlink()


def empty_golden(folder: Path) -> None:
    write_golden(folder, [])
    reseal(folder)


def other_scores(folder: Path) -> None:
    cases = read_golden(folder)
    cases[1]["p_pass"][0] += 0.01
    write_golden(folder, cases)
    reseal(folder)


def lose_manifest(folder: Path) -> None:
    (folder / MANIFEST_FILE).unlink()


def cut_manifest(folder: Path) -> None:
    path = folder / MANIFEST_FILE
    path.write_bytes(path.read_bytes()[:99])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (damage_model, "model.onnx is not the file that the manifest describes"),
        (lose_golden, "golden.jsonl.gz is missing"),
        (empty_golden, "golden.jsonl.gz does not fit the model"),
        (other_scores, "golden scores do not come out: expected within 0.0001, off by 0.01"),
        (lose_manifest, "expected a folder with manifest.json"),
        (cut_manifest, "not valid JSON"),
    ],
)
def test_a_broken_artefact_is_refused_in_the_loaders_own_words(
    damage: Callable[[Path], None], sentence: str, toy_artifact_copy: Path
) -> None:
    damage(toy_artifact_copy)
    with pytest.raises(ArtifactError) as caught:
        verify(toy_artifact_copy)
    assert f"{toy_artifact_copy}: refused in a fresh process with the base install: " in str(caught.value)
    assert sentence in str(caught.value)
    assert "Traceback" not in str(caught.value)


# What is refused: the process. Real ones, of a copy of the router whose loader does something else first.

SABOTAGE = {
    "asks for a package": ("import pandas", "it asks for pandas, which is not part of the base install"),
    "asks for a part of one": ("import mlflow.onnx", "it asks for mlflow, which is not part"),
    "asks for this project": ("import training.fit", "it asks for training, which is not part"),
    "is killed": ("import os; os.kill(os.getpid(), 9)", "was ended by SIGKILL; make sure of enough memory"),
    "ends": ("import os; os._exit(7)", "ended with exit code 7: it said nothing"),
    "dies speaking": (
        "import os; os.write(2, b'no room'); os._exit(7)",
        "ended with exit code 7: no room",
    ),
    "raises": ("raise KeyError('what')", "KeyError: 'what'"),
    "sees what is set outside": (
        "import os; raise KeyError(sorted({'HISTORY_URL', 'OMP_NUM_THREADS', 'LD_PRELOAD'} & {*os.environ}))",
        "KeyError: []",
    ),
    "hangs": ("import threading; threading.Event().wait()", "not opened within 0.5 s in a fresh process"),
}
# The limit holds for all of them; only the one that hangs reaches it.
SCRIPT = """
import sys
from pathlib import Path
from router import ArtifactError, __file__
from training.pipeline.verify import verify
print(__file__)
try:
    verify(Path(sys.argv[1]), limit_s=float(sys.argv[2]))
except ArtifactError as error:
    print(error)
"""


@pytest.mark.parametrize("name", SABOTAGE)
def test_what_the_process_does_is_said(
    name: str, toy_artifact: Path, tmp_path: Path, python: Callable[..., Any]
) -> None:
    line, sentence = SABOTAGE[name]
    own = shutil.copytree(ROOT / "router", tmp_path / "router", ignore=shutil.ignore_patterns("__pycache__"))
    loader = own / "artifact.py"
    loader.write_text(loader.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")
    limit = "0.5" if name == "hangs" else "120"
    outside = {"HISTORY_URL": "postgresql://me:s3cret@host/db", "OMP_NUM_THREADS": "1", "LD_PRELOAD": ""}
    run = python("-c", SCRIPT, str(toy_artifact), limit, cwd=tmp_path, PYTHONPATH=str(ROOT), **outside)
    where, *said = run.stdout.decode().splitlines()
    assert (str(own / "__init__.py"), b"") == (where, run.stderr)
    assert [True] == [f"{toy_artifact}: " in each and sentence in each for each in said]


def test_an_untouched_copy_of_the_router_is_content(
    toy_artifact: Path, tmp_path: Path, python: Callable[..., Any]
) -> None:
    own = shutil.copytree(ROOT / "router", tmp_path / "router", ignore=shutil.ignore_patterns("__pycache__"))
    run = python("-c", SCRIPT, str(toy_artifact), "120", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert ([str(own / "__init__.py")], b"") == (run.stdout.decode().splitlines(), run.stderr)


# The base install


def test_the_base_install_is_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert sorted(BASE) == sorted(Requirement(each).name for each in project["dependencies"])


def test_the_packages_are_those_of_the_base_install() -> None:
    found = base_packages()
    assert {"router", "numpy", "onnxruntime", "tokenizers", "huggingface_hub", "google"} <= found
    assert set() == found & FORBIDDEN


def test_the_blocker_lets_the_base_and_the_standard_library_pass() -> None:
    blocker = Blocker(sorted(base_packages()))
    for name in ("json", "importlib.metadata", "numpy.linalg", "router.artifact", "google.protobuf"):
        assert blocker.find_spec(name) is None


@pytest.mark.parametrize("name", sorted(FORBIDDEN))
def test_the_blocker_refuses_the_rest_as_if_it_were_not_there(name: str) -> None:
    with pytest.raises(ModuleNotFoundError) as caught:
        Blocker(sorted(base_packages())).find_spec(f"{name}.part")
    assert name == caught.value.name


# What the child does, in this process


def test_one_by_one_and_as_a_batch_agree(toy_router: Router) -> None:
    assert 0 == check_ways(toy_router, GOLDEN)


class TwoWays(Router):
    """A router whose batches go to the dearest tier, whatever the scores."""

    __slots__ = ()

    def route_many(self, prompts: Any, policy: Any = None) -> Any:
        return [replace(each, tier="large") for each in super().route_many(prompts, policy)]


def test_another_decision_from_the_same_scores_is_refused(toy_artifact: Path) -> None:
    router = TwoWays.load(toy_artifact)
    with pytest.raises(ArtifactError, match="in a batch, with scores that differ by"):
        check_ways(router, GOLDEN)


def test_the_median_of_some_rounds_is_taken(toy_router: Router) -> None:
    assert 2 == median([3, 1, 2])
    assert 3 == median([1, 3, 5, 2])
    found = measure([toy_router, toy_router], GOLDEN[:2], 3)
    assert [2, 2] == [len(times) for times in found]
    assert all(time > 0 for times in found for time in times)


def test_a_request_changes_nothing_here(toy_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`main` runs in a process of its own; here its traces are taken back."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    request = {"path": sys.path, "packages": [], "artefact": str(toy_artifact / "gone"), "champion": None}
    assert {"error"} == set(main(request))
