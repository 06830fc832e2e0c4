"""A history: what each model scored on each prompt, checked before anyone uses it.

The rule: a history is right or it is refused. Tables come from `eval.table`, which alone reads files; each
cell is checked here, then what spans rows and files. The first fault stops with one `ConfigError` that names
file, row, column, what was found and what to do, and never shows a prompt.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from math import nan
from pathlib import Path
from sys import float_info
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eval.table import Table, bad, is_missing, objects, read_table, shown
from router.errors import ConfigError
from router.prompt import read_prompt

__all__ = ["COLUMNS", "History", "read_history", "read_messages", "window"]

_TEXTS = ("prompt_id", "model", "group", "task", "feature")
_AMOUNTS = ("input_tokens", "output_tokens", "cost_usd", "latency_ms")
_FLAGS = {"true": 1.0, "1": 1.0, "1.0": 1.0, "false": 0.0, "0": 0.0, "0.0": 0.0}
_SPLITS = {None: None, "train": "train", "test": "test"}


@dataclass(frozen=True, eq=False)
class History:
    """Checked outcomes: what depends on the model, and what depends on the prompt alone.

    Attributes
    ----------
    rows : DataFrame
        One row per (prompt, model): `prompt_id`, `model` str; `score`, `input_tokens`, `output_tokens`,
        `cost_usd`, `latency_ms`, `propensity` float64, NaN where missing; `usage_is_estimate` bool, false where
        missing; `source` str, the file's stem; then the columns that the contract does not know, as they came.
    prompts : DataFrame
        One row per prompt_id, in the order first seen: `prompt_id`; `prompt` str or list of chat messages;
        `group` str; `task`, `feature`, `split` str or None; `timestamp` datetime64[ns, UTC] or NaT; `weight` float64,
        NaN where missing; `source`.
        Null fields of a message are left out, because Parquet cannot tell them from absent ones.
    """

    rows: pd.DataFrame
    prompts: pd.DataFrame


def read_history(paths: str | Path | Sequence[str | Path]) -> History:
    """Read and check history files; several are read as one history.

    Parameters
    ----------
    paths : path or sequence of paths
        Each .parquet, .jsonl, .ndjson or .csv; the text formats also with .gz appended.

    Raises
    ------
    ConfigError
        A file cannot be read or breaks the history contract; the message says where.
    """
    files = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    if not files:
        raise ConfigError("history: expected .parquet, .jsonl or .csv files, found none; name at least one")
    return _assemble([read_table(path, texts=_TEXTS, times=("timestamp",)) for path in files])


def window(history: History, since: datetime | None, length: timedelta | None) -> History:
    """Return the prompts of a stretch of time, with all their rows. Pure.

    The length counts back from the newest prompt and not from now, so that the same history gives the same window. What
    is kept shares its texts with the history given; where all is kept, it is that history.

    Parameters
    ----------
    since : datetime or None
        Prompts from here on; UTC, unless it names another zone.
    length : timedelta or None
        More than nothing: prompts that are at most this much older than the newest.

    Raises
    ------
    ConfigError
        A prompt has no timestamp, or none is left.
    """
    if length is not None and length <= timedelta(0):
        raise ValueError(f"window: expected a length above 0, found {length}")
    if since is None and length is None:
        return history
    stamps = history.prompts["timestamp"].to_numpy("datetime64[us]")
    if unknown := int(np.isnat(stamps).sum()):
        raise ConfigError(
            f"history: since and window need a timestamp for every prompt; found none for {unknown:,} of "
            f"{len(stamps):,}; log it, or leave since and window out"
        )
    oldest, newest = stamps.min(), stamps.max()
    start = oldest
    if since is not None:
        start = max(
            start, np.datetime64(since.astimezone(UTC).replace(tzinfo=None) if since.tzinfo else since)
        )
    if length is not None:  # in Python's integers: a long length goes below what datetime64 holds
        back = int(newest.astype(np.int64)) - length // timedelta(microseconds=1)
        start = max(start, np.datetime64(max(back, int(oldest.astype(np.int64))), "us"))
    kept = stamps >= start
    if kept.all():
        return history
    if not kept.any():
        raise ConfigError(
            f"history: no prompt is of {start.item():%Y-%m-%d %H:%M} UTC or later; found {len(stamps):,} from "
            f"{oldest.item():%Y-%m-%d %H:%M} to {newest.item():%Y-%m-%d %H:%M}; set an earlier since, or see why nothing new is logged"
        )
    ids = pd.Index(history.prompts["prompt_id"]).get_indexer(history.rows["prompt_id"])
    return History(
        history.rows[kept[ids]].reset_index(drop=True), history.prompts[kept].reset_index(drop=True)
    )


# From raw cells to typed columns. A parser takes any cell and raises for what it cannot read.


def _text(value: Any) -> str | None:  # noqa: ANN401 - a cell holds anything
    if is_missing(value):
        return None
    if not isinstance(value, str) and (isinstance(value, bool) or value != int(value)):
        raise ValueError
    return value if isinstance(value, str) else str(int(value))


def _number(value: Any, most: float = float_info.max) -> float:  # noqa: ANN401
    if is_missing(value):
        return nan
    number = float(value)
    if (
        isinstance(value, bool) or "_" in str(value) or number < 0 or number > most
    ):  # float takes True and 1_0
        raise ValueError
    return number


def _share(value: Any, most: float) -> float:  # noqa: ANN401
    """Return a number above 0: what divides, or is divided by, others."""
    number = _number(value, most)
    if number == 0.0:
        raise ValueError
    return number


def _flag(value: Any) -> float:  # noqa: ANN401
    return nan if is_missing(value) else _FLAGS[str(value).strip().lower()]


def _instant(value: Any) -> datetime | None:  # noqa: ANN401
    """Return UTC without its zone; a time that names no zone is taken as UTC."""
    if is_missing(value):
        return None
    value = datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
    if not isinstance(value, datetime) or not 1677 < value.year < 2262:  # what datetime64[ns] holds
        raise ValueError
    return (value.astimezone(UTC) if value.tzinfo else value).replace(tzinfo=None)


COLUMNS: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    **dict.fromkeys(_TEXTS, (_text, "text", "object")),
    "split": (lambda cell: _SPLITS[_text(cell)], "train, test or nothing", "object"),
    "timestamp": (_instant, "ISO 8601 such as 2025-01-31T12:00:00Z, or nothing", "datetime64[ns]"),
    "score": (partial(_number, most=1.0), "a number from 0 to 1, or nothing", "float64"),
    **dict.fromkeys(("passed", "usage_is_estimate"), (_flag, "true, false or nothing", "float64")),
    **dict.fromkeys(_AMOUNTS, (_number, "a finite number of 0 or more, or nothing", "float64")),
    "propensity": (partial(_share, most=1.0), "a probability above 0, at most 1, or nothing", "float64"),
    "weight": (partial(_share, most=float_info.max), "a finite number above 0, or nothing", "float64"),
}
"""The columns of the contract but the prompt: parser of a cell, what is expected, dtype."""


def _typed(table: Table) -> dict[str, NDArray[Any]]:
    for choice in (("prompt_id",), ("prompt", "messages"), ("model",), ("score", "passed")):
        if not any(name in table.columns for name in choice):
            todo = "add it, or rename the column that holds it"
            raise bad(table.path, f"a column {' or '.join(choice)}", f"the columns {table.names()}", todo)
    typed: dict[str, NDArray[Any]] = {}
    fix = "correct it or drop the row"
    for name, (parse, expected, dtype) in COLUMNS.items():
        parsed: list[Any] = []
        for place, cell in zip(table.places, table.cells(name), strict=True) if name in table.columns else ():
            try:
                parsed.append(parse(cell))
                if parsed[-1] is None and name in ("prompt_id", "model"):
                    raise ValueError
            except (ValueError, TypeError, OverflowError, LookupError):
                raise bad(f"{place}, column {name}", expected, shown(cell), fix) from None
        typed[name] = objects(parsed or [parse(None)] * len(table.places)).astype(dtype)
    typed["score"] = np.where(np.isnan(typed["score"]), typed.pop("passed"), typed["score"])
    typed["usage_is_estimate"] = typed["usage_is_estimate"] == 1.0
    typed["source"] = objects([Path(table.path.name.removesuffix(".gz")).stem] * len(table.places))
    typed["prompt"], typed["key"] = _prompts(table)
    return typed


def _prompts(table: Table) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Return per row the prompt (str or messages) and its canonical text."""
    prompts: list[Any] = []
    seen: dict[str, Any] = {}  # a prompt repeats for each model: parse its JSON once
    for place, text, chat in zip(table.places, table.cells("prompt"), table.cells("messages"), strict=True):
        if is_missing(chat):
            if not isinstance(text, str):
                where = f"{place}, column {'prompt' if 'prompt' in table.columns else 'messages'}"
                found = "nothing" if is_missing(text) else f"a {type(text).__name__}"
                raise bad(where, "text", found, "fill prompt or messages, or drop the row")
            prompts.append(text)
        elif isinstance(chat, str):
            prompts.append(seen[chat] if chat in seen else seen.setdefault(chat, read_messages(place, chat)))
        else:
            prompts.append(read_messages(place, chat))
    return objects(prompts), objects([_canonical(prompt) for prompt in prompts])


