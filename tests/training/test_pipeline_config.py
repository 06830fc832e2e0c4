"""A configuration says what is meant, whoever wrote it down where, and what is wrong is refused by name."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ConfigError
from training.pipeline.config import (
    Files,
    Place,
    Promotion,
    Query,
    Settings,
    add_arguments,
    add_place_arguments,
    parse_settings,
    read_place,
    read_settings,
)

LEAST = {"history": "h.parquet", "tiers": "tiers.toml"}
FULL = """\
history = ["logs/*.parquet", "~/more.csv"]
tiers = "tiers.toml"
window = "12w"
since = 2026-01-01
model_name = "office router"
home = "place"
tracking_uri = "http://me:hidden@127.0.0.1:5000"
artifact_dir = "/srv/artifacts"
champion_dir = "champion"
seed = 7
split = "time"
embedding = "~/embedding"
max_age = "10d"

[promotion]
max_regret = 0.02
margin_saving = 0
max_latency_us = 500
on_void = "previous"
"""


def options(*arguments: str, declare: Any = add_arguments) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    declare(parser)
    return parser.parse_args(arguments)


def refusal(document: dict[str, Any], **flags: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_settings(document, "configuration weekly.toml", flags)
    return str(caught.value)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with every key, read in a working directory of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/people/someone")
    path = tmp_path / "weekly.toml"
    path.write_text(FULL, encoding="utf-8")
    return path


def test_every_key_of_a_file_is_read(config: Path) -> None:
    here = config.parent
    expected = Settings(
        history=Files(("logs/*.parquet", "/people/someone/more.csv")),
        tiers=Path("tiers.toml"),
        since=datetime(2026, 1, 1, tzinfo=UTC),
        window=timedelta(weeks=12),
        model_name="office router",
        home=here / "place",
        tracking_uri="http://me:hidden@127.0.0.1:5000",
        artifact_dir=Path("/srv/artifacts"),
        champion_dir=here / "champion",
        promotion=Promotion(max_regret=0.02, margin_saving=0.0, max_latency_us=500.0, on_void="previous"),
        seed=7,
        split="time",
        embedding=Path("/people/someone/embedding"),
        max_age=timedelta(days=10),
    )
    assert expected == read_settings(options("--config", str(config)))
    assert expected.place == read_place(options("--config", str(config), declare=add_place_arguments))


def test_history_and_tiers_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = read_settings(options("--history", "a.csv", "b*.csv", "--tiers", "t.toml"))
    home = tmp_path / "data"
    assert Files(("a.csv", "b*.csv")) == found.history
    place = Place(home, f"sqlite:///{home}/mlflow.db", home / "artifacts", home / "champion", "tierwise")
    assert place == found.place
    assert (home / "retrain.lock", home / "work") == (place.lock_file, place.work_dir)
    assert (None, None, None, 0, "auto") == (
        found.since,
        found.window,
        found.max_age,
        found.seed,
        found.split,
    )


def test_flags_override_the_file(config: Path) -> None:
    flags = {
        "--history": "x.jsonl",
        "--tiers": "other.toml",
        "--home": "elsewhere",
        "--model-name": "m",
        "--tracking-uri": "sqlite:////x/y.db",
        "--since": "2026-02-01T12:00:00+02:00",
        "--window": "30d",
        "--seed": "9",
    }
    found = read_settings(
        options("--config", str(config), *(part for pair in flags.items() for part in pair))
    )
    assert Files(("x.jsonl",)) == found.history
    assert Path("other.toml") == found.tiers
    assert (config.parent / "elsewhere", "m", "sqlite:////x/y.db") == (
        found.home,
        found.model_name,
        found.tracking_uri,
    )
    assert (datetime(2026, 2, 1, 10, tzinfo=UTC), timedelta(days=30), 9) == (
        found.since,
        found.window,
        found.seed,
    )
    assert Path("/srv/artifacts") == found.artifact_dir  # what no flag names stays the file's
    assert config.parent / "champion" == found.champion_dir
    served = options("--config", str(config), "--champion-dir", "served", declare=add_place_arguments)
    assert config.parent / "served" == read_place(served).champion_dir


@pytest.mark.parametrize(
    "flag", ["--since", "--window", "--home", "--tracking-uri", "--champion-dir", "--model-name"]
)
def test_a_wrong_flag_is_named_as_a_flag(flag: str) -> None:
    with pytest.raises(ConfigError, match=f"^{flag} is "):
        read_settings(options("--history", "h", "--tiers", "t", flag, ""))


@pytest.mark.parametrize("missing", ["history", "tiers"])
def test_what_is_required_is_named_with_its_flag(missing: str) -> None:
    message = refusal({key: value for key, value in LEAST.items() if key != missing})
    assert f"configuration weekly.toml: {missing} is missing" in message
    assert f"--{missing}" in message


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"windows": "12w"}, "weekly.toml: unknown key 'windows' (did you mean window?)"),
        ({"tracking_url": "x"}, "did you mean tracking_uri?"),
        ({"xyz": 1}, "unknown key 'xyz'; known keys: history, tiers"),
        ({"promotion": {"margin_savings": 0.1}}, "promotion: unknown key 'margin_savings' (did you mean margin_saving?)"),
        ({"history": {"query": "SELECT 1", "url_var": "X"}}, "history: unknown key 'url_var' (did you mean"),
    ],
)  # fmt: skip
def test_an_unknown_key_names_the_nearest_known_one(document: dict[str, Any], expected: str) -> None:
    assert expected in refusal(LEAST | document)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"tiers": 3}, "weekly.toml: tiers is text; found 3"),
        ({"tiers": " "}, "tiers is text"),
        ({"tiers": "a\0b"}, "tiers is text"),
        ({"home": ["x"]}, "home is text; found ['x']"),
        ({"home": "~nobody-of-this-name/x"}, "write the whole path"),
        ({"home": "what?"}, "ends at a question mark"),
        ({"seed": "0"}, "seed is a whole number from 0 to 4294967295; found '0'"),
        ({"seed": True}, "seed is a whole number"),
        ({"seed": 2**32}, "found 4294967296"),
        ({"seed": -1}, "found -1"),
        ({"seed": 1.0}, "found 1.0"),
        ({"split": "times"}, "split is one of auto, given, time, group; found 'times' (did you mean time?)"),
        ({"model_name": "a/b"}, "model_name is a name without / : @ \\ and quotes"),
        ({"model_name": "a@champion"}, "found 'a@champion'"),
        ({"model_name": " a"}, "model_name is a name"),
        ({"model_name": "bob's"}, "model_name is a name"),
        ({"model_name": "..a"}, "which does not begin with two dots"),
        ({"model_name": "."}, "model_name is a name"),
        ({"artifact_dir": "s3://secret/x"}, "weekly.toml: artifact_dir is a folder of this machine; found a URL; to keep"),
        ({"home": "file:///secret"}, "home is a folder of this machine"),
        ({"champion_dir": "gs://secret"}, "set tracking_uri to an MLflow server that keeps them there"),
        ({"tracking_uri": "me:secret"[3:]}, "tracking_uri is a URI such as sqlite:////srv"),
        ({"tracking_uri": "databricks"}, "begins with http, https, sqlite, postgresql, mysql or mssql"),
        ({"tracking_uri": "file:///secret"}, "tracking_uri is a URI"),
        ({"tracking_uri": "sqlite:x.db"}, "tracking_uri is a URI"),
        ({"tracking_uri": "HTTP://secret"}, "tracking_uri is a URI"),
        ({"tracking_uri": "http://"}, "tracking_uri is a URI"),
        ({"tracking_uri": "oracle://me:secret@host/db"}, "tracking_uri is a URI"),
        ({"history": []}, "history is a path, a glob, a list of these, or a table of url and query; found []"),
        ({"history": 7}, "found 7"),
        ({"history": ["a", 7]}, "history is text; found 7"),
        ({"history": "postgresql://me:secret@host/db"}, "a database needs a table, [history]"),
        ({"history": {"query": "SELECT 1"}}, "history: expected one of url_env and url; found none"),
        ({"history": {"url_env": "X"}}, "history: expected a query"),
        ({"history": {"url_env": "X", "url": "sqlite:///x", "query": "SELECT 1"}}, "found both"),
        ({"history": {"url_env": 3, "query": "SELECT 1"}}, "history: url_env is text"),
        ({"history": {"url": "secret", "query": "SELECT 1"}}, "history: url is text such as postgresql+psycopg"),
        ({"history": {"url_env": "X", "query": "DELETE FROM history"}}, "query is one SELECT"),
        ({"history": {"url_env": "X", "query": "SELECTED"}}, "query is one SELECT"),
        ({"history": {"url_env": "X", "query": "SELECT 1; DROP TABLE h"}}, "several statements"),
        ({"promotion": 0.1}, "weekly.toml: promotion is a table; found 0.1"),
    ],
)  # fmt: skip
def test_a_wrong_value_says_what_was_expected(document: dict[str, Any], expected: str) -> None:
    message = refusal(LEAST | document)
    assert expected in message
    assert "secret" not in message


@pytest.mark.parametrize(
    "uri",
    [
        "https://mlflow.example/x",
        "sqlite:///mlflow.db",
        "postgresql+psycopg://me@host/db",
        "mysql+pymysql://me@host/db",
        "mssql+pyodbc:///?odbc_connect=x",
    ],
)
def test_a_tracking_uri_is_a_servers_or_a_databases(uri: str) -> None:
    assert uri == parse_settings(LEAST | {"tracking_uri": uri}).tracking_uri


@pytest.mark.parametrize("name", ["a", "office router", "a.b", ".a", "größe-2", "a (b) # ; -- %"])
def test_a_model_name_may_be_any_other(name: str) -> None:
    assert name == parse_settings(LEAST | {"model_name": name}).model_name


@pytest.mark.parametrize("value", ["0", -0.1, 1.1, float("nan"), float("inf"), True, None, 10**400])
@pytest.mark.parametrize("key", ["max_regret", "margin_saving", "margin_quality", "margin_slice", "max_ece"])
def test_a_share_is_finite_and_from_0_to_1(key: str, value: Any) -> None:
    expected = f"weekly.toml: promotion: {key} is a number from 0 to 1; found"
    assert expected in refusal(LEAST | {"promotion": {key: value}})
    with pytest.raises(ConfigError, match=f"promotion: {key} is a number"):  # whoever makes one
        Promotion(**{key: value})


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), "fast"])
def test_a_latency_is_finite_and_above_0(value: Any) -> None:
    expected = "promotion: max_latency_us is a finite number of microseconds above 0; found"
    assert expected in refusal(LEAST | {"promotion": {"max_latency_us": value}})


def test_what_becomes_of_a_void_champion_is_one_of_three() -> None:
    expected = "promotion: on_void is one of top, previous, keep; found 'tops' (did you mean top?)"
    assert expected in refusal(LEAST | {"promotion": {"on_void": "tops"}})


@pytest.mark.parametrize(
    ("value", "days"),
    [(12, 84), ("12w", 84), ("90d", 90), (" 2 W ", 14), (1, 7), ("12", 84), ("1d", 1), ("36500d", 36500)],
)
def test_a_window_is_weeks_or_text(value: Any, days: int) -> None:
    assert timedelta(days=days) == parse_settings(LEAST | {"window": value}).window
    assert timedelta(days=days) == parse_settings(LEAST | {"max_age": value}).max_age


@pytest.mark.parametrize(
    "value", [0, -1, True, 1.5, "w", "12m", "0w", "-3d", "1.5w", "36501d", 10**9, "99999999w", [12], ""]
)
def test_a_wrong_window_is_refused(value: Any) -> None:
    assert 'window is a number of weeks, or text such as "12w" or "90d"' in refusal(LEAST | {"window": value})


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T12:00:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00+02:00", datetime(2026, 1, 31, 10, tzinfo=UTC)),
    ],
)
def test_a_date_is_utc_unless_it_names_a_zone(tmp_path: Path, written: str, expected: datetime) -> None:
    config = tmp_path / "weekly.toml"
    for value in (written, f'"{written}"'):  # TOML's own date, and text
        config.write_text(f'history = "h"\ntiers = "t"\nsince = {value}\n')
        found = read_settings(options("--config", str(config))).since
        assert expected == found
        assert found is not None
        assert UTC is found.tzinfo


@pytest.mark.parametrize("value", ["yesterday", "2026-13-01", "0001-01-01T00:00:00+05:00", 2026, True])
def test_a_wrong_date_is_refused(value: Any) -> None:
    assert "since is a date such as 2026-01-31" in refusal(LEAST | {"since": value})


def test_a_time_of_day_is_no_date(tmp_path: Path) -> None:
    config = tmp_path / "weekly.toml"
    config.write_text('history = "h"\ntiers = "t"\nsince = 12:00:00\n')
    with pytest.raises(ConfigError, match="since is a date such as"):
        read_settings(options("--config", str(config)))


# A database.


TABLE = {"url_env": "HISTORY_URL", "query": "SELECT * FROM history;\n"}


def test_a_table_names_a_database() -> None:
    assert (
        Query("SELECT * FROM history", url_env="HISTORY_URL")
        == parse_settings(LEAST | {"history": TABLE}).history
    )


@pytest.mark.parametrize(
    "query",
    [
        "select 1",
        "  -- why\n/* and\nhow; */ WITH h AS (SELECT 1) SELECT * FROM h",
        "(SELECT 1) UNION (SELECT 2)",
        "SELECT ';', 'it''s; ', \"a;b\", $$;$$, $x$ ; $x$ -- ; all",
    ],
)
def test_one_select_may_hold_semicolons_in_its_texts(query: str) -> None:
    found = parse_settings(LEAST | {"history": {"url_env": "X", "query": query}}).history
    assert Query(query.strip(), url_env="X") == found


def test_a_url_and_a_query_may_come_from_flags_and_file(tmp_path: Path) -> None:
    config = tmp_path / "weekly.toml"
    config.write_text('tiers = "t"\n[history]\nurl_env = "HISTORY_URL"\nquery = "SELECT 1"\n')
    url = "sqlite:////srv/h.db"
    for flags, expected in (
        (("--query", "SELECT 2"), Query("SELECT 2", url_env="HISTORY_URL")),
        (("--history", url), Query("SELECT 1", url)),
        (("--history", url, "--query", "SELECT 2"), Query("SELECT 2", url)),
        (("--history", "a.csv"), Files(("a.csv",))),
    ):
        assert expected == read_settings(options("--config", str(config), *flags)).history


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--query", "SELECT 1"), "--query: needs a database"),
        (("--query", "SELECT 1", "--history", "a.csv"), "--query: needs a database"),
        (("--history", "sqlite:///x.db"), "--history: expected a query"),
        (("--history", "sqlite:///x.db", "a.csv", "--query", "SELECT 1"), "--history: a database is named by one URL"),
    ],
)  # fmt: skip
def test_a_url_and_a_query_belong_together(flags: tuple[str, ...], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings(options("--tiers", "t", *flags))
    assert expected in str(caught.value)


def test_no_password_is_in_what_is_shown_or_logged() -> None:
    url = "postgresql+psycopg://me:s3cret@host/db"
    found = parse_settings(
        LEAST | {"history": {"url": url, "query": "SELECT 1"}, "tracking_uri": "http://u:s3cret@host"}
    )
    assert isinstance(found.history, Query)
    assert url == found.history.url
    for text in (
        repr(found),
        repr(found.history),
        repr(found.place),
        json.dumps(found.to_dict()),
        json.dumps(found.deciding()),
    ):
        assert "s3cret" not in text
    assert "postgresql+psycopg://me:***@host/db" == found.to_dict()["history"]["url"]
    assert "http://u:***@host" == found.to_dict()["tracking_uri"]


# What a run is told apart by.


def shares() -> st.SearchStrategy[float]:
    return st.floats(0.0, 1.0)


PROMOTIONS = st.builds(
    Promotion,
    **dict.fromkeys(("max_regret", "margin_saving", "margin_quality", "margin_slice", "max_ece"), shares()),
    max_latency_us=st.floats(1e-3, 1e9),
    on_void=st.sampled_from(["top", "previous", "keep"]),
)
DOCUMENTS = st.fixed_dictionaries(
    {
        "history": st.just(TABLE) | st.lists(st.sampled_from(["a.csv", "logs/*.parquet"]), min_size=1),
        "tiers": st.just("t.toml"),
    },
    optional={
        "since": st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)),
        "window": st.integers(1, 5000) | st.integers(1, 36_500).map(lambda days: f"{days}d"),
        "promotion": PROMOTIONS.map(asdict),
        "seed": st.integers(0, 2**32 - 1),
        "split": st.sampled_from(["auto", "given", "time", "group"]),
        "home": st.just("/srv/tierwise"),
        "tracking_uri": st.just("http://127.0.0.1:5000"),
        "embedding": st.just("models/default"),
        "max_age": st.just("10d"),
    },
)


@given(DOCUMENTS)
def test_settings_are_read_back_from_what_they_log(document: dict[str, Any]) -> None:
    settings = parse_settings(document)
    assert settings == parse_settings(json.loads(json.dumps(settings.to_dict())))


@given(DOCUMENTS, DOCUMENTS)
def test_where_things_are_does_not_decide(document: dict[str, Any], other: dict[str, Any]) -> None:
    settings, elsewhere = parse_settings(document), parse_settings(other)
    moved = replace(
        settings,
        tiers=Path("/moved/t.toml"),
        embedding=None,
        max_age=None,
        **{item.name: getattr(elsewhere.place, item.name) for item in fields(Place)},
    )
    expected = json.dumps(settings.deciding(), sort_keys=True)
    assert expected == json.dumps(moved.deciding(), sort_keys=True)


@pytest.mark.parametrize(
    "change",
    [
        {"since": "2026-01-01"},
        {"window": 12},
        {"promotion": {"margin_slice": 0.5}},
        {"seed": 1},
        {"split": "group"},
        {"model_name": "other"},
        {"history": TABLE},
    ],
)
def test_what_changes_the_outcome_decides(change: dict[str, Any]) -> None:
    assert parse_settings(LEAST).deciding() != parse_settings(LEAST | change).deciding()


# Files that are none, and a rollback in a bad week.


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"history = ", "not valid TOML"),
        (b"\xff\xfe", "expected UTF-8, found another encoding at byte 0"),
        (b"a = " + b"[" * 5000, "not valid TOML"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "weekly.toml"
    path.write_bytes(content)
    for read in (read_settings, read_place):
        with pytest.raises(ConfigError) as caught:
            read(options("--config", str(path)))
        assert f"configuration {path}: {expected}" in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read \\(No such file or directory\\); check the path"):
        read_settings(options("--config", str(tmp_path / "none.toml")))


def test_a_place_is_read_from_a_file_whose_other_values_are_wrong(tmp_path: Path) -> None:
    config = tmp_path / "weekly.toml"
    config.write_text('home = "/srv/tierwise"\nwindow = "none"\nhistory = 3\n')
    place = read_place(options("--config", str(config), "--model-name", "m", declare=add_place_arguments))
    assert (Path("/srv/tierwise"), "sqlite:////srv/tierwise/mlflow.db", "m") == (
        place.home,
        place.tracking_uri,
        place.model_name,
    )
    config.write_text('hone = "/srv/tierwise"\n')
    with pytest.raises(ConfigError, match="did you mean home"):
        read_place(options("--config", str(config), declare=add_place_arguments))


def test_a_rollback_need_not_import_what_a_fit_does(python: Any) -> None:
    code = (
        "import sys, argparse; from training.pipeline import config; p = argparse.ArgumentParser(); "
        "config.add_place_arguments(p); config.read_place(p.parse_args([])); "
        "print(sorted({'pandas', 'sqlalchemy', 'mlflow', 'sklearn', 'pyarrow'} & set(sys.modules)))"
    )
    assert b"[]" == python("-c", code).stdout.strip()
