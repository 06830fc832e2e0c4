"""The files that deploy tierwise pass their linters, agree with the server and with each other, and hold no secret.

There is no container engine here. What the files would run is run: the commands as they stand, in a process that
can write nowhere but to one folder, and the checks of health against it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from served import serve
from toys import ROOT

from router import __version__
from router.cli import _parser

DEPLOY = ROOT / "deploy"
DOCKERFILE = DEPLOY / "Dockerfile"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
KUBERNETES: dict[str, dict[str, Any]] = {
    document["kind"]: document
    for document in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8"))
}
SERVICE = COMPOSE["services"]["tierwise"]
POD = KUBERNETES["Deployment"]["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]
TEMPORARY = "/tmp"  # noqa: S108 - in the container
KEY = "a-key-for-this-test-0123456789"


def instructions(text: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile, with what they are told."""
    text = re.sub(r"^#.*\n", "", text, flags=re.M)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def stages() -> list[list[tuple[str, str]]]:
    """Return the instructions of each stage of the Dockerfile."""
    found: list[list[tuple[str, str]]] = []
    for name, rest in instructions(DOCKERFILE.read_text(encoding="utf-8")):
        if name == "FROM":
            found.append([])
        found[-1].append((name, rest))
    return found


IMAGE = dict(stages()[-1])  # of several of a kind, the last counts
ENVIRONMENT = dict(pair.split("=", 1) for pair in shlex.split(IMAGE["ENV"]))
COMMANDS: dict[str, list[str]] = {
    "Dockerfile": json.loads(IMAGE["CMD"]),
    "compose.yaml": SERVICE.get("command", json.loads(IMAGE["CMD"])),
    "kubernetes.yaml": CONTAINER["args"],
}
each_command = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


# Linters

PROGRAMS = Path(sys.executable).parent
LINTERS: dict[str, list[str]] = {
    "Dockerfile": ["hadolint"],
    "compose.yaml": ["check-jsonschema", "--builtin-schema", "vendor.compose-spec"],
    "kubernetes.yaml": ["kubernetes-validate", "--strict"],
}
FAULTS = {
    "Dockerfile": ("USER 10001:10001", "USER root"),
    "compose.yaml": ("cap_drop:", "drop_cap:"),
    "kubernetes.yaml": ("readOnlyRootFilesystem", "readonlyRootFilesystem"),
}