def read_messages(place: str, value: Any, what: str = "history") -> list[dict[str, Any]]:  # noqa: ANN401
    """Return checked chat messages without their null fields, from JSON text or from a nested column. Pure.

    Raises
    ------
    ConfigError
        They are no list of chat messages.
    """
    try:
        value = json.loads(value) if isinstance(value, str) else value
        read_prompt(value)  # what the router could not read at serving time is refused here
        if isinstance(value, list) and value and all(isinstance(m.get("role"), str) for m in value):
            return [_bare(message) for message in value]
        found = "a message without a role as text" if isinstance(value, list) and value else "no messages"
    except (ValueError, RecursionError):
        found = "text that is not JSON"
    except TypeError as error:
        found = f"the wrong type ({error})"
    todo = 'write [{"role": "user", "content": "..."}]'
    raise bad(f"{place}, column messages", "a JSON list of chat messages", found, todo, what)


def _bare(value: Any) -> Any:  # noqa: ANN401
    """Return a JSON value without the null fields of its objects."""
    if isinstance(value, dict):
        return {key: _bare(item) for key, item in value.items() if item is not None}
    return [_bare(item) for item in value] if isinstance(value, list) else value


def _canonical(prompt: str | list[dict[str, Any]]) -> str:
    """Return one text per prompt; a lone user message is the same prompt as its text."""
    if isinstance(prompt, str):
        return prompt
    content = prompt[0].get("content")
    if isinstance(content, str) and prompt == [{"role": "user", "content": content}]:
        return content
    return json.dumps(prompt, sort_keys=True)


