"""MLflow as the pipeline uses it: a real database, real files, and every failure one sentence."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sqlite3
import traceback
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from homes import make_template, rename, renew_home, tracking_of

from router.artifact import read_manifest, sha256_of
from router.errors import ArtifactError, ConfigError
from training.lock import user
from training.pipeline.config import parse_settings
from training.pipeline.faults import explain
from training.pipeline.logbook import Logbook
from training.pipeline.tracking import CHALLENGER, CHAMPION, MANIFEST_TAG, Tracking, TrackingError
from training.pipeline.tracking_connection import open_client


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, toy_artifact: Path) -> Path:
    """A home with three versions; not to be changed."""
    return make_template(tmp_path_factory.getbasetemp(), toy_artifact)


@pytest.fixture
def tracking(template: Path) -> Tracking:
    """The registry of a home like it."""
    return tracking_of(renew_home(template))


# Runs


def test_a_run_is_found_again_by_its_key_alone(tracking: Tracking) -> None:
    assert tracking.find_run("k") is None
    first = tracking.begin("k", "week 1", {"tierwise.git_commit": "abc", "count": 3})
    tracking.end(first, "FAILED")
    second = tracking.begin("k", "week 1", {})
    found = tracking.find_run("k")
    assert found is not None
    assert (second, "RUNNING", "k") == (found.run_id, found.status, found.tags["tierwise.key"])
    assert user() == found.tags["mlflow.user"]
    assert tracking.find_run("other") is None


def test_a_run_is_taken_up_again(tracking: Tracking) -> None:
    run_id = tracking.begin("k", "week 1", {"a": "old"})
    tracking.end(run_id, "FAILED")
    assert run_id == tracking.begin("k", "week 1", {"a": "new"}, run_id)
    found = tracking.find_run("k")
    assert found is not None
    assert (run_id, "RUNNING", "new") == (found.run_id, found.status, found.tags["a"])


def test_parameters_keep_their_first_value(tracking: Tracking) -> None:
    run_id = tracking.begin("k", "week 1", {})
    tracking.log_params(run_id, {f"p{i}": i for i in range(150)})
    tracking.log_params(run_id, {f"p{i}": -i for i in range(151)})
    params = data_of(tracking, run_id).params
    assert {f"p{i}": str(i if i < 150 else -150) for i in range(151)} == params


def test_metrics_without_a_value_are_left_out(tracking: Tracking) -> None:
    run_id = tracking.begin("k", "week 1", {})
    tracking.log_metrics(
        run_id,
        {"a": 1, "b": 0.5, "c": None, "d": float("nan"), "e": True, "gpt-4+ (new)": 2.0}
        | {f"m{i}": i for i in range(200)},
    )
    metrics = data_of(tracking, run_id).metrics
    assert {"a": 1.0, "b": 0.5, "e": 1.0, "gpt-4_ _new_": 2.0} == {
        key: value for key, value in metrics.items() if not key.startswith("m")
    }
    assert 204 == len(metrics)


def test_a_dataset_is_logged_once_with_its_digest(tracking: Tracking) -> None:
    run_id = tracking.begin("k", "week 1", {})
    for _ in range(2):
        tracking.log_dataset(run_id, "history", "f" * 64, "local", {"uri": "h.csv"}, 12, "training")
    (found,) = open_client(tracking.uri, may_create=False).get_run(run_id).inputs.dataset_inputs
    assert ("history", "f" * 36) == (found.dataset.name, found.dataset.digest)
    assert {"rows": 12, "digest": "f" * 64} == json.loads(found.dataset.profile)
    assert [("mlflow.data.context", "training")] == [(tag.key, tag.value) for tag in found.tags]


def described(count: int) -> list[dict[str, str | int]]:
    return [{"name": f"{i}.parquet", "sha256": str(i) * 64} for i in range(count)]


@pytest.mark.parametrize(
    ("history", "files", "kind", "source", "rows"),
    [
        ("logs/*.parquet", 1, "local", {"uri": "0.parquet"}, {"rows": 12}),
        ("logs/*.parquet", 2, "local", {"uri": "0.parquet"}, {}),
        (
            {"url_env": "URL", "query": "SELECT 'x?a=1&b=2'"},
            1,
            "sql",
            {"url_env": "URL", "query": "SELECT 'x?a=1&b=2'"},
            {"rows": 12},
        ),
        (
            {"url": "postgresql://me:s3cret@host/db", "query": "SELECT 'a://b:c@d'"},
            1,
            "sql",
            {"url": "postgresql://me:***@host/db", "query": "SELECT 'a://b:c@d'"},
            {"rows": 12},
        ),
    ],
)
def test_a_dataset_says_where_it_is_from(
    tracking: Tracking,
    tmp_path: Path,
    history: str | dict[str, str],
    files: int,
    kind: str,
    source: dict[str, str],
    rows: dict[str, int],
) -> None:
    run_id = tracking.begin("k", "week 1", {})
    logbook = Logbook(tracking, parse_settings({"history": history, "tiers": "t.toml"}), run_id)
    window = {"rows": 12, "from": None, "until": None}
    logbook.data(described(files), window, {"summary": {}}, tmp_path)
    inputs = open_client(tracking.uri, may_create=False).get_run(run_id).inputs.dataset_inputs
    assert files == len(inputs)
    found = next(each.dataset for each in inputs if "0.parquet" == each.dataset.name)
    assert (kind, source) == (found.source_type, json.loads(found.source))
    assert {**rows, "digest": "0" * 64} == json.loads(found.profile)


def test_files_come_back(tracking: Tracking, tmp_path: Path) -> None:
    run_id = tracking.begin("k", "week 1", {})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").write_text("a")
    tracking.log_files(run_id, tmp_path / "out", "report")
    tracking.log_files(run_id, tmp_path / "out" / "a.txt")
    into = tmp_path / "into"
    assert into / "a.txt" == tracking.fetch(run_id, "report/a.txt", into)
    assert into / "a.txt" == tracking.fetch(run_id, "a.txt", into)
    assert ["a.txt"] == [path.name for path in into.iterdir()]
    for missing in ("b.txt", "report/b.txt", "nowhere/b.txt"):
        assert tracking.fetch(run_id, missing, into) is None


def data_of(tracking: Tracking, run_id: str):  # noqa: ANN201 - MLflow's own
    return open_client(tracking.uri, may_create=False).get_run(run_id).data


# Versions


def test_a_version_holds_the_artefact_and_its_tags(
    tracking: Tracking, tmp_path: Path, toy_artifact: Path
) -> None:
    found = tracking.version(2)
    assert found is not None
    assert ("tw-000000000002", "ROUTE") == (found.tags["tierwise.model_id"], found.tags["tierwise.verdict"])
    folder = tracking.fetch_model(2, tmp_path / "fetched")
    assert sorted(path.name for path in toy_artifact.iterdir()) == sorted(
        path.name for path in folder.iterdir()
    )
    assert found.tags[MANIFEST_TAG] == sha256_of(folder / "manifest.json")
    for name, digest in read_manifest(folder).files.items():
        assert digest == sha256_of(folder / name)
    assert ["fetched"] == [path.name for path in tmp_path.iterdir()]
    assert [1, 2, 3] == [version.version for version in tracking.versions()]
    assert tracking.version(4) is None


def test_aliases_stand_for_versions(tracking: Tracking) -> None:
    newest = tracking.alias(CHALLENGER)
    assert newest is not None
    assert 3 == newest.version
    assert tracking.alias(CHAMPION) is None
    tracking.set_alias(CHAMPION, 2)
    champion = tracking.alias(CHAMPION)
    assert champion is not None
    assert 2 == champion.version
    with pytest.raises(TrackingError, match="cannot make version 9 the champion"):
        tracking.set_alias(CHAMPION, 9)
    assert champion == tracking.alias(CHAMPION)


def test_tags_of_versions_and_of_the_model(tracking: Tracking) -> None:
    tracking.tag_version(1, {"tierwise.verdict": "KEEP", "long": "x" * 9000})
    found = tracking.version(1)
    assert found is not None
    assert ("KEEP", 5000) == (found.tags["tierwise.verdict"], len(found.tags["long"]))
    assert {} == tracking.model_tags()
    tracking.set_model_tag("tierwise.served.000001", "{}")
    assert {"tierwise.served.000001": "{}"} == tracking.model_tags()


class Interrupted(BaseException):
    """A crash, as nothing catches it."""


@pytest.mark.parametrize(
    "step",
    ["log_model_artifacts", "finalize_logged_model", "create_model_version", "set_registered_model_alias"],
)
@pytest.mark.parametrize("done", [False, True])
def test_a_registration_that_was_cut_off_is_finished_once(
    tracking: Tracking,
    toy_artifact: Path,
    tmp_path: Path,
    step: str,
    done: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlflow.tracking import MlflowClient

    artefact = rename(toy_artifact, tmp_path / "new", "tw-new")
    run_id = tracking.begin("new", "week 4", {})
    real = getattr(MlflowClient, step)

    def cut_off(*arguments: object, **named: object) -> None:
        if done:
            real(*arguments, **named)
        raise Interrupted

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, step, cut_off)
        with pytest.raises(Interrupted):
            tracking.register(run_id, artefact, "week 4", {"a": "b"})
    assert 4 == tracking.register(run_id, artefact, "week 4", {"a": "b"})
    assert 4 == tracking.register(run_id, artefact, "week 4", {"a": "b"})
    assert [1, 2, 3, 4] == [version.version for version in tracking.versions()]
    newest = tracking.alias(CHALLENGER)
    assert newest is not None
    assert (4, "b") == (newest.version, newest.tags["a"])
    assert "tw-new" == read_manifest(tracking.fetch_model(4, tmp_path / "fetched")).model_id
    client = open_client(tracking.uri, may_create=False)
    logged = client.search_logged_models(["1"], filter_string=f"source_run_id = '{run_id}'")
    assert ["READY"] == [str(model.status) for model in logged]


def test_another_model_of_the_same_run_is_another_version(
    tracking: Tracking, toy_artifact: Path, tmp_path: Path
) -> None:
    run_id = tracking.begin("new", "week 4", {})
    numbers = [
        tracking.register(run_id, rename(toy_artifact, tmp_path / name, name), "", {})
        for name in ("tw-a", "tw-b")
    ]
    assert [4, 5] == numbers
    assert 4 == tracking.register(run_id, tmp_path / "tw-a", "", {})
    newest = tracking.alias(CHALLENGER)
    assert newest is not None
    assert 5 == newest.version


def test_a_broken_artefact_is_not_registered(tracking: Tracking, toy_artifact_copy: Path) -> None:
    (toy_artifact_copy / "model.onnx").write_bytes(b"x")
    run_id = tracking.begin("new", "week 4", {})
    with pytest.raises(ArtifactError, match=r"model\.onnx is not the file"):
        tracking.register(run_id, toy_artifact_copy, "", {})
    assert 3 == len(tracking.versions())


def test_a_version_whose_files_are_gone(tracking: Tracking, toy_artifact: Path, tmp_path: Path) -> None:
    run_id = tracking.begin("new", "week 4", {})
    number = tracking.register(run_id, rename(toy_artifact, tmp_path / "new", "tw-new"), "", {})
    source = open_client(tracking.uri, may_create=False).get_model_version_download_uri(
        "tierwise", str(number)
    )
    folder = Path(source.removeprefix("file://"))
    (folder / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match=r"version 4 of tierwise holds no manifest\.json"):
        tracking.fetch_model(number, tmp_path / "a")
    shutil.rmtree(folder)
    with pytest.raises(ArtifactError, match=r"cannot fetch version 4 .*: what should be there is not; check"):
        tracking.fetch_model(number, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_nothing_is_taken_from_the_environment(
    tracking: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toy_artifact: Path
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/elsewhere.db")
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "77")
    tracking.open()  # MLflow's own switches are set by the first use of a process
    before = dict(os.environ)
    run_id = tracking.begin("new", "week 4", {})
    assert 4 == tracking.register(run_id, rename(toy_artifact, tmp_path / "new", "tw-new"), "", {})
    assert before == dict(os.environ)
    assert not (tmp_path / "elsewhere.db").exists()


# What can go wrong


def test_a_database_is_not_made_where_none_is_wanted(tmp_path: Path) -> None:
    tracking = Tracking(f"sqlite:///{tmp_path}/x/mlflow.db", tmp_path, "tierwise", may_create=False)
    with pytest.raises(ConfigError, match=r"no database at .*/x/mlflow\.db, so no model is registered there"):
        tracking.open()
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "text.db",
            b"this is no database, but it is a file of some length" * 40,
            "not a database that can be read",
        ),
        ("folder", None, "the database file cannot be opened"),
    ],
)
def test_what_is_not_a_database(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    path = tmp_path / name
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    tracking = Tracking(f"sqlite:///{path}", tmp_path, "tierwise")
    with pytest.raises(TrackingError, match=message) as failed:
        tracking.open()
    assert f"at {path}: " in str(failed.value)


def test_a_server_that_is_not_there_is_one_sentence_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0"
    )  # the environment goes before our own short waits
    tracking = Tracking("http://me:s3cret@127.0.0.1:9/", tmp_path, "tierwise")
    with pytest.raises(TrackingError) as failed:
        tracking.find_run("k")
    assert (
        "MLflow: cannot look for earlier runs at http://me:***@127.0.0.1:9/: the server does not answer; start it or check "
        "the address, then run it again: it goes on where it stopped"
    ) == str(failed.value)
    assert tracking.seconds > 0


def test_an_unreachable_database_server_does_not_hold_a_run_up(tmp_path: Path) -> None:
    tracking = Tracking("postgresql://me:s3cret@127.0.0.1:9/db", tmp_path, "tierwise")
    with pytest.raises(TrackingError) as failed:
        tracking.find_run("k")
    assert "at postgresql://me:***@127.0.0.1:9/db: " in str(failed.value)
    assert "s3cret" not in "".join(traceback.format_exception_only(failed.value))


def test_a_deleted_experiment_is_said(tracking: Tracking) -> None:
    open_client(tracking.uri, may_create=False).delete_experiment("1")
    with pytest.raises(TrackingError, match=r"the experiment tierwise at .* is deleted; restore it with"):
        tracking.find_run("k")


def test_two_first_runs_at_one_server_share_an_experiment_and_a_model(
    tracking: Tracking, toy_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each looks before the other has made it."""
    from mlflow.tracking import MlflowClient

    by_name = MlflowClient.get_experiment_by_name
    asked: list[str] = []

    def too_early(client: MlflowClient, name: str) -> object:
        asked.append(name)
        return None if 1 == len(asked) else by_name(client, name)

    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", too_early)
    run_id = tracking.begin("k", "week 4", {})
    assert ["tierwise"] * 2 == asked
    assert "1" == open_client(tracking.uri, may_create=False).get_run(run_id).info.experiment_id
    monkeypatch.setattr(tracking, "_registered", lambda _: None)
    assert 4 == tracking.register(run_id, rename(toy_artifact, tmp_path / "new", "tw-new"), "", {})


