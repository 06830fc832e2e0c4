"""The response model of the synthetic history: what is simulated, with every constant it uses.

For a prompt of family f and a tier t::

    visible    = FAMILY_DIFFICULTY[f] + STEP x steps + CONSTRAINT x constraints
                 + DOUBLING x log2(characters / 300) + LANGUAGE_DIFFICULTY[language]
    latent     ~ Normal(0, LATENT_SD)                    one per prompt, the same for all tiers
    P(pass)    = (1 - LAPSE) x sigmoid(SHARPNESS x (ABILITY[t] + SKILL[f][t] - visible - latent))

A router sees the text, hence at best `visible`; `latent` is what it can not know. Given P(pass), tiers
pass independently: outcomes correlate through the shared difficulty, and a cheap tier sometimes passes
where the dear one fails. In every family a dearer tier has the larger P(pass). Near-duplicates share the
latent of what they repeat, and so do equal texts.

The constants were chosen to make a plausible ladder; none was measured on a real model. Pure.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from router.tiers import CHARS_PER_TOKEN, Ladder, parse_tiers

__all__ = [
    "ABILITY",
    "FAMILY_DIFFICULTY",
    "FIRST_TOKEN_MS",
    "GRADED",
    "INPUT_NOISE",
    "LADDER",
    "LAPSE",
    "LATENCY_NOISE",
    "LATENT_SD",
    "OUTPUT_NOISE",
    "OUTPUT_TOKENS",
    "SHARPNESS",
    "TIERS_TOML",
    "TOKENS_PER_S",
    "UNOBSERVED",
    "VERBOSITY",
    "Floats",
    "true_cost_usd",
    "true_pass_probability",
    "visible_difficulty",
    "visible_pass_probability",
]

Floats = npt.NDArray[np.float64]

TIERS_TOML = """\
# Synthetic ladder: these models do not exist.
pass_score = 0.5

[[tier]]
name = "small"
model = "synthetic-small"
input_usd_per_mtok = 0.15
output_usd_per_mtok = 0.60
cached_input_usd_per_mtok = 0.015
context_window = 32000
capabilities = ["json", "tools"]

[[tier]]
name = "medium"
model = "synthetic-medium"
input_usd_per_mtok = 1.0
output_usd_per_mtok = 4.0
cached_input_usd_per_mtok = 0.1
context_window = 128000
capabilities = ["json", "tools", "vision"]

