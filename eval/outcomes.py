"""Outcomes: what each tier scored, whether that passed, and what it cost, one row per prompt.

The rule: pure, and nothing is invented. A tier that never answered a prompt is unobserved there, NaN in the
score, and no label is given where it could have been the cheapest to pass. A cost may be estimated, since
something has to be paid; then `cost_estimated` says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eval.history import History
from router.costs import token_usd
from router.errors import ConfigError
from router.prompt import read_prompt
from router.tiers import CHARS_PER_TOKEN, Ladder

__all__ = ["DEFAULT_OUTPUT_TOKENS", "UNKNOWN", "Outcomes", "strangers", "tabulate"]

UNKNOWN = -1
"""Label of a prompt whose cheapest passing tier the history cannot tell."""

DEFAULT_OUTPUT_TOKENS = 256.0
"""Output tokens of an answer where a history logged none at all: a few paragraphs, an assumption."""

TAGS = ("task", "feature", "split", "source")


# Fields of shape (n, k).
_PER_TIER = (
    "score",
    "passed",
    "cost_usd",
    "cost_estimated",
    "expected_cost_usd",
    "answer_seen",
    "propensity",
)


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Scores, passes and costs of n prompts on the k tiers of a ladder, cheapest first.

    Attributes
    ----------
    ladder : Ladder
        The k tiers.
    prompt_ids, groups : object array (n,)
        str.
    prompts : list of n
        str, or list of chat messages.
    score : float32 array (n, k)
        NaN where unobserved.
    passed : float32 array (n, k)
        1, 0, or NaN where unobserved; decided on the score as logged, before it was rounded to float32.
    cost_usd : float64 array (n, k)
        USD; never NaN.
    cost_estimated : bool array (n, k)
        Where the cost is not a logged one.
    tags : dict of object arrays (n,)
        task, feature, split, source; str or None.
    timestamp : datetime64[ns] array (n,) or None
        UTC, NaT where missing; None where no prompt has one.
    mean_output_tokens : tuple of k floats
        What the estimates used.
    dropped : dict of str to int
        Prompts that `tabulate` left out, by reason.
    expected_cost_usd : float64 array (n, k), optional
        What a call was expected to cost before it was made. None where nobody said: then each call is taken to
        cost its tier's mean.
    answer_seen : bool array (n, k), optional
        Where something of the answer itself was logged, its cost or its tokens, be they an estimate from its text.
        None where that is all of what is not `cost_estimated`.
    propensity : float64 array (n, k), optional
        The probability with which a log's tier was chosen for the prompt; NaN where none was logged. None where no row
        has one.
    representative : bool array (n,), optional
        Where prompts were sampled with unequal weights: those that, taken alike, are a sample of the traffic. None where
        all are.
    """

    ladder: Ladder
    prompt_ids: NDArray[np.object_]
    prompts: list[str | list[dict[str, Any]]]
    groups: NDArray[np.object_]
    score: NDArray[np.float32]
    passed: NDArray[np.float32]
    cost_usd: NDArray[np.float64]
    cost_estimated: NDArray[np.bool_]
    tags: dict[str, NDArray[np.object_]]
    timestamp: NDArray[np.datetime64] | None
    mean_output_tokens: tuple[float, ...]
    dropped: dict[str, int]
    expected_cost_usd: NDArray[np.float64] | None = None
    answer_seen: NDArray[np.bool_] | None = None
    propensity: NDArray[np.float64] | None = None
    representative: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.prompt_ids)

    @property
    def none_passed(self) -> int:
        """The label of a prompt that every tier answered and none passed: k, one past the dearest tier."""
        return len(self.ladder)

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Which rows figures and promises are about, (n,): every tier is observed, and they stand for the traffic."""
        observed = ~np.isnan(self.passed).any(axis=1)
        return np.asarray(observed if self.representative is None else observed & self.representative)

    def label(self) -> NDArray[np.int8]:
        """Return per prompt the index of the cheapest tier that passes, (n,). Pure.

        The walk starts at the cheapest tier and ends at the first that passes. If it meets an unobserved tier
        before, the label is `UNKNOWN`; if every tier was observed and failed, it is `none_passed`.
        """
        ends = (self.passed == 1) | np.isnan(self.passed)
        end = ends.argmax(axis=1)
        unobserved = np.isnan(self.passed[np.arange(len(self)), end])
        found = np.where(unobserved, UNKNOWN, end)
        return np.where(ends.any(axis=1), found, self.none_passed).astype(np.int8)

    def take(self, rows: Sequence[int] | NDArray[Any]) -> Outcomes:
        """Return the outcomes of some prompts, in the order asked for. Pure.

        Parameters
        ----------
        rows : indices, or bool mask (n,)
            Which prompts; `mean_output_tokens` and `dropped` stay those of the whole table.

        Raises
        ------
        IndexError
            A mask of another length, or an index out of range.
        """
        index = np.arange(len(self))[np.asarray(rows, dtype=None if len(rows) else np.intp)]
        arrays = ("prompt_ids", "groups", "timestamp", "representative", *_PER_TIER)
        return replace(
            self,
            prompts=[self.prompts[i] for i in index],
            tags={name: values[index] for name, values in self.tags.items()},
            **{name: getattr(self, name)[index] for name in arrays if getattr(self, name) is not None},
        )

    def on(self, tiers: Sequence[int]) -> Outcomes:
        """Return the outcomes on some of the tiers, in ascending order. Pure."""
        index = list(tiers)
        return replace(
            self,
            ladder=replace(self.ladder, tiers=tuple(self.ladder.tiers[k] for k in index)),
            mean_output_tokens=tuple(self.mean_output_tokens[k] for k in index),
            **{name: getattr(self, name)[:, index] for name in _PER_TIER if getattr(self, name) is not None},
        )


def tabulate(history: History, ladder: Ladder, teaching: NDArray[np.bool_] | None = None) -> Outcomes:
    """Lay a history out by tier. Pure.

    A tier's outcome is that of the first of its models that has a score for the prompt. The cost is the one
    logged; else the logged tokens times the tier's price for an input of that length; else an estimate: input tokens
    are those logged, or the mean of those logged in other rows of the prompt, or characters / 4, and output tokens are
    those logged, or the tier's mean, or the mean of the tiers that logged any, or `DEFAULT_OUTPUT_TOKENS`.

    Parameters
    ----------
    teaching : bool (n,), optional
        The rows of the table that those means are taken over, so that what certifies and judges has no part in what is
        learned; by default all.

    Raises
    ------
    ConfigError
        No prompt is left, or a tier has no outcome at all.
    """
    rows, prompts = history.rows, history.prompts
    _require_models(rows, ladder)
    prompt_of = pd.Index(prompts["prompt_id"]).get_indexer(pd.Index(rows["prompt_id"]))
    chosen = _choose(rows, prompt_of, len(prompts), ladder)

    blank = np.array([_is_blank(prompt) for prompt in prompts["prompt"]], dtype=np.bool_)
    unanswered = ~blank & (chosen < 0).all(axis=1)
    dropped = {"blank prompt": int(blank.sum()), "no outcome on any tier": int(unanswered.sum())}
    kept = np.flatnonzero(~blank & ~unanswered)
    if not kept.size:
        counts = ", ".join(f"{reason}: {count}" for reason, count in dropped.items())
        advice = "fill in the prompts" if blank.all() else "score some rows"
        raise ConfigError(f"history: expected prompts with an outcome, found none ({counts}); {advice}")
    chosen = chosen[kept]
    _require_outcomes(rows, chosen, ladder)

    score = _pick(rows["score"], chosen)
    texts: list[Any] = prompts["prompt"].to_numpy(dtype=object)[kept].tolist()
    input_tokens = pd.Series(rows["input_tokens"].to_numpy()).groupby(prompt_of).mean()
    n_input = input_tokens.reindex(kept).to_numpy(dtype=np.float64)
    counted = np.array([read_prompt(text).n_chars for text in texts], dtype=np.float64) / CHARS_PER_TOKEN
    cost, estimated, answer_seen, mean_output = _costs(
        rows, chosen, ladder, np.where(np.isnan(n_input), counted, n_input), teaching
    )
    timestamp = prompts["timestamp"].dt.tz_convert(None).to_numpy()[kept]
    propensity = _pick(rows["propensity"], chosen)
    return Outcomes(
        ladder=ladder,
        prompt_ids=prompts["prompt_id"].to_numpy(dtype=object)[kept],
        prompts=texts,
        groups=prompts["group"].to_numpy(dtype=object)[kept],
        score=score.astype(np.float32),
        passed=np.where(np.isnan(score), np.nan, score >= ladder.pass_score).astype(np.float32),
        cost_usd=cost,
        cost_estimated=estimated,
        tags={name: prompts[name].to_numpy(dtype=object)[kept] for name in TAGS},
        timestamp=None if np.isnat(timestamp).all() else timestamp,
        mean_output_tokens=mean_output,
        dropped=dropped,
        answer_seen=answer_seen,
        propensity=None if np.isnan(propensity).all() else propensity,
        representative=_representative(prompts.iloc[kept]),
    )


def strangers(history: History, ladder: Ladder) -> dict[str, int]:
    """Return the models of a history that are on no tier, and how many rows each has, most first. Pure."""
    known = {model for tier in ladder.tiers for model in tier.models}
    counts = history.rows["model"].value_counts(sort=False)
    found = {str(model): int(count) for model, count in counts.items() if model not in known}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _representative(prompts: pd.DataFrame) -> NDArray[np.bool_] | None:
    """Return which prompts of a weighted sample to keep so that each prompt of the traffic had the same chance, (n,).

    A prompt that stands for w others is kept with probability w / max w. What is left is a plain sample, smaller, for
    which exact bounds hold as they are; weighted ones would need others. Whether a prompt is kept depends on its id
    alone, so it is the same in every fit and evaluation.
    """
    weight = prompts["weight"].to_numpy(dtype=np.float64)
    weight = np.where(np.isnan(weight), 1.0, weight)
    if (weight == weight[0]).all():
        return None
    digests = (
        hashlib.blake2b(str(name).encode("utf-8", "surrogatepass"), digest_size=8, person=b"weight").digest()
        for name in prompts["prompt_id"]
    )
    drawn = np.array([int.from_bytes(digest, "big") / 2.0**64 for digest in digests])
    return np.asarray(drawn < weight / weight.max())


def _choose(rows: pd.DataFrame, prompt_of: NDArray[np.intp], n: int, ladder: Ladder) -> NDArray[np.intp]:
    """Return (n, k) the row that holds each tier's outcome, -1 where there is none."""
    chosen = np.full((n, len(ladder)), -1, dtype=np.intp)
    observed = rows["score"].notna().to_numpy()
    models = rows["model"].to_numpy()
    for k, tier in enumerate(ladder.tiers):
        for model in reversed(tier.models):  # the last write stays: that of the model listed first
            found = np.flatnonzero((models == model) & observed)
            chosen[prompt_of[found], k] = found
    return chosen