def test_an_experiment_that_cannot_be_made_is_said(tracking: Tracking) -> None:
    tracking.experiment = "x" * 501  # longer than MLflow takes
    with pytest.raises(TrackingError, match="exceeds the maximum length of 500"):
        tracking.find_run("k")


# Where files are kept


def kept_at(template: Path, folder: Path, artifact_dir: Path) -> Tracking:
    """The registry of a copied home whose experiment keeps its files in a folder."""
    home = renew_home(template)
    with closing(sqlite3.connect(home / "mlflow.db")) as base, base:
        base.execute(
            "UPDATE experiments SET artifact_location = ? WHERE name = 'tierwise'", [folder.as_uri()]
        )
    return Tracking(f"sqlite:///{home}/mlflow.db", artifact_dir, "tierwise")


def test_another_folder_for_files_is_refused_and_not_ignored(template: Path, tmp_path: Path) -> None:
    kept, other = tmp_path / "old place", tmp_path / "new"
    kept.mkdir()
    tracking = kept_at(template, kept, other)
    with pytest.raises(ConfigError) as refused:
        tracking.find_run("k")
    assert (
        f"the experiment tierwise at {tracking.where} keeps its files at {kept}, and artifact_dir is {other}; set "
        f"artifact_dir to {kept}, or name another tracking_uri"
    ) == str(refused.value)
    assert kept_at(template, kept, kept).find_run("k") is None
    other.symlink_to(kept)
    assert kept_at(template, kept, other).find_run("k") is None


