"""Promises: what a certificate says of a router, and what that comes to on prompts that the certificate did not see.

Pure, given a seed. A finished model brings its certificate. Without one, a certificate is made on one half of the
judged groups, at scores that were cross-fitted over both, and the other half checks it. As in a certificate, groups
count alike, so that what is measured is what was promised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.bounds import groups_needed
from eval.certify import certify
from eval.ladder import best_tier, group_means, mean_call_usd
from eval.outcomes import Outcomes
from eval.resample import Bounds, draw_groups, interval
from router.promise import READABLE, Certified, certified, percent
from router.rule import Loss, choose_many, expected_losses

__all__ = ["Promised", "half_promises", "model_promises"]

Floats = NDArray[np.float64]
Choice = NDArray[np.intp]

_EXAMPLE = 0.05  # the promise that is compared between the kinds, where it can be
_WORTH_SAYING = 0.005  # of saving; less than half a point needs no reason


@dataclass(frozen=True, eq=False)
class Promised:
    """A finished model's certificate, and what it decides when it is asked for each promise.

    Attributes
    ----------
    certificate, decision : mapping
        As in its manifest.
    choices : dict of (kind, loss) to int (n,)
        The tier of each prompt of the history under each promise of `certified`; only judged rows are read.
    files : tuple of str
        The names of the history that the certificate was made on, as far as the manifest says.
    """

    certificate: Mapping[str, Any]
    decision: Mapping[str, Any]
    choices: Mapping[tuple[str, float], Choice]
    files: tuple[str, ...] = ()

    def take(self, rows: NDArray[np.intp]) -> Promised:
        """Return the same for some rows."""
        return Promised(
            self.certificate,
            self.decision,
            {promise: tiers[rows] for promise, tiers in self.choices.items()},
            self.files,
        )


def model_promises(
    outcomes: Outcomes, promised: Promised, n_boot: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Return the promises of a model and what they came to on judged prompts. Pure; the form is `half_promises`'s."""
    rows = np.flatnonzero(outcomes.complete)
    names = outcomes.ladder.names
    reference = names.index(promised.decision["reference"])
    return _promises(
        outcomes.take(rows),
        promised.certificate,
        reference,
        {promise: tiers[rows] for promise, tiers in promised.choices.items()},
        "The model's certificate, and what each promise came to on these prompts, which the certificate did not see.",
        outcomes.take(rows),
        n_boot,
        seed,
    ) | {"dominated": bool(promised.decision.get("dominated", False)), "files": list(promised.files)}


