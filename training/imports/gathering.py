"""Gathers calls into rows: what repeats is found, what is large goes to disk.

The rule: texts stand in a file beside the output and never in memory. In memory are, per distinct prompt, a digest of 10
bytes in a table and, if near-duplicates are looked for, 8 bytes for each of its words and a signature of 512; and per row
some 200 bytes of keys. Measured: 0.34 GB for 100,000 prompts in a log of 148 MB, 0.71 GB for 300,000 in 471 MB, so about
0.15 GB and 1.2 times the log.
"""

from __future__ import annotations

import json
import os
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any

from eval.status import GRADABLE
from router.errors import RouterError
from training.imports.chat import canonical, plain_text
from training.imports.logged import LoggedCall
from training.imports.near import Runs
from training.imports.shingles import Shingler

__all__ = ["Gathered", "pseudonym"]

_DIGEST = 10  # bytes of a prompt's id: two of a million prompts share one with a chance of 4 in 10^13


def pseudonym(kind: str, name: str) -> str:
    """Return a name that hides another, the same in every run. Pure.

    Who can guess the name can check the guess: it is a pseudonym and not anonymous.
    """
    return f"{kind}-{blake2b(name.encode('utf-8', 'surrogatepass'), digest_size=8, person=b'tierwise').hexdigest()}"


class Gathered:
    """The rows of an import.

    Attributes
    ----------
    sessions, users : array of uint64
        Per row a hash of its session and user, 0 where it has none.
    prompt_of : array of int64
        Per row the number of its prompt.
    runs : Runs or None
        Per prompt its runs of words.
    """

    def __init__(self, spool: Path, *, exact: bool, near: bool, keep_users: bool) -> None:
        self._path, self._exact, self._keep_users = spool, exact, keep_users
        self._file = spool.open("w", encoding="utf-8")
        self._numbers: dict[bytes, int] = {}
        self._models: dict[str, int] = {}
        self._row_of: dict[tuple[int, int], int] = {}
        self._seen: Counter[tuple[int, int]] = Counter()
        self._dropped: set[int] = set()
        self._worth = bytearray()
        self._shingler = Shingler()
        self.sessions, self.users, self.prompt_of = array("Q"), array("Q"), array("q")
        self.runs = Runs() if near else None
        self.filled: Counter[str] = Counter()

    def add(self, call: LoggedCall) -> None:
        """Add a call.

        Of calls of one model with one prompt the first that is graded is kept, else the first that can be, else the
        first: what failed was tried again.

        Raises
        ------
        RouterError
            The disk is full.
        """
        text = canonical(call.messages)
        digest = sha256(text.encode()).digest()[:_DIGEST]
        prompt = self._numbers.setdefault(digest, len(self._numbers))
        if self.runs is not None and prompt == len(self.runs):
            self.runs.add(self._shingler.shingles(plain_text(call.messages) or text))
        key = (prompt, self._models.setdefault(call.model, len(self._models)))
        row, worth = len(self.prompt_of), _worth(call)
        earlier = self._row_of.get(key)
        nth = self._seen[key]
        self._seen[key] += 1
        if earlier is not None and self._exact:
            if self._worth[earlier] >= worth:
                return
            self._dropped.add(earlier)
        self._row_of[key] = row
        self._worth.append(worth)
        self.prompt_of.append(prompt)
        self.sessions.append(_hashed(call.session))
        self.users.append(_hashed(call.user))
        cells = self._cells(call, text)
        self._write({**cells, "digest": digest.hex(), "nth": nth, "key": key})

    def _cells(self, call: LoggedCall, text: str) -> dict[str, Any]:
        cells = {each.name: getattr(call, each.name) for each in fields(call) if each.name != "place"}
        plain = len(call.messages) == 1 and text == call.messages[0].get("content")
        cells["prompt"] = text if plain else None
        cells["messages"] = None if plain else json.dumps(call.messages, ensure_ascii=False)
        if call.timestamp is not None:
            cells["timestamp"] = call.timestamp.isoformat().replace("+00:00", "Z")
        for name, kind in (("session", "s"), ("user", "u")):
            if cells[name] is not None and not self._keep_users:
                cells[name] = pseudonym(kind, cells[name])
        self.filled.update(name for name, cell in cells.items() if cell is not None)
        return cells

    def _write(self, cells: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(cells, ensure_ascii=False) + "\n")
        except OSError as error:
            raise _full(self._path, error) from None

    @property
    def n_prompts(self) -> int:
        """Distinct prompts."""
        return len(self._numbers)

    @property
    def n_repeats(self) -> int:
        """Calls that repeat the prompt and the model of another."""
        return self._seen.total() - len(self._seen)

    def ids(self) -> list[str]:
        """Return the id of each distinct prompt."""
        return [digest.hex() for digest in self._numbers]

    def kept(self) -> Iterator[int]:
        """Yield the numbers of the rows that are kept."""
        return (row for row in range(len(self.prompt_of)) if row not in self._dropped)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the cells of the rows that are kept, with their prompt's number under "number"."""
        try:
            self._file.flush()
        except OSError as error:
            raise _full(self._path, error) from None
        with self._path.open(encoding="utf-8", newline="\n") as file:
            for row, line in enumerate(file):
                if row in self._dropped:
                    continue
                cells = json.loads(line)
                digest, nth, key = cells.pop("digest"), cells.pop("nth"), cells.pop("key")
                cells["prompt_id"] = f"{digest}-{nth + 1}" if nth and not self._exact else digest
                cells["repeats"] = self._seen[key[0], key[1]] - 1 if self._exact else 0
                cells["number"] = self.prompt_of[row]
                yield cells

    def close(self) -> None:
        """Take the file away."""
        self._file.close()
        self._path.unlink(missing_ok=True)


def _worth(call: LoggedCall) -> int:
    return 2 if call.score is not None else int(call.status in GRADABLE)


def _hashed(name: str | None) -> int:
    if name is None:
        return 0
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()) or 1


def _full(path: Path, error: OSError) -> RouterError:
    return RouterError(
        f"{path.parent}: {error.strerror or os.strerror(error.errno or 5)}; make room for the rows, which take as much as the log"
    )