def test_a_home_that_was_moved_is_said_and_a_link_mends_it(template: Path, tmp_path: Path) -> None:
    moved = renew_home(template) / "artifacts"  # the default, of this home
    gone = tmp_path / "before"
    tracking = kept_at(template, gone, moved)
    moved.mkdir()
    with pytest.raises(
        ConfigError, match=r"there is nothing at .*/before any more: .* make it a link to where"
    ):
        tracking.find_run("k")
    gone.symlink_to(moved)
    assert tracking.find_run("k") is None


def test_a_place_that_is_no_folder_counts(template: Path, tmp_path: Path) -> None:
    tracking = kept_at(template, tmp_path, tmp_path / "other")
    with closing(sqlite3.connect(tracking.where)) as base, base:
        base.execute("UPDATE experiments SET artifact_location = 's3://bucket/x' WHERE name = 'tierwise'")
    assert tracking.find_run("k") is None


def test_files_that_cannot_be_stored(tracking: Tracking, tmp_path: Path) -> None:
    run_id = tracking.begin("k", "week 1", {})
    with pytest.raises(TrackingError, match=r"cannot store none\.txt at .*renewed/mlflow\.db"):
        tracking.log_files(run_id, tmp_path / "none.txt")


def failure(act: Callable[[], object]) -> Exception:
    """What an act raises, as it is."""
    try:
        act()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def locked(folder: Path) -> Exception:
    one, other = (sqlite3.connect(folder / "x.db", timeout=0, isolation_level=None) for _ in range(2))
    try:
        one.execute("BEGIN EXCLUSIVE")
        return failure(lambda: other.execute("CREATE TABLE t (a)"))
    finally:
        one.close()
        other.close()


