"""Held-out rows: which prompts of a history a model has not learned from.

Reads the history's files to tell whether they are the very ones that the model was fitted on; pure beside
that. A model's manifest says how its history was divided, and the same rule tells its test part in the same
history or in one that has grown since.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from eval.folds import Fold, Plan
from eval.outcomes import Outcomes
from eval.split import SPLIT_METHODS, split_rows
from router.artifact import sha256_of
from router.errors import ConfigError

__all__ = ["held_out", "require_unseen"]


def held_out(outcomes: Outcomes, history: Sequence[Path], manifest: dict[str, Any]) -> Plan:
    """Return the plan that judges a model on the rows that it held out; all others teach the baselines.

    Parameters
    ----------
    history : paths
        The files that the outcomes come from.
    manifest : dict
        The model's, as written by a fit.

    Raises
    ------
    ConfigError
        The manifest does not tell, or no row was held out.
    """
    try:
        split = manifest["data"]["split"]
        method, seed = str(split["method"]), int(split["seed"])
        fitted_on = _fitted_on(manifest)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            "model: its manifest does not say how its history was divided, so what it saw cannot be told; fit again, "
            "or use --unseen if it saw none of this history"
        ) from error
    # Other models on the ladder leave other prompts out, which would move the day from which on a prompt judges.
    same = {sha256_of(path) for path in history} == fitted_on and outcomes.ladder.to_dict() == manifest[
        "tiers"
    ]
    if method == "time" and not same:
        test = _newer(outcomes, split.get("learned_until"))
        text = f"newer than all that the model was fitted on ({split.get('learned_until')})"
    else:
        test = split_rows(outcomes, seed, method).test
        text = f"that the model's fit held out, by {SPLIT_METHODS[method]}"
    if not test.any() or test.all():
        raise ConfigError(
            f"history: expected prompts that the model held out and others to fit baselines on, found "
            f"{int(test.sum()):,} of {len(test):,} held out; use --unseen if the model saw none of this history"
        )
    fold = Fold(np.flatnonzero(~test), np.flatnonzero(test))
    sentence = (
        f"Judged on the {int(test.sum()):,} prompts {text}; baselines were fitted on the other "
        f"{int((~test).sum()):,}."
    )
    return Plan((fold,), "held-out", sentence)


def require_unseen(history: Sequence[Path], manifest: dict[str, Any]) -> None:
    """Refuse a history said to be unseen of which the manifest says otherwise, as far as it says.

    Raises
    ------
    ConfigError
        The model was fitted on one of these very files.
    """
    try:
        fitted_on = _fitted_on(manifest)
    except (KeyError, TypeError):
        return
    for path in history:
        if sha256_of(path) in fitted_on:
            raise ConfigError(
                f"--unseen: the model was fitted on {path}; leave --unseen out, and what it held out of it judges"
            )


def _fitted_on(manifest: dict[str, Any]) -> set[str]:
    return {file["sha256"] for file in manifest["data"]["files"]}


def _newer(outcomes: Outcomes, learned_until: object) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return the rows of groups that began after the newest row that a model was fitted or certified on."""
    stamps, newest = outcomes.timestamp, _instant(learned_until)
    if stamps is None or np.isnat(stamps).any() or newest is None:
        raise ConfigError(
            "history: the model held out the newest prompts of another one, so every prompt here needs a timestamp, and "
            "its manifest the newest that it learned from; add timestamps, fit again, or use --unseen if the model saw "
            "none of this history"
        )
    _, rows = np.unique(outcomes.groups.astype(str), return_inverse=True)
    first = np.full(rows.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, rows, stamps.astype("datetime64[us]").astype(np.int64))
    return np.asarray(first[rows] > newest.astype(np.int64))


def _instant(text: object) -> np.datetime64 | None:
    """Return an ISO 8601 time with its zone as UTC; None where it is none."""
    try:
        return np.datetime64(datetime.fromisoformat(str(text)).astimezone(UTC).replace(tzinfo=None), "us")
    except ValueError:
        return None
