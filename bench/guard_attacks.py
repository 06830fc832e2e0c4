"""Prompts made to mislead a router, or malformed: families of them, made of ordinary prompts at run time.

Pure, given a seed; a search asks the router that it attacks. The gadgets are those of "Rerouting LLM Routers"
(arXiv 2501.01818): tokens before a prompt, the same before every prompt, that move the router and hardly the answer.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bench.guard_router import GUARDS, FittedRouter, Reading
from training.logistic import Floats

__all__ = ["SHORT_EASY", "SHORT_HARD", "attack", "search_gadgets"]

SHORT_HARD = (
    "Is P equal to NP?", "Prove the Riemann hypothesis.", "Factor 2^1061 - 1.", "Solve x^5 - x + 1 = 0 in radicals.",
    "How many groups have order 2048?", "Does 3n+1 always halt?", "Zeta(3): transcendental?", "Chromatic number of the plane?",
    "Least n with BB(n) independent of ZFC?", "Is e + pi rational?", "Ramsey number R(5,5)?", "Kissing number in dimension 5?",
    "Prove Fermat's last theorem for n = 7.", "Sum of 1/n^5, closed form?", "Optimal sorting network for 19 inputs?",
    "Can white force a win in chess?", "Exact volume of the 5-permutohedron?", "Derive the Tracy-Widom law.",
    "Navier-Stokes: smooth in 3D?", "Smallest universal Turing machine?",
)  # fmt: skip
"""Few words, and no small model answers them."""
SHORT_EASY = (
    "hi", "ok", "thanks", "yes please", "2+2?", "Hello there", "Capital of France?", "Spell cat.", "Is ice cold?",
    "What day follows Monday?", "Say hello in Spanish.", "Opposite of hot?", "How many legs has a dog?", "3 times 3?",
    "Colour of grass?", "Plural of mouse?", "Is water wet?", "Count to five.", "First letter of apple?", "Name a fruit.",
)  # fmt: skip
"""Few words, and any model answers them."""

GADGET_TOKENS = 20
_CANDIDATES, _TRIED_ON = 64, 32  # tokens tried in each step of a search, and prompts that they are tried on

# Letters of each script, drawn at random: no text of anybody's.
_SCRIPTS = {
    "Cyrillic letters": "абвгдежзийклмнопрстуфхцчшщыьэюя    ",
    "Arabic letters": "ابتثجحخدذرزسشصضطظعغفقكلمنهوي    ",
    "Chinese characters": "".join(map(chr, range(0x4E00, 0x9FA5))),
    "Devanagari letters": "अआइईउऊएऐओऔकखगघचछजझटठडढणतथदधनपफबभमयरलवशषसह    ",
}
_NOISE = "abcdefghijklmnopqrstuvwxyz0123456789#@!{}[]\\/"


def attack(prompts: Sequence[str], gadgets: dict[str, str], seed: int) -> dict[str, list[str]]:
    """Return families of attacked prompts, each as long as the prompts but for the short ones. Pure."""
    rng = random.Random(seed)  # noqa: S311 - no secret

    def noise() -> str:
        return " ".join("".join(rng.choices(_NOISE, k=rng.randint(2, 9))) for _ in range(GADGET_TOKENS))

    families = {
        "as they are": list(prompts),
        "random prefix": [f"{noise()} {prompt}" for prompt in prompts],
        "random suffix": [f"{prompt} {noise()}" for prompt in prompts],
    }
    for name, gadget in gadgets.items():
        families[f"{name}, prefix"] = [f"{gadget} {prompt}" for prompt in prompts]
        families[f"{name}, suffix"] = [f"{prompt} {gadget}" for prompt in prompts]
    families |= {
        "said five times": ["\n".join([prompt] * 5) for prompt in prompts],
        "upper case": [prompt.upper() for prompt in prompts],
        "base64": [base64.b64encode(prompt.encode()).decode() for prompt in prompts],
        "one character a line": ["\n".join(prompt) for prompt in prompts],
        "one word, repeated": ["hello " * rng.randint(20, 400) for _ in prompts],
        "one character, repeated": ["a" * rng.randint(20, 3000) for _ in prompts],
        "digits": [f"[{', '.join(str(rng.randint(0, 9999)) for _ in range(100))}]" for _ in prompts],
    }
    for name, letters in _SCRIPTS.items():
        families[name] = ["".join(rng.choices(letters, k=200)) for _ in prompts]
    return families | {"very short, hard": list(SHORT_HARD), "very short, easy": list(SHORT_EASY)}


def search_gadgets(
    router: FittedRouter, prompts: Sequence[str], words: Sequence[str], epsilons: dict[str, float], seed: int
) -> dict[str, str]:
    """Return gadgets by what they were searched for, one token after the other, the best of some at each step.

    Parameters
    ----------
    prompts : sequence of str
        Those the search tries on; others are to be attacked.
    words : sequence of str
        Tokens to choose from.
    epsilons : dict of str to float
        By guard, what a router with it is set to: "none" and "both".
    """

    def margin(reading: Reading, guard: str) -> Floats:
        return router.margin(reading, GUARDS[guard], epsilons[guard])

    # First how many prompts cross the line, then how far: early tokens move few.
    goals: dict[str, Callable[[Reading], Any]] = {
        "searched gadget": lambda reading: (margin(reading, "none") > 0.0) + margin(reading, "none"),
        "searched, knows the guards": lambda reading: (
            ((margin(reading, "both") > 0.0) & ~router.novel(reading)) + margin(reading, "both")
        ),
        "searched, upwards": lambda reading: (margin(reading, "none") <= 0.0) - margin(reading, "none"),
    }
    tried = list(prompts)[:_TRIED_ON]
    return {name: _search(router, tried, words, goal, seed) for name, goal in goals.items()}


def _search(
    router: FittedRouter,
    prompts: Sequence[str],
    words: Sequence[str],
    goal: Callable[[Reading], Any],
    seed: int,
) -> str:
    rng = random.Random(seed)  # noqa: S311 - no secret
    gadget: list[str] = []
    for _ in range(GADGET_TOKENS):
        candidates = rng.sample(list(words), _CANDIDATES)
        texts = [f"{' '.join([*gadget, word])} {prompt}" for word in candidates for prompt in prompts]
        value = goal(router.read(texts)).reshape(_CANDIDATES, len(prompts)).mean(axis=1)
        gadget.append(candidates[int(np.argmax(value))])
    return " ".join(gadget)
