"""Provenance names content, never a machine."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from router import __version__
from training.provenance import describe_files, git_commit, library_versions

ROOT = Path(__file__).resolve().parents[2]
ASK = "from training.provenance import git_commit; print(git_commit())"


def test_files_are_named_by_content(tmp_path: Path) -> None:
    one, two = tmp_path / "deep" / "a.csv", tmp_path / "b.toml"
    one.parent.mkdir()
    one.write_bytes(b"abc")
    two.write_bytes(b"")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    expected = [
        {"name": "a.csv", "bytes": 3, "sha256": digest},
        {"name": "b.toml", "bytes": 0, "sha256": hashlib.sha256().hexdigest()},
    ]
    assert expected == describe_files([one, two])
    assert [] == describe_files([])


def test_versions_are_those_installed() -> None:
    versions = library_versions()
    assert __version__ == versions["tierwise"]
    assert sys.version.startswith(versions["python"])
    for name in ("lightgbm", "numpy", "onnxruntime", "scikit-learn"):
        assert version(name) == versions[name]


def test_the_commit_is_a_commit_or_nothing() -> None:
    commit = git_commit()
    assert commit is None or re.fullmatch(r"[0-9a-f]{40}(\+changes)?", commit)


def copy_of_the_code(folder: Path) -> Path:
    for name in ("router", "training"):
        (folder / name).mkdir(parents=True)
        for path in (ROOT / name).glob("*.py"):
            shutil.copy(path, folder / name / path.name)
    return folder


def commit_seen_by(folder: Path, **environment: str) -> str:
    # No repository above the folder may answer for it.
    env = {
        **os.environ,
        "GIT_CEILING_DIRECTORIES": str(folder.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        **environment,
    }
    done = subprocess.run(
        [sys.executable, "-c", ASK], cwd=folder, env=env, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_copy_without_a_repository_has_no_commit(tmp_path: Path) -> None:
    assert "None" == commit_seen_by(copy_of_the_code(tmp_path / "copy"))


def test_without_git_there_is_no_commit() -> None:
    env = {**os.environ, "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", ASK], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    assert ("None", "") == (done.stdout.strip(), done.stderr)


def test_a_commit_with_changes_says_so(tmp_path: Path) -> None:
    folder = copy_of_the_code(tmp_path / "copy")
    who = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "first")
    commit = git("rev-parse", "HEAD")
    assert commit == commit_seen_by(folder)
    (folder / "untracked.txt").write_text("not code", encoding="utf-8")
    assert commit == commit_seen_by(folder)
    (folder / "training" / "card.py").write_text("# changed\n", encoding="utf-8")
    assert f"{commit}+changes" == commit_seen_by(folder)
