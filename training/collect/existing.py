"""What a history holds already: rows of other prompts and models stay, rows of this plan are written anew.

Reads the history that is there. The checks come before anything is paid.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.history import read_messages
from eval.table import Table, bad, is_missing, read_table, shown
from router.errors import ConfigError
from training.collect.plan import Plan
from training.collect.prompts import as_they_came, integer_columns
from training.collect.sinks import Block

__all__ = ["Existing", "read_existing"]

_TEXTS = ("prompt_id", "model", "group", "task", "feature")
_BLOCK = 2000


@dataclass(frozen=True, eq=False)
class Existing:
    """Rows to keep, by column, as they came."""

    columns: Block
    rows: int

    def blocks(self, names: list[str], defaults: dict[str, Any]) -> Iterator[Block]:
        """Yield the rows a few at a time with the columns named; a column that is not there has its default."""
        for start in range(0, self.rows, _BLOCK):
            n = min(_BLOCK, self.rows - start)
            yield {
                name: self.columns[name][start : start + n]
                if name in self.columns
                else [defaults.get(name)] * n
                for name in names
            }


def read_existing(path: Path, plan: Plan, *, journal: bool) -> Existing:
    """Read the rows to keep of a history, and check that this plan may be added to it.

    Parameters
    ----------
    journal : bool
        Whether the history has its journal beside it.

    Raises
    ------
    ConfigError
        It cannot be read, is no history, has grades on rows of this plan, has answers of which there is no journal, or
        another prompt under the same id.
    """
    if path.is_dir():
        raise ConfigError(
            f"--out {path}: expected a file, found a folder; name a file in it, such as {path}/history.parquet"
        )
    if not path.exists():
        return Existing({}, 0)
    table = read_table(path, texts=_TEXTS, times=("timestamp",))
    for name in ("prompt_id", "model"):
        if name not in table.columns:
            raise bad(
                path, f"a column {name}", f"the columns {table.names()}", "name another file with --out"
            )
    asked = {name: i for i, name in enumerate(plan.prompts.ids)}
    models = set(plan.models)
    answers = {(i, answer["model"]) for (i, _), answer in plan.prompts.kept.items()}
    ids, found = table.cells("prompt_id"), table.cells("model")
    kept = []
    for row, place in enumerate(table.places):
        if not isinstance(ids[row], str | int) or not isinstance(found[row], str):
            raise bad(
                place, "a prompt_id and a model as text", shown(ids[row]), "name another file with --out"
            )
        i = asked.get(str(ids[row]))
        if i is None:
            kept.append(row)
        elif found[row] in models or (i, found[row]) in answers:
            _require_ours(table, row, journal=journal)
        else:
            _require_same(table, row, plan, i)
            kept.append(row)
    if not kept:  # columns of rows that are written anew are not ours to keep
        return Existing({}, 0)
    whole = integer_columns(path)
    columns = {
        name: [cells[row] for row in kept]
        for name, cells in (
            (n, as_they_came(column, whole=n in whole)) for n, column in table.columns.items()
        )
    }
    return Existing(columns, len(kept))


def _require_ours(table: Table, row: int, *, journal: bool) -> None:
    for name in ("score", "passed"):
        grade = table.columns[name][row] if name in table.columns else None
        if not is_missing(grade):
            raise bad(
                f"{table.places[row]}, column {name}",
                "no grades on what is to be collected",
                shown(grade),
                "name another file with --out; grade writes to a file of its own",
            )
    if not journal:
        raise bad(
            table.path,
            "its journal beside it",
            "answers of this plan and no journal",
            "put the journal back, or name another file with --out, where all is asked and paid anew",
        )


def _require_same(table: Table, row: int, plan: Plan, i: int) -> None:
    """Refuse an id that stands for another prompt on a model that is not asked."""
    chat = table.columns["messages"][row] if "messages" in table.columns else None
    text = table.columns["prompt"][row] if "prompt" in table.columns else None
    lone = is_missing(chat)
    theirs = [{"role": "user", "content": text}] if lone else read_messages(table.places[row], chat)
    if theirs != plan.prompts.messages(i):
        raise bad(
            f"{table.places[row]}, column prompt_id",
            "the same prompt under the same id",
            f"another for {plan.prompts.ids[i]:.80}",
            "give the new prompt another id, or name another file with --out",
        )