def _pick(column: pd.Series, chosen: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return a column's values at the chosen rows, NaN where there is none."""
    return np.where(chosen >= 0, column.to_numpy(dtype=np.float64)[chosen], np.nan)


def _costs(
    rows: pd.DataFrame,
    chosen: NDArray[np.intp],
    ladder: Ladder,
    n_input: NDArray[np.float64],
    teaching: NDArray[np.bool_] | None,
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], tuple[float, ...]]:
    """Return USD (n, k), where that is an estimate, where the answer was seen, and the mean output tokens per tier."""
    logged = _pick(rows["cost_usd"], chosen)
    n_in, n_out = _pick(rows["input_tokens"], chosen), _pick(rows["output_tokens"], chosen)
    known = ~np.isnan(logged) | ~(np.isnan(n_in) | np.isnan(n_out))
    if "usage_is_estimate" in rows:
        known &= ~((chosen >= 0) & rows["usage_is_estimate"].to_numpy(dtype=np.bool_)[chosen])

    told = n_out if teaching is None else n_out[teaching]
    means = [float(column.mean()) if column.size else np.nan for column in _observed_columns(told)]
    some = [mean for mean in means if not np.isnan(mean)]
    default = float(np.mean(some)) if some else DEFAULT_OUTPUT_TOKENS
    mean_output = tuple(default if np.isnan(mean) else mean for mean in means)

    seen = ~np.isnan(logged) | ~np.isnan(n_out)
    n_in = np.where(np.isnan(n_in), n_input[:, None], n_in)
    n_out = np.where(np.isnan(n_out), np.array(mean_output), n_out)
    priced = token_usd(ladder, n_in, n_out)
    return np.where(np.isnan(logged), priced, logged), ~known, seen, mean_output


