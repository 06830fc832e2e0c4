"""A clearly synthetic history, for the demo, for tests and for scaling benchmarks.

Prompts come from a grammar of our own (training/synthetic_prompts.py); outcomes come from the response
model of training/synthetic_model.py, so the true pass probability of every prompt and tier is known.
Nothing here says anything about real models: their names begin with "synthetic-".

`generate` and `generate_period` are pure; `write_demo` and `run` write files.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from router.errors import ConfigError, RequestError
from router.tiers import CHARS_PER_TOKEN
from training.synthetic_conditions import STANDING, Conditions, add_background
from training.synthetic_model import (
    FIRST_TOKEN_MS,
    GRADED,
    INPUT_NOISE,
    LADDER,
    LATENCY_NOISE,
    LATENT_SD,
    OUTPUT_NOISE,
    OUTPUT_TOKENS,
    TIERS_TOML,
    TOKENS_PER_S,
    UNOBSERVED,
    VERBOSITY,
    Floats,
    true_pass_probability,
    visible_difficulty,
    visible_pass_probability,
)
from training.synthetic_prompts import FAMILIES, draw_prompt, nearly_repeat, text_of
from training.synthetic_words import Drawn, Slots

__all__ = [
    "TIERS_TOML",
    "add_arguments",
    "generate",
    "generate_period",
    "generate_with_truth",
    "run",
    "true_pass_probability",
    "visible_difficulty",
    "visible_pass_probability",
    "write_demo",
]

NEAR_DUPLICATES = 0.03
"""Share of prompts that repeat an earlier one with a trivial change."""
START = np.datetime64("2026-01-05T00:00:00")
WEEKS = 12
"""Prompts arrive uniformly over these weeks, from a Monday, in UTC."""
BLOCK = 1000
"""Prompts per random stream: block b of seed s is the same whatever is generated after it."""


def generate(n_prompts: int, seed: int) -> pd.DataFrame:
    """Return a synthetic history of n_prompts prompts: see `generate_with_truth`. Pure."""
    return generate_with_truth(n_prompts, seed)[0]


def generate_with_truth(
    n_prompts: int, seed: int, *, progress: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a synthetic history and what it was simulated from.

    Pure apart from the progress bar. The same seed gives the same tables, and a shorter history is the
    beginning of a longer one.

    Parameters
    ----------
    n_prompts : int
        Prompts; each has a row per tier, less the unobserved ones.
    seed : int
        Zero or more.
    progress : bool
        Show a progress bar on stderr, if that is a terminal.

    Returns
    -------
    history : DataFrame
        The columns of the history contract, by prompt and tier.
    truth : DataFrame
        One row per prompt: `prompt_id`, `family`, `steps`, `constraints`, `characters`, `language`,
        `visible` and `latent` (units of difficulty), `p_<tier>` (P(pass)) and `shown_<tier>` (P(pass) given `visible`).

    Raises
    ------
    RequestError
        n_prompts is below one or the seed below zero.
    """
    if n_prompts < 1 or seed < 0:
        raise RequestError(f"expected n_prompts >= 1 and seed >= 0; found {n_prompts} and {seed}")
    traffic = _Traffic()
    for start in tqdm(
        range(0, n_prompts, BLOCK), unit_scale=BLOCK, unit="prompts", disable=None if progress else True
    ):
        traffic.draw_block([seed, start // BLOCK], min(BLOCK, n_prompts - start), STANDING)
    return _tables(traffic, STANDING, START, WEEKS * 7, "")


def generate_period(
    n_prompts: int, seed: Sequence[int], conditions: Conditions, start: np.datetime64, days: int, mark: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return history and truth of a period under its own conditions, as `generate_with_truth`. Pure.

    Parameters
    ----------
    n_prompts : int
        One or more.
    seed : sequence of int
        Names the period's random streams: the same seed and conditions give the same tables.
    conditions : Conditions
        What holds in the period.
    start, days : datetime64, int
        When it begins, in UTC, and how long it is; prompts arrive uniformly over it.
    mark : str
        Put into the ids of its prompts, which else are numbered from zero.
    """
    traffic = _Traffic()
    for first in range(0, n_prompts, BLOCK):
        traffic.draw_block([*seed, first // BLOCK], min(BLOCK, n_prompts - first), conditions)
    return _tables(traffic, conditions, start, days, mark)


@dataclass
class _Traffic:
    """Prompts drawn so far, in order, and the noise of their outcomes."""

    families: list[str] = field(default_factory=list)
    texts: list[Drawn] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    noise: list[dict[str, Floats]] = field(default_factory=list)
    first_seen: dict[str, int] = field(default_factory=dict)

    def draw_block(self, seed: Sequence[int], size: int, conditions: Conditions) -> None:
        """Draw `size` prompts more, BLOCK of them at most, from a random stream of their own."""
        streams = np.random.SeedSequence(seed).spawn(2)
        self.noise.append(_draw_noise(np.random.default_rng(streams[0]), size))
        slots = Slots(np.random.default_rng(streams[1]))
        start = len(self.texts)
        for i in range(start, start + size):
            if i > start and slots.chance(NEAR_DUPLICATES):
                source = slots.integer(start, i - 1)
                family, origin = self.families[source], self.origins[source]
                drawn = nearly_repeat(self.texts[source], slots)
            else:
                family, origin = conditions.draw_family(slots), i
                drawn = add_background(draw_prompt(family, slots), conditions.background, slots)
            content = drawn.content
            key = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
            self.origins.append(self.first_seen.setdefault(key, origin))
            self.families.append(family)
            self.texts.append(drawn)
            self.keys.append(key)


def _draw_noise(rng: np.random.Generator, size: int) -> dict[str, Floats]:
    """Draw all that is random in a block's outcomes, always for a full block, so that prefixes agree."""
    shape = (BLOCK, len(LADDER))
    drawn = {
        "latent": rng.normal(0.0, LATENT_SD, BLOCK),
        "moment": rng.random(BLOCK),
        "outcome": rng.random(shape),
        "grade": rng.beta(2.0, 2.0, shape),
        "seen": rng.random(shape),
        "input": np.exp(rng.normal(0.0, INPUT_NOISE, shape)),
        "output": np.exp(rng.normal(0.0, OUTPUT_NOISE, shape)),
        "latency": np.exp(rng.normal(0.0, LATENCY_NOISE, shape)),
    }
    return {name: values[:size] for name, values in drawn.items()}


def _tables(
    traffic: _Traffic, conditions: Conditions, start: np.datetime64, days: int, mark: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Turn prompts and noise into the history and the truth."""
    families, texts, keys = traffic.families, traffic.texts, traffic.keys
    origins = np.array(traffic.origins)
    noise = {name: np.concatenate([block[name] for block in traffic.noise]) for name in traffic.noise[0]}
    tiers, gained = conditions.ladder.tiers, conditions.ability
    ids = np.array([f"synthetic/{family}/{mark}{i:06d}" for i, family in enumerate(families)], dtype=object)
    characters = np.array([len(text_of(drawn.content)) for drawn in texts])
    steps, constraints = np.array([d.steps for d in texts]), np.array([d.constraints for d in texts])
    languages = [drawn.language for drawn in texts]
    visible = visible_difficulty(families, steps, constraints, characters, languages)
    latent = noise["latent"][origins]
    probability, shown = (
        true_pass_probability(families, visible + latent, gained),
        visible_pass_probability(families, visible, gained),
    )

    passed = noise["outcome"] < probability
    graded = np.isin(families, GRADED)[:, None]
    grade = np.round(np.where(passed, 0.5 + 0.5 * noise["grade"], 0.49 * noise["grade"]), 2)
    score = np.where(graded, grade, passed.astype(np.float64))
    input_tokens = np.maximum(1, np.rint(characters[:, None] / CHARS_PER_TOKEN * noise["input"]))
    typical = np.array([OUTPUT_TOKENS[family] for family in families])[:, None] * VERBOSITY
    output_tokens = np.maximum(1, np.rint(typical * noise["output"]))
    prices = np.array([(tier.input_usd_per_mtok, tier.output_usd_per_mtok) for tier in tiers])
    cost_usd = (input_tokens * prices[:, 0] + output_tokens * prices[:, 1]) / 1e6
    latency_ms = (FIRST_TOKEN_MS + 1000.0 * output_tokens / TOKENS_PER_S) * noise["latency"]
    seconds = (noise["moment"] * days * 86400).astype("timedelta64[s]")

    observed = noise["seen"] >= UNOBSERVED
    observed[~observed.any(axis=1), -1] = True  # a prompt nobody answered would not be in a log
    row, tier_index = np.nonzero(observed)
    is_text = [isinstance(drawn.content, str) for drawn in texts]
    per_prompt = pd.DataFrame(
        {
            "prompt_id": ids,
            "prompt": [key if plain else None for key, plain in zip(keys, is_text, strict=True)],
            "messages": [None if plain else key for key, plain in zip(keys, is_text, strict=True)],
            "group": ids[origins],
            "timestamp": np.datetime_as_string(start + seconds, unit="s", timezone="UTC").astype(object),
            "task": families,
            "feature": [FAMILIES[family][1] for family in families],
        }
    )
    repeated = per_prompt.take(row).reset_index(drop=True)
    measured = pd.DataFrame(
        {
            "model": np.array([tier.model for tier in tiers], dtype=object)[tier_index],
            "score": score[observed],
            "input_tokens": input_tokens[observed].astype(np.int64),
            "output_tokens": output_tokens[observed].astype(np.int64),
            "cost_usd": cost_usd[observed],
            "latency_ms": np.round(latency_ms[observed], 1),
        }
    )
    order = ["prompt_id", "prompt", "messages", *measured.columns, "group", "timestamp", "task", "feature"]
    history = pd.concat([repeated, measured], axis=1)[order]
    truth = pd.DataFrame(
        {
            "prompt_id": ids,
            "family": families,
            "steps": steps,
            "constraints": constraints,
            "characters": characters,
            "language": languages,
            "visible": visible,
            "latent": latent,
            **{f"p_{name}": probability[:, k] for k, name in enumerate(LADDER.names)},
            **{f"shown_{name}": shown[:, k] for k, name in enumerate(LADDER.names)},
        }
    )
    return history, truth


def write_demo(directory: Path, n_prompts: int = 3000, seed: int = 7) -> tuple[Path, Path]:
    """Write history.parquet and tiers.toml into the directory and return their paths.

    Each file is written under another name first and then renamed, the history last.

    Raises
    ------
    ConfigError
        The directory can not be written.
    RequestError
        n_prompts is below one or the seed below zero.
    """
    history, _ = generate_with_truth(n_prompts, seed, progress=True)
    return _write(Path(directory), history)


def _write(directory: Path, history: pd.DataFrame) -> tuple[Path, Path]:
    history_path, tiers_path = directory / "history.parquet", directory / "tiers.toml"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _replace(tiers_path, lambda path: path.write_text(TIERS_TOML, encoding="utf-8"))
        _replace(history_path, lambda path: history.to_parquet(path, index=False, compression="zstd"))
    except OSError as error:
        raise ConfigError(
            f"{directory}: cannot be written ({error.strerror or error}); choose another folder"
        ) from None
    return history_path, tiers_path


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m training synthetic`."""
    parser.add_argument("--out", type=Path, required=True, help="folder for history.parquet and tiers.toml")
    parser.add_argument("--prompts", type=int, default=3000, help="how many prompts (default 3000)")
    parser.add_argument("--seed", type=int, default=7, help="same seed, same history (default 7)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Write a synthetic history and return what was written, ready for JSON."""
    sys.stderr.write(f"synthetic: drawing {args.prompts} prompts, seed {args.seed}\n")
    history, _ = generate_with_truth(args.prompts, args.seed, progress=True)
    history_path, tiers_path = _write(args.out, history)
    sys.stderr.write(f"synthetic: wrote {history_path} and {tiers_path}\n")
    passed = history["score"] >= LADDER.pass_score
    return {
        "history": str(history_path),
        "tiers": str(tiers_path),
        "prompts": args.prompts,
        "rows": len(history),
        "seed": args.seed,
        "pass_rate": {
            str(model): round(float(rate), 4)
            for model, rate in passed.groupby(history["model"]).mean().items()
        },
    }
