"""The journal: what it counts, what it survives, and what it says of damage. Real files, real processes."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eval.status import AGAIN, Status
from router.errors import RouterError
from training.calls.answer import Answer
from training.calls.journal import JOURNAL_FILE, LOCK_FILE, Journal
from training.calls.journal_file import RESERVE_FILE
from training.calls.records import Answered, Intent, Own, Record, Void, read_record, write_record
from training.lock import Locked

TEXT = "Été \U0001f600 \u0000 \n"


def _answer(cost: float = 0.25, status: Status = Status.ANSWERED, **more: float) -> Answer:
    return Answer(status, TEXT, "stop", 3, 4, 1, cost_usd=cost, latency_ms=1.5, http_status=200, **more)  # type: ignore[arg-type]


def _facts(journal: Journal, *keys: str) -> object:
    return (
        journal.spent_usd,
        journal.possibly_usd,
        dict(journal.unsettled),
        [(journal.answer(key), journal.status(key), journal.settled(key)) for key in keys],
        list(journal.own("batch")),
    )


def test_what_is_written_is_there_after_it_is_opened_again(tmp_path: Path) -> None:
    folder = tmp_path / "history.jsonl.collect"
    with Journal.open(folder) as journal:
        journal.commit(
            [Intent("a", "small", 0.5), Intent("b", "small", 0.5), Intent("c", "large", 2.0, via="t1")]
        )
        journal.commit(
            [Own("batch", {"id": "x", "n": 1}), Answered("a", _answer()), Own("batch", {"id": "y"})]
        )
        assert (0.25, 2.5) == (journal.spent_usd, journal.possibly_usd)
        assert {"b", "c"} == set(journal.unsettled)
        journal.commit([Void("b")])
        assert _answer() == journal.answer("a")
        assert [{"id": "x", "n": 1}, {"id": "y"}] == list(journal.own("batch"))
        before = _facts(journal, "a", "b", "c")
    assert not (folder / RESERVE_FILE).exists()
    with Journal.open(folder) as journal:
        assert before == _facts(journal, "a", "b", "c")
        assert Intent("c", "large", 2.0, via="t1") == journal.unsettled["c"]


def test_an_intent_counts_at_its_most_until_it_is_closed(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        journal.commit([Intent("a", "small", 1.0)])
        assert 1.0 == journal.possibly_usd
        journal.commit([Intent("a", "small", 1.0)])  # a killed run's, sent again
        assert 2.0 == journal.possibly_usd
        journal.commit([Intent("a", "small", 3.0, again=True)])  # the same run's, of three requests
        assert 4.0 == journal.possibly_usd
        journal.commit([Answered("a", _answer(0.5, possibly_usd=2.0))])
        assert (0.5, 3.0) == (journal.spent_usd, journal.possibly_usd)
        assert not journal.unsettled


def test_which_answers_stay(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        for status in Status:
            journal.commit([Answered(status.value, _answer(status=status))])
        stays = {status for status in Status if journal.settled(status.value)}
        assert set(Status) - AGAIN == stays
        assert not journal.settled("length", retry={Status.LENGTH})
        assert not journal.settled("never asked")
        first = journal.answer_place("server_error")
        journal.commit([Answered("server_error", _answer(1.0))])
        assert journal.settled("server_error")
        assert first != journal.answer_place("server_error")


def test_records_that_are_put_together_share_their_way_to_the_disk(tmp_path: Path) -> None:
    async def write(journal: Journal, key: str) -> None:
        await journal.wait(journal.put(Intent(key, "small", 1.0)))
        assert key in journal.unsettled
        await journal.wait(journal.put(Answered(key, _answer())))
        assert _answer() == journal.answer(key)

    async def write_all(journal: Journal) -> None:
        await asyncio.gather(*(write(journal, f"k{i}") for i in range(200)))
        journal.put(Answered("last", _answer()))
        assert journal.settled("last")  # within the run, at once
        assert journal.answer("last") is None  # but it is not on disk
        await journal.drain()
        assert _answer() == journal.answer("last")

    with Journal.open(tmp_path) as journal:
        asyncio.run(write_all(journal))
        assert (50.25, 0.0) == (journal.spent_usd, journal.possibly_usd)
    lines = (tmp_path / JOURNAL_FILE).read_bytes().splitlines()
    assert 1 + 2 * 200 + 1 == len(lines)


texts = st.text(max_size=20)
keys = st.sampled_from(["a", "b", "c", "\ud800"])
amounts = st.floats(0, 1e6)
records = st.one_of(
    st.builds(Intent, keys, texts, amounts, st.none() | texts, st.booleans()),
    st.builds(
        Answered, keys, st.builds(Answer, st.sampled_from(Status), st.none() | texts, cost_usd=amounts)
    ),
    st.builds(Void, keys),
    st.builds(Own, texts, st.dictionaries(texts, st.integers() | texts, max_size=3)),
)


@given(record=records)
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    line = write_record(record, "2026-01-01")
    assert line.endswith(b"\n")
    assert 1 == line.count(b"\n")
    assert record == read_record(line)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("written")
    with Journal.open(folder) as journal:
        journal.commit([Intent("a", "small", 0.5), Answered("a", _answer()), Intent("b", "small", 0.5)])
    return (folder / JOURNAL_FILE).read_bytes()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_wherever_a_journal_was_cut_it_opens_with_its_whole_lines(
    tmp_path: Path, written: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(written)))
    torn = written[:at]
    (tmp_path / JOURNAL_FILE).write_bytes(torn)
    with Journal.open(tmp_path) as journal:
        journal.commit([Answered("z", _answer(1.0))])
    left = (tmp_path / JOURNAL_FILE).read_bytes()
    whole = torn[: torn.rfind(b"\n") + 1]
    assert left.startswith(whole)
    assert max(1, whole.count(b"\n")) + 1 == left.count(b"\n")  # an empty one gets its first line
    with Journal.open(tmp_path) as journal:
        assert journal.settled("z")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_journal_is_refused_by_a_sentence_or_can_be_read(
    tmp_path: Path, written: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(written) - 1))
    damage = data.draw(st.binary(min_size=1, max_size=4))
    (tmp_path / JOURNAL_FILE).write_bytes(written[:at] + damage + written[at + len(damage) :])
    said = str(tmp_path)
    try:
        with Journal.open(tmp_path) as journal:
            assert journal.spent_usd >= 0
    except RouterError as error:
        said = str(error)
    assert str(tmp_path) in said


@pytest.mark.parametrize(
    ("line", "bad"),
    [
        (2, b'{"type":"answer"'),
        (3, b"\0\0\0"),
        (1, b'{"type":"own","kind":"x","content":{}}'),
        (2, b"[]"),
        (2, b'{"type":"answer","key":"a","status":"unheard of"}'),
        (2, b'{"type":"void","key":5}'),
        (2, b'{"type":"new"}'),
    ],
)
def test_damage_is_named(tmp_path: Path, written: bytes, line: int, bad: bytes) -> None:
    lines = written.splitlines(keepends=True)
    lines[line - 1] = bad + b"\n"
    (tmp_path / JOURNAL_FILE).write_bytes(b"".join(lines))
    with (
        pytest.raises(RouterError, match=f"is damaged in line {line}: expected one record a line"),
        Journal.open(tmp_path),
    ):
        pass
    with pytest.raises(RouterError), Journal.open(tmp_path):
        pass


def test_damage_that_comes_while_it_is_open(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        journal.commit([Answered("a", _answer()), Own("batch", {"x": 1})])
        size = (tmp_path / JOURNAL_FILE).stat().st_size
        (tmp_path / JOURNAL_FILE).write_bytes(b"\n" * size)
        with pytest.raises(RouterError, match="is damaged at byte"):
            journal.answer("a")
        with pytest.raises(RouterError, match="is damaged at byte"):
            list(journal.own("batch"))


def test_a_journal_of_a_later_release(tmp_path: Path, written: bytes) -> None:
    first, _, rest = written.partition(b"\n")
    (tmp_path / JOURNAL_FILE).write_bytes(first.replace(b'"version":1', b'"version":2') + b"\n" + rest)
    with pytest.raises(RouterError, match="expected version 1, found another"), Journal.open(tmp_path):
        pass


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        journal.commit([Intent("a", "small", 1.0)])
        with (
            pytest.raises(Locked, match=f"another run holds {tmp_path / LOCK_FILE}: pid {os.getpid()}"),
            Journal.open(tmp_path),
        ):
            pass
    (tmp_path / "file").touch()
    with (
        pytest.raises(RouterError, match="file is not a folder; name another place with --out"),
        Journal.open(tmp_path / "file"),
    ):
        pass


def test_an_answer_of_many_chunks_is_read_whole(tmp_path: Path) -> None:
    long = Answer(Status.ANSWERED, "long " * 100_000)
    with Journal.open(tmp_path) as journal:
        journal.commit([Answered("a", long), Answered("b", _answer())])
        assert (long, _answer()) == (journal.answer("a"), journal.answer("b"))


# A full disk: in a process of its own, whose files may not grow.


def _forked(target: object, *arguments: object) -> str:
    """Run in a fork, and return what it says; "" if it failed."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("forkserver").Process(target=target, args=(theirs, *arguments))  # type: ignore[arg-type]
    process.start()
    theirs.close()
    try:
        said = str(ours.recv())
    except EOFError:
        said = ""
    process.join()
    ours.close()
    return said


