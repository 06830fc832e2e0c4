"""Holds records until what belongs to them comes: a store of JSON by key, on disk.

The rule: what has to be joined is kept here and not in memory, since requests and answers stand in files of their own and
in any order. The file has no name and goes with the process.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

from router.errors import RouterError
from training.imports.values import clean

__all__ = ["Held"]


class Held:
    """Objects by key; one put later under the same key takes the place of the first."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")  # a temporary file that sqlite deletes
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("CREATE TABLE held (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID")

    def put(self, key: str, value: object) -> None:
        """Keep a value that JSON can hold."""
        try:
            text = json.dumps(value, default=str)
            self._database.execute("INSERT OR REPLACE INTO held VALUES (?, ?)", (clean(key), text))
        except sqlite3.OperationalError:
            raise RouterError(
                "logs: the folder for temporary files is full or cannot be written; set TMPDIR"
            ) from None

    def get(self, key: str) -> Any:  # noqa: ANN401 - what was put
        """Return what is kept under a key, None where nothing is."""
        row = self._database.execute("SELECT value FROM held WHERE key = ?", (clean(key),)).fetchone()
        return json.loads(row[0]) if row else None

    def drop(self, key: str) -> None:
        """Keep what is under a key no longer."""
        self._database.execute("DELETE FROM held WHERE key = ?", (clean(key),))

    def items(self) -> Iterator[tuple[str, Any]]:
        """Yield what is still kept, with its key and in the order of keys."""
        for key, text in self._database.execute("SELECT key, value FROM held ORDER BY key"):
            yield key, json.loads(text)

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()
