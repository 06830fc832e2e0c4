"""What a weekly run is told: a TOML file, and flags that override it.

The rule: what is wrong is refused before anything is done, by a sentence that names the key, what was expected and what
was found; a secret is never shown. Reads one file. Light, because a rollback reads its place from here.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from router.errors import ConfigError
from training.pipeline.settings import Files, Place, Promotion, Query, Settings, Source
from training.pipeline.values import (
    read_choice,
    read_folder,
    read_instant,
    read_length,
    read_model_name,
    read_path,
    read_seed,
    read_table,
    read_text,
    read_uri,
    reject_unknown,
    show,
)

__all__ = [
    "Files",
    "Place",
    "Promotion",
    "Query",
    "Settings",
    "Source",
    "add_arguments",
    "add_place_arguments",
    "parse_settings",
    "read_place",
    "read_settings",
]

T = TypeVar("T")

_SELECT = re.compile(r"(?:[\s(]|--[^\n]*\n|/\*.*?\*/)*(?:select|with)\b", re.IGNORECASE | re.DOTALL)
# Where a semicolon parts no statements: texts, names, PostgreSQL's dollar quotes, comments.
_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\w*)\$.*?\$\1\$|--[^\n]*|/\*.*?\*/""", re.DOTALL)


_KEYS = tuple(item.name for item in fields(Settings))
_PLACES = ("home", "tracking_uri", "champion_dir", "model_name")


# The command line.


def add_place_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say where a project is: those of promote, rollback and history."""
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE", help="TOML; flags override it")
    add("--home", metavar="DIR", help="folder of all that is local (default: data)")
    add("--tracking-uri", metavar="URI", help="of MLflow (default: SQLite, in the home folder)")
    add("--champion-dir", metavar="DIR", help="what is served from (default: champion, in the home folder)")
    add("--model-name", metavar="NAME", help="of the registered model (default: tierwise)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `python -m training retrain`."""
    add_place_arguments(parser)
    add = parser.add_argument
    files = "files and globs, together one history; or a database's URL, with --query"
    add("--history", nargs="+", metavar="FILE", help=files)
    add("--query", metavar="SQL", help="the SELECT whose rows are the history")
    add("--tiers", metavar="FILE", help="TOML, cheapest tier first")
    add("--since", metavar="DATE", help="prompts from this day on, ISO 8601; UTC unless it names a zone")
    add("--window", metavar="LENGTH", help="prompts of the newest weeks or days: 12w, 90d")
    add("--seed", type=int, metavar="N", help="same seed, same model (default: 0)")
    add("--dry-run", action="store_true", help="do all but promote")


def read_settings(options: argparse.Namespace) -> Settings:
    """Read the configuration that options name, overridden by the options that are set.

    Raises
    ------
    ConfigError
        The file cannot be read, a key is unknown or missing, or a value is wrong; the message says where.
    """
    document, source = _read(options.config)
    flags = _flags(options, *_PLACES, "tiers", "since", "window", "seed")
    return parse_settings(document, source, flags | _asked_history(options, document))


def read_place(options: argparse.Namespace) -> Place:
    """Read where a project is; of a configuration's other keys only the names are checked.

    A rollback must not fail for the week's window. But a misspelt key could have been a place, and what is at another
    place would be changed.

    Raises
    ------
    ConfigError
        As `read_settings`.
    """
    document, source = _read(options.config)
    return _parse_place(_Reader(document, source, _flags(options, *_PLACES)))


def _read(path: Path | None) -> tuple[Mapping[str, Any], str]:
    if path is None:
        return {}, "configuration"
    source = f"configuration {path}"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig")), source
    except OSError as error:
        raise ConfigError(f"{source}: cannot be read ({error.strerror}); check the path") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{source}: expected UTF-8, found another encoding at byte {error.start}; save it as UTF-8"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{source}: not valid TOML: {error}") from None