def _fill(pipe: object, folder: Path, most: int) -> None:
    with Journal.open(folder) as journal:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        (folder / RESERVE_FILE).unlink()
        done = 0
        try:
            for done in range(1000):
                journal.commit([Intent(f"k{done}", "small", 1.0), Answered(f"k{done}", _answer())])
        except RouterError as error:
            pipe.send(json.dumps([done, str(error)]))  # type: ignore[attr-defined]


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path: Path) -> None:
    done, said = json.loads(_forked(_fill, tmp_path, 20_000))
    assert 5 < done < 1000
    assert (
        f"journal {tmp_path / JOURNAL_FILE}: cannot be written (File too large); make room, then run the same command again"
        in said
    )
    with Journal.open(tmp_path) as journal:
        assert (0.25 * done, 0.0) == (journal.spent_usd, journal.possibly_usd)
        journal.commit([Answered("after", _answer())])
    assert (tmp_path / JOURNAL_FILE).read_bytes().endswith(b"\n")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MiB, where this user may mount one."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(place)]
    if (
        os.geteuid() != 0
        or not shutil.which("mount")
        or subprocess.run(mount, capture_output=True).returncode
    ):
        pytest.skip("this user may not mount a file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_what_is_under_way_is_written_to_the_reserve(small_disk: Path) -> None:
    with Journal.open(small_disk) as journal:
        (small_disk / "others").write_bytes(bytes(1 << 20))
        done = 0
        while journal.full is None:
            done += 1
            journal.commit([Answered(f"k{done}", Answer(Status.ANSWERED, "x" * 50_000, cost_usd=1.0))])
        assert not (small_disk / RESERVE_FILE).exists()
        journal.commit([Answered("under way", _answer(1.0))])
        assert float(done + 1) == journal.spent_usd
        assert "No space left on device" in str(journal.full)
        too_long = Answered("more", Answer(Status.ANSWERED, "x" * (8 << 20)))
        with pytest.raises(RouterError, match="No space left on device"):
            journal.commit([too_long])
        assert float(done + 1) == journal.spent_usd
    with pytest.raises(RouterError, match="cannot be written"), Journal.open(small_disk):
        pass  # no room for a reserve
    (small_disk / "others").unlink()
    shutil.move(small_disk / JOURNAL_FILE, small_disk.parent)
    with Journal.open(small_disk.parent) as journal:
        assert float(done + 1) == journal.spent_usd