def full(folder: Path) -> Exception:
    base = sqlite3.connect(folder / "x.db")
    try:
        base.execute("PRAGMA max_page_count = 1")
        return failure(lambda: base.execute("CREATE TABLE t (a)"))
    finally:
        base.close()


def read_only(folder: Path) -> Exception:
    sqlite3.connect(folder / "x.db").close()
    (folder / "x.db").touch()
    base = sqlite3.connect(f"file:{folder / 'x.db'}?mode=ro", uri=True)
    try:
        return failure(lambda: base.execute("CREATE TABLE t (a)"))
    finally:
        base.close()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (locked, "another process holds the database .*; wait for it or stop it"),
        (full, "the disk is full or fails; make room"),
        (read_only, "this user may not write or read there; give it the rights"),
        (lambda _: OSError(errno.ENOSPC, "kein Platz"), "the disk is full or fails; make room"),
        (lambda _: PermissionError(errno.EACCES, "verboten"), "this user may not write"),
        (lambda _: TimeoutError("timed out"), "does not answer in time"),
        (
            lambda _: ModuleNotFoundError("No module", name="psycopg"),
            "psycopg is not installed; pip install psycopg",
        ),
        (lambda _: RuntimeError("first line\nsecond line"), "cannot do it at .*: first line; "),
        (lambda _: RuntimeError("Experiment(name=tierwise) already exists."), "at .*: Experiment.* already exists; if"),
        (lambda _: RuntimeError("Table 'runs' already exists"), "the database is half made"),
        (lambda _: RuntimeError("duplicate column name: x"), "the database is half made"),
        (lambda _: RuntimeError("exceeded length limit of 500"), "at .*: exceeded length limit of 500; if"),
        (lambda _: RuntimeError("there are 404 of 403 and 401"), "at .*: there are 404 of 403 and 401; if"),
        (lambda _: RuntimeError("API request to endpoint /x failed with error code 503 != 200"), "server does not answer;"),
        (lambda _: RuntimeError("502 Server Error: Bad Gateway for url: http://x"), "the server does not answer;"),
        (lambda _: RuntimeError("API request to endpoint /x failed with error code 401 != 200"), "these credentials"),
        (lambda _: RuntimeError("403 Client Error for url: http://x"), "the server refuses these credentials"),
        (lambda _: RuntimeError("HTTP/1.1 404"), "what should be there is not"),
        (lambda _: RuntimeError("status code: 404"), "what should be there is not"),
        (lambda _: RuntimeError("An error occurred (404) when calling GetObject"), "what should be there is not"),
        (lambda _: RuntimeError(""), ": RuntimeError; "),
        (lambda _: RuntimeError("x" * 5000), "x…; "),
    ],
)  # fmt: skip
def test_causes_are_told_apart(tmp_path: Path, make: Callable[[Path], Exception], expected: str) -> None:
    wrapped = RuntimeError("(sqlite3.OperationalError) [SQL: INSERT INTO runs ...]")
    wrapped.__cause__ = make(tmp_path)
    for error in (make(tmp_path), wrapped):
        assert_matches(expected, str(explain(error, "do it", "sqlite:////data/mlflow.db")))


def assert_matches(expected: str, found: str) -> None:
    assert re.search(expected, found), found
    assert 1 == len(found.splitlines())
    assert len(found) < 500


def test_no_secret_gets_into_a_sentence() -> None:
    uri = "postgresql://me:p%40ss@host/db?sslpassword=hush"
    error = RuntimeError(f"connect {uri} with p@ss, hush; saw http://x:other@y/")
    found = str(explain(error, "do it", uri))
    assert not [secret for secret in ("p%40ss", "p@ss", "hush", "other") if secret in found], found


# What a person sees


def test_a_new_database_is_announced_and_nothing_else_is_printed(template: Path) -> None:
    out, err = json.loads((template.parents[1] / "printed.json").read_text(encoding="utf-8"))
    announced = f"MLflow: making the database {template / 'mlflow.db'}, once; this takes some seconds"
    assert [announced] == err.splitlines()
    assert "3 ['answer', 'novelty', 'p_pass', 'spread'] (4, 3) ['x']\n" == out
    assert ["home"] == [path.name for path in template.parent.iterdir()]
    assert ["artifacts", "from", "mlflow.db"] == sorted(path.name for path in template.iterdir())
