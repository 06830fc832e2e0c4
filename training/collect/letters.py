"""Dead letters: calls without an answer that can be graded, one JSON object per line, without a word of their prompts.

Writes one file, whole or not at all, anew at the end of every run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from router.errors import RouterError
from training.calls.answer import Answer

__all__ = ["LETTERS_FILE", "Letter", "describe_letter", "open_letters"]

LETTERS_FILE = "dead_letters.jsonl"

Letter = dict[str, Any]


def describe_letter(prompt_id: str, tier: str, model: str, answer: Answer) -> Letter:
    """Return what is kept of a call that has no answer to grade. Pure."""
    return {
        "prompt_id": prompt_id,
        "tier": tier,
        "model": model,
        "status": answer.status.value,
        "http_status": answer.http_status,
        "code": answer.code,
        "attempts": answer.attempts,
    }


@contextmanager
def open_letters(path: Path) -> Iterator[Callable[[Letter], None]]:
    """Yield what writes a letter; the file is replaced when the block ends well.

    Raises
    ------
    RouterError
        It cannot be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("w", encoding="utf-8") as file:

            def add(letter: Letter) -> None:
                file.write(json.dumps(letter, ensure_ascii=False) + "\n")

            yield add
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise RouterError(
            f"{path}: cannot be written ({error.strerror}); make room, or check the folder, then run the same command again"
        ) from None
    finally:
        with suppress(OSError):
            aside.unlink()
