"""Documents that could rot: examples run, links lead somewhere, commands exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part in {"demo", "out"} for part in path.relative_to(ROOT).parts)
)


def test_readme_example_prints_what_it_says() -> None:
    blocks = re.findall(r"```(python|text)\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    code = next(body for kind, body in blocks if kind == "python")
    expected = next(body for kind, body in blocks if kind == "text")
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "" == run.stderr
    assert expected == run.stdout


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8"))
    missing = [t for t in targets if "://" not in t and not (document.parent / t).exists()]
    assert [] == missing


def test_there_are_documents_to_check() -> None:
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md"} <= {path.name for path in DOCUMENTS}


def test_every_make_target_that_a_document_names_exists() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    named = {
        name
        for path in DOCUMENTS
        for name in re.findall(r"(?:^|`)make ([a-z-]+)", path.read_text(encoding="utf-8"), re.M)
    }
    assert named
    assert set() == named - targets


def test_every_python_module_that_a_document_runs_exists() -> None:
    named = {
        name
        for path in DOCUMENTS
        for name in re.findall(r"python -m ([a-z_.]+)", path.read_text(encoding="utf-8"))
        if name.split(".")[0] in {"router", "eval", "training", "bench"}
    }
    assert named
    for name in named:
        place = ROOT.joinpath(*name.split("."))
        assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), name


def test_no_file_names_a_machine_or_a_registry() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    tracked = listed.stdout.split() or [str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py")]
    # Split, so that this file does not find itself.
    forbidden = re.compile("/" + "work/|/" + "home/|/" + "root/|files.python" + "hosted|pypi" + r"\.org")
    offenders = [
        name
        for name in tracked
        if Path(name).suffix in {".py", ".md", ".toml", ".json", ""}
        and (ROOT / name).is_file()
        and forbidden.search((ROOT / name).read_text(encoding="utf-8", errors="ignore"))
    ]
    assert [] == offenders
