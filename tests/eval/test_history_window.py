"""A window keeps the prompts of a stretch of time with all their rows, and says what is wrong with an empty one."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.history import History, read_history, window
from router.errors import ConfigError

DAY = timedelta(days=1)
START = datetime(2026, 1, 1, tzinfo=UTC)


def history_of(stamps: list[datetime | None], models: int = 2) -> History:
    """A prompt per stamp, each answered by all models."""
    ids = np.array([f"p{i}" for i in range(len(stamps))], object)
    rows = pd.DataFrame(
        {
            "prompt_id": pd.Series(np.repeat(ids, models), dtype=object),
            "model": pd.Series([f"m{k}" for k in range(models)] * len(ids), dtype=object),
            "score": np.linspace(0.0, 1.0, models * len(ids)),
        }
    )
    utc = [stamp.astimezone(UTC).replace(tzinfo=None) if stamp else None for stamp in stamps]
    prompts = pd.DataFrame(
        {
            "prompt_id": pd.Series(ids, dtype=object),
            "prompt": pd.Series([f"text {i}" for i in range(len(ids))], dtype=object),
            "timestamp": pd.DatetimeIndex(np.array(utc, "datetime64[us]")).as_unit("ns").tz_localize("UTC"),
        }
    )
    return History(rows, prompts)


def ids_of(history: History) -> list[str]:
    """The ids of the prompts, and that the rows are theirs, two each."""
    ids = history.prompts["prompt_id"].tolist()
    assert [item for item in ids for _ in range(2)] == history.rows["prompt_id"].tolist()
    assert list(range(len(ids))) == history.prompts.index.tolist()
    assert list(range(2 * len(ids))) == history.rows.index.tolist()
    return ids


def days(*offsets: float) -> list[datetime | None]:
    return [START + offset * DAY for offset in offsets]


def test_nothing_asked_is_the_history_itself() -> None:
    undated = history_of([None, None])
    assert undated is window(undated, None, None)


def test_all_kept_is_the_history_itself() -> None:
    history = history_of(days(0, 1))
    assert history is window(history, START, 7 * DAY)


@pytest.mark.parametrize(
    ("since", "length", "expected"),
    [
        (START + DAY, None, ["p0", "p2", "p3"]),  # from it on
        (None, 2 * DAY, ["p0", "p2"]),  # as old as the length is kept
        (None, 2 * DAY - timedelta(microseconds=1), ["p0"]),
        (START + 3 * DAY, 3 * DAY, ["p0", "p2"]),  # the later of the two beginnings
        (START, timedelta(microseconds=1), ["p0"]),
    ],
)
def test_prompts_from_since_on_within_the_length_of_the_newest(
    since: datetime | None, length: timedelta | None, expected: list[str]
) -> None:
    assert expected == ids_of(window(history_of(days(5, 0, 3, 1)), since, length))


def test_since_without_a_zone_is_utc_and_with_one_is_moved() -> None:
    history = history_of(days(0, 1))
    berlin = timezone(timedelta(hours=1))
    assert ["p1"] == ids_of(window(history, datetime(2026, 1, 2), None))
    assert ["p1"] == ids_of(window(history, datetime(2026, 1, 2, 1, tzinfo=berlin), None))
    with pytest.raises(ConfigError):
        window(history, datetime(2026, 1, 2, 0, 0, 1), None)


@pytest.mark.parametrize("length", [timedelta.max, timedelta(days=4000 * 365)])
def test_a_length_beyond_all_time_keeps_all(length: timedelta) -> None:
    history = history_of([datetime(1678, 1, 1, tzinfo=UTC), datetime(2261, 12, 31, tzinfo=UTC)])
    assert history is window(history, None, length)


@pytest.mark.parametrize("length", [timedelta(0), -DAY])
def test_a_length_of_nothing_is_the_callers_mistake(length: timedelta) -> None:
    with pytest.raises(ValueError, match="above 0"):
        window(history_of(days(0)), None, length)


def test_prompts_without_a_timestamp_are_counted() -> None:
    history = history_of([START, None, None])
    for since, length in ((START, None), (None, DAY)):
        with pytest.raises(ConfigError, match="found none for 2 of 3") as caught:
            window(history, since, length)
        assert "text" not in str(caught.value)


def test_an_empty_window_says_from_when_to_when_there_are_prompts() -> None:
    with pytest.raises(ConfigError) as caught:
        window(history_of(days(0, 1.5)), START + 30 * DAY, None)
    for part in (
        "2026-01-31 00:00 UTC",
        "2 from 2026-01-01 00:00 to 2026-01-02 12:00",
        "set an earlier since",
    ):
        assert part in str(caught.value)


STAMPS = st.datetimes(datetime(1678, 1, 1), datetime(2261, 12, 30)).map(lambda at: at.replace(tzinfo=UTC))


@given(st.lists(STAMPS, min_size=1, max_size=8), st.none() | STAMPS, st.none() | st.timedeltas(min_value=DAY))
def test_a_window_is_its_definition_and_a_window_of_it_is_itself(
    stamps: list[datetime], since: datetime | None, length: timedelta | None
) -> None:
    newest = max(stamps)
    expected = [
        f"p{i}"
        for i, at in enumerate(stamps)
        if (since is None or at >= since) and (length is None or newest - at <= length)
    ]
    history = history_of(list(stamps))
    if not expected:
        with pytest.raises(ConfigError, match="no prompt is of"):
            window(history, since, length)
        return
    found = window(history, since, length)
    assert expected == ids_of(found)
    assert found is window(found, since, length)


def test_what_is_read_from_a_file_can_be_cut(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    path.write_text(
        "prompt_id,prompt,model,score,timestamp,note\n"
        "a,one,m,1,2026-01-01,x\nb,two,m,0,2026-02-01T01:00:00+01:00,y\nb,two,n,1,,z\n"
    )
    found = window(read_history(path), None, 3 * DAY)
    assert ["b"] == found.prompts["prompt_id"].tolist()
    assert ["y", "z"] == found.rows["note"].tolist()


def test_texts_are_not_copied() -> None:
    n = 20_000
    history = history_of([START + i * timedelta(hours=1) for i in range(n)], models=3)
    texts = pd.Series([f"{i:0>1000}" for i in range(n)], dtype=object)
    history = History(history.rows, history.prompts.assign(prompt=texts))
    tracemalloc.start()
    found = window(history, None, timedelta(hours=n // 2))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n // 2 + 1 == len(found.prompts)
    assert found.prompts["prompt"].iloc[-1] is history.prompts["prompt"].iloc[-1]
    assert peak < 300 * n  # pointers and numbers; a copy of the texts is 500 for each prompt
