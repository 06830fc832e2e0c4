"""The script that a prompt is written in: what can be said of its language without guessing.

Pure. A script is read off the letters, so it needs no model and never guesses. It cannot tell English from
German.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["LATIN", "NO_LETTERS", "SCRIPTS", "script_of"]

LATIN, NO_LETTERS = "Latin script", "no letters"

# Ranges of letters by script (The Unicode Standard, chapters 7, 9, 12 and 18): first, last, name.
_RANGES = (
    (0x41, 0x5A, LATIN),
    (0x61, 0x7A, LATIN),
    (0xC0, 0x24F, LATIN),
    (0x370, 0x3FF, "Greek"),
    (0x400, 0x52F, "Cyrillic"),
    (0x590, 0x5FF, "Hebrew"),
    (0x600, 0x6FF, "Arabic"),
    (0x750, 0x77F, "Arabic"),
    (0x900, 0xDFF, "Indic scripts"),
    (0xE00, 0xE7F, "Thai"),
    (0x1100, 0x11FF, "Korean"),
    (0x1E00, 0x1EFF, LATIN),
    (0x3040, 0x30FF, "Chinese or Japanese"),
    (0x3400, 0x4DBF, "Chinese or Japanese"),
    (0x4E00, 0x9FFF, "Chinese or Japanese"),
    (0xAC00, 0xD7AF, "Korean"),
    (0x20000, 0x3FFFF, "Chinese or Japanese"),
)
SCRIPTS = tuple(dict.fromkeys(name for _, _, name in _RANGES))
"""Names of the scripts told apart, Latin first."""

# Prompts in other scripts quote Latin words, code and answer letters; the reverse is symbols in formulas.
_OTHER_SHARE = 0.2

_FIRST = np.array([first for first, _, _ in _RANGES])
_LAST = np.array([last for _, last, _ in _RANGES])
_SCRIPT = np.array([SCRIPTS.index(name) for _, _, name in _RANGES])


def script_of(text: str) -> str:
    """Return the script of a text: the commonest but Latin, if a fifth of its letters are of it. Pure."""
    codes: NDArray[np.uint32] = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    at = np.maximum(np.searchsorted(_FIRST, codes, side="right") - 1, 0)
    letters = (codes >= _FIRST[at]) & (codes <= _LAST[at])
    counts = np.bincount(_SCRIPT[at[letters]], minlength=len(SCRIPTS))
    if not counts.any():
        return NO_LETTERS
    other = 1 + int(counts[1:].argmax())
    return SCRIPTS[other] if counts[other] >= _OTHER_SHARE * counts.sum() else LATIN
