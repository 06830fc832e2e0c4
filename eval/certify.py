"""Certificates: finite-sample promises about what routing loses against the reference tier.

Pure. On calibration rows that neither fitting nor selection saw, each promise is tested along one fixed sequence of
epsilons, from conservative to permissive, up to the first that fails; that spends no confidence on how many there are
(fixed-sequence testing: Bauer 1991; Angelopoulos et al., "Learn then Test", arXiv 2110.01052). Groups, not rows, are
exchangeable, so the promise is about a prompt drawn from a group drawn: `regret` looks at one row of each group, drawn
with a seed, and `quality` at each group's mean. What each promise says, and what voids it, is in docs/CERTIFICATE.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval.bounds import betting_holds, groups_needed, upper_bound
from eval.ladder import draw_rows, group_means
from eval.outcomes import Outcomes
from router.promise import READABLE
from router.rule import Loss, choose_many, expected_losses

__all__ = ["ALPHAS", "DELTA", "EPSILONS", "abridge", "certify", "explain_shortage", "spend"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

# Fixed before any data is seen, as the test requires.
ALPHAS = tuple(round(0.005 * step, 3) for step in range(1, 41))
DELTA = 0.05
# Finer where it matters; at 10, saving an average call is worth ten certain failures, and the cheapest tier is chosen.
EPSILONS = (0.0, *(float(f"{epsilon:.5g}") for epsilon in np.geomspace(0.002, 10.0, 299)))

LEAST_GROUPS = 100
"""Calibration groups below which a slice is promised nothing."""
MOST_SLICES = 50
_CHUNK = 16  # settings bet on at a time; of a chunk, those beyond the first failure are for nothing


class _Settings(NamedTuple):
    """What n rows are routed to by `EPSILONS`, neighbours that route alike taken together.

    `choices` is (n, m); `at`, (m,), is the place of the last epsilon that routes like this.
    """

    choices: NDArray[np.int8]
    at: Indices

    def scores(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return what is found on the chosen tiers, (n, m), of values (n, k)."""
        return np.take_along_axis(values, self.choices.astype(np.intp), axis=1)

    def cheapest(self, cost: Floats, weights: Floats) -> Indices:
        """Return, per setting, which one up to it costs least on (n, k) costs: (m,), the last of equal ones.

        All up to a certified setting are certified, and where costs contradict the ladder the last may not save most.
        """
        paid = weights @ self.scores(cost)
        least = np.minimum.accumulate(paid)
        return np.asarray(np.maximum.accumulate(np.where(paid <= least, np.arange(len(paid)), 0)))

    def sums(self, i: int, cost: Floats, reference: int, weights: Floats) -> dict[str, Any]:
        """Return `saving` against the reference tier and `share_per_tier` of one setting."""
        chosen = self.choices[:, i].astype(np.intp)
        base = float(weights @ cost[:, reference])
        paid = float(weights @ cost[np.arange(len(cost)), chosen])
        shares = np.bincount(chosen, weights, minlength=cost.shape[1]) / weights.sum()
        return {"saving": 1.0 - paid / base if base > 0 else 0.0, "share_per_tier": shares.tolist()}