def _flags(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def _asked_history(options: argparse.Namespace, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the flags say of the history; of URL and query, one may come from the file."""
    asked, query = options.history or [], options.query
    database = any("://" in item for item in asked)
    if database and len(asked) > 1:
        raise ConfigError("--history: a database is named by one URL, alone; put all rows into one place")
    if query is None and not database:
        return {"history": asked} if asked else {}
    told = document.get("history")
    table = dict(told) if isinstance(told, dict) else {}
    if database:
        table = {key: value for key, value in table.items() if key not in ("url", "url_env")}
        table["url"] = asked[0]
    elif asked or not table:
        raise ConfigError("--query: needs a database; name its URL with --history")
    return {"history": table if query is None else table | {"query": query}}


# From a document to settings.


class _Reader:
    """The values of a document and of the flags over it, each with how an error names it."""

    def __init__(self, document: Mapping[str, Any], source: str, flags: Mapping[str, Any]) -> None:
        reject_unknown(document, _KEYS, source)
        self._values = {**document, **flags}
        self._names = {key: f"{source}: {key}" for key in _KEYS}
        self._names |= {key: f"--{key.replace('_', '-')}" for key in flags}

    def get(self, key: str, read: Callable[[Any, str], T], default: T) -> T:
        value = self._values.get(key)
        return default if value is None else read(value, self._names[key])

    def need(self, key: str, read: Callable[[Any, str], T], expected: str) -> T:
        if self._values.get(key) is None:
            raise ConfigError(f"{self._names[key]} is missing; expected {expected}, here or as --{key}")
        return read(self._values[key], self._names[key])


def parse_settings(
    document: Mapping[str, Any], source: str = "configuration", flags: Mapping[str, Any] | None = None
) -> Settings:
    """Check a parsed document and return the settings. Pure, but for the working directory in paths.

    Parameters
    ----------
    document : mapping
        Keys are fields of `Settings`; `history` and `tiers` are required, and None is a key that is not there.
    source : str
        How error messages name the document.
    flags : mapping, optional
        Values that stand in for the document's; error messages name them as flags.

    Raises
    ------
    ConfigError
        A key is unknown or missing, or a value is wrong.
    """
    from eval.split import SPLIT_METHODS  # here: it imports pandas, which a rollback has no use for

    reader = _Reader(document, source, flags or {})
    place = _parse_place(reader)
    return Settings(
        history=reader.need("history", _parse_history, "files, a glob, or a database's URL and query"),
        tiers=reader.need("tiers", read_path, "the path of a tiers file"),
        since=reader.get("since", read_instant, None),
        window=reader.get("window", read_length, None),
        **{item.name: getattr(place, item.name) for item in fields(place)},
        promotion=reader.get("promotion", _parse_promotion, Promotion()),
        seed=reader.get("seed", read_seed, 0),
        split=reader.get(
            "split", lambda value, name: read_choice(value, name, ("auto", *SPLIT_METHODS)), "auto"
        ),
        embedding=reader.get("embedding", read_path, None),
        max_age=reader.get("max_age", read_length, None),
    )


def _parse_place(reader: _Reader) -> Place:
    home = reader.get("home", read_folder, Path("data").absolute())
    uri = reader.get("tracking_uri", read_uri, "")
    if not uri and "?" in str(home):
        raise ConfigError(f"home {home}: SQLite's URL ends at a question mark; choose a folder without one")
    return Place(
        home,
        uri or f"sqlite:///{home / 'mlflow.db'}",
        reader.get("artifact_dir", read_folder, home / "artifacts"),
        reader.get("champion_dir", read_folder, home / "champion"),
        reader.get("model_name", read_model_name, "tierwise"),
    )


def _parse_promotion(value: object, where: str) -> Promotion:
    table = read_table(value, where)
    reject_unknown(table, [item.name for item in fields(Promotion)], where)
    try:
        return Promotion(**table)
    except ConfigError as error:
        raise ConfigError(f"{where}: {str(error).removeprefix('promotion: ')}") from None


def _parse_history(value: object, where: str) -> Source:
    if isinstance(value, dict):
        return _parse_query(value, where)
    patterns = [value] if isinstance(value, str) else value
    if not isinstance(patterns, list) or not patterns:
        raise ConfigError(
            f"{where} is a path, a glob, a list of these, or a table of url and query; found {show(value)}"
        )
    for pattern in patterns:
        if "://" in read_text(pattern, where):
            raise ConfigError(f"{where}: a database needs a table, [history], with url_env or url, and query")
    return Files(tuple(str(read_path(pattern, where)) for pattern in patterns))


def _parse_query(table: Mapping[str, Any], where: str) -> Query:
    reject_unknown(table, ("url", "url_env", "query"), where)
    if ("url" in table) == ("url_env" in table):
        found = "both" if "url" in table else "none"
        raise ConfigError(f"{where}: expected one of url_env and url; found {found}")
    if "query" not in table:
        raise ConfigError(f"{where}: expected a query, one SELECT; name it here or with --query")
    query = read_text(table["query"], f"{where}: query").strip().rstrip(";").rstrip()
    if not _SELECT.match(query):
        raise ConfigError(f"{where}: query is one SELECT (or WITH ... SELECT); found {show(query[:20])}...")
    if ";" in _QUOTED.sub("", query):
        raise ConfigError(f"{where}: query is one SELECT; found several statements, parted by a semicolon")
    if "url_env" in table:
        return Query(query, url_env=read_text(table["url_env"], f"{where}: url_env"))
    url = table["url"]
    if not isinstance(url, str) or "://" not in url:  # not shown: it may be a password
        raise ConfigError(
            f"{where}: url is text such as postgresql+psycopg://user@host/database; found something else"
        )
    return Query(query, url=url)
