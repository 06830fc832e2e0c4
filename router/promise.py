"""How a certificate is put into words: the promises that people read, the presets, and what is missing. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router.policy import PRESETS

__all__ = [
    "READABLE", "Certified", "best_words", "certified", "default_words", "dominance_words", "is_default", "laxest", "missing_words", "percent",
    "preset_rows", "promise_words", "reserve_words", "saving_words", "slice_row", "void_words", "whole",
]  # fmt: skip

READABLE = (0.01, 0.02, 0.03, 0.05, 0.075, 0.10, 0.15, 0.20)
"""What people are shown of the grid of promises: the losses that they ask for."""

_SAME = 1e-9  # 1 - 0.97 is not 0.03

SLICE_LOSS = 0.05
"""The promise shown of a slice, where it is certified."""


@dataclass(frozen=True, slots=True)
class Certified:
    """One promise that a certificate holds.

    Attributes
    ----------
    kind : str
        "regret" or "quality".
    loss : float
        What is lost at most: of prompts, or of the reference tier's quality.
    epsilon : float
        Where it is certified.
    saving : float
        Part of the reference tier's cost saved on the calibration part.
    share_per_tier : tuple of float
        Cheapest first; empty where it was not written down.
    observed, bound : float or None
        What the calibration part showed at that epsilon: the regret and its upper bound, or the share of quality kept.
    """

    kind: str
    loss: float
    epsilon: float
    saving: float
    share_per_tier: tuple[float, ...]
    observed: float | None
    bound: float | None


def certified(
    certificate: Mapping[str, Any], kind: str, losses: Sequence[float] = READABLE
) -> list[Certified]:
    """Return the certified promises of a kind, "regret" or "quality", least loss first. Pure.

    Parameters
    ----------
    certificate : mapping
        As in a manifest.
    losses : sequence of float
        Those asked for; an empty one asks for all.
    """
    rows = certificate["table"] if kind == "regret" else certificate.get("quality", ())
    found = [
        Certified(
            kind,
            float(row["alpha"]) if kind == "regret" else round(1.0 - row["min_quality"], 9),
            float(row["epsilon"]),
            float(row.get("saving", 0.0)),
            tuple(row.get("share_per_tier", ())),
            row.get("observed"),
            row.get("bound"),
        )
        for row in rows
    ]
    kept = [row for row in found if not losses or any(abs(row.loss - loss) < _SAME for loss in losses)]
    return sorted(kept, key=lambda row: row.loss)


def promise_words(kind: str, loss: float) -> str:
    """Return a promise in words, as they stand after "the router's choices ...". Pure."""
    if kind == "regret":
        return f"at most {percent(loss)} of prompts fail where the best tier passes"
    return f"keeps at least {percent(1.0 - loss)} of the best tier's quality"


def reserve_words(certificate: Mapping[str, Any]) -> str:
    """Return a sentence, after a space, on what each promise keeps in reserve; nothing where it keeps none. Pure."""
    reserve = float(certificate.get("reserve", 0.0))
    if not reserve:
        return ""
    return f" {percent(reserve)} of each promise is kept in reserve for what changes until the next one."


def percent(share: float) -> str:
    """Return a share as people say it: "5%", "7.5%". Pure."""
    return f"{round(100.0 * share, 3):g}%"


def whole(share: float) -> str:
    """Return a share in whole per cent, never a negative nothing. Pure."""
    return f"{round(100.0 * share) or 0:d}%"


def saving_words(saving: float) -> str:
    """Return what a promise saves, or costs. Pure."""
    return f"costs {whole(-saving)} more" if round(100.0 * saving) < 0 else f"saves {whole(saving)}"


def preset_rows(certificate: Mapping[str, Any]) -> list[tuple[str, str, float | None]]:
    """Return, per preset, its name, what it promises, and what it saves on this model; None: not certified. Pure."""
    rows = []
    for name, loss in PRESETS.items():
        promise = laxest(certificate, loss)
        rows.append((name, promise_words("regret", loss), None if promise is None else promise.saving))
    return rows


def laxest(certificate: Mapping[str, Any], loss: float) -> Certified | None:
    """Return the laxest promise of regret that is no laxer than asked, as `Certificate.epsilon_for_regret` has it. Pure."""
    within = [row for row in certified(certificate, "regret", ()) if row.loss <= loss + _SAME]
    return within[-1] if within else None


def is_default(preset: str, decision: Mapping[str, Any]) -> bool:
    """Return whether a preset is what holds where nothing is asked for. Pure."""
    regret = decision.get("default_max_regret")
    by_regret = decision.get("basis") == "certificate" and decision.get("default_loss", "regret") == "regret"
    return by_regret and regret is not None and abs(regret - PRESETS[preset]) < _SAME


def slice_row(part: Mapping[str, Any]) -> Certified | None:
    """Return what is promised of a slice: a loss of `SLICE_LOSS`, else the strictest; None where nothing is. Pure."""
    rows = certified(part, "regret", ())
    return next((row for row in rows if abs(row.loss - SLICE_LOSS) < _SAME), rows[0] if rows else None)


def missing_words(certificate: Mapping[str, Any]) -> str:
    """Return a sentence on the promises of regret that are missing, and how many groups they need; "" for none. Pure."""
    have = {row.loss for row in certified(certificate, "regret")}
    needed = {float(loss): int(groups) for loss, groups in certificate.get("needed", {}).items()}
    missing = [loss for loss in READABLE if loss not in have]
    if not missing:
        return ""
    said = [percent(loss) + (f" ({needed[loss]:,} groups)" if loss in needed else "") for loss in missing]
    return (
        f"Not certified, for want of calibration groups ({certificate['n']:,} here; needed at the least, if nothing goes "
        f"wrong): {', '.join(said)}."
    )


def void_words(certificate: Mapping[str, Any], reference: str) -> str:
    """Return what is to be said, before anything else, of a void certificate; "" where it holds. Pure."""
    void = certificate.get("void")
    if void is None:
        return ""
    why = " ".join(str(void["why"]).split()).rstrip(".")
    return (
        f"CERTIFICATE VOID since {void['date']}: {why}. No promise of this model holds. Every request goes to {reference}, the "
        "best tier, or as near to it as its policy and needs permit, whatever it asks for, with the reason uncertified, "
        "until another model takes this one's place."
    )


def best_words(decision: Mapping[str, Any], tiers: Sequence[str]) -> str:
    """Return a sentence on which tier is the best, and what documents call it. Pure."""
    best = decision.get("reference", tiers[-1])
    why = (
        "it is cheaper than the dearest, and better"
        if decision.get("dominated")
        else "no cheaper one is better"
    )
    return f"The best tier is {best}: {why} beyond chance. Policies and documents call it the reference tier."


def dominance_words(decision: Mapping[str, Any], tiers: Sequence[str]) -> str:
    """Return what is to be said of a dominated ladder; "" where the dearest tier is the best. Pure."""
    if not decision.get("dominated"):
        return ""
    best = decision["reference"]
    return f"The ladder is dominated: {best} is better than {tiers[-1]}, the dearest tier, so promises are against {best}."


def default_words(decision: Mapping[str, Any], reference: str) -> str:
    """Return a sentence on what the router does when it is asked for nothing. Pure."""
    epsilon = f"epsilon {decision['default_epsilon']:g}"
    if decision.get("basis") == "certificate":
        promised = promise_words(str(decision.get("default_loss", "regret")), decision["default_max_regret"])
        return f"Asked for nothing, the router keeps the promise: {promised} ({epsilon})."
    return (
        f"Asked for nothing, the router promises nothing: it accepts an expected loss of {decision['default_epsilon']:.3g} "
        f"for saving one average call of {reference} ({epsilon}, from {decision.get('basis', 'the fit')})."
    )
