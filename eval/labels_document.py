"""The label report as one document: everything that the page, the Markdown and the terminal show.

Pure, given a seed, and without the text of a prompt or an answer: prompts are named by their ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eval.bounds import groups_needed
from eval.censored import describe
from eval.certify import ALPHAS, DELTA
from eval.labels_agreement import compare_graders, count_graders
from eval.labels_counts import count_labels, count_usd
from eval.labels_monotone import find_inversions
from eval.labels_more import price_more
from eval.labels_noise import measure_noise
from eval.labels_rates import measure_rates
from eval.labels_rows import Labels
from eval.labels_slices import cut
from eval.labels_suspects import find_suspects
from eval.labels_words import say_headline, say_notes, say_summary
from eval.ladder import best_tier

__all__ = ["SCHEMA", "describe_labels"]

SCHEMA = 1


def describe_labels(labels: Labels, slices: Sequence[str] | None = None, seed: int = 0) -> dict[str, Any]:
    """Measure all that a label report says. Pure, given the seed.

    Parameters
    ----------
    slices : sequence of str or None
        What to slice by (`eval.labels_slices.cut`).
    seed : int
        Of the draws behind intervals of kappa, and of the calibration part that is counted.

    Returns
    -------
    dict
        JSON-ready. `schema`, `word` ("sound", "look", "censored", "few"), `headline`, `summary` (sentences), `notes` (sentences), and
        what was measured: `pass_score`, `counts`, `usd`, `rates`, `graders`, `agreement`, `inversions`, `suspects`, `noise`, `more`, `censored`.

    Raises
    ------
    ConfigError
        A slice asked for is no tag.
    """
    parts = cut(labels, slices)
    usd = count_usd(labels)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "seed": seed,
        "pass_score": labels.pass_score,
        "ladder": list(labels.ladder.names),
        "counts": count_labels(labels),
        "usd": usd,
        "rates": measure_rates(labels, parts),
        "graders": count_graders(labels),
        "agreement": compare_graders(labels, seed),
        "inversions": find_inversions(labels, parts),
        "suspects": find_suspects(labels, parts),
        "noise": measure_noise(labels, best_tier(labels.outcomes)),
        "more": price_more(labels, usd["whole_prompt_usd"], seed),
        "censored": describe(labels.outcomes, labels.ladder),
    }
    document["word"] = _word(document)
    return document | {
        "headline": say_headline(document),
        "summary": say_summary(document),
        "notes": say_notes(document),
    }


def _word(document: dict[str, Any]) -> str:
    more = document["more"]
    if document["suspects"]:
        return "look"
    if more["why"] or document["censored"]:
        return "censored"
    return "few" if more["groups"] < groups_needed(ALPHAS[-1], DELTA) else "sound"
