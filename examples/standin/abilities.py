"""What the three models can do, and what they answer.

Pure: an answer depends on the model, the messages and the seed, and on nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from random import Random
from statistics import NormalDist
from typing import Any, NamedTuple

from skills import SKILLS, read

__all__ = ["ABILITY", "DRESSES", "Answer", "answer", "chance", "digest", "text_of"]

ABILITY: dict[str, dict[str, float]] = {
    "standin-small": {
        "arithmetic": 2.2,
        "extraction": 4.4,
        "ordering": 1.8,
        "json": 3.6,
        "glossary": 3.0,
        "code": 1.6,
        "summary": 3.4,
    },
    "standin-medium": {
        "arithmetic": 4.2,
        "extraction": 6.2,
        "ordering": 3.8,
        "json": 5.6,
        "glossary": 5.2,
        "code": 3.9,
        "summary": 5.4,
    },
    "standin-large": {
        "arithmetic": 6.3,
        "extraction": 7.5,
        "ordering": 5.8,
        "json": 7.2,
        "glossary": 7.0,
        "code": 6.0,
        "summary": 7.2,
    },
}
"""The difficulty up to which a model is right more often than not, for each kind of prompt."""
OF_PROMPT, OF_PAIR = 0.5, 0.5
"""Spread of what cannot be seen in the text: shared by all models, and of one model and prompt alone."""
SLIP = 0.02
"""How often a model is wrong all the same; so there are prompts that a cheap one gets right and a dear one does not."""
DRESSES = {"standin-small": 0.25, "standin-medium": 0.1, "standin-large": 0.1}
"""How often a model puts words around an answer that should stand alone."""
_STANDARD = NormalDist()


class Answer(NamedTuple):
    """A text, and whether it is right; None where the prompt is of no kind that the models know."""

    text: str
    right: bool | None


def answer(model: str, messages: Sequence[Mapping[str, Any]], seed: int = 0) -> Answer:
    """Return what a model answers to a conversation: to its last message from the user."""
    prompt = text_of(messages)
    reading = read(prompt)
    if reading is None:
        words = len(prompt.split())
        return Answer(f"{model} was asked {words} words and knows no answer to them.", None)
    kind, task = reading
    of_prompt = digest(seed, messages)
    of_pair = digest(model, of_prompt.hex())
    luck = OF_PROMPT * _normal(of_prompt) + OF_PAIR * _normal(of_pair)
    rng = Random(of_pair)  # noqa: S311 - no secret hangs on it
    right = ABILITY[model][kind] + luck > task.difficulty and rng.random() >= SLIP
    text = task.right if right else task.wrong(rng)
    if rng.random() < DRESSES[model]:
        text = SKILLS[kind].DRESS.replace("{}", text)
    return Answer(text, right)


def text_of(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the text of the last message from the user, empty if there is none."""
    for message in reversed(messages):
        if message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, str):
                return content
            return "\n".join(part.get("text", "") for part in content or () if isinstance(part, Mapping))
    return ""


def digest(*parts: object) -> bytes:
    """Return 16 bytes that depend on all the parts, which are anything that JSON holds."""
    return blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).digest()


def chance(drawn: bytes) -> float:
    """Return a number from 0 to 1, evenly drawn by a digest."""
    return (int.from_bytes(drawn[:6], "big") + 0.5) / 2**48


def _normal(drawn: bytes) -> float:
    return _STANDARD.inv_cdf(chance(drawn))
