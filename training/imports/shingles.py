"""What of a prompt is compared when near-duplicates are looked for: its runs of three words.

Pure. Where a script writes no spaces between words, each of its characters is taken for a word. Case, punctuation, spaces
and the system's words do not count. Two prompts are as similar as their sets of runs: Jaccard's index, the size of what is
common over the size of all. A prompt of fewer than three words is one run.
"""

from __future__ import annotations

import re
import unicodedata
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

__all__ = ["WORDS", "Shingler", "jaccard"]

WORDS = 3
"""Words of a run. Measured on 100,000 synthetic prompts with 3 % trivial repeats, at 0.8: 3 finds 99.9 % of them; of two
prompts of one family drawn at random 1 in 20,000 pairs is taken for one. With 1 it is 2 in 20,000 and 1.4 % at 0.6."""

# Scripts that part no words: Thai, Lao, Tibetan, Myanmar, Khmer, kana, Han.
_UNPARTED = "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNPARTED}]|[^\W_{_UNPARTED}]+")
_MOST_REMEMBERED = 2_000_000
_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9))
_SHIFT = np.uint64(29)


class Shingler:
    """Turns texts into sorted arrays of 64-bit hashes of their runs; the same in every process."""

    def __init__(self) -> None:
        self._hashes: dict[str, int] = {}

    def shingles(self, text: str) -> NDArray[np.uint64]:
        """Return the hashes of a text's runs, sorted and each once, at least one."""
        folded = text.casefold()
        if not folded.isascii():
            folded = unicodedata.normalize("NFKC", folded)
        words = _WORD.findall(folded) or folded.split()
        if len(self._hashes) > _MOST_REMEMBERED:
            self._hashes.clear()  # they are what they were when they come again
        hashes = np.fromiter(map(self._hash, words), dtype=np.uint64, count=len(words))
        if len(hashes) < WORDS:
            hashes = np.concatenate([hashes, np.zeros(WORDS - len(hashes), np.uint64)])
        n = len(hashes) - WORDS + 1
        runs = hashes[:n] * _MIX[0]
        for k in range(1, WORDS):
            runs = (runs ^ (runs >> _SHIFT)) * _MIX[1] + hashes[k : k + n] * _MIX[2]
        return np.unique(runs ^ (runs >> _SHIFT))

    def _hash(self, word: str) -> int:
        found = self._hashes.get(word)
        if found is None:
            digest = blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            found = self._hashes[word] = int.from_bytes(digest, "little")
        return found


def jaccard(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> float:
    """Return the similarity of two sets of runs, each sorted and without repeats."""
    common = len(np.intersect1d(first, second, assume_unique=True))
    return common / (len(first) + len(second) - common)
