"""JSON: an order, told in a sentence, to be written as an object.

Pure. Hard are many keys.
"""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any

from skills.skill import Task

__all__ = ["DRESS", "OPENING", "make", "read"]

OPENING = "Write this order as a JSON object"
DRESS = "```json\n{}\n```"  # a fence: some graders allow it and some do not, as in life
_KEYS = ("customer", "item", "quantity", "price", "city", "date", "express")
_FORM = re.compile(
    r"Write this order as a JSON object with the keys ([a-z, ]+)\. Answer with JSON only\.\n\n(.+)", re.S
)
_PARTS = {
    "customer": re.compile(r"^(\w+) orders"),
    "item": re.compile(r"orders \d+ (\w+)"),
    "quantity": re.compile(r"orders (\d+)"),
    "price": re.compile(r"at (\d+\.\d\d) each"),
    "city": re.compile(r"to (\w+)"),
    "date": re.compile(r"on (\d{4}-\d\d-\d\d)"),
    "express": re.compile(r"(by express|by ordinary post)"),
}
_AS = {"quantity": int, "price": float, "express": lambda word: word == "by express"}
_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}
_CUSTOMERS = ("Rahim", "Sofia", "Tomas", "Ulrike", "Vera", "Wanjiru", "Yusuf", "Zora")
_ITEMS = ("lamps", "desks", "chairs", "shelves", "clocks", "kettles", "rugs", "mirrors")
_CITIES = ("Oslo", "Porto", "Quito", "Riga", "Sucre", "Turku", "Utrecht", "Vilnius")


def make(rng: Random, level: int) -> str:
    """Return a new prompt of a level."""
    keys = rng.sample(_KEYS, min(level + 1, len(_KEYS)))
    order = (
        f"{rng.choice(_CUSTOMERS)} orders {rng.randrange(2, 90)} {rng.choice(_ITEMS)} "
        f"at {rng.randrange(3, 200)}.{rng.randrange(100):02d} each, to be sent to {rng.choice(_CITIES)} "
        f"on 2026-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d} {rng.choice(('by express', 'by ordinary post'))}."
    )
    return f"{OPENING} with the keys {', '.join(keys)}. Answer with JSON only.\n\n{order}"


def read(prompt: str) -> Task | None:
    """Return the task that a prompt sets."""
    found = _FORM.fullmatch(prompt.strip())
    if not found:
        return None
    keys, order = found[1].split(", "), found[2].replace("to be sent ", "")
    if not {*keys} <= {*_KEYS}:
        return None
    parts = {key: _PARTS[key].search(order) for key in keys}
    right: dict[str, Any] = {key: _AS.get(key, str)(part[1]) for key, part in parts.items() if part}
    if len(right) < len(keys):
        return None

    def wrong(rng: Random) -> str:
        key = rng.choice(keys)
        how = rng.random()
        if how < 0.4:
            return json.dumps({k: v for k, v in right.items() if k != key})
        if how < 0.7:
            return json.dumps(right | {key: None if isinstance(right[key], str) else str(right[key])})
        return json.dumps(right).replace("}", ",}")  # no JSON at all

    def is_right(response: str) -> bool:
        try:
            return bool(json.loads(response.removeprefix("```json\n").removesuffix("\n```")) == right)
        except ValueError:
            return False

    schema = {
        "type": "object",
        "properties": {key: {"type": _TYPES[type(value)], "const": value} for key, value in right.items()},
        "required": keys,
        "additionalProperties": False,
    }
    columns = {"reference": json.dumps(right), "schema": json.dumps(schema)}
    return Task(len(keys) - 1.0, json.dumps(right), wrong, is_right, columns)
