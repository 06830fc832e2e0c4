"""docs/LABELLING.md holds what is so: its commands run, its files are read, its tables are whole."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest
from standin import standin
from toys import ROOT

from eval.status import AGAIN, Status
from router.tiers import Ladder, Tier
from training.calls.endpoints import read_endpoints
from training.grade.config import KINDS, read_grading
from training.imports.formats import FORMATS

PAGE = (ROOT / "docs" / "LABELLING.md").read_text(encoding="utf-8")
LADDER = Ladder((Tier("small", ("s",), 1.0, 1.0), Tier("large", ("b",), 10.0, 10.0)))


def block(comment: str) -> str:
    """The TOML block that begins with a comment."""
    (found,) = re.findall(rf"```toml\n(# {comment}.*?)```", PAGE, re.DOTALL)
    return str(found)


def rows_in(section: str) -> list[list[list[str]]]:
    """The names in each cell of the table that follows a heading of the page."""
    table = re.search(rf"{section}.*?\n((?:\|[^\n]*\n)+)", PAGE, re.DOTALL)
    assert table is not None
    return [
        [re.findall(r"`(\w+)`", cell) for cell in line.split("|")[1:-1]] for line in table[1].splitlines()[2:]
    ]


def names_in(section: str) -> list[str]:
    """The names in the first column of that table."""
    return [name for row in rows_in(section) for name in row[0]]


def test_the_endpoints_file_is_one(tmp_path: Path) -> None:
    path = tmp_path / "endpoints.toml"
    path.write_text(block("endpoints.toml"), encoding="utf-8")
    found = read_endpoints(path, LADDER, base_url=None)
    assert "https://llm.example.com/v1" == found["small"].base_url
    assert ("OTHER_KEY", "max_completion_tokens") == (
        found["large"].api_key_env,
        found["large"].output_limit_field,
    )
    assert {"temperature": 0} == dict(found["small"].params)


def test_the_graders_file_is_one(tmp_path: Path) -> None:
    path = tmp_path / "graders.toml"
    path.write_text(block("graders.toml"), encoding="utf-8")
    found = read_grading(path)
    assert ["answer", "no preamble", "helpful"] == list(found.graders)
    assert [("answer", "no preamble"), ("helpful",)] == [rule.graders for rule in found.rules]


def test_every_kind_of_grader_is_told() -> None:
    assert sorted(KINDS) == sorted(names_in("## Grading"))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("judge", "pairwise")])
def test_every_key_of_a_grader_is_told(kind: str) -> None:
    (keys,) = [row[2] for row in rows_in("## Grading") if row[0] == [kind]]
    module, _, name = KINDS[kind].partition(":")
    known = [field.name for field in fields(getattr(import_module(module), name)) if field.init]
    assert sorted(known) == sorted(["name", *keys])


def test_every_format_is_told() -> None:
    assert sorted(FORMATS) == sorted(names_in("## Your own log"))


def test_every_status_is_told_and_when_it_is_tried_again() -> None:
    assert sorted(Status) == sorted(names_in(r"\*\*Each answer is what it is\*\*"))
    always = [line for line in PAGE.splitlines() if line.startswith("|") and line.endswith("| always |")]
    assert sorted(AGAIN) == sorted(re.findall(r"`(\w+)`", "".join(always)))


@pytest.mark.pipeline
def test_the_tutorial_runs(tmp_path: Path) -> None:
    """All commands of the tutorial, on a third of its prompts, from prompts to a decision."""
    tutorial = PAGE.partition("<!-- tutorial -->")[2].partition("<!-- /tutorial -->")[0]
    script = "\n".join(re.findall(r"```sh\n(.*?)```", tutorial, re.DOTALL))
    start, rest = script.split("\n", 1)
    assert start == "python examples/standin/server.py --port 8181 &"
    with standin() as served:
        rest = rest.replace("http://127.0.0.1:8181/v1", served.url)
        rest = rest.replace("http://127.0.0.1:8181", served.url.removesuffix("/v1"))
        rest = rest.replace("--count 2400", "--count 800")
        (tmp_path / "examples").symlink_to(ROOT / "examples")
        (tmp_path / "work").mkdir()
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        found = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", rest],
            cwd=tmp_path,
            env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert 0 == found.returncode, found.stderr[-3000:]
        bill = served.bill()
    assert 0 == bill["billed_twice"]
    lines = [line for line in found.stdout.splitlines() if line.startswith("{")]
    documents = [json.JSONDecoder().raw_decode(line)[0] for line in lines]  # curl ends no line
    dry, collected, told, graded, labels, report, fitted = documents
    assert dry["dry_run"]
    assert told["usd"] == pytest.approx(collected["spent_usd"])
    assert collected["spent_usd"] <= 1.0
    assert graded["rows"] == 3 * collected["prompts"]
    assert graded["graded"] > 0.98 * graded["rows"]  # a sandbox on a busy machine may run out of time
    assert labels["prompts"] == collected["prompts"]
    assert "ROUTE" == report["verdict"]
    assert fitted["artefact"] == "work/router"
    decided = found.stdout.partition(json.dumps(fitted))[2]
    assert re.match(r"\s*(small|medium|large) \(standin-", decided), decided
    for page in ("work/labels/labels.html", "work/report/report.html"):
        assert (tmp_path / page).is_file()
