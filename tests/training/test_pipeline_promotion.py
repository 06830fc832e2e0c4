"""Promote, roll back, look back: the alias, the journal and the champion's folder, whatever is cut off where."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from homes import make_template, place_of, rename, renew_home, tracking_of

import training.pipeline.promotion as promotion
from router.artifact import read_manifest
from router.errors import ArtifactError, ConfigError, RequestError
from training.__main__ import main
from training.lock import hold
from training.pipeline.champions import predecessors, read_journal, terms
from training.pipeline.promotion import FOLDER_TAG, check_place, holds, promote, rollback, sync
from training.pipeline.settings import Place
from training.pipeline.tracking import CHAMPION, Tracking
from training.pipeline.tracking_connection import open_client

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, toy_artifact: Path) -> Path:
    """A home with three versions; not to be changed."""
    return make_template(tmp_path_factory.getbasetemp(), toy_artifact)


@pytest.fixture
def home(template: Path) -> Path:
    """A home like it."""
    return renew_home(template)


@pytest.fixture
def place(home: Path) -> Place:
    return place_of(home)


@pytest.fixture
def tracking(home: Path) -> Tracking:
    return tracking_of(home)


def champion_of(tracking: Tracking) -> int | None:
    found = tracking.alias(CHAMPION)
    return found.version if found else None


def exported(place: Place) -> str | None:
    """The model that the champion's folder holds."""
    there = place.champion_dir.is_dir()
    return read_manifest(place.champion_dir).model_id if there else None


def model_id(version: int | None) -> str | None:
    return None if version is None else f"tw-{version:012d}"


def assert_serves(tracking: Tracking, place: Place, version: int | None) -> None:
    """The alias stands for it, and the folder holds it, every file."""
    found = tracking.alias(CHAMPION)
    assert version == (found.version if found else None)
    assert model_id(version) == exported(place)
    if found is not None:
        assert holds(place.champion_dir, found)
    assert [] == [path.name for path in place.home.iterdir() if path.name.startswith(".")]


def test_promote_and_roll_back(tracking: Tracking, place: Place) -> None:
    for version, previous in ((1, None), (2, 1), (3, 2)):
        result = promote(tracking, place, version, f"week {version}")
        assert (True, version, previous) == (result["changed"], result["champion"], result["previous"])
        assert model_id(version) == result["model_id"]
        assert_serves(tracking, place, version)
    for version in (2, 1):
        assert version == rollback(tracking, place)["champion"]
        assert_serves(tracking, place, version)
    with pytest.raises(
        ConfigError, match="nothing to go back to: version 1 is the first champion of tierwise"
    ):
        rollback(tracking, place)
    assert_serves(tracking, place, 1)
    events = read_journal(tracking.model_tags()).events
    assert ["promote"] * 3 + ["rollback"] * 2 == [event.kind for event in events]
    assert all(event.moved for event in events)
    assert [1, 2, 3, 2, 1] == [term.version for term in terms(events, 1)]


def test_the_champion_is_not_promoted_again_but_its_folder_is_mended(
    tracking: Tracking, place: Place
) -> None:
    promote(tracking, place, 2)
    (place.champion_dir / "model.onnx").write_bytes(b"damaged")
    result = promote(tracking, place, 2)
    assert (False, 2, 2) == (result["changed"], result["champion"], result["previous"])
    assert_serves(tracking, place, 2)
    assert 1 == len(read_journal(tracking.model_tags()).events)


def test_a_demotion_can_be_taken_back(tracking: Tracking, place: Place) -> None:
    promote(tracking, place, 1)
    promote(tracking, place, 2)
    promote(tracking, place, 1, "its certificate is void", kind="demote")
    assert 2 == rollback(tracking, place)["champion"]


def test_without_a_champion_there_is_nothing_to_go_back_to(tracking: Tracking, place: Place) -> None:
    with pytest.raises(ConfigError, match=r"there is no champion of tierwise at .*; there are: 1, 2, 3"):
        rollback(tracking, place)
    assert (None, False) == sync(tracking, place)
    assert not place.champion_dir.exists()


