"""A service that follows an alias in MLflow's registry: a real one, on SQLite, kept by a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from replacing import model_ids
from served import refuse, start, wait_until
from toys import ROOT, reseal

from router import ConfigError
from router.registry import version_of

CHAMPION = "models:/tierwise@champion"

# A child process, for MLflow's libraries warn on import: makes a registry, then does what each line says.
REGISTRAR = """
import sys
from mlflow import MlflowClient, set_tracking_uri

set_tracking_uri(sys.argv[1])
client = MlflowClient()
client.create_registered_model("tierwise")
for source in sys.argv[2:]:
    client.create_model_version("tierwise", source=f"file://{source}")
    print("registered", flush=True)
for line in sys.stdin:
    if line.strip() == "forget":
        client.delete_registered_model_alias("tierwise", "champion")
    else:
        client.set_registered_model_alias("tierwise", "champion", line.strip())
    print("done", flush=True)
"""


class Registry(NamedTuple):
    """A registry of three versions: the toy artefact, a second model, and a broken one."""

    uri: str
    sources: list[Path]
    point: Callable[[str], None]


@pytest.fixture(scope="module")
def registry(
    toy_artifact: Path, second: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Registry]:
    home = tmp_path_factory.mktemp("registry")
    sources = [
        Path(shutil.copytree(source, home / name))
        for name, source in (("first", toy_artifact), ("second", second), ("broken", second))
    ]
    reseal(sources[-1], model_id="tw-broken")
    with (sources[-1] / "model.onnx").open("ab") as file:
        file.write(b"\0")
    uri = f"sqlite:///{home}/mlflow.db"
    with (home / "log").open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-c", REGISTRAR, uri, *map(str, sources)],
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
            cwd=home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert child.stdin is not None
    assert child.stdout is not None

    def point(to: str) -> None:
        child.stdin.write(f"{to}\n")  # type: ignore[union-attr]
        child.stdin.flush()  # type: ignore[union-attr]
        assert "done\n" == child.stdout.readline()  # type: ignore[union-attr]

    try:
        for _ in sources:
            assert "registered\n" == child.stdout.readline(), (home / "log").read_text()
        yield Registry(uri, sources, point)
    finally:
        child.communicate()


def test_an_alias_is_followed(registry: Registry, tmp_path: Path) -> None:
    registry.point("1")
    before = [sorted(path.name for path in source.iterdir()) for source in registry.sources]
    environment = {"MLFLOW_TRACKING_URI": registry.uri, "TMPDIR": str(tmp_path)}
    with start("--model", CHAMPION, "--workers", "2", "--watch", "0.1", environment=environment) as served:
        assert {"tw-toy"} == model_ids(served)
        registry.point("2")
        wait_until(lambda: {"tw-second"} == model_ids(served), "the alias is not followed")
        registry.point("forget")
        wait_until(lambda: served.events("watch"), "no one misses the alias")
        registry.point("3")
        wait_until(lambda: "refused" == served.events("reload")[-1]["outcome"], "it is not refused")
        assert {"tw-second"} == model_ids(served)
        registry.point("1")
        wait_until(lambda: {"tw-toy"} == model_ids(served), "the alias is not followed again")
        reloads = wait_until(lambda: served.events("reload")[2:] and served.events("reload"), "no log")
        assert ["changed", "refused", "changed"] == [event["outcome"] for event in reloads]
        assert reloads[1]["detail"].startswith(f"{CHAMPION}: model.onnx is not the file that the manifest")
        failed, works = served.events("watch")
        assert ("failed", "works again") == (failed["outcome"], works["outcome"])
        assert failed["detail"].startswith(f"{CHAMPION}: the registry cannot say its version: ")
        wait_until(lambda: not [*tmp_path.glob("tierwise-model-*")], "a folder for a download is left")
        assert [] == served.events("failure")
    assert before == [sorted(path.name for path in source.iterdir()) for source in registry.sources]
    assert [] == [*tmp_path.iterdir()]


def test_a_version_is_served_by_one_process(registry: Registry) -> None:
    environment = {"MLFLOW_TRACKING_URI": registry.uri}
    with start("--model", "models:/tierwise/2", "--watch", environment=environment) as served:
        assert {"tw-second"} == model_ids(served)
        assert ["listening"] == [event["event"] for event in served.events() if event["event"] != "request"]


FOLLOWED = "expected models:/NAME@ALIAS or models:/NAME/VERSION; give one of them, or a folder"


@pytest.mark.parametrize("address", ["models:/m-0123456789", "models:/a/b@c", "models:/a@", "models:/a/1/b"])
def test_what_cannot_be_followed_is_told(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        version_of(address)
    assert f"{address}: {FOLLOWED}" == str(caught.value)


def test_what_cannot_be_followed_ends_the_service() -> None:
    address = "models:/tierwise/latest"
    code, out, err = refuse("--model", address, "--watch")
    assert (3, "", f"error: {address}: {FOLLOWED}\n") == (code, out, err)


@pytest.mark.parametrize("login", ["", "bob:sesame@", "bob:sesame/x@", "bob:x@sesame@", "bob:x@y/sesame@"])
def test_a_registry_that_is_not_there_is_told_without_its_password(login: str) -> None:
    environment = {
        "MLFLOW_TRACKING_URI": f"http://{login}127.0.0.1:9",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    code, out, err = refuse("--model", CHAMPION, **environment)
    assert (1, "") == (code, out)
    assert "sesame" not in err
    assert err.startswith(f"error: {CHAMPION}: cannot be fetched from the registry: ")
    assert login or "Connection refused" in err


@pytest.mark.parametrize("workers", ["1", "2"])
def test_without_mlflow_it_is_told_what_to_install(workers: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['mlflow'] = None\n", encoding="utf-8")
    environment = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    options = ("--model", CHAMPION, "--watch", "--workers", workers)
    code, out, err = refuse(*options, **environment)
    assert (3, "", f"error: {CHAMPION} needs MLflow: pip install 'tierwise[train]'\n") == (code, out, err)
