"""Glossary: a sentence to be put into a made-up language, with its word list.

Pure. Hard are long sentences and long lists.
"""

from __future__ import annotations

import re
from random import Random

from skills.skill import Task

__all__ = ["DRESS", "OPENING", "make", "read"]

OPENING = "Translate word by word with this list."
DRESS = "{}."
_WORDS = (
    *(
        "river",
        "bird",
        "stone",
        "green",
        "old",
        "child",
        "sings",
        "house",
        "under",
        "light",
        "runs",
        "small",
        "bread",
    ),
    *(
        "morning",
        "road",
        "winter",
        "red",
        "boat",
        "garden",
        "quiet",
        "window",
        "field",
        "reads",
        "long",
        "teacher",
    ),
    *("finds", "moon"),
)
_HEADS = "ktmsvlpnrd"
_TAILS = ("ova", "ilu", "aren", "esk", "umi", "onta", "ira", "eth")
_FORM = re.compile(
    r"Translate word by word with this list\. Answer with the translation only\.\n\n(.+)\n\nSentence: (.+)",
    re.S,
)
_PAIR = re.compile(r"^(\w+) = (\w+)$", re.M)


def make(rng: Random, level: int) -> str:
    """Return a new prompt of a level."""
    english = rng.sample(_WORDS, 2 * level + 2)
    foreign = rng.sample([head + tail for head in _HEADS for tail in _TAILS], len(english))
    sentence = " ".join(rng.sample(english, level + 1))
    pairs = "\n".join(f"{a} = {b}" for a, b in zip(english, foreign, strict=True))
    return f"{OPENING} Answer with the translation only.\n\n{pairs}\n\nSentence: {sentence}"


def read(prompt: str) -> Task | None:
    """Return the task that a prompt sets."""
    found = _FORM.fullmatch(prompt.strip())
    if not found:
        return None
    words, pairs = found[2].split(), dict(_PAIR.findall(found[1]))
    if not words or not {*words} <= {*pairs} or len(pairs) < 2:
        return None
    right = " ".join(pairs[word] for word in words)

    def wrong(rng: Random) -> str:
        place = rng.randrange(len(words))
        others = [pair for word, pair in pairs.items() if word != words[place]]
        slip = words[place] if rng.random() < 0.3 else rng.choice(others)  # left as it was, or the wrong line
        return " ".join(slip if i == place else pairs[word] for i, word in enumerate(words))

    def is_right(response: str) -> bool:
        return response.strip().removesuffix(".") == right

    return Task(len(words) - 1.0, right, wrong, is_right, {"reference": right})