def test_an_unknown_version_is_refused_with_those_there_are(tracking: Tracking, place: Place) -> None:
    promote(tracking, place, 1)
    with pytest.raises(RequestError, match=r"tierwise has no version 9 at .*; there are: 1, 2, 3"):
        promote(tracking, place, 9)
    assert_serves(tracking, place, 1)


def test_a_version_that_does_not_open_is_refused(
    tracking: Tracking, place: Place, toy_artifact: Path, tmp_path: Path
) -> None:
    promote(tracking, place, 1)
    run_id = tracking.begin("new", "week 4", {})
    number = tracking.register(run_id, rename(toy_artifact, tmp_path / "new", "tw-new"), "", {})
    source = open_client(tracking.uri, may_create=False).get_model_version_download_uri(
        "tierwise", str(number)
    )
    (Path(source.removeprefix("file://")) / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(ArtifactError) as refused:
        promote(tracking, place, number)
    text = str(refused.value)
    assert text.startswith(
        "version 4 of tierwise does not open, so it does not become the champion: its artefact: "
    )
    assert "model.onnx is not the file that the manifest describes" in text
    assert_serves(tracking, place, 1)
    assert 1 == len(read_journal(tracking.model_tags()).events)


def test_a_rollback_goes_past_a_deleted_version(tracking: Tracking, place: Place) -> None:
    for version in (1, 2, 3):
        promote(tracking, place, version)
    open_client(tracking.uri, may_create=False).delete_model_version("tierwise", "2")
    result = rollback(tracking, place)
    assert (1, [2]) == (result["champion"], result["skipped"])
    assert_serves(tracking, place, 1)
    with pytest.raises(ConfigError, match="nothing to go back to"):
        rollback(tracking, place)


def test_a_champion_that_was_deleted_is_rolled_back_from(tracking: Tracking, place: Place) -> None:
    promote(tracking, place, 1)
    promote(tracking, place, 2)
    open_client(tracking.uri, may_create=False).delete_model_version("tierwise", "2")
    assert champion_of(tracking) is None
    assert 1 == rollback(tracking, place)["champion"]
    assert_serves(tracking, place, 1)


def test_a_move_by_hand_counts_and_its_folder_follows(tracking: Tracking, place: Place) -> None:
    promote(tracking, place, 1)
    tracking.set_alias(CHAMPION, 3)
    synced = sync(tracking, place)
    assert synced.champion is not None
    assert (3, True) == (synced.champion.version, synced.changed)
    assert_serves(tracking, place, 3)
    assert not sync(tracking, place).changed
    assert 1 == rollback(tracking, place)["champion"]


def test_a_folder_of_something_else_is_not_replaced(tracking: Tracking, place: Place) -> None:
    place.champion_dir.mkdir()
    (place.champion_dir / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="holds files that are not an artefact; name another champion_dir"):
        promote(tracking, place, 1)
    assert champion_of(tracking) is None
    assert ["thesis.txt"] == [path.name for path in place.champion_dir.iterdir()]


def test_a_folder_that_cannot_be_made_leaves_the_champion(tracking: Tracking, place: Place) -> None:
    promote(tracking, place, 1)
    elsewhere = Place(
        place.home, place.tracking_uri, place.artifact_dir, place.home / "mlflow.db" / "champion", "tierwise"
    )
    with pytest.raises(ConfigError, match=r"folder cannot be made ready \(.*\); name another champion_dir"):
        promote(tracking, elsewhere, 2)
    assert_serves(tracking, place, 1)


def files_under(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.name not in ("mlflow.db-wal", "mlflow.db-shm")}


def test_a_place_that_cannot_be_taken_is_refused_before_anything_is_done(
    place: Place, toy_artifact: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").touch()
    (tmp_path / "to notes").symlink_to(tmp_path / "notes")
    shutil.copytree(toy_artifact, tmp_path / "older")
    (tmp_path / "empty").mkdir()
    (tmp_path / "to nothing").symlink_to(tmp_path / "later")
    before = files_under(tmp_path)
    for name, why in (
        ("notes", "holds files that are not an artefact"),
        ("to notes", "holds files that are not an artefact"),
        ("file", "holds files that are not an artefact"),
        ("file/champion", r"cannot be made ready \(Not a directory\)"),
        ("file/deeper/champion", r"cannot be made ready \(Not a directory\)"),
    ):
        with pytest.raises(ConfigError, match=rf"{why}; name another champion_dir"):
            check_place(replace(place, champion_dir=tmp_path / name))
    for name in ("older", "empty", "new", "deeper/and/new", "to nothing"):
        check_place(replace(place, champion_dir=tmp_path / name))
    assert before == files_under(tmp_path)


LOCKED = """
import os, sys
from pathlib import Path
from homes import place_of
from dataclasses import replace
from training.pipeline.promotion import check_place
from router.errors import ConfigError
if os.getuid() == 0:  # root may write anywhere: be nobody
    os.setgid(65534)
    os.setuid(65534)
for name in sys.argv[1:]:
    try:
        check_place(replace(place_of(Path("home")), champion_dir=Path(name)))
    except ConfigError as error:
        print(error)
"""


def test_a_place_that_cannot_be_written_is_refused(toy_artifact: Path, tmp_path: Path) -> None:
    shutil.copytree(toy_artifact, tmp_path / "open" / "theirs")
    (tmp_path / "locked").mkdir()
    for folder, mode in ((".", 0o755), ("open", 0o777), ("open/theirs", 0o555), ("locked", 0o555)):
        (tmp_path / folder).chmod(mode)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            LOCKED,
            "locked/champion",
            "locked/a/champion",
            "open/theirs",
            "open/champion",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
    )
    assert [
        "locked/champion: locked is not writable; name another champion_dir",
        "locked/a/champion: locked is not writable; name another champion_dir",
        "open/theirs: open/theirs is not writable; name another champion_dir",
    ] == done.stdout.splitlines(), done.stderr


def test_a_link_to_the_folder_stays_a_link(tracking: Tracking, place: Place, tmp_path: Path) -> None:
    """The next champion is made beside the folder itself, which may be on another disk than the link."""
    place = replace(place, champion_dir=tmp_path / "link")
    place.champion_dir.symlink_to(tmp_path / "disk" / "served")
    for version in (1, 2):
        left = tmp_path / "disk" / ".served.next.killed"
        left.mkdir(parents=True)
        promote(tracking, place, version)
        assert_serves(tracking, place, version)
        assert ["served"] == [path.name for path in left.parent.iterdir()]
    assert place.champion_dir.is_symlink()


# Cut off


class Killed(BaseException):
    """The end of a process, as nothing catches it."""


STEPS = ["fetched", "written", "moved", "marked", "published"]


class Doomed(Tracking):
    """A registry whose process ends right after a step."""

    step = ""

    def fetch_model(self, number: int, into: Path) -> Path:
        found = super().fetch_model(number, into)
        self.end_after("fetched")
        return found

    def set_model_tag(self, key: str, value: str) -> None:
        super().set_model_tag(key, value)
        if key != FOLDER_TAG:
            self.end_after("marked" if json.loads(value)["moved"] else "written")

    def set_alias(self, name: str, number: int) -> None:
        super().set_alias(name, number)
        self.end_after("moved")

    def end_after(self, step: str) -> None:
        if step == self.step:
            raise Killed


@pytest.mark.parametrize("kind", ["promote", "rollback"])
@pytest.mark.parametrize("step", STEPS[:-1])
def test_what_is_cut_off_leaves_one_champion_and_the_next_command_mends(
    tracking: Tracking, place: Place, step: str, kind: str
) -> None:
    promote(tracking, place, 1)
    promote(tracking, place, 2)
    doomed = Doomed(place.tracking_uri, place.artifact_dir, place.model_name)
    doomed.step = step
    was, to_be = 2, 3 if kind == "promote" else 1
    with pytest.raises(Killed):
        promote(doomed, place, 3) if kind == "promote" else rollback(doomed, place)
    moved = step in ("moved", "marked")
    assert (to_be if moved else was) == champion_of(tracking)
    assert model_id(was) == exported(place)
    assert_mended(tracking, place, was, to_be, moved, kind)


def assert_mended(tracking: Tracking, place: Place, was: int, to_be: int, moved: bool, kind: str) -> None:
    """The next command sets folder and journal right, and a rollback goes where it should."""
    sync(tracking, place)
    assert_serves(tracking, place, to_be if moved else was)
    expected = [1] if not moved else [2, 1] if kind == "promote" else []
    assert expected == predecessors(read_journal(tracking.model_tags()).events, champion_of(tracking))
    if not moved:
        promote(tracking, place, to_be)
        assert_serves(tracking, place, to_be)


CHILD = """
import os, signal, sys
from pathlib import Path
from homes import place_of
import training.pipeline.promotion as promotion
from training.pipeline.tracking import Tracking
home, kind, step = sys.argv[1:]
def end_after(name, function, when=lambda *a: True):
    def wrapped(*a, **k):
        found = function(*a, **k)
        if name == step and when(*a):
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    return wrapped
Tracking.fetch_model = end_after("fetched", Tracking.fetch_model)
Tracking.set_model_tag = end_after("written", Tracking.set_model_tag, lambda s, k, v: '"moved": null' in v)
Tracking.set_alias = end_after("moved", Tracking.set_alias)
Tracking.set_model_tag = end_after("marked", Tracking.set_model_tag, lambda s, k, v: '"moved": null' not in v)
promotion.publish = end_after("published", promotion.publish)
place = place_of(Path(home))
tracking = promotion.open_tracking(place)
promotion.promote(tracking, place, 3) if kind == "promote" else promotion.rollback(tracking, place)
"""


@pytest.mark.pipeline
@pytest.mark.parametrize("kind", ["promote", "rollback"])
@pytest.mark.parametrize("step", STEPS)
def test_a_killed_process_leaves_one_champion(tracking: Tracking, place: Place, step: str, kind: str) -> None:
    promote(tracking, place, 1)
    promote(tracking, place, 2)
    was, to_be = 2, 3 if kind == "promote" else 1
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(place.home), kind, step],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
    )
    assert -signal.SIGKILL == done.returncode, done.stderr
    moved = step in ("moved", "marked", "published")
    assert (to_be if moved else was) == champion_of(tracking)
    assert model_id(to_be if step == "published" else was) == exported(place)
    assert_mended(tracking, place, was, to_be, moved, kind)