def half_promises(outcomes: Outcomes, scores: Floats, n_boot: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Certify on one half of the groups and check on the other. Pure, given a seed.

    Parameters
    ----------
    outcomes : Outcomes
        Judged prompts, with what calls were expected to cost if anyone said.
    scores : (n, k)
        Out-of-sample pass probabilities.

    Returns
    -------
    dict
        JSON-ready: `text`; `delta`; `groups` (that the certificate rests on); `judged` (`prompts`, `groups`); `tiers`;
        `reference` and `dominated`; `files` (that made the certificate, None where these prompts did); `lines`, by kind, all certified promises (`promise`, `saving`); `rows`, the readable
        ones with what was measured (`saving` and `came_to`: the regret, or the quality relative to the reference tier's;
        `share_per_tier`) and whether that breaks the promise beyond chance; `needed`, what the missing promises of regret
        need; `why`, where net quality saves less than regret at the same promise.
    """
    rows = np.flatnonzero(outcomes.complete)
    held, p = outcomes.take(rows), scores[rows]
    expected = held.expected_cost_usd
    usd = np.broadcast_to(held.cost_usd.mean(axis=0), p.shape) if expected is None else expected
    certifies = _half(held.groups, seed)
    judged = held.take(~certifies)
    # On the half that checks: a certificate is about a tier that its own data did not choose.
    reference = best_tier(judged)
    unit_usd = mean_call_usd(usd[:, reference])
    certificate = certify(
        held.take(certifies), p[certifies], usd[certifies], reference=reference, unit_usd=unit_usd, seed=seed
    )
    choices: dict[tuple[str, float], Choice] = {}
    for kind in Loss:
        found = certified(certificate, kind)
        prices = np.array([row.epsilon for row in found]) / unit_usd
        losses = expected_losses(p[~certifies], None, reference, kind)
        tiers = choose_many(losses, usd[~certifies], prices)
        choices |= {(str(kind), row.loss): tiers[:, i] for i, row in enumerate(found)}
    text = "A certificate made on one half of the groups, and what each promise came to on the other half."
    document = _promises(judged, certificate, reference, choices, text, held, n_boot, seed)
    return document | {"dominated": reference != len(held.ladder) - 1, "files": None}


def _half(groups: NDArray[np.object_], seed: int) -> NDArray[np.bool_]:
    """Return the rows of one half of the groups, drawn with a seed."""
    _, of = np.unique(groups.astype(str), return_inverse=True)
    total = int(of.max()) + 1
    drawn = np.random.default_rng(seed).permutation(total) < (total + 1) // 2
    return np.asarray(drawn[of])


def _promises(
    judged: Outcomes,
    certificate: Mapping[str, Any],
    reference: int,
    choices: Mapping[tuple[str, float], Choice],
    text: str,
    seen: Outcomes,
    n_boot: int,
    seed: int,
) -> dict[str, Any]:
    """Return the document's part; `seen` are the complete rows that `why` counts on."""
    every = {kind: certified(certificate, kind, ()) for kind in ("regret", "quality")}
    readable = [row for kind in every for row in certified(certificate, kind)]
    measure = _Measure.of(judged, reference, n_boot, seed)
    regrets = {row.loss for row in readable if row.kind == "regret"}
    return {
        "text": text,
        "delta": certificate["delta"],
        "groups": certificate["n"],
        "judged": {"prompts": len(judged), "groups": len(measure.cost)},
        "tiers": list(judged.ladder.names),
        "reference": judged.ladder.names[reference],
        "lines": {
            kind: [{"promise": row.loss, "saving": row.saving} for row in rows]
            for kind, rows in every.items()
        },
        "rows": [_row(row, measure, choices[row.kind, row.loss]) for row in readable],
        "needed": [
            {"promise": loss, "groups": groups_needed(loss, certificate["delta"])}
            for loss in READABLE
            if loss not in regrets
        ],
        "why": _why(every, seen, reference, certificate["n"]),
    }


def _row(promise: Certified, measure: _Measure, chosen: Choice) -> dict[str, Any]:
    measured = measure.of_choice(promise.kind, chosen)
    low, high = measured["came_to"]["low"], measured["came_to"]["high"]
    broken = low is not None and low > promise.loss
    if promise.kind == "quality":
        broken = high is not None and high < 1.0 - promise.loss
    return {
        "kind": promise.kind,
        "promise": promise.loss,
        "epsilon": promise.epsilon,
        "saving": promise.saving,
        "measured": measured,
        "broken": broken,
    }


@dataclass(frozen=True, eq=False)
class _Measure:
    """Judged prompts, group by group."""

    outcomes: Outcomes
    reference: int
    cost: Floats
    n_boot: int
    seed: int

    @classmethod
    def of(cls, outcomes: Outcomes, reference: int, n_boot: int, seed: int) -> _Measure:
        return cls(outcomes, reference, group_means(outcomes.cost_usd, outcomes.groups), n_boot, seed)

    def of_choice(self, kind: str, chosen: Choice) -> dict[str, Any]:
        """Return what a tier per prompt attains: `saving`, `came_to` and `share_per_tier`."""
        held, best, rows = self.outcomes, self.reference, np.arange(len(chosen))
        score, passed = held.score.astype(np.float64), held.passed == 1.0
        columns = np.stack(
            [
                held.cost_usd[rows, chosen],
                held.cost_usd[:, best],
                score[rows, chosen],
                score[:, best],
                passed[:, best] & ~passed[rows, chosen],
                *(chosen == k for k in range(len(held.ladder))),
            ],
            axis=1,
        ).astype(np.float64)
        means = group_means(columns, held.groups)
        draws = draw_groups(np.arange(len(means)), self.n_boot, self.seed)
        paid, base, quality, top, regret, *shares = draws.means(means).T

        def bounds(values: Floats) -> Bounds:
            return interval(draws, values)

        relative = np.divide(quality, top, out=np.ones_like(top), where=top > 0)
        spent = np.divide(paid, base, out=np.ones_like(base), where=base > 0)
        return {
            "saving": bounds(1.0 - spent),
            "came_to": bounds(regret if kind == "regret" else relative),
            "share_per_tier": {
                name: float(share[0]) for name, share in zip(held.ladder.names, shares, strict=True)
            },
        }


def _why(every: Mapping[str, list[Certified]], seen: Outcomes, reference: int, groups: int) -> str | None:
    """Return why a promise of net quality saves less than the same promise of regret, from counts; None where none does."""
    quality = {row.loss: row.saving for row in every["quality"]}
    regret = {row.loss: row.saving for row in every["regret"] if row.loss in READABLE}
    short = {loss: saving - quality.get(loss, 0.0) for loss, saving in regret.items()}
    short = {loss: shortfall for loss, shortfall in short.items() if shortfall >= _WORTH_SAYING}
    if not short:
        return None
    loss = _EXAMPLE if _EXAMPLE in short else max(short, key=lambda at: short[at])
    passed = seen.passed == 1.0
    won = float((passed[:, :reference].any(axis=1) & ~passed[:, reference]).mean())
    best = float(seen.score[:, reference].mean())
    found = f"saves {quality[loss]:.1%}" if loss in quality else "is not certified"
    return (
        f"At {percent(loss)}, the promise of net quality {found} and that of regret saves {regret[loss]:.1%}. Of the best "
        f"tier's mean score of {best:.3f}, net quality may lose {100 * loss * best:.1f} points, regret {100 * loss:g}. By passing "
        f"on a cheaper tier where the best one fails, no more than {won:.1%} of the prompts can win any back. A mean is also "
        f"harder to be sure of than a count, with {groups:,} groups."
    )