def certify(
    outcomes: Outcomes,
    p_pass: NDArray[Any],
    usd: Floats,
    *,
    reference: int,
    unit_usd: float,
    spread: NDArray[Any] | None = None,
    escalated: NDArray[np.bool_] | None = None,
    seed: int = 0,
    delta: float = DELTA,
    alphas: Sequence[float] = ALPHAS,
    reserve: float = 0.0,
) -> dict[str, Any]:
    """Certify epsilons for the promises that the data supports. Pure.

    Parameters
    ----------
    outcomes : Outcomes
        The calibration part; rows with an unobserved tier are left out, so a promise is about prompts like those that
        every tier was tried on.
    p_pass, usd, spread : (n, k)
        What serving would score, and expect to pay; how uncertain each difference from the reference tier is.
    reference : int
        Position of the reference tier.
    unit_usd : float
        USD that an epsilon is a loss per, above 0: `eval.ladder.mean_call_usd` of the reference tier's expected costs.
    escalated : bool (n,)
        Rows that serving sends to the reference tier whatever the epsilon.
    seed : int
        Which row of a group counts, and in which order groups are bet on.
    alphas : sequence of float
        Ascending; each is a promise of its own, and holds at 1 - delta.
    reserve : float
        The part of each promise that is kept back for what changes before the next certificate, 0 to 1: `1 - reserve` times
        each is what is proved.

    Returns
    -------
    dict
        JSON-ready: `delta`, `n` (groups), `reference`, `reserve`; `table` and `quality`, per certified promise the epsilon that saves
        most, which is the most permissive one but where costs contradict the ladder, and what was seen at it; `slices`; `needed`, the groups that promises out of reach would need.
    """
    rows = np.flatnonzero(outcomes.complete)
    held = outcomes.take(rows)
    rng = np.random.default_rng(seed)
    drawn = draw_rows(held.groups, rng)
    n = len(drawn)
    proved = {alpha: (1.0 - reserve) * alpha for alpha in alphas}
    certificate: dict[str, Any] = {
        "delta": delta,
        "n": n,
        "reference": outcomes.ladder.names[reference],
        "reserve": reserve,
        "table": [],
        "quality": [],
        "slices": [],
        "needed": {
            f"{a:g}": groups_needed(p, delta) for a, p in proved.items() if groups_needed(p, delta) > n
        },
    }
    if n == 0:
        return certificate
    regret, quality = (
        _settle(p_pass, usd, spread, escalated, rows, reference, unit_usd, loss)
        for loss in (Loss.REGRET, Loss.QUALITY)
    )
    passed = held.passed == 1.0
    regretted = passed[:, reference, None] & ~regret.scores(passed)
    certificate["table"] = _certify_regret(
        regret, regretted, held, drawn, np.arange(len(held)), reference, delta, proved
    )
    certificate["quality"] = _certify_quality(quality, held, rng.permutation(n), reference, delta, proved)
    slices = list(_slices(held))
    for name, inside in slices:
        own = inside[draw_rows(held.groups[inside], rng)]
        share = delta / len(slices)
        table = _certify_regret(regret, regretted, held, own, inside, reference, share, proved)
        for row in table:
            del row["share_per_tier"]
        certificate["slices"].append({"name": name, "n": len(own), "delta": share, "table": table})
    return certificate


def abridge(certificate: dict[str, Any]) -> dict[str, Any]:
    """Return a certificate with the promises that people ask for, and the names of its slices. Pure."""
    return certificate | {
        "table": [row for row in certificate["table"] if row["alpha"] in READABLE],
        "quality": [row for row in certificate["quality"] if round(1.0 - row["min_quality"], 6) in READABLE],
        "slices": [part["name"] for part in certificate["slices"]],
    }


def spend(
    outcomes: Outcomes,
    p_pass: NDArray[Any],
    usd: Floats,
    *,
    reference: int,
    unit_usd: float,
    spread: NDArray[Any] | None = None,
    escalated: NDArray[np.bool_] | None = None,
) -> list[dict[str, float]]:
    """Return what a prompt costs in the mean, by epsilon, under `Loss.QUALITY`. Pure; arguments as of `certify`.

    Each entry costs less than the one before; epsilons that save nothing more are left out.
    """
    complete = outcomes.complete
    rows = np.flatnonzero(complete) if complete.any() else np.arange(len(outcomes))
    settings = _settle(p_pass, usd, spread, escalated, rows, reference, unit_usd, Loss.QUALITY)
    if not len(rows):
        return []
    means = settings.scores(outcomes.cost_usd[rows]).mean(axis=0)
    # A setting starts where the one before it ends.
    starts = np.append(0, settings.at[:-1] + 1)
    table: list[dict[str, float]] = []
    for start, mean in zip(starts, means, strict=True):
        if not table or mean < table[-1]["usd"]:
            table.append({"epsilon": EPSILONS[start], "usd": float(mean)})
    return table


def explain_shortage(certificate: dict[str, Any]) -> str | None:
    """Return in a sentence which promises are out of reach for want of groups, None where none is. Pure."""
    needed = sorted(((float(alpha), groups) for alpha, groups in certificate["needed"].items()), reverse=True)
    if not needed:
        return None
    n, (alpha, least) = certificate["n"], needed[0]
    further = [each for each in needed[1:] if each[0] == 0.05] or needed[1:][-1:]
    others = "".join(f", {groups} for {100 * other:g} %" for other, groups in further)
    if n == 0:
        return (
            f"no calibration prompt was tried on every tier, so nothing is promised; {least} groups of such prompts "
            f"are needed for a promise of {100 * alpha:g} %{others}, if nothing goes wrong"
        )
    found = f"{n} calibration group{'s support' if n > 1 else ' supports'} no promise"
    if alpha < ALPHAS[-1]:
        return f"{found} of {100 * alpha:g} % or less; {least} are needed for {100 * alpha:g} %{others}, if nothing goes wrong"
    return f"{found}; {least} are needed for one of {100 * alpha:g} %{others}, if nothing goes wrong"