def _assemble(tables: list[Table]) -> History:
    """Join the checked columns of all files and check what spans rows: keys and prompts."""
    parts = [_typed(table) for table in tables]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    places = list(chain.from_iterable(table.places for table in tables))
    prompt_of, ids = pd.factorize(columns["prompt_id"])
    model_of, models = pd.factorize(columns["model"])
    keys = prompt_of.astype(np.int64) * len(models) + model_of
    for row in np.flatnonzero(pd.Series(keys).duplicated())[:1]:
        pair = f"{ids[prompt_of[row]]:.80} with {models[model_of[row]]:.80}"
        found = f"{pair} already in {places[int((keys == keys[row]).argmax())]}"
        raise bad(f"{places[row]}, columns prompt_id and model", "each pair once", found, "drop one of them")

    def first(name: str, *, agree: bool = True) -> NDArray[Any]:
        """Return per prompt the first value that is set, and refuse one that differs from it."""
        values = columns[name]
        given = np.flatnonzero(~pd.isna(values))
        chosen = np.full(len(ids), -1)
        chosen[prompt_of[given[::-1]]] = given[::-1]  # the last write stays: that of the first row
        codes = pd.factorize(values)[0] if agree else np.zeros(len(values))
        for row in given[codes[given] != codes[chosen[prompt_of[given]]]][:1]:
            what = "prompt" if name == "key" else name
            found = f"another for {ids[prompt_of[row]]:.80} than in {places[chosen[prompt_of[row]]]}"
            raise bad(f"{places[row]}, column {what}", f"one {what} per prompt_id", found, "correct one")
        return np.asarray(np.where(chosen >= 0, values[chosen], np.array(None, dtype=values.dtype)))

    keyed, group = first("key"), first("group")
    for i in np.flatnonzero(pd.isna(group)):  # exact duplicates must not straddle a split
        group[i] = f"prompt:{hashlib.sha256(keyed[i].encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
    start = np.unique(prompt_of, return_index=True)[1]
    prompts = {
        "prompt_id": ids,
        "prompt": columns["prompt"][start],
        "group": group,
        **{name: first(name, agree=False) for name in ("task", "feature")},
        "split": first("split"),
        "timestamp": pd.DatetimeIndex(first("timestamp", agree=False)).as_unit("ns").tz_localize("UTC"),
        "weight": first("weight"),
        "source": columns["source"][start],
    }
    of_row = ("prompt_id", "model", "score", *_AMOUNTS, "propensity", "usage_is_estimate", "source")
    rows = {name: columns[name] for name in of_row}
    known = {*COLUMNS, "prompt", "messages", "source"}
    for name in dict.fromkeys(name for table in tables for name in table.columns if name not in known):
        unknown = [table.columns.get(name, objects([None] * len(table.places))) for table in tables]
        if len({values.dtype for values in unknown}) > 1:
            unknown = [objects(values.tolist()) for values in unknown]
        rows[name] = np.concatenate(unknown)
    return History(_frame(rows), _frame(prompts))


def _frame(columns: dict[str, Any]) -> pd.DataFrame:
    # The dtype is given, or pandas 3 makes strings of text, which hold no lone surrogate and no None.
    return pd.DataFrame({name: pd.Series(values, dtype=values.dtype) for name, values in columns.items()})