[[tier]]
name = "large"
model = "synthetic-large"
input_usd_per_mtok = 5.0
output_usd_per_mtok = 20.0
cached_input_usd_per_mtok = 0.5
context_window = 200000
capabilities = ["json", "tools", "vision"]
"""
"""The ladder that the history was simulated for, as a tiers file."""

LADDER = parse_tiers(tomllib.loads(TIERS_TOML), "synthetic tiers")

SHARPNESS = 2.5
"""Logits per unit of difficulty: how sharply a prompt's difficulty divides the tiers. Benchmarks of one kind of
question are far less sharp; traffic that mixes lookups with planning is nearer to this."""
LAPSE = 0.03
"""Share of answers that fail for no reason that difficulty explains: a format missed, a refusal."""
ABILITY = np.array([1.154, 1.930, 2.744])
"""Per tier, cheapest first, chosen so that about .60, .78 and .90 of the prompts pass."""

SKILL: dict[str, tuple[float, float, float]] = {
    "extraction": (0.4, 0.1, 0.0),
    "classification": (0.5, 0.1, 0.0),
    "translation": (-0.3, 0.2, 0.1),
    "coding": (-0.3, 0.3, 0.2),
    "arithmetic": (-0.2, 0.0, 0.3),
    "planning": (-0.5, -0.2, 0.3),
    "legal": (-0.2, -0.2, 0.2),
    "agent": (-0.6, 0.1, 0.2),
}
"""Units of difficulty by which a tier is better (or worse) at a family than its ability says; zero where absent."""

FAMILY_DIFFICULTY: dict[str, float] = {
    "extraction": -1.5,
    "classification": -1.5,
    "rewriting": -1.0,
    "translation": -0.7,
    "factual": -0.3,
    "summary": -1.0,
    "coding": 0.2,
    "debugging": 0.0,
    "arithmetic": -0.6,
    "planning": -0.5,
    "legal": 0.4,
    "agent": -0.4,
    "chat": -0.7,
}
"""Units of difficulty that the family alone adds to the difficulty."""

LANGUAGE_DIFFICULTY: dict[str, float] = {
    "German": 0.1,
    "Spanish": 0.1,
    "French": 0.1,
    "Russian": 0.4,
    "Chinese": 0.4,
    "Japanese": 0.6,
    "Arabic": 0.7,
    "Hindi": 1.0,
    "JavaScript": 0.2,
    "SQL": -0.2,
}
"""Units of difficulty that the language adds; zero for English and Python."""

STEP = 0.35
"""Units of difficulty per step: an operand, an inference, a turn."""
CONSTRAINT = 0.25
"""Units of difficulty per constraint on the answer."""
DOUBLING = 0.2
"""Units of difficulty for each doubling of the length, from 300 characters."""
LATENT_SD = 0.45
"""Standard deviation of the difficulty that can not be read off the text."""

UNOBSERVED = 0.04
"""Share of (prompt, tier) pairs that were never tried: their rows are absent."""
GRADED = ("summary",)
"""Families scored in [0, 1] instead of 0 or 1; a pass is still a score of 0.5 or more."""

INPUT_NOISE, OUTPUT_NOISE, LATENCY_NOISE = 0.08, 0.35, 0.2
"""Standard deviations of the logarithms."""
OUTPUT_TOKENS: dict[str, float] = {
    "extraction": 45,
    "classification": 6,
    "rewriting": 90,
    "translation": 80,
    "factual": 120,
    "summary": 140,
    "coding": 380,
    "debugging": 320,
    "arithmetic": 210,
    "planning": 520,
    "legal": 340,
    "agent": 70,
    "chat": 180,
}
"""Median output tokens of the medium tier, per family."""
VERBOSITY = np.array([0.9, 1.0, 1.15])
"""Output tokens per tier, relative to the medium one."""
FIRST_TOKEN_MS = np.array([180.0, 350.0, 700.0])
"""Milliseconds before the first output token, per tier."""
TOKENS_PER_S = np.array([160.0, 90.0, 55.0])
"""Output speed per tier."""

_NAMES = tuple(FAMILY_DIFFICULTY)
_INDEX = {name: i for i, name in enumerate(_NAMES)}
_SKILLS = np.array([SKILL.get(name, (0.0, 0.0, 0.0)) for name in _NAMES])


def visible_difficulty(
    family: Sequence[str],
    steps: npt.ArrayLike,
    constraints: npt.ArrayLike,
    characters: npt.ArrayLike,
    language: Sequence[str],
) -> Floats:
    """Return the part of the difficulty that the text shows, in units of difficulty, float64 (n,). Pure."""
    base = [
        FAMILY_DIFFICULTY[f] + LANGUAGE_DIFFICULTY.get(spoken, 0.0)
        for f, spoken in zip(family, language, strict=True)
    ]
    doublings = np.log2(np.maximum(characters, 1) / 300.0)
    difficulty: Floats = (
        np.asarray(base)
        + STEP * np.asarray(steps)
        + CONSTRAINT * np.asarray(constraints)
        + DOUBLING * doublings
    )
    return difficulty


def true_pass_probability(
    family: Sequence[str], difficulty: npt.ArrayLike, gained: npt.ArrayLike = 0.0
) -> Floats:
    """Return the simulated P(pass) per tier. Pure.

    The response model in one line: (1 - lapse) x sigmoid(sharpness x (ability of the tier in the family - difficulty)).

    Parameters
    ----------
    family : sequence of str
        Task family of each prompt, n of them.
    difficulty : array-like of float, shape (n,)
        Visible difficulty plus latent.
    gained : float or array-like of float, shape (3,)
        What each tier's ability has gained since; below zero, what it has lost.

    Returns
    -------
    ndarray of float64, shape (n, 3)
        Cheapest tier first.
    """
    index = [_INDEX[name] for name in family]
    ability = ABILITY + np.asarray(gained, dtype=np.float64)
    logits = SHARPNESS * (ability + _SKILLS[index] - np.asarray(difficulty, dtype=np.float64)[:, None])
    probability: Floats = (1.0 - LAPSE) / (1.0 + np.exp(-logits))
    return probability


def visible_pass_probability(
    family: Sequence[str], visible: npt.ArrayLike, gained: npt.ArrayLike = 0.0
) -> Floats:
    """Return P(pass) per tier given only what the text shows: the best that any router can know.

    The latent is integrated out by Gauss-Hermite quadrature. Pure; float64 (n, 3).
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(15)
    shown = np.asarray(visible, dtype=np.float64)
    probability = np.zeros((len(shown), len(LADDER)))
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        probability += weight * true_pass_probability(family, shown + LATENT_SD * node, gained)
    return probability


def true_cost_usd(family: Sequence[str], characters: npt.ArrayLike, ladder: Ladder = LADDER) -> Floats:
    """Return what a call is expected to cost on each tier, USD, float64 (n, 3), up to the rounding of tokens. Pure."""
    read = np.asarray(characters, dtype=np.float64)[:, None] / CHARS_PER_TOKEN * np.exp(INPUT_NOISE**2 / 2)
    typical = np.array([OUTPUT_TOKENS[name] for name in family])[:, None] * VERBOSITY
    prices = np.array([(tier.input_usd_per_mtok, tier.output_usd_per_mtok) for tier in ladder.tiers])
    usd: Floats = (read * prices[:, 0] + typical * np.exp(OUTPUT_NOISE**2 / 2) * prices[:, 1]) / 1e6
    return usd
