"""The gate: whether a challenger may take the champion's place. One word, and the numbers it rests on.

Pure. Every check has to pass for ROUTE; one that does not keeps what serves. A tie keeps the champion: what is promoted is
better by an interval clear of the margin, not by luck.

- ROUTE: the challenger is promoted.
- KEEP: the champion serves on.
- DO NOT ROUTE: there is no champion to keep, and the challenger is not worth routing by; everything belongs on the
  reference tier.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from eval.verdict import MIN_GROUPS, MIN_PROMPTS, WORTH_HAVING
from router.errors import RouterError
from router.promise import laxest, percent
from training.pipeline.config import Promotion

__all__ = ["Check", "Evidence", "GateError", "Verdict", "decide"]

GATE_EXIT_CODE = 4


class GateError(RouterError):
    """The gate could not run, so nothing is known of the challenger, and it is not promoted."""

    exit_code = GATE_EXIT_CODE


@dataclass(frozen=True)
class Check:
    """One question of the gate: what was asked, whether it passed, and the numbers in a sentence."""

    name: str
    passed: bool
    text: str


@dataclass(frozen=True)
class Evidence:
    """What the gate is shown.

    Attributes
    ----------
    duel : mapping
        As `eval.duel.duel` gives it.
    certificate : mapping
        The challenger's.
    calibration : mapping of str to float
        Calibration error beyond chance, by tier, on the held-out prompts.
    latency_us : float
        Median of a decision, in a fresh process.
    champion : int or None
        The version that serves; None where none does.
    champion_routes : bool
        Whether it can be compared and has a certificate that is not void: only then are slices its own to lose.
    worth : mapping
        `gap_closed`, the challenger's, None where no comparison is possible, and `rules`: the `label` of each simple rule, and the challenger's `lead` over it.
    compared : bool
        Whether the champion's decisions can be judged on today's ladder; if not, the challenger is a first model.
    """

    duel: Mapping[str, Any]
    certificate: Mapping[str, Any]
    calibration: Mapping[str, float]
    latency_us: float
    champion: int | None
    champion_routes: bool
    worth: Mapping[str, Any]
    compared: bool


@dataclass(frozen=True)
class Verdict:
    """What the gate says.

    Attributes
    ----------
    word : str
        "ROUTE", "KEEP" or "DO NOT ROUTE".
    headline : str
        One sentence.
    checks : tuple of Check
        In the order asked.
    """

    word: str
    headline: str
    checks: tuple[Check, ...]

    @property
    def promotes(self) -> bool:
        """Whether the challenger takes over."""
        return self.word == "ROUTE"

    @property
    def reasons(self) -> list[str]:
        """Sentences: what failed, or all of them where nothing did."""
        failed = [check.text for check in self.checks if not check.passed]
        return failed or [check.text for check in self.checks]

    def after_demotion(self, word: str, text: str) -> Verdict:
        """Return the verdict of a run that found the champion's certificate void, and saw to it."""
        return Verdict(word, text, (Check("champion", False, text), *self.checks))

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Verdict:
        """Return the verdict that `to_dict` wrote."""
        checks = tuple(Check(**check) for check in document["checks"])
        return cls(document["word"], document["headline"], checks)

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict, ready for JSON."""
        return {
            "word": self.word,
            "headline": self.headline,
            "reasons": self.reasons,
            "checks": [asdict(check) for check in self.checks],
        }


def decide(evidence: Evidence, promotion: Promotion) -> Verdict:
    """Return the verdict on a challenger.

    Raises
    ------
    GateError
        Too few prompts are left that neither has learned from.
    """
    duel = evidence.duel
    if duel["prompts"] < MIN_PROMPTS or duel["groups"] < MIN_GROUPS:
        raise GateError(
            f"gate: expected {MIN_PROMPTS} prompts of {MIN_GROUPS} groups or more that every tier answered and neither "
            f"model learned from, found {duel['prompts']} of {duel['groups']}; grade more of the newest prompts on every tier"
        )
    checks = [
        _certified(evidence, promotion),
        _kept(evidence),
        _better(evidence, promotion),
        _calibrated(evidence, promotion),
        _fast(evidence, promotion),
        _slices(evidence, promotion),
    ]
    if evidence.champion is None or not evidence.compared:
        checks.append(_worth(evidence))
    passed = all(check.passed for check in checks)
    if passed:
        return Verdict("ROUTE", _first(checks, "better"), tuple(checks))
    failed = next(check.text for check in checks if not check.passed)
    if evidence.champion is not None:
        return Verdict("KEEP", f"Version {evidence.champion} serves on. {failed}", tuple(checks))
    return Verdict("DO NOT ROUTE", f"Nothing is promoted. {failed}", tuple(checks))


def _first(checks: list[Check], name: str) -> str:
    return next(check.text for check in checks if check.name == name)


def _certified(evidence: Evidence, promotion: Promotion) -> Check:
    asked = promotion.max_regret
    found = laxest(evidence.certificate, asked)
    if evidence.certificate.get("void"):
        return Check("certificate", False, "Its certificate is void.")
    if found is None:
        n = evidence.certificate["n"]
        return Check(
            "certificate",
            False,
            f"No promise of {percent(asked)} regret or less is certified, with {n:,} calibration groups.",
        )
    return Check(
        "certificate",
        True,
        f"A regret of at most {percent(found.loss)} is certified at {percent(1.0 - evidence.certificate['delta'])} "
        f"confidence, with {evidence.certificate['n']:,} calibration groups"
        f"{_reserve_words(evidence.certificate)}.",
    )


def _reserve_words(certificate: Mapping[str, Any]) -> str:
    reserve = certificate.get("reserve", 0.0)
    return f" and {percent(reserve)} of it in reserve" if reserve else ""


def _kept(evidence: Evidence) -> Check:
    ours, promise = evidence.duel["challenger"], evidence.duel["max_regret"]
    found = (
        f"regret {_share(ours['regret'])} on held-out prompts, and at most {ours['regret']['proved']:.1%} on all groups that certified "
        f"it or were held out, where {percent(promise)} is promised"
    )
    if ours["keeps"]:
        return Check("promise", True, f"The promise is proved anew: {found}.")
    return Check("promise", False, f"The promise is not proved anew: {found}.")


def _better(evidence: Evidence, promotion: Promotion) -> Check:
    duel = evidence.duel
    saving, same = duel["saving_lead"], duel["same_cost_lead"]
    margin = promotion.margin_saving
    if not duel["challenger"]["keeps"]:
        return Check("better", False, "Not compared, as its promise is not proved.")
    first = evidence.champion is None or not evidence.compared
    whom = "always the reference tier" if first else f"version {evidence.champion}"
    if not duel["champion"]["keeps"]:
        whom += f", whose promise is not proved any more (as it decides, it saves {duel['champion']['saving']['value']:.1%})"
    said = f"at the promised quality its saving is {_points(saving)} against {whom}"
    if saving["low"] is None:
        raise GateError("gate: the resamples give no interval; grade prompts of more groups")
    if saving["low"] > margin:
        return Check("better", True, f"{_capital(said)}, all of it above the margin of {_plain(margin)}.")
    if (
        evidence.champion_routes
        and duel["champion"]["keeps"]
        and same is not None
        and same["low"] is not None
    ):
        said += f", and at the same cost its quality is {_points(same)}"
        if same["low"] > promotion.margin_quality and saving["value"] >= -margin:
            clear = f"the latter all above the margin of {_plain(promotion.margin_quality)}"
            return Check("better", True, f"{_capital(said)}, {clear}.")
    clear = f"not clear of the margin of {_plain(margin)}"
    why = "it is worse" if saving["high"] < 0.0 else clear if first else f"{clear}, and a tie changes nothing"
    return Check("better", False, f"{_capital(said)}: {why}.")


def _calibrated(evidence: Evidence, promotion: Promotion) -> Check:
    tier, error = max(evidence.calibration.items(), key=lambda item: item[1])
    found = f"probabilities are off by {_plain(error)} beyond chance at most (tier {tier}); the limit is {_plain(promotion.max_ece)}"
    return Check("calibration", error <= promotion.max_ece, f"{_capital(found)}.")


def _fast(evidence: Evidence, promotion: Promotion) -> Check:
    found = f"A decision takes {evidence.latency_us:.0f} us (median); the limit is {promotion.max_latency_us:g} us."
    return Check("latency", evidence.latency_us <= promotion.max_latency_us, found)


def _slices(evidence: Evidence, promotion: Promotion) -> Check:
    duel = evidence.duel
    if not evidence.champion_routes or not duel["champion"]["keeps"]:
        return Check("slices", True, "Not asked, as there is no champion that keeps its promise.")
    worse = [part for part in duel["slices"] if _is_worse(part, duel["max_regret"], promotion.margin_slice)]
    if not worse:
        return Check("slices", True, f"None of {len(duel['slices'])} slices gets significantly worse.")
    named = ", ".join(f"{part['name']} ({_points(part['quality_lead'])})" for part in worse[:3])
    more = f" and {len(worse) - 3} more" if len(worse) > 3 else ""
    return Check(
        "slices", False, f"Slices get worse by more than {_plain(promotion.margin_slice)}: {named}{more}."
    )


def _is_worse(part: Mapping[str, Any], promise: float, margin: float) -> bool:
    """Whether a slice surely loses more quality than the margin, and what it loses is not within the promise.

    Neither in regret, of which a graded answer that is worse and passes is none, nor in the mean score.
    """
    lost = -part["quality_lead"]["high"]
    return bool(lost > margin and (part["regret"] > promise or lost > promise))


def _worth(evidence: Evidence) -> Check:
    """Whether routing by this model is better than by a simple rule, or than mixing the tiers at random."""
    gap, rules = evidence.worth["gap_closed"], evidence.worth["rules"]
    if gap is None:
        return Check("baselines", True, "No comparison with simpler rules is possible on these prompts.")
    better = [rule["label"] for rule in rules if (rule["lead"]["high"] or 0.0) < 0.0]
    if better:
        return Check("baselines", False, f"A simpler rule routes better: {', '.join(better)}.")
    said = f"it closes {_share(gap)} of the gap from random mixing to hindsight"
    if gap["low"] <= 0.0 and gap["high"] < WORTH_HAVING:
        return Check("baselines", False, f"Mixing the tiers at random may do as well: {said}.")
    return Check("baselines", True, f"No simpler rule is proven better; {said}.")


def _plain(share: float) -> str:
    return f"{100.0 * share:.1f} points"


def _points(bounds: Mapping[str, float | None]) -> str:
    value, low, high = (bounds[name] for name in ("value", "low", "high"))
    said = f"{_signed(value or 0.0)} points"
    return said if low is None or high is None else f"{said} [{_signed(low)}, {_signed(high)}]"


def _signed(share: float) -> str:
    return f"{100.0 * share:+.1f}"


def _share(bounds: Mapping[str, float]) -> str:
    return f"{bounds['value']:.1%} [{bounds['low']:.1%}, {bounds['high']:.1%}]"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