def lint(name: str, path: Path) -> tuple[int, str]:
    program, *options = LINTERS[name]
    done = subprocess.run(
        [str(PROGRAMS / program), *options, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", LINTERS)
def test_the_linter_finds_nothing(name: str) -> None:
    code, said = lint(name, DEPLOY / name)
    assert 0 == code, said


@pytest.mark.parametrize("name", LINTERS)
def test_the_linter_can_find_something(name: str, tmp_path: Path) -> None:
    right, wrong = FAULTS[name]
    text = (DEPLOY / name).read_text(encoding="utf-8")
    assert 1 == text.count(right)
    (tmp_path / name).write_text(text.replace(right, wrong), encoding="utf-8")
    assert 0 != lint(name, tmp_path / name)[0]


# The image


def test_the_image_runs_as_a_user_without_rights() -> None:
    user, _, group = IMAGE["USER"].partition(":")
    assert 0 < int(user) == int(group)
    assert (int(user), int(group)) == (
        POD["securityContext"]["runAsUser"],
        POD["securityContext"]["runAsGroup"],
    )
    order = [name for name, _ in stages()[-1]]
    assert {"RUN", "COPY", "ADD"} & set(order[order.index("USER") :]) == set()


def test_all_that_is_copied_is_let_through_and_there() -> None:
    copied = [rest.split() for name, rest in stages()[0] if name == "COPY"]
    sources = [source for *from_, _ in copied for source in from_]
    ignored, *let_through = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()[1:-1]
    assert "*" == ignored
    assert {f"!{source}" for source in sources} == set(let_through)
    assert [] == [source for source in sources if not (ROOT / source).exists()]


def test_the_build_reads_all_that_the_wheel_is_made_of() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", project["project"]["readme"], *wheel["packages"], *wheel["force-include"]}
    copied = {source for name, rest in stages()[0] if name == "COPY" for source in rest.split()[:-1]}
    assert set() == needed - copied
    assert 'install --no-cache-dir ".[serve]"' in dict(stages()[0])["RUN"]
    assert "serve" in project["project"]["optional-dependencies"]


def test_the_version_is_the_packages() -> None:
    image = f"tierwise:{__version__}"
    assert (image, image) == (SERVICE["image"], CONTAINER["image"])
    assert f"-t {image} " in DOCKERFILE.read_text(encoding="utf-8")
    assert image in (DEPLOY / "README.md").read_text(encoding="utf-8")


# What holds a container in


def test_compose_holds_the_container_in() -> None:
    assert (True, ["ALL"], ["no-new-privileges:true"]) == (
        SERVICE["read_only"],
        SERVICE["cap_drop"],
        SERVICE["security_opt"],
    )
    assert [TEMPORARY] == [each.split(":")[0] for each in SERVICE["tmpfs"]]
    assert {"mem_limit", "cpus", "pids_limit"} <= set(SERVICE)
    assert all(each.startswith("127.0.0.1:") for each in SERVICE["ports"])


def test_kubernetes_holds_the_container_in() -> None:
    pod, container = POD["securityContext"], CONTAINER["securityContext"]
    assert (True, {"type": "RuntimeDefault"}) == (pod["runAsNonRoot"], pod["seccompProfile"])
    assert (False, True, {"drop": ["ALL"]}) == (
        container["allowPrivilegeEscalation"],
        container["readOnlyRootFilesystem"],
        container["capabilities"],
    )
    assert POD["automountServiceAccountToken"] is False
    assert (
        {"cpu", "memory"} == set(CONTAINER["resources"]["limits"]) == set(CONTAINER["resources"]["requests"])
    )
    mounted = {each["mountPath"]: each.get("readOnly", False) for each in CONTAINER["volumeMounts"]}
    assert [TEMPORARY] == [path for path, read_only in mounted.items() if not read_only]


# Agreement


def test_one_port_everywhere() -> None:
    port = int(IMAGE["EXPOSE"])
    (named,) = CONTAINER["ports"]
    (published,) = SERVICE["ports"]
    (reached,) = KUBERNETES["Service"]["spec"]["ports"]
    assert port == _parser().parse_args(["serve"]).port
    assert (port, str(port)) == (named["containerPort"], published.split(":")[-1])
    assert named["name"] == reached["targetPort"]
    assert {named["name"]} == {CONTAINER[f"{probe}Probe"]["httpGet"]["port"] for probe in PROBES}


PROBES = {"startup": "/readyz", "readiness": "/readyz", "liveness": "/healthz"}


def test_what_selects_finds_what_it_is_to_select() -> None:
    labels = KUBERNETES["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert labels == KUBERNETES["Deployment"]["spec"]["selector"]["matchLabels"]
    assert labels == KUBERNETES["Service"]["spec"]["selector"]
    assert labels == KUBERNETES["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]
    assert (
        KUBERNETES["PodDisruptionBudget"]["spec"]["minAvailable"]
        < KUBERNETES["Deployment"]["spec"]["replicas"]
    )


def test_no_server_is_killed_while_it_drains() -> None:
    def drains_s(command: list[str]) -> float:
        options = _parser().parse_args(command[1:])
        return float(options.drain_delay + options.drain_seconds)

    assert POD["terminationGracePeriodSeconds"] > drains_s(COMMANDS["kubernetes.yaml"])
    assert int(SERVICE["stop_grace_period"].removesuffix("s")) > drains_s(COMMANDS["compose.yaml"])
    # Longer than it takes a readiness probe to fail, after which no new connection comes.
    delay_s = _parser().parse_args(CONTAINER["args"][1:]).drain_delay
    assert delay_s > CONTAINER["readinessProbe"]["periodSeconds"]


def test_the_keys_are_where_the_command_looks() -> None:
    (secret,) = SERVICE["secrets"]
    assert f"/run/secrets/{secret}" == option(COMMANDS["compose.yaml"], "--keys")
    (volume,) = (each for each in POD["volumes"] if "secret" in each)
    (mount,) = (each for each in CONTAINER["volumeMounts"] if each["name"] == volume["name"])
    readme = (DEPLOY / "README.md").read_text(encoding="utf-8")
    path = Path(option(COMMANDS["kubernetes.yaml"], "--keys"))
    assert str(path.parent) == mount["mountPath"]
    assert f"create secret generic {volume['secret']['secretName']} --from-file={path.name}=" in readme


# Secrets


def test_no_file_holds_a_secret() -> None:
    assert {"Deployment", "Service", "PodDisruptionBudget"} == set(KUBERNETES)
    assert [{"file"}] == [set(each) for each in COMPOSE["secrets"].values()]
    assert [] == [each for each in CONTAINER.get("env", []) if "value" in each]
    assert {"PATH", "HOME", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "ORT_DISABLE_TELEMETRY"} == set(
        ENVIRONMENT
    )
    assert set() == {name for stage in stages() for name, _ in stage} & {"ARG", "ADD"}
    for path in (ROOT / ".dockerignore", *(path for path in DEPLOY.rglob("*") if path.is_file())):
        if path.name != "tierwise_keys":  # git leaves it out, and so does the image
            assert [] == re.findall(r"[A-Za-z0-9+/_=-]{40,}", path.read_text(encoding="utf-8"))


def test_the_keys_made_beside_the_files_stay_out() -> None:
    assert "tierwise_keys" in (DEPLOY / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "./tierwise_keys" == COMPOSE["secrets"]["tierwise_keys"]["file"]
    assert "!deploy" not in (ROOT / ".dockerignore").read_text(encoding="utf-8")


# Running

# A user who may write anywhere, as root may, would not notice a root file system that is read-only. This does:
# Python loads it before all else, in every process, and ends one that opens a file for writing elsewhere.
WATCH = """
import os, sys
ALLOWED = (os.path.realpath(os.environ["TMPDIR"]) + os.sep, "/dev/", "/proc/self/")
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.utime"}

def watch(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        if isinstance(path, int) or not writes:
            return
    elif event in CHANGES:
        path = arguments[0]
    else:
        return
    if not os.path.realpath(os.fsdecode(path)).startswith(ALLOWED):
        os.write(2, f"wrote elsewhere: {event} {path}\\n".encode())
        os._exit(99)

sys.addaudithook(watch)
"""


@pytest.fixture
def held_in(tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """A working folder that is read-only, and an environment in which only one other folder can be written to."""
    work, temporary, watcher = tmp_path / "work", tmp_path / "tmp", tmp_path / "watcher"
    for folder in (work, temporary, watcher):
        folder.mkdir()
    (watcher / "sitecustomize.py").write_text(WATCH, encoding="utf-8")
    work.chmod(0o555)
    path = os.pathsep.join((str(watcher), str(ROOT)))
    ours = {"PATH": os.environ["PATH"], "HOME": str(work), "TMPDIR": str(temporary), "PYTHONPATH": path}
    yield work, ENVIRONMENT | ours
    assert [] == list(work.iterdir())  # nor did anything below Python write
    work.chmod(0o755)


def get(url: str, path: str, key: str | None = None) -> tuple[int, Any]:
    parts = urlsplit(url)
    assert parts.hostname
    connection = HTTPConnection("127.0.0.1", parts.port, timeout=30)
    connection.request("GET", path, headers={"Authorization": f"Bearer {key}"} if key else {})
    with connection.getresponse() as response:
        raw = response.read()
    connection.close()
    return response.status, json.loads(raw)


@each_command
def test_the_command_serves_where_nothing_can_be_written(
    command: list[str], held_in: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"{KEY}\n")
    program, serving, *options = command
    assert ("tierwise", "serve") == (program, serving)
    options[options.index("--keys") + 1] = str(keys)
    if "--drain-delay" in options:
        options[options.index("--drain-delay") + 1] = "0"
    work, environment = held_in
    with serve(*options, cwd=work, environment=environment) as url:
        for path in PROBES.values():
            assert 200 == get(url, path)[0]
        assert 401 == get(url, "/v1/model")[0]
        assert 200 == get(url, "/v1/model", KEY)[0]


def test_a_write_elsewhere_would_be_noticed(held_in: tuple[Path, dict[str, str]]) -> None:
    work, environment = held_in

    def write(path: str) -> tuple[int, bytes]:
        done = subprocess.run(
            [sys.executable, "-c", f"open({path!r}, 'a').close()"],
            cwd=work,
            env=environment,
            capture_output=True,
            check=False,
        )
        return done.returncode, done.stderr

    assert (99, b"wrote elsewhere: open here\n") == write("here")
    assert (0, b"") == write(environment["TMPDIR"] + "/there")


# Health


def checks_of_health() -> Iterator[list[str]]:
    _, _, command = IMAGE["HEALTHCHECK"].partition(" CMD ")
    yield json.loads(command)
    kind, *rest = SERVICE["healthcheck"]["test"]
    assert "CMD" == kind
    yield rest


def test_both_checks_of_health_are_one() -> None:
    first, second = checks_of_health()
    assert first == second
    assert "8080" in first[-1]
    times = dict(
        each.removeprefix("--").split("=") for each in IMAGE["HEALTHCHECK"].partition(" CMD ")[0].split()
    )
    told = {
        name.replace("_", "-"): str(value) for name, value in SERVICE["healthcheck"].items() if name != "test"
    }
    assert times == told


def test_the_check_of_health_tells_a_server_from_none(
    toy_artifact: Path, python: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    program, *arguments = next(checks_of_health())
    assert "python" == program
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # of no concern to it

    def check(url: str) -> int:
        port = str(urlsplit(url).port)
        code: int = python(*(each.replace("8080", port) for each in arguments)).returncode
        return code

    with serve("--model", str(toy_artifact)) as url:
        assert 0 == check(url)
    assert 1 == check(url)
