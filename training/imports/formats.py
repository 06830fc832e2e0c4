"""The formats that can be imported, and which of them a log looks like."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from router.errors import ConfigError
from training.imports import anthropic_log, langfuse_log, litellm_log, openai_log, otel_log
from training.imports.logged import LoggedCall
from training.imports.records import read_records
from training.imports.tally import Tally

__all__ = ["FORMATS", "check_format", "read_log"]

_LOOKED_AT = 20  # records of each file


class Format(NamedTuple):
    """How one format is read and known."""

    read_calls: Callable[..., Iterator[LoggedCall]]
    looks_like: Callable[[Mapping[str, Any]], bool]
    about: str


FORMATS = {
    "openai": Format(
        openai_log.read_calls,
        openai_log.looks_like,
        "requests with responses of OpenAI's API, or files of its batches",
    ),
    "anthropic": Format(
        anthropic_log.read_calls, anthropic_log.looks_like, "the same of Anthropic's messages API"
    ),
    "litellm": Format(litellm_log.read_calls, litellm_log.looks_like, "rows of LiteLLM_SpendLogs"),
    "langfuse": Format(langfuse_log.read_calls, langfuse_log.looks_like, "observations, traces and scores"),
    "otel": Format(otel_log.read_calls, otel_log.looks_like, "spans with GenAI attributes, as OTLP JSON"),
}
"""By the name that --format takes."""


def check_format(name: str, paths: Sequence[Path]) -> None:
    """Refuse a log that is of another known format than was said.

    Raises
    ------
    ConfigError
        A file cannot be read, or its first records are of another format and none of this one.
    """
    for path in paths:
        records = [record.value for record in islice(read_records(path, Tally()), _LOOKED_AT)]
        like = {other: sum(map(form.looks_like, records)) for other, form in FORMATS.items()}
        closest = max(reversed(FORMATS), key=lambda other: like[other])  # the last are the least like others
        if 2 * like[name] < like[closest]:
            raise ConfigError(
                f"log {path}: expected the format {name}, found what looks like {closest}; pass --format {closest}"
            )


def read_log(name: str, paths: Sequence[Path], tally: Tally, score: str | None) -> Iterator[LoggedCall]:
    """Yield the calls of logs of one format, and count in `tally` what gives none.

    Raises
    ------
    ConfigError
        A file cannot be read, or a score is asked of a format that has none.
    """
    if score is None:
        return FORMATS[name].read_calls(paths, tally)
    if name != "langfuse":
        raise ConfigError(
            f"--score: expected --format langfuse, whose exports hold scores; found {name}; leave it out"
        )
    return FORMATS[name].read_calls(paths, tally, score)
