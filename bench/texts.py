"""The texts that a bench routes: prompts of the histories, cut to length, or synthetic ones.

`read_texts` reads the data folder; the rest is pure.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from pathlib import Path

__all__ = ["cut_passages", "cut_texts", "divide", "read_texts"]

_SERVED = 1 / 3  # of the prompts: enough for 12,000 passages of 220 characters


def read_texts(data: Path) -> tuple[list[str], str]:
    """Return the distinct prompts of a folder's histories, or synthetic ones, and where they come from."""
    # Here, so that a process without pandas can cut texts.
    from eval.history import read_history
    from router.prompt import read_prompt
    from training.synthetic import generate

    files = [path for path in sorted(data.glob("*.parquet")) if path.with_suffix(".tiers.toml").is_file()]
    if files:
        prompts = [prompt for path in files for prompt in read_history(path).prompts["prompt"]]
        source = ", ".join(path.stem for path in files)
    else:
        prompts, source = generate(20_000, 0)["prompt"].dropna().tolist(), "synthetic, 20,000 prompts, seed 0"
    return list(dict.fromkeys(read_prompt(prompt).text for prompt in prompts)), source


def divide(prompts: list[str], seed: int = 0) -> tuple[list[str], list[str]]:
    """Return the prompts that a router has served before it is timed, and those that it is timed on. Pure."""
    order = [prompt for prompt in prompts if prompt.strip()]
    random.Random(seed).shuffle(order)  # noqa: S311 - no secret
    n = round(len(order) * _SERVED)
    return order[:n], order[n:]


def cut_passages(prompts: list[str], length: int, n: int) -> list[str]:
    """Return n distinct passages of exactly `length` characters, which follow each other. Pure.

    Raises
    ------
    SystemExit
        The prompts hold fewer.
    """
    text = "\n\n".join(prompts)
    passages = list(dict.fromkeys(text[i : i + length] for i in range(0, len(text) - length + 1, length)))
    if len(passages) < n:
        raise SystemExit(f"bench: {len(passages)} distinct passages of {length} characters, {n} needed")
    return passages[:n]


def cut_texts(
    prompts: list[str], length: int, n: int, seed: int = 0, known: Collection[str] = ()
) -> list[str]:
    """Return n distinct texts of exactly `length` characters: shuffled prompts, joined and cut. Pure.

    Each prompt is used once before any is used again, so a text says little about the next. None is among those
    known: prompts from one template begin alike.

    Raises
    ------
    SystemExit
        The prompts are too much alike.
    """
    order = [prompt for prompt in prompts if prompt.strip()]
    shuffle = random.Random(seed).shuffle  # noqa: S311 - no secret
    passed_over = set(known)
    texts: dict[str, None] = {}
    pool: list[str] = []
    for _ in range(2 * n):
        parts: list[str] = []
        room = length
        while room > 0:
            if not pool:
                pool = order.copy()
                shuffle(pool)
            parts.append(pool.pop())
            room -= len(parts[-1]) + 2
        text = "\n\n".join(parts).ljust(length)[:length]
        if text not in passed_over:
            texts[text] = None
        if len(texts) == n:
            return list(texts)
    raise SystemExit(f"bench: {len(texts)} distinct texts of {length} characters, {n} needed")
