"""The schedules pass their parsers, call the one command there is, treat its exit codes alike, and hold no secret.

There is no cron, no cluster and no GitHub here. What can be run is run: the shell lines as they stand, against a command
that ends as it is told to.
"""

from __future__ import annotations

import argparse
import ast
import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from toys import ROOT

from router import __version__
from training.pipeline.config import add_arguments

SCHEDULES = ROOT / "deploy" / "schedules"
PROJECT, HOME, CONFIG = "/srv/tierwise", "/srv/tierwise/data", "/etc/tierwise"
PYTHON = f"{PROJECT}/.venv/bin/python"
WEEKLY = "15 4 * * 1"
FAILURES = (1, 2, 3, 4)
LASTING = (2, 3, 4)  # which another attempt does not change: usage, data or configuration refused, no gate


def read(name: str) -> str:
    return (SCHEDULES / name).read_text(encoding="utf-8")


def read_unit(name: str) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(interpolation=None, delimiters=("=",), strict=True)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(read(name))
    return unit


def constants(name: str) -> dict[str, Any]:
    """Return what a Python file assigns to its names."""
    return {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(read(name)).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


(CRON_LINE,) = (line for line in read("crontab").splitlines() if re.match(r"[0-9*]", line))
SERVICE, TIMER = read_unit("tierwise-retrain.service"), read_unit("tierwise-retrain.timer")
VOLUME, CRON_JOB = yaml.safe_load_all(read("kubernetes.yaml"))
JOB = CRON_JOB["spec"]["jobTemplate"]["spec"]
POD = JOB["template"]["spec"]
(CONTAINER,) = POD["containers"]
WORKFLOW = yaml.safe_load(read("github-actions.yml"))
STEPS = WORKFLOW["jobs"]["retrain"]["steps"]
SCRIPTS = {step["name"]: step["run"] for step in STEPS if "run" in step and "name" in step}
COMMANDS: dict[str, list[str]] = {
    "crontab": shlex.split(re.findall(r"&& (.*?) >", CRON_LINE)[0]),
    "systemd": shlex.split(SERVICE["Service"]["ExecStart"]),
    "kubernetes": CONTAINER["args"],
    "github": shlex.split(re.findall(r"^python .*?(?= \|)", SCRIPTS["Retrain"], re.M)[0]),
    "airflow": constants("airflow_dag.py")["COMMAND"],
}


# Parsers

PROGRAMS = Path(sys.executable).parent
LINTERS = {
    "kubernetes.yaml": ["kubernetes-validate", "--strict"],
    "github-actions.yml": ["check-jsonschema", "--builtin-schema", "vendor.github-workflows"],
    "Dockerfile": ["hadolint"],
}
FAULTS = {
    "kubernetes.yaml": ("concurrencyPolicy", "concurencyPolicy"),
    "github-actions.yml": ("runs-on:", "runs_on:"),
    "Dockerfile": ("USER 10001:10001", "USER root"),
}


def lint(name: str, path: Path) -> tuple[int, str]:
    program, *options = LINTERS[name]
    command = [str(PROGRAMS / program), *options, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", LINTERS)
def test_the_linter_finds_nothing_but_what_is_put_there(name: str, tmp_path: Path) -> None:
    code, said = lint(name, SCHEDULES / name)
    assert 0 == code, said
    right, wrong = FAULTS[name]
    assert right in read(name)
    (tmp_path / name).write_text(read(name).replace(right, wrong), encoding="utf-8")
    assert 0 != lint(name, tmp_path / name)[0]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_finds_nothing(tmp_path: Path) -> None:
    def verify() -> tuple[int, str]:
        units = [str(path) for path in sorted(tmp_path.glob("tierwise-*"))]
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
        )
        return done.returncode, done.stderr

    for path in SCHEDULES.glob("tierwise-*"):
        # The one thing that is not here: the checkout's environment.
        text = path.read_text(encoding="utf-8").replace(PYTHON, sys.executable)
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    assert (0, "") == verify()
    service = tmp_path / "tierwise-retrain.service"
    service.write_text(service.read_text(encoding="utf-8").replace("Type=oneshot", "Type=oneshoe"))
    assert "oneshoe" in verify()[1]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_and_cron_mean_the_same_time() -> None:
    said = subprocess.run(
        ["systemd-analyze", "calendar", TIMER["Timer"]["OnCalendar"]],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "Normalized form: Mon *-*-* 04:15:00" in said


def test_one_time_everywhere() -> None:
    assert WEEKLY == " ".join(CRON_LINE.split()[:5])
    assert "Mon 04:15" == TIMER["Timer"]["OnCalendar"]
    assert WEEKLY == CRON_JOB["spec"]["schedule"]
    assert [{"cron": WEEKLY}] == WORKFLOW[True]["schedule"]  # YAML 1.1 reads the key "on" as a boolean
    assert f'schedule="{WEEKLY}"' in read("airflow_dag.py")


def test_cron_reads_the_line_as_it_stands() -> None:
    assert "%" not in CRON_LINE  # which cron would take for the end of the command
    settings = dict(line.split("=", 1) for line in read("crontab").splitlines() if re.match(r"[A-Z]+=", line))
    assert {"SHELL": "/bin/sh", "MAILTO": "oncall@example.org"} == settings


# The command


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_it_is_the_command_there_is(command: list[str]) -> None:
    program, *rest = command
    assert program in ("python", PYTHON, PYTHON.removeprefix(f"{PROJECT}/"))
    assert ["-m", "training", "retrain"] == rest[:3]
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = parser.parse_args([word.replace("$TIERWISE_HOME", HOME) for word in rest[3:]])
    assert "weekly.toml" == options.config.name
    assert options.home in (None, HOME)
    assert not options.dry_run


def test_all_is_at_places_to_fill_in() -> None:
    for path in SCHEDULES.iterdir():
        named = set(
            re.findall(r"(?<![\w/.$}])/(?:srv|etc|opt|var|usr)/[\w./-]*", path.read_text(encoding="utf-8"))
        )
        places = (PROJECT, CONFIG, "/etc/systemd/system", "/opt/tierwise", "/var/lib/apt/lists/")
        assert [] == [each for each in named if not each.startswith(places)], path.name


def test_no_file_holds_a_secret() -> None:
    for path in SCHEDULES.iterdir():
        text = path.read_text(encoding="utf-8")
        assert [] == re.findall(r"[A-Za-z0-9+/_=-]{41,}", text), path.name
        assert [] == re.findall(r"://[^/\s:]+:[^/\s@]+@", text), path.name
    assert {"valueFrom"} == {key for each in CONTAINER["env"] for key in each if key != "name"}


def test_two_runs_never_meet() -> None:
    assert "Forbid" == CRON_JOB["spec"]["concurrencyPolicy"]
    assert {"group": "tierwise-retrain", "cancel-in-progress": False} == WORKFLOW["concurrency"]
    assert "max_active_runs=1" in read("airflow_dag.py")
    assert "oneshot" == SERVICE["Service"]["Type"]  # which systemd does not start twice


# Exit codes. A command of ours stands where Python would: it writes what a run writes, and ends as it is told to.

COMMAND = """#!/bin/sh
echo 'the last thing said' >&2
echo '{"verdict": "KEEP", "reasons": ["a tie"], "void": VOID}'
exit CODE
"""
Runs = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def ends(tmp_path: Path) -> Callable[..., Path]:
    """Make a checkout whose Python ends with an exit code."""

    def make(code: int, void: bool = False) -> Path:
        programs = tmp_path / ".venv" / "bin"
        programs.mkdir(parents=True)
        program = programs / "python"
        program.write_text(COMMAND.replace("CODE", str(code)).replace("VOID", str(void).lower()))
        program.chmod(0o755)
        return tmp_path

    return make


def cron(checkout: Path) -> subprocess.CompletedProcess[str]:
    line = CRON_LINE.split(maxsplit=5)[5].replace(PROJECT, str(checkout))
    return subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=False)


def test_cron_says_nothing_of_an_ordinary_week(ends: Callable[..., Path]) -> None:
    done = cron(ends(0))
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("code", FAILURES)
def test_cron_mails_a_failure(code: int, ends: Callable[..., Path]) -> None:
    done = cron(ends(code))
    assert (code, f"tierwise retrain: exit code {code}\nthe last thing said\n", "") == (
        done.returncode,
        done.stdout,
        done.stderr,
    )


def test_cron_mails_a_void_certificate(ends: Callable[..., Path]) -> None:
    done = cron(ends(0, void=True))
    assert (0, "tierwise retrain: exit code 0\nthe last thing said\n") == (done.returncode, done.stdout)


def test_cron_mails_that_the_checkout_is_gone(tmp_path: Path) -> None:
    done = cron(tmp_path / "gone")
    assert 0 != done.returncode
    assert "exit code" in done.stdout


def retrain_step(checkout: Path) -> subprocess.CompletedProcess[str]:
    """Run the step as GitHub does: bash, which ends at the first failure."""
    path = f"{checkout / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    summary = str(checkout / "summary.md")
    return subprocess.run(
        ["bash", "-e", "-c", SCRIPTS["Retrain"]],
        cwd=checkout,
        env={"PATH": path, "TIERWISE_HOME": HOME, "GITHUB_STEP_SUMMARY": summary},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("code", FAILURES)
def test_github_fails_where_the_command_does(code: int, ends: Callable[..., Path]) -> None:
    assert code == retrain_step(ends(code)).returncode


@pytest.mark.skipif(shutil.which("jq") is None, reason="no jq here")
@pytest.mark.parametrize("void", [False, True])
def test_github_shows_the_verdict(void: bool, ends: Callable[..., Path]) -> None:
    checkout = ends(0, void)
    done = retrain_step(checkout)
    assert (0, void) == (done.returncode, "::warning::The champion's certificate is void." in done.stdout)
    assert "### KEEP\n\n- a tie\n" == (checkout / "summary.md").read_text(encoding="utf-8")


def test_systemd_wakes_someone() -> None:
    assert "tierwise-alert@%n.service" == SERVICE["Unit"]["OnFailure"]
    assert (SCHEDULES / "tierwise-alert@.service").is_file()
    # Nothing but 0 counts as success, and a failure is not hidden by another attempt.
    assert set() == {"SuccessExitStatus", "Restart"} & set(SERVICE["Service"])
    assert not SERVICE["Service"]["ExecStart"].startswith("-")


def test_kubernetes_tries_again_only_what_may_pass() -> None:
    final, ignored = JOB["podFailurePolicy"]["rules"]
    assert ("FailJob", list(LASTING)) == (final["action"], final["onExitCodes"]["values"])
    assert CONTAINER["name"] == final["onExitCodes"]["containerName"]
    assert "Ignore" == ignored["action"]
    assert ("Never", 2) == (POD["restartPolicy"], JOB["backoffLimit"])


def test_airflow_tries_again_only_what_may_pass() -> None:
    compile(read("airflow_dag.py"), "airflow_dag.py", "exec")
    assert LASTING == tuple(constants("airflow_dag.py")["LASTING"])
    assert "retries=2" in read("airflow_dag.py")


# Kubernetes, GitHub and the image


def test_what_a_run_keeps_is_on_a_volume() -> None:
    volumes = {each["name"]: each for each in POD["volumes"]}
    mounts = {each["mountPath"]: each for each in CONTAINER["volumeMounts"]}
    claim = volumes[mounts[HOME]["name"]]["persistentVolumeClaim"]["claimName"]
    assert ("PersistentVolumeClaim", claim) == (VOLUME["kind"], VOLUME["metadata"]["name"])
    assert (CONFIG, True) == (mounts[CONFIG]["mountPath"], mounts[CONFIG]["readOnly"])


def test_kubernetes_holds_the_container_in() -> None:
    pod, container = POD["securityContext"], CONTAINER["securityContext"]
    assert (True, 10001) == (pod["runAsNonRoot"], pod["runAsUser"])
    assert (False, True, {"drop": ["ALL"]}) == (
        container["allowPrivilegeEscalation"],
        container["readOnlyRootFilesystem"],
        container["capabilities"],
    )
    assert POD["automountServiceAccountToken"] is False
    assert {"cpu", "memory"} == set(CONTAINER["resources"]["limits"])


def test_the_readme_makes_what_kubernetes_asks_for() -> None:
    readme = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
    (config,) = (each["configMap"]["name"] for each in POD["volumes"] if "configMap" in each)
    (secret,) = (each["valueFrom"]["secretKeyRef"] for each in CONTAINER["env"])
    assert f"kubectl create configmap {config} --from-file=weekly.toml" in readme
    assert f"kubectl create secret generic {secret['name']} --from-literal={secret['key']}=" in readme
    assert f"-t {CONTAINER['image']} " in readme
    assert CONTAINER["image"].endswith(f":{__version__}")


def test_github_keeps_the_home_folder_whatever_happened_once_it_was_fetched() -> None:
    (keep,) = (step for step in STEPS if step.get("with", {}).get("name") == "tierwise-home")
    fetch, retrain = (
        i for i, step in enumerate(STEPS) if step.get("name", "").startswith(("Fetch", "Retrain"))
    )
    assert (f"always() && steps.{STEPS[fetch]['id']}.outcome == 'success'", HOME, True) == (
        keep["if"],
        keep["with"]["path"],
        keep["with"]["include-hidden-files"],
    )
    assert HOME == WORKFLOW["env"]["TIERWISE_HOME"]
    assert fetch < retrain < STEPS.index(keep)


def test_actions_are_pinned() -> None:
    used = [step["uses"] for step in STEPS if "uses" in step]
    assert 4 == len(used)
    assert [] == [each for each in used if not re.fullmatch(r"actions/[a-z-]+@v\d+\.\d+\.\d+", each)]


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_bash_can_read_the_steps(script: str) -> None:
    done = subprocess.run(["bash", "-n", "-c", script], capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)


ARTIFACTS = """{"artifacts": [
    {"created_at": "2026-01-05", "expired": false, "workflow_run": {"id": 1, "head_branch": "main", "repository_id": 7, "head_repository_id": 7}},
    {"created_at": "2026-01-12", "expired": false, "workflow_run": {"id": 2, "head_branch": "main", "repository_id": 7, "head_repository_id": 7}},
    {"created_at": "2026-01-13", "expired": false, "workflow_run": {"id": 3, "head_branch": "main", "repository_id": 7, "head_repository_id": 8}},
    {"created_at": "2026-01-14", "expired": false, "workflow_run": {"id": 4, "head_branch": "else", "repository_id": 7, "head_repository_id": 7}},
    {"created_at": "2026-01-15", "expired": true, "workflow_run": {"id": 5, "head_branch": "main", "repository_id": 7, "head_repository_id": 7}}]}"""


@pytest.mark.skipif(shutil.which("jq") is None, reason="no jq here")
@pytest.mark.parametrize(("pages", "expected"), [(ARTIFACTS, "2\n"), ('{"artifacts": []}', "")])
def test_the_home_folder_is_of_this_branch_of_this_repository(pages: str, expected: str) -> None:
    (script,) = (text for name, text in SCRIPTS.items() if name.startswith("Fetch"))
    (query,) = re.findall(r"jq -rs --arg branch \"\$BRANCH\" '(.*?)'", script, re.S)
    done = subprocess.run(
        ["jq", "-rs", "--arg", "branch", "main", query],
        input=pages,
        capture_output=True,
        text=True,
        check=True,
    )
    assert expected == done.stdout


NO_NETWORK = "echo 'error connecting to api.github.com' >&2; exit 1"
FIRST = "No home folder found"


@pytest.mark.skipif(shutil.which("jq") is None, reason="no jq here")
@pytest.mark.parametrize(
    ("api", "download", "expected"),
    [
        ("""echo '{"artifacts": []}'""", "exit 1", (0, True, False)),
        ("cat artifacts.json", "touch downloaded", (0, False, True)),
        (NO_NETWORK, "touch downloaded", (1, False, False)),
        (f"""echo '{{"artifacts": []}}'; {NO_NETWORK}""", "touch downloaded", (1, False, False)),
        ("cat artifacts.json", NO_NETWORK, (1, False, False)),
    ],
    ids=["the first run", "a later one", "no network", "none for the second page", "none for the download"],
)
def test_a_home_folder_that_cannot_be_fetched_is_no_first_run(
    tmp_path: Path, api: str, download: str, expected: tuple[int, bool, bool]
) -> None:
    (tmp_path / "artifacts.json").write_text(ARTIFACTS, encoding="utf-8")
    programs = {
        "sudo": 'exec "$@"',
        "chown": "exit 0",
        "gh": f'case "$1 $2 $3" in api*) {api} ;; "run download 2") {download} ;; esac',
    }
    for name, body in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    (script,) = (text for name, text in SCRIPTS.items() if name.startswith("Fetch"))
    done = subprocess.run(
        ["bash", "-e", "-c", script],  # as GitHub does
        cwd=tmp_path,
        env={
            "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
            "TIERWISE_HOME": str(tmp_path / "data"),
            "GITHUB_REPOSITORY": "me/tierwise",
            "BRANCH": "main",
            "USER": "me",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert expected == (done.returncode, FIRST in done.stdout, (tmp_path / "downloaded").exists())


def test_the_image_is_built_from_what_is_let_through() -> None:
    copied = {
        word
        for line in read("Dockerfile").splitlines()
        if line.startswith("COPY ")
        for word in line.split()[1:-1]
    }
    ignored, *let_through = (line for line in read("Dockerfile.dockerignore").splitlines() if line[:1] != "#")
    assert ("*", "**/__pycache__") == (ignored, let_through.pop())
    assert {f"!{each}" for each in copied} == set(let_through)
    assert [] == [each for each in copied if not (ROOT / each).exists()]
