"""Families of input made to be slow, or to fill the memory. Pure.

Every prompt but the largest has 2,000 characters, which decisions read in full. Imports little, for the child whose memory is read uses it.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Iterator
from itertools import islice

__all__ = ["CHARS", "FAMILIES", "HUGE_FAMILY", "make_prompts"]

CHARS = 2000
HUGE_CHARS = 10_000_000
HUGE_FAMILY = "one word of 10 MB"
HUGE = 200  # at most: prompts of 10 MB take long to make
_LATIN = "abcdefghijklmnopqrstuvwxyz"
_CYRILLIC = "".join(map(chr, range(0x430, 0x450)))
_EMOJI = "".join(map(chr, range(0x1F300, 0x1F650)))
_COMBINING = "".join(map(chr, range(0x300, 0x370)))
_CJK = "".join(map(chr, range(0x4E00, 0x9FA6)))
_HANGUL = "".join(map(chr, range(0xAC00, 0xD7A4)))
_KANA = "".join(map(chr, (*range(0x3041, 0x3095), *range(0x30A1, 0x30FB))))
_SURROGATES = "".join(map(chr, range(0xD800, 0xE000)))
_RARE = "".join(map(chr, (*range(0x10000, 0x1F000), *range(0x20000, 0x32000))))
_MARKS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

Make = Callable[[random.Random], str]


def _words(alphabet: str, low: int, high: int) -> Make:
    """Return a maker of texts whose words nearly all are new."""

    def make(draw: random.Random) -> str:
        letters = draw.choices(alphabet, k=CHARS)
        at = draw.randint(low, high)
        while at < CHARS:
            letters[at] = " "
            at += draw.randint(low, high) + 1
        return "".join(letters)

    return make


def _run(alphabet: str) -> Make:
    """Return a maker of texts without spaces."""
    return lambda draw: "".join(draw.choices(alphabet, k=CHARS))


def _combining(draw: random.Random) -> str:
    letters = draw.choices(_LATIN + " ", k=CHARS // 4)
    return "".join(letter + "".join(draw.choices(_COMBINING, k=3)) for letter in letters)


def _nul(draw: random.Random) -> str:
    return "".join(draw.choices("\0" * 9 + _LATIN[:3], k=CHARS))


def _base64(draw: random.Random) -> str:
    return base64.b64encode(draw.randbytes(CHARS * 3 // 4)).decode("ascii")


def _huge(draw: random.Random) -> str:
    ends = ["".join(draw.choices(_LATIN, k=CHARS)) for _ in range(2)]
    return ends[0] + "x" * (HUGE_CHARS - 2 * CHARS) + ends[1]


def _special(draw: random.Random) -> str:
    return f"[UNK] {_words(_CYRILLIC, 99, 100)(draw)}"[:CHARS]


def _half_rare(draw: random.Random) -> str:
    return "".join(f"the {''.join(draw.choices(_RARE, k=2))} " for _ in range(CHARS // 7))


FAMILIES: dict[str, Make] = {
    "new ASCII words": _words(_LATIN + "0123456789", 4, 12),
    "new short ASCII words": _words(_LATIN, 2, 5),
    "new Cyrillic words": _words(_CYRILLIC, 4, 12),
    "Cyrillic words of 100 letters, and a special token": _special,
    "Hangul words of 33 syllables": _words(_HANGUL, 33, 33),
    "new emoji pairs": _words(_EMOJI, 2, 2),
    "rare characters among words": _half_rare,
    HUGE_FAMILY: _huge,
    "emoji without spaces": _run(_EMOJI),
    "combining marks": _combining,
    "CJK without spaces": _run(_CJK),
    "Hangul without spaces": _run(_HANGUL),
    "kana without spaces": _run(_KANA),
    "base64": _base64,
    "NUL bytes": _nul,
    "lone surrogates": _run(_SURROGATES),
    "marks only": _run(_MARKS),
}
"""Makers of one prompt each, from a source of chance."""


def make_prompts(name: str, n: int, seed: int = 0) -> Iterator[str]:
    """Yield n prompts of a family, fewer of the one of 10 MB; distinct but for an accident of chance. Pure."""
    draw = random.Random(f"{name} {seed}")  # noqa: S311 - no secret
    make = FAMILIES[name]
    return islice(iter(lambda: make(draw), None), min(n, HUGE) if name == HUGE_FAMILY else n)
