"""Reads the records of a log: JSON lines, a JSON list or document, CSV or Parquet, one record in memory at a time.

The rule: a record that cannot be read is counted and the reading goes on after it; only a file that cannot be read at all
is an error. A line, an element of a list or a document is at most `LONGEST` bytes.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from router.errors import ConfigError
from training.imports.logged import Record
from training.imports.opening import PARQUET, magic_of, open_log, unreadable
from training.imports.tally import Tally

__all__ = ["LONGEST", "read_records"]

LONGEST = 128 * 2**20
"""Bytes of one record; a chat with images in it has a few megabytes."""
_CHUNK = 2**20
_BATCH = 256  # rows of a Parquet file at a time
_LISTS = ("data", "results", "records", "rows", "items", "requests")
_MARKS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[{}\[\]]', re.DOTALL)
"""A whole text, or as much of one as there is, or a bracket."""
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
_BLANK = b" \t\r\n"


def read_records(path: Path, tally: Tally) -> Iterator[Record]:
    """Yield the records of a file, and count those that cannot be read.

    Raises
    ------
    ConfigError
        The file cannot be read at all.
    """
    if magic_of(path).startswith(PARQUET):
        yield from _from_parquet(path)
        return
    with open_log(path) as stream:
        start = _start(stream)
        if start == b"":
            raise ConfigError(
                f"log {path}: expected records, found nothing that can be read; check what wrote it"
            )
        reader: Callable[[Path, io.BufferedReader, Tally], Iterator[Record]]
        if start == b"[":
            reader = _from_list
        elif start == b"{":
            reader = _from_lines
        elif path.name.lower().removesuffix(".gz").endswith((".jsonl", ".ndjson", ".json")):
            reader = _from_lines  # every line is bad, and is counted as such
        else:
            reader = _from_csv
        yield from reader(path, stream, tally)


def _start(stream: io.BufferedReader) -> bytes:
    """Return the first byte that is no blank, and leave the stream before it; a byte order mark is no content."""
    if stream.peek(3)[:3] == codecs.BOM_UTF8:
        stream.read(3)
    while (ahead := stream.peek(1)[:1]) and ahead in _BLANK:
        stream.read(1)
    return ahead


# JSON lines. A document over several lines begins like a broken line, and is told from one by the line after it.


def _from_lines(path: Path, stream: io.BufferedReader, tally: Tally) -> Iterator[Record]:
    number = 0
    while line := stream.readline(LONGEST):
        number += 1
        place = f"{path}, line {number}"
        if len(line) == LONGEST and not line.endswith(b"\n"):
            tally.refuse(f"a line of more than {LONGEST // 2**20} MiB", place)
            while (rest := stream.readline(_CHUNK)) and not rest.endswith(b"\n"):
                pass
        elif number == 1 and line.endswith(b"\n") and not _is_json(line):
            after = stream.readline(LONGEST)
            if after and not line.rstrip().endswith(b"}") and not after.lstrip().startswith(b'{"'):
                yield from _from_document(path, line + after, stream, tally)
                return
            for each in (line, after):
                yield from _parsed(each, f"{path}, line {number}", tally, last=not each.endswith(b"\n"))
                number += 1
            number -= 1
        else:
            yield from _parsed(line, place, tally, last=not line.endswith(b"\n"))


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _from_document(path: Path, begun: bytes, stream: io.BufferedReader, tally: Tally) -> Iterator[Record]:
    data = begun + stream.read(LONGEST)
    if len(data) >= LONGEST:
        raise ConfigError(
            f"log {path}: expected JSON lines, found one document of more than {LONGEST // 2**20} MiB; write one record a line"
        )
    yield from _parsed(data, str(path), tally, last=True)


def _parsed(data: bytes, place: str, tally: Tally, *, last: bool) -> Iterator[Record]:
    if not data.strip(_BLANK):
        return
    try:
        value = json.loads(data)
    except UnicodeDecodeError:
        tally.refuse("text that is not UTF-8", place)
    except RecursionError:
        tally.refuse("JSON nested too deeply", place)
    except ValueError:
        if last and not data.rstrip().endswith(b"}"):
            tally.end_within(place)
        else:
            tally.refuse("broken JSON", place)
    else:
        yield from _unwrapped(value, place, tally)


def _unwrapped(value: object, place: str, tally: Tally) -> Iterator[Record]:
    """Yield a record, or those that a page of an API holds under one of its usual names."""
    if isinstance(value, Mapping):
        for name in _LISTS:
            held = value.get(name)
            if isinstance(held, list) and not {"messages", "custom_id", "model", "type"} & value.keys():
                for number, item in enumerate(held, start=1):
                    yield from _unwrapped(item, f"{place}, {name} {number}", tally)
                return
        yield Record(place, dict(value))
    elif isinstance(value, list):
        for number, item in enumerate(value, start=1):
            yield from _unwrapped(item, f"{place}, record {number}", tally)
    else:
        tally.refuse("JSON that is no object", place)


# A JSON list: its elements are found by their brackets, so that the list never is in memory.


def _from_list(path: Path, stream: io.BufferedReader, tally: Tally) -> Iterator[Record]:
    stream.read(1)
    for number, (element, whole) in enumerate(_elements(stream), start=1):
        place = f"{path}, record {number}"
        if element is None:
            raise ConfigError(
                f"log {place}: expected at most {LONGEST // 2**20} MiB, found more; write one record a line"
            )
        if whole:
            yield from _parsed(element, place, tally, last=False)
        else:
            tally.end_within(place)


def _elements(stream: io.BufferedReader) -> Iterator[tuple[bytes | None, bool]]:
    """Yield the text of each object or list in a list, and whether its end was found; None is one too long."""
    held, depth, begun, at = bytearray(), 0, -1, 0
    while chunk := stream.read(_CHUNK):
        held += chunk
        while mark := _MARKS.search(held, at):
            token, at = mark.group(), mark.end()
            if token.startswith(b'"'):
                if at >= len(held) - 1:
                    at = mark.start()  # it may go on in the next chunk
                    break
            elif token in b"{[":
                begun = mark.start() if depth == 0 else begun
                depth += 1
            elif depth == 0:
                return  # the end of the list
            else:
                depth -= 1
                if depth == 0:
                    yield bytes(held[begun:at]), True
                    begun = -1
        else:
            at = len(held)
        kept = at if begun < 0 else begun
        del held[:kept]
        at, begun = at - kept, -1 if begun < 0 else 0
        if len(held) > LONGEST:
            yield None, False
            return
    if begun >= 0:
        yield bytes(held), False


# CSV and Parquet.


def _from_csv(path: Path, stream: io.BufferedReader, tally: Tally) -> Iterator[Record]:
    limit = csv.field_size_limit(LONGEST)
    text = io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="")
    try:
        reader = csv.reader(text)
        header = [name.strip() for name in next(filter(None, reader), [])]
        if len(header) < 2 or len(set(header)) < len(header):
            raise ConfigError(
                f"log {path}: expected JSON lines, a JSON list, Parquet or a CSV table with a header, found none of these; "
                "check what wrote it"
            )
        number, short = 0, False
        for number, row in enumerate(filter(None, reader), start=1):
            place = f"{path}, row {number}"
            if short:  # it was not the last
                tally.refuse("a row with cells missing or too many", f"{path}, row {number - 1}")
            short = len(row) != len(header)
            if short:
                continue
            if any(not cell.isascii() and _NOT_UTF8.search(cell) for cell in row):
                tally.refuse("text that is not UTF-8", place)
            else:
                yield Record(
                    place, {name: cell for name, cell in zip(header, row, strict=True) if cell != ""}
                )
        if short:
            tally.end_within(f"{path}, row {number}")
    except csv.Error:
        tally.refuse("CSV whose quotes do not match", f"{path}, after row {number}")
    finally:
        csv.field_size_limit(limit)
        text.detach()


def _from_parquet(path: Path) -> Iterator[Record]:
    try:
        number = 0
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield Record(
                        f"{path}, row {number}", {key: cell for key, cell in row.items() if cell is not None}
                    )
    except pa.ArrowException:
        raise ConfigError(f"log {path}: expected Parquet, found a damaged file; write it again") from None
    except OSError as error:
        raise unreadable(path, error) from None
