"""Whether a certificate still holds: each promise against what the router's decisions came to on new prompts.

Pure but for the decisions. Exact bounds, as when the promise was made: of regret by Clopper and Pearson, on one row of
each group; of quality by betting, on group means. The promise asked about is judged at `LOOK_LEVEL`. All others share that
once more, for among sixteen promises one would break by chance too often.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.bounds import betting_holds, lower_bound, upper_bound
from eval.ladder import draw_rows, group_means
from eval.outcomes import Outcomes
from router import Policy, Router
from router.promise import certified, percent, promise_words
from router.prompt import read_prompt
from router.scorer import Scores

__all__ = ["LOOK_LEVEL", "check_certificate"]

Floats = NDArray[np.float64]

LOOK_LEVEL = 0.01
"""The chance, at most, that one look calls a kept promise void, whatever the certificate's own delta. A certificate is looked
at every week, so one look must be surer than the certificate: five looks together are wrong at most one time in twenty, and
champions of the simulated year (docs/YEAR.md) served about five weeks on average."""

_SAME = 1e-9
_STEPS = 14  # halvings of the range of shares: to a ten-thousandth


def check_certificate(
    outcomes: Outcomes, router: Router, scores: Scores, *, max_regret: float, seed: int = 0
) -> dict[str, Any]:
    """Return what became of each promise of a router's certificate.

    Parameters
    ----------
    outcomes : Outcomes
        New prompts; rows where a tier of the router is unobserved are left out.
    scores : Scores
        What the router's graph makes of them.
    max_regret : float
        The promise that decides, where it is certified; else nothing is void. Which others are broken is told.
    seed : int
        Which row of a group counts, and in which order groups are bet on.

    Returns
    -------
    dict
        JSON-ready: `status`, `promises` (`kind`, `promise`, `observed`, `low`, `high`, `level`, `asked`, `status`), `groups`,
        `prompts`, `level` (of the look), `text`.
    """
    model = router.model
    certificate = model.manifest.document["certificate"]
    promised = [*certified(certificate, "regret"), *certified(certificate, "quality")]
    asked = model.manifest.certificate.epsilon_for_regret(max_regret)
    empty: dict[str, Any] = {
        "status": "untold",
        "promises": [],
        "groups": 0,
        "prompts": 0,
        "level": LOOK_LEVEL,
    }
    if certificate.get("void"):
        return empty | {
            "status": "void",
            "text": f"The certificate is void already: {certificate['void']['why']}",
        }
    if asked is None and not promised:
        return empty | {"text": "The certificate promises nothing, so there is nothing to check."}
    missing = [name for name in model.names if name not in outcomes.ladder.names]
    if missing:
        text = f"The certificate cannot be checked: {', '.join(missing)} is no tier of the new ladder."
        return empty | {"text": text}
    columns = [outcomes.ladder.names.index(name) for name in model.names]
    rows = np.flatnonzero(~np.isnan(outcomes.passed[:, columns]).any(axis=1))
    if not len(rows):
        return empty | {"text": "The certificate cannot be checked: no new prompt was tried on every tier."}
    held = outcomes.take(rows)
    check = _Check(held, columns, router, Scores(*(part[rows] for part in scores)), seed)
    others = [row for row in promised if row.kind != "regret" or abs(row.loss - max_regret) > _SAME]
    found = []
    if asked is not None:
        found.append(check.regret(max_regret, LOOK_LEVEL) | {"asked": True})
    for row in others:
        of_kind = check.regret if row.kind == "regret" else check.quality
        found.append(of_kind(row.loss, LOOK_LEVEL / len(others)) | {"asked": False})
    counts = {"groups": check.n_groups, "prompts": len(rows), "level": LOOK_LEVEL}
    return {"promises": found, **counts, **_judge(found, asked is not None, max_regret, check.n_groups)}


def _judge(found: list[dict[str, Any]], certified: bool, max_regret: float, groups: int) -> dict[str, str]:
    """Return the status of the whole, and why: it is that of the promise asked about, where that is certified."""
    on = f"on {groups:,} group{'' if groups == 1 else 's'} of new prompts"
    first, others = (found[0], found[1:]) if certified else (None, found)
    broken = [row for row in others if row["status"] == "void"]
    named = ", ".join(_words(row) for row in broken[:2])
    more = f" and {len(broken) - 2} more" if len(broken) > 2 else ""
    also = f" Broken is the promise that {named}{more}" if broken else ""
    if first is None:
        text = f"No promise of at most {percent(max_regret)} regret was certified, so all such requests go to the best tier"
        text += f".{also}, {on}." if broken else f"; no other promise is shown broken {on}."
        return {"status": "untold", "text": text}
    if first["status"] == "void":
        text = f"The certificate is void: it promises that {_words(first)}, and {on} {_seen_words(first)}."
    else:
        verb = "holds" if first["status"] == "holding" else "is neither broken nor proven again"
        text = f"The promise that {_words(first)} {verb}: {on} {_seen_words(first)}."
    return {"status": first["status"], "text": f"{text}{also}." if broken else text}


def _words(row: dict[str, Any]) -> str:
    said = promise_words(row["kind"], row["promise"])
    return said if row["kind"] == "regret" else f"the router {said}"


def _seen_words(row: dict[str, Any]) -> str:
    bounds = (
        f"between {row['low']:.1%} and {row['high']:.1%}, each with {percent(1.0 - row['level'])} confidence"
    )
    seen = "did" if row["kind"] == "regret" else "was kept"
    return f"{row['observed']:.1%} {seen}, {bounds}"


class _Check:
    """Complete rows with what the router decides for them under a policy."""

    def __init__(self, held: Outcomes, columns: list[int], router: Router, scores: Scores, seed: int) -> None:
        self._model = router.model
        self._views = [read_prompt(prompt) for prompt in held.prompts]
        self._outputs = [tuple(row) for row in np.column_stack(scores).tolist()]
        self._passed = held.passed[:, columns] == 1.0
        self._score = held.score[:, columns].astype(np.float64)
        self._groups = held.groups
        self._reference = router.manifest.defaults.reference
        rng = np.random.default_rng(seed)
        self._drawn = draw_rows(held.groups, rng)
        self.n_groups = len(self._drawn)
        self._order = rng.permutation(self.n_groups)

    def regret(self, promise: float, level: float) -> dict[str, Any]:
        chosen = self._choose(Policy(max_regret=promise))[self._drawn]
        passed = self._passed[self._drawn]
        best, own = passed[:, self._reference], passed[np.arange(len(chosen)), chosen]
        failures, n = int((best & ~own).sum()), self.n_groups
        low, high = float(lower_bound(failures, n, level)), float(upper_bound(failures, n, level))
        status = "void" if low > promise else "holding" if high <= promise else "unproven"
        return _row("regret", promise, failures / n, low, high, level, status)

    def quality(self, loss: float, level: float) -> dict[str, Any]:
        chosen = self._choose(Policy(min_quality=round(1.0 - loss, 6)))
        scores = np.stack(
            [self._score[np.arange(len(chosen)), chosen], self._score[:, self._reference]], axis=1
        )
        own, best = group_means(scores, self._groups)[self._order].T
        share = 1.0 - loss

        def keeps(at: float) -> bool:
            return bool(betting_holds((own - at * best)[:, None], -max(at, _SAME), level)[0])

        def falls_short(at: float) -> bool:
            return bool(betting_holds((at * best - own)[:, None] / max(1.0, at), -1.0, level)[0])

        low, high = _greatest(keeps, 0.0, 1.5), 1.5 - _greatest(lambda at: falls_short(1.5 - at), 0.0, 1.5)
        status = "void" if falls_short(share) else "holding" if keeps(share) else "unproven"
        mean = float(best.mean())
        observed = float(own.mean()) / mean if mean > 0.0 else 1.0
        return _row("quality", loss, observed, low, high, level, status)

    def _choose(self, policy: Policy) -> NDArray[np.intp]:
        resolved = self._model.resolve(policy)
        decide = self._model.decide
        chosen = [
            decide(view, said, resolved).index for view, said in zip(self._views, self._outputs, strict=True)
        ]
        return np.array(chosen, dtype=np.intp)


def _greatest(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Return the greatest value of a range at which something holds that holds below, by halving; `low` if nowhere."""
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _row(
    kind: str, promise: float, observed: float, low: float, high: float, level: float, status: str
) -> dict[str, Any]:
    return {
        "kind": kind, "promise": promise, "observed": observed, "low": low, "high": high, "level": level, "status": status,
    }  # fmt: skip