def _settle(
    p_pass: NDArray[Any],
    usd: Floats,
    spread: NDArray[Any] | None,
    escalated: NDArray[np.bool_] | None,
    rows: Indices,
    reference: int,
    unit_usd: float,
    loss: Loss,
) -> _Settings:
    """Route some rows at every epsilon."""
    losses = expected_losses(p_pass[rows], None if spread is None else spread[rows], reference, loss)
    choices = choose_many(losses, usd[rows], np.array(EPSILONS) / unit_usd).astype(np.int8)
    if escalated is not None:
        choices[escalated[rows]] = reference
    changes = (choices[:, 1:] != choices[:, :-1]).any(axis=0)
    at = np.append(np.flatnonzero(changes), len(EPSILONS) - 1)
    return _Settings(choices[:, at], at)


def _weights(groups: NDArray[np.object_]) -> Floats:
    """Return weights under which every group counts alike."""
    _, of = np.unique(groups.astype(str), return_inverse=True)
    return np.asarray(1.0 / np.bincount(of)[of])


def _certify_regret(
    settings: _Settings,
    regretted: NDArray[np.bool_],
    held: Outcomes,
    drawn: Indices,
    inside: Indices,
    reference: int,
    delta: float,
    proved: Mapping[float, float],
) -> list[dict[str, Any]]:
    """Return the table of regret: `drawn` rows are tested, and `inside` ones say what is saved.

    Each promise stands with what has to be proved for it.
    """
    n = len(drawn)
    failures = regretted[drawn].sum(axis=0)
    bounds = upper_bound(failures, n, delta)
    cost, weights = held.cost_usd[inside], _weights(held.groups[inside])
    part = _Settings(settings.choices[inside], settings.at)
    cheapest = part.cheapest(cost, weights)
    table = []
    for alpha, limit in proved.items():
        holds = bounds <= limit
        i = (len(holds) if holds.all() else int(holds.argmin())) - 1
        if i >= 0:
            i = int(cheapest[i])
            seen = {"observed": float(failures[i] / n), "bound": float(bounds[i])}
            epsilon = EPSILONS[settings.at[i]]
            table.append({"alpha": alpha, "epsilon": epsilon} | seen | part.sums(i, cost, reference, weights))
    return table


def _certify_quality(
    settings: _Settings,
    held: Outcomes,
    order: Indices,
    reference: int,
    delta: float,
    proved: Mapping[float, float],
) -> list[dict[str, Any]]:
    """Return the table of quality: each promise stands with what has to be proved for it.

    A stricter promise gets no more permissive an epsilon than a laxer one. The bets alone do not make sure of that;
    and what is certified is the whole sequence up to an epsilon, so any of it may be taken.
    """
    score = held.score.astype(np.float64)
    best = group_means(score[:, reference, None], held.groups)[order]
    chosen = group_means(settings.scores(score), held.groups)[order]
    certified, limit = {}, chosen.shape[1]
    for alpha in reversed(list(proved)):
        limit = _count_holding(chosen[:, :limit], best, 1.0 - proved[alpha], delta)
        certified[alpha] = limit
    weights = _weights(held.groups)
    cheapest = settings.cheapest(held.cost_usd, weights)
    table = []
    for alpha in proved:
        i = certified[alpha] - 1
        if i >= 0:
            i = int(cheapest[i])
            mean = float(best.mean())
            seen = {"observed": float(chosen[:, i].mean()) / mean if mean > 0 else 1.0}
            epsilon = EPSILONS[settings.at[i]]
            sums = settings.sums(i, held.cost_usd, reference, weights)
            table.append({"min_quality": round(1.0 - alpha, 6), "epsilon": epsilon} | seen | sums)
    return table


def _count_holding(chosen: Floats, best: Floats, share: float, delta: float) -> int:
    """Return how many settings, from the first on, keep at least this share of the best quality."""
    floor = share * best
    for start in range(0, chosen.shape[1], _CHUNK):
        holds = betting_holds(chosen[:, start : start + _CHUNK] - floor, -share, delta)
        if not holds.all():
            return start + int(holds.argmin())
    return int(chosen.shape[1])


def _slices(held: Outcomes) -> Iterator[tuple[str, Indices]]:
    """Yield name and rows of each slice that is large enough, the largest first."""
    found = []
    for tag in ("task", "feature"):
        labels = held.tags.get(tag)
        if labels is None:
            continue
        for value in sorted({str(label) for label in labels if label is not None}):
            rows = np.flatnonzero(labels == value)
            groups = len(np.unique(held.groups[rows].astype(str)))
            if groups >= LEAST_GROUPS:
                found.append((groups, f"{tag}={value}", rows))
    found.sort(key=lambda each: (-each[0], each[1]))
    for _, name, rows in found[:MOST_SLICES]:
        yield name, rows