def test_what_was_left_beside_the_folder_is_cleared_away(tracking: Tracking, place: Place) -> None:
    left = place.home / ".champion.next.killed"
    left.mkdir(parents=True)
    (left / "half").touch()
    promote(tracking, place, 1)
    assert_serves(tracking, place, 1)


def fail(*_: Path) -> None:
    raise ArtifactError("no rights")


SWAP = """
import os, signal, sys
from pathlib import Path
import training.package as package
work, out, renames = map(Path, sys.argv[1:])
package._exchange = lambda one, other: False  # as on a file system that has no such call
left, rename = int(str(renames)), Path.rename
def rename_until(self, target):
    global left
    found = rename(self, target)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return found
Path.rename = rename_until
package.publish(work, out)
"""


@pytest.mark.parametrize(("renames", "stands"), [(1, None), (2, 2)])
def test_killed_between_two_renames_the_next_command_makes_the_folder_again(
    tracking: Tracking,
    place: Place,
    toy_artifact: Path,
    renames: int,
    stands: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where two folders cannot be swapped in one step."""
    promote(tracking, place, 1)
    work = rename(toy_artifact, place.home / ".champion.next.killed", "tw-000000000002")
    script = [sys.executable, "-c", SWAP, str(work), str(place.champion_dir), str(renames)]
    done = subprocess.run(script, capture_output=True, text=True, check=False, cwd=ROOT)
    assert -signal.SIGKILL == done.returncode, done.stderr
    assert model_id(stands) == exported(place)
    (old,) = place.home.glob(".champion.old.*")
    assert model_id(1) == read_manifest(old / "champion").model_id
    tracking.set_alias(CHAMPION, 2)
    if stands is None:
        with monkeypatch.context() as outage:
            outage.setattr(promotion, "open_artifact", fail)
            with pytest.raises(ArtifactError, match="no rights"):
                sync(tracking, place)
        assert old.exists()  # it goes once a folder stands, and not before
    sync(tracking, place)
    assert_serves(tracking, place, 2)


def test_a_failure_after_the_move_says_that_the_champion_moved(
    tracking: Tracking, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(tracking, place, 1)

    def fails(*_: Path) -> None:
        raise ConfigError("no rights")

    monkeypatch.setattr(promotion, "publish", fails)
    with pytest.raises(
        ConfigError, match="version 2 is the champion now, but not all is done: no rights; the next"
    ):
        promote(tracking, place, 2)
    monkeypatch.undo()
    assert (2, model_id(1)) == (champion_of(tracking), exported(place))
    sync(tracking, place)
    assert_serves(tracking, place, 2)


# Commands


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any] | None, str]:
    """Exit code, document and stderr of a command, in this process."""
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert len(lines) <= 1
    return code, json.loads(lines[0]) if lines else None, captured.err


def test_the_commands(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, document, err = run(capsys, "promote", "1", "--home", home, "--reason", "the first")
    folder = f"its folder: {home / 'champion'}\n"
    assert (0, f"promote: version 1 is the champion now; {folder}") == (code, err)
    assert document is not None
    assert (1, str(home / "champion")) == (document["champion"], document["champion_dir"])
    _, _, err = run(capsys, "promote", "3", "--home", home)
    assert f"promote: version 3 is the champion now; before, it was version 1; {folder}" == err
    code, _, err = run(capsys, "promote", "3", "--home", home)
    assert (0, "promote: version 3 is the champion already; nothing to do\n") == (code, err)
    shutil.rmtree(home / "champion")
    code, _, err = run(capsys, "promote", "3", "--home", home)
    assert (0, f"promote: version 3 is the champion already; put in {folder}") == (code, err)
    code, _, err = run(capsys, "rollback", "--home", home)
    assert (0, f"rollback: version 1 is the champion again; before, it was version 3; {folder}") == (
        code,
        err,
    )
    code, document, err = run(capsys, "rollback", "--home", home)
    assert (3, None) == (code, document)
    assert err.startswith("error: nothing to go back to: ")
    assert 1 == len(err.splitlines())
    code, document, err = run(capsys, "promote", "12", "--home", home)
    assert (2, None) == (code, document)

    code, document, err = run(capsys, "history", "--home", home)
    assert document is not None
    assert (0, 1, 3, None, True) == (
        code,
        document["champion"],
        document["challenger"],
        document["rollback_to"],
        document["champion_dir_current"],
    )
    assert [1, 3, 1] == [term["version"] for term in document["terms"]]
    assert [1, 2, 3] == [version["version"] for version in document["versions"]]
    head, *rows = err.splitlines()
    assert ["version", "from", "until", "how", "by", "reason"] == head.split()
    assert 3 == len(rows)
    assert rows[0].endswith("the first")
    assert " now " in rows[2]


def test_a_command_without_the_configuration_says_which_folder_it_left(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Servers read the configured folder, and would stay on the version that is fled from."""
    config, served = tmp_path / "weekly.toml", tmp_path / "served"
    config.write_text(f'home = "{home}"\nchampion_dir = "{served}"\n', encoding="utf-8")
    for version in (1, 2):
        _, document, err = run(capsys, "promote", version, "--config", config)
        assert document is not None
        assert (str(served), None) == (document["champion_dir"], document["note"])
        assert err.endswith(f"; its folder: {served}\n")
    assert not (home / "champion").exists()
    code, document, err = run(capsys, "rollback", "--home", home)
    assert document is not None
    said, note = err.splitlines()
    assert (0, 1, f"note: {document['note']}") == (code, document["champion"], note)
    assert said.endswith(f"; its folder: {home / 'champion'}")
    assert (
        f"the champion's folder was {served} by an earlier run, and that stays at version 2; to put version 1 there, too: "
        f"`python -m training promote 1` with the run's --config FILE, or --champion-dir {served}"
    ) == document["note"]
    assert ("tw-000000000002", "tw-000000000001") == tuple(
        read_manifest(folder).model_id for folder in (served, home / "champion")
    )
    # What the note says does it.
    code, document, err = run(capsys, "promote", "1", "--home", home, "--champion-dir", served)
    assert document is not None
    assert (0, None) == (code, document["note"])
    assert f"promote: version 1 is the champion already; put in its folder: {served}\n" == err
    assert "tw-000000000001" == read_manifest(served).model_id
    assert str(served) == tracking_of(home).model_tags()[FOLDER_TAG]


def test_a_folder_that_cannot_be_looked_at_is_named_all_the_same(tracking: Tracking, place: Place) -> None:
    promote(tracking, place, 1)
    tracking.set_model_tag(FOLDER_TAG, "/srv/of/another/machine")
    assert (
        "was /srv/of/another/machine by an earlier run, and that is left as it is; to put version 2"
        in str(promote(tracking, place, 2)["note"])
    )


def test_history_says_what_is_not_as_it_should_be(
    home: Path, tracking: Tracking, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    _, document, err = run(capsys, "history", "--home", home)
    assert document is not None
    assert (None, [], None) == (document["champion"], document["terms"], document["champion_dir_current"])
    assert "history: there is no champion\n" in err
    tracking.set_alias(CHAMPION, 2)
    tracking.set_model_tag("tierwise.served.000001", "scribbled \x1b[31m")
    _, document, err = run(capsys, "history", "--home", home)
    assert document is not None
    assert [(2, "by hand", None)] == [(t["version"], t["kind"], t["since"]) for t in document["terms"]]
    assert "does not hold the champion; the next promote, rollback or retrain mends it" in err
    assert "the tag tierwise.served.000001 of tierwise is no entry of the journal; left out" in err
    promote(tracking, place, 3, "red \x1b[31m\nand more")
    _, _, err = run(capsys, "history", "--home", home)
    assert "\x1b" not in err
    assert err.splitlines()[-2].endswith("red  [31m and more")


@pytest.mark.parametrize("command", [("promote", "1"), ("rollback",), ("history",)])
def test_a_home_that_is_not_there_stays_that_way(
    command: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, document, err = run(capsys, *command, "--home", tmp_path / "typo")
    assert (3, None) == (code, document)
    assert err.startswith("error: no database at ")
    assert [] == list(tmp_path.iterdir())


def test_one_at_a_time(home: Path, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    with hold(place.lock_file):
        for command in (("promote", "1"), ("rollback",)):
            code, document, err = run(capsys, *command, "--home", home)
            assert (1, None) == (code, document)
            assert err.startswith(f"error: another run holds {place.lock_file}: pid {os.getpid()} of ")
        assert 0 == run(capsys, "history", "--home", home)[0]


BOUNDARY = """
import sys
from training.__main__ import main
code = main(sys.argv[1:])
loaded = [name for name in ("lightgbm", "sklearn", "torch", "matplotlib", "onnx", "mlflow.onnx") if name in sys.modules]
print(code, loaded, file=sys.stderr)
"""


def test_a_rollback_loads_what_it_needs_and_no_more(home: Path, tracking: Tracking, place: Place) -> None:
    promote(tracking, place, 1)
    promote(tracking, place, 2)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BOUNDARY, "rollback", "--home", str(home)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert [
        f"rollback: version 1 is the champion again; before, it was version 2; its folder: {home}/champion",
        "0 []",
    ] == done.stderr.splitlines()
    assert 1 == json.loads(done.stdout)["champion"]


def test_a_registry_that_is_gone_is_one_sentence(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copyfile(home / "mlflow.db", home / "half.db")
    with (home / "half.db").open("rb+") as file:
        file.truncate(20_000)
    code, document, err = run(
        capsys, "rollback", "--tracking-uri", f"sqlite:///{home}/half.db", "--home", home
    )
    assert (1, None) == (code, document)
    assert err.startswith("error: MLflow: cannot look for the model at ")
    assert 1 == len(err.splitlines())