def _observed_columns(table: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    return [column[~np.isnan(column)] for column in table.T]


def _is_blank(prompt: str | list[dict[str, Any]]) -> bool:
    """Say whether a prompt asks nothing: no text, no image, no tool call."""
    if isinstance(prompt, str):
        return not prompt.strip()
    view = read_prompt(prompt)
    return not view.text.strip() and not view.n_images and not view.n_tool_turns


def _require_models(rows: pd.DataFrame, ladder: Ladder) -> None:
    models = [model for tier in ladder.tiers for model in tier.models]
    if rows["model"].isin(models).any():
        return
    raise ConfigError(
        f"history: expected rows of the tiers' models ({_listed(models)}), found none of them but "
        f"{_found_models(rows)}{_meant(rows, models)}; name models in the tiers as the history does"
    )


def _require_outcomes(rows: pd.DataFrame, chosen: NDArray[np.intp], ladder: Ladder) -> None:
    for k, tier in enumerate(ladder.tiers):
        if (chosen[:, k] < 0).all():
            raise ConfigError(
                f"history: expected outcomes of tier {tier.name} ({_listed(tier.models)}), found none but the models "
                f"{_found_models(rows)}{_meant(rows, tier.models)}; score some, or leave the tier out"
            )


def _found_models(rows: pd.DataFrame) -> str:
    """List the models with the most rows, and how many rows they have."""
    counts = rows["model"].value_counts(sort=False)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return _listed([f"{model} ({count} rows)" for model, count in ordered])


def _listed(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _meant(rows: pd.DataFrame, models: Sequence[str]) -> str:
    found = {model.lower(): model for model in rows["model"].unique()}
    pairs = [
        (get_close_matches(model.lower(), found, n=1), model)
        for model in models
        if model not in found.values()
    ]
    hints = [f"{found[close[0]]} for {model}" for close, model in pairs if close]
    return f" (did you mean {_listed(hints)}?)" if hints else ""
