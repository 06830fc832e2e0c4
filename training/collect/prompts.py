"""Prompts to run: one per prompt_id, with all that the file says of it beside.

The rule: a file is right or it is refused before anything is paid, and no message shows a prompt. Reads files through
`eval.table`; writes nothing.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from eval.history import read_messages
from eval.table import Table, bad, is_missing, read_table, shown
from router.errors import ConfigError
from router.prompt import PromptView, read_prompt
from training.collect.kept import Kept, keep_answers

__all__ = [
    "OUTCOME_COLUMNS",
    "Message",
    "Prompts",
    "as_they_came",
    "integer_columns",
    "read_prompts",
]

Message = dict[str, Any]

OUTCOME_COLUMNS = (
    "model", "score", "passed", "response", "status", "finish_reason", "input_tokens", "output_tokens",
    "cached_input_tokens", "cost_usd", "latency_ms", "usage_is_estimate", "propensity", "grades", "label_error",
    "grading_usd", "repeats",
)  # fmt: skip
"""Columns that tell of an answer and not of the prompt: a history serves as prompts without them."""

_TEXTS = ("prompt_id", "group", "task", "feature")
_FIX = "correct it or drop the row"
BLANK, BROKEN = "blank", "not unicode"


@dataclass(eq=False)
class Prompts:
    """Prompts in the order first seen.

    Attributes
    ----------
    ids : list of str
        Each once.
    texts, chats : list of str or None
        Per prompt its text, and its messages as JSON text; where both are there, the messages are what is sent.
    has_text, has_chat : bool
        Whether the files have the columns prompt and messages.
    weights : list of float or None
        The column weight, where the prompts are a sample already.
    columns : dict
        What else the files say of each prompt, by column, as it came.
    left_out : dict
        Prompts that cannot be asked, counted by reason.
    repeats : int
        Prompts that are word for word an earlier one's.
    kept : dict
        Answers that the files hold, by prompt and tier.
    said : Counter
        What is to be told of them: how often, by sentence.
    """

    ids: list[str] = field(default_factory=list)
    texts: list[str | None] = field(default_factory=list)
    chats: list[str | None] = field(default_factory=list)
    has_text: bool = False
    has_chat: bool = False
    weights: list[float] | None = None
    columns: dict[str, list[Any]] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    repeats: int = 0
    kept: Kept = field(default_factory=dict)
    said: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.ids)

    def messages(self, i: int) -> list[Message]:
        """Return the messages that are sent for prompt i."""
        chat = self.chats[i]
        parsed: list[Message] = (
            [{"role": "user", "content": self.texts[i]}] if chat is None else json.loads(chat)
        )
        return parsed

    def view(self, i: int) -> PromptView:
        """Return what the router reads of prompt i."""
        text = self.texts[i]
        return read_prompt(self.messages(i) if self.chats[i] is not None or text is None else text)


def read_prompts(paths: Sequence[Path], models: Mapping[str, str] = MappingProxyType({})) -> Prompts:
    """Read and check files of prompts; a history serves, too: its prompts are taken and its outcomes left.

    Parameters
    ----------
    paths : sequence of paths
        As `eval.table.read_table` reads them; each with `prompt_id`, and `prompt` or `messages`.
    models : mapping of str to str
        Of which models answers are kept: the tier of each.

    Raises
    ------
    ConfigError
        A file cannot be read, a row is wrong, or no prompt is left to ask; the message says where.
    """
    prompts = Prompts()
    places: dict[str, _Place] = {}
    for path in paths:
        try:
            table = read_table(path, texts=_TEXTS, times=("timestamp",))
        except ConfigError as error:
            raise ConfigError(f"prompts {str(error).removeprefix('history ')}") from None
        _add(prompts, table, places)
        if models:
            ids = map(_read_id, table.places, table.cells("prompt_id"))
            keep_answers(prompts.kept, prompts.said, table, [places[name].prompt for name in ids], models)
    if not prompts.ids:
        counts = ", ".join(f"{n:,} {reason}" for reason, n in prompts.left_out.items())
        raise _bad(str(paths[0]), "a prompt to ask", f"none ({counts})", "check what wrote the file")
    asked = [
        chat if chat is not None else text for text, chat in zip(prompts.texts, prompts.chats, strict=True)
    ]
    prompts.repeats = len(asked) - len(set(asked))
    return prompts


class _Place(NamedTuple):
    """Where an id stands first, what is asked there, and its position among the prompts if it is one."""

    place: str
    asked: str
    prompt: int | None


def _add(prompts: Prompts, table: Table, places: dict[str, _Place]) -> None:
    """Add the prompts of one file; `places` has all ids so far."""
    for choice in (("prompt_id",), ("prompt", "messages")):
        if not any(name in table.columns for name in choice):
            found = f"the columns {table.names()}"
            todo = "add it, or rename the column that holds it"
            raise _bad(str(table.path), f"a column {' or '.join(choice)}", found, todo)
    prompts.has_text |= "prompt" in table.columns
    prompts.has_chat |= "messages" in table.columns
    kept: list[int] = []
    ids, texts, chats = table.cells("prompt_id"), table.cells("prompt"), table.cells("messages")
    for row, place in enumerate(table.places):
        name = _read_id(place, ids[row])
        text = _read_text(place, texts[row])
        parsed = None if is_missing(chats[row]) else read_messages(place, chats[row], "prompts")
        chat = None if parsed is None else json.dumps(parsed, ensure_ascii=False)
        # A lone user message may come as text and as messages: the same prompt for a model, another for the history.
        asked = chat if chat is not None else text or ""
        if name in places:
            if places[name].asked != asked:
                found = f"another for {name:.80} than in {places[name].place}"
                raise _bad(f"{place}, column prompt", "one prompt per prompt_id", found, "correct one")
            continue
        reason = _reason_to_leave_out(text, chat)
        places[name] = _Place(place, asked, None if reason else len(prompts.ids))
        if reason:
            prompts.left_out[reason] = prompts.left_out.get(reason, 0) + 1
            continue
        kept.append(row)
        prompts.ids.append(name)
        prompts.texts.append(text)
        prompts.chats.append(chat)
    _add_columns(prompts, table, kept)


def _add_columns(prompts: Prompts, table: Table, kept: list[int]) -> None:
    before = len(prompts.ids) - len(kept)
    if "weight" in table.columns:
        cells = table.cells("weight")
        weights = [_read_weight(table.places[row], cells[row]) for row in kept]
        prompts.weights = [*(prompts.weights or [1.0] * before), *weights]
    elif prompts.weights is not None:
        prompts.weights += [1.0] * len(kept)
    whole = integer_columns(table.path)
    known = {"prompt_id", "prompt", "messages", "weight", *OUTCOME_COLUMNS}
    for name in (name for name in table.columns if name not in known):
        cells = as_they_came(table.columns[name], whole=name in whole)
        column = prompts.columns.setdefault(name, [None] * before)
        column += [cells[row] for row in kept]
    for column in prompts.columns.values():
        column += [None] * (len(prompts.ids) - len(column))


def _read_id(place: str, cell: Any) -> str:  # noqa: ANN401 - a cell holds anything
    name = cell.strip() if isinstance(cell, str) else cell
    if isinstance(name, float) and name.is_integer():
        name = int(name)
    if is_missing(name) or isinstance(name, bool) or not isinstance(name, str | int):
        raise _bad(f"{place}, column prompt_id", "text", shown(cell), _FIX)
    if not _is_unicode(str(name)):
        raise _bad(f"{place}, column prompt_id", "text", "half a character (a lone surrogate)", _FIX)
    return str(name)


def _read_text(place: str, cell: Any) -> str | None:  # noqa: ANN401
    if is_missing(cell):
        return None
    if not isinstance(cell, str):
        raise _bad(f"{place}, column prompt", "text", shown(cell), _FIX)
    return cell


def _reason_to_leave_out(text: str | None, chat: str | None) -> str | None:
    if chat is None and text is None:
        return BLANK
    if chat is None:
        return None if _is_unicode(text or "") else BROKEN
    parsed = json.loads(chat)
    if not _is_unicode(json.dumps(parsed, ensure_ascii=False)):  # an escape of JSON may be half a character
        return BROKEN
    view = read_prompt(parsed)
    return None if view.text.strip() or view.n_images or view.n_tool_turns else BLANK


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_weight(place: str, cell: Any) -> float:  # noqa: ANN401
    try:
        weight = math.nan if isinstance(cell, bool) or is_missing(cell) else float(cell)
    except (TypeError, ValueError):
        weight = math.nan
    if not 0.0 < weight < math.inf:
        raise _bad(f"{place}, column weight", "a number above 0", shown(cell), _FIX)
    return weight


def integer_columns(path: Path) -> set[str]:
    """Return the columns that Parquet knows as integers, of which a null would make floats."""
    if path.suffix.lower() != ".parquet":
        return set()
    schema = pq.read_schema(path)
    return {each.name for each in schema if str(each.type).removeprefix("u").startswith("int")}


def as_they_came(column: NDArray[Any], *, whole: bool) -> list[Any]:
    """Return the cells of a column as Python's own values, missing ones as None; `whole` if it held integers."""
    if column.dtype.kind == "M":  # to the microsecond, which is what Python's own times count in
        stamps = column.astype("datetime64[us]").tolist()
        return [stamp and stamp.replace(tzinfo=UTC) for stamp in stamps]
    cells: list[Any] = column.tolist()
    if column.dtype.kind == "f":
        missing = np.isnan(column)
        return [
            None if gone else int(cell) if whole else cell for cell, gone in zip(cells, missing, strict=True)
        ]
    return cells


def _bad(where: str, expected: str, found: str, todo: str) -> ConfigError:
    return bad(where, expected, found, todo, "prompts")
