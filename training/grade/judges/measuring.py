"""How far a judge agrees with a human, and whether that is enough.

Pure. What a judge says of human-graded rows is set against the human's grades, as passes and fails; a judge whose kappa lies
below its floor is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.agreement import Agreement, agreement
from eval.bounds import rate_bounds
from router.errors import ConfigError
from training.grade.grades import Why
from training.grade.judges.config import Judge, Pairwise
from training.grade.judges.human import LEAST_ROWS, HumanGrades
from training.grade.judges.noise import Confusion, count
from training.grade.judges.questions import Said

__all__ = ["Measured", "interval_text", "measure", "position_bias", "refusal"]

Pair = tuple[str, str]


@dataclass(frozen=True)
class Measured:
    """A judge against a human.

    Attributes
    ----------
    passes : Agreement
        On pass and fail, rows of one prompt drawn together.
    stars : Agreement or None
        On the grades from 1 to 5, a miss by two counted four times one by one; None where the human gave none.
    confusion : Confusion
        Of all models.
    by_model : dict
        The same by model.
    unheard : dict
        Human-graded rows on which the judge has no verdict: how many, by why.
    """

    passes: Agreement
    stars: Agreement | None
    confusion: Confusion
    by_model: dict[str, Confusion]
    unheard: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            **self.passes.to_dict(),
            "weighted": None if self.stars is None else self.stars.to_dict(),
            "confusion": self.confusion.to_dict(),
            "confusion_by_model": {name: each.to_dict() for name, each in self.by_model.items()},
            "without_verdict": self.unheard,
        }


def measure(judge: Judge | Pairwise, verdicts: Mapping[Pair, Said], human: HumanGrades) -> Measured:
    """Set a judge's verdicts against a human's. Pure."""
    heard = [(pair, each.worth) for pair, each in verdicts.items() if each.worth is not None]
    passed = [(worth >= judge.pass_at, human.passed[pair]) for pair, worth in heard]
    prompts = [pair[0] for pair, _ in heard]
    stars = None
    if human.stars is not None:
        theirs = [human.stars[pair] for pair, _ in heard]
        stars = agreement([worth for _, worth in heard], theirs, groups=prompts, scale="quadratic")
    models = sorted({pair[1] for pair, _ in heard})
    return Measured(
        agreement([own for own, _ in passed], [theirs for _, theirs in passed], groups=prompts),
        stars,
        count(passed),
        {
            model: count(each for each, (pair, _) in zip(passed, heard, strict=True) if pair[1] == model)
            for model in models
        },
        dict(Counter(str(each.why) for each in verdicts.values() if each.why is not None)),
    )


def refusal(judge: Judge | Pairwise, measured: Measured) -> ConfigError | None:
    """Return the error that refuses a judge, or None if it may grade. Pure."""
    where, todo = f"grader {judge.name}", "mend the rubric, or ask a better model"
    if measured.passes.n < LEAST_ROWS:
        without = ", ".join(f"{n} {why}" for why, n in measured.unheard.items())
        if Why.OFF_FORMAT not in measured.unheard:
            todo = "see to what it answers, and run the same command again"
        return ConfigError(
            f"{where}: the judge {judge.model} gave a verdict on {measured.passes.n} human-graded answers ({without}), and "
            f"{LEAST_ROWS} are needed to measure it; {todo}"
        )
    kappa = measured.passes.kappa
    if kappa is None:
        return ConfigError(
            f"{where}: the judge {judge.model} gave all {measured.passes.n} human-graded answers one verdict, and the human "
            f"did too; {todo}, or grade other answers by hand"
        )
    if kappa < judge.floor:
        return ConfigError(
            f"{where}: the judge {judge.model} agrees with the human at a kappa of {kappa:.2f} "
            f"({interval_text(measured.passes)}, on {measured.passes.n} answers), below the floor of {judge.floor:g}; nothing was "
            f"graded by it; {todo}"
        )
    return None


def position_bias(verdicts: Sequence[Said]) -> dict[str, Any]:
    """Return how often the order of two responses changed a pairwise verdict. Pure.

    Returns
    -------
    dict
        JSON-ready: `pairs` asked in both orders; `inconsistent`, those whose orders disagree, with their share and its
        exact interval; of these, `first` preferred the response that stood first in both orders, `second` the one that
        stood second, and the others changed between a win and a tie.
    """
    asked = [each.replies for each in verdicts if len(each.replies) == 2]
    # A response is worth the same in both orders, unless where it stands matters.
    apart = [as_a - as_b for as_a, as_b in asked if as_a != as_b]
    low, high = rate_bounds(len(apart), len(asked)) if asked else (None, None)
    return {
        "pairs": len(asked),
        "inconsistent": len(apart),
        "share": len(apart) / len(asked) if asked else None,
        "share_low": low,
        "share_high": high,
        "first": sum(each == 1.0 for each in apart),
        "second": sum(each == -1.0 for each in apart),
    }


def interval_text(found: Agreement) -> str:
    """Return the interval of kappa as an error and a line of progress say it. Pure."""
    if found.kappa_low is None or found.kappa_high is None:
        return "no interval: one prompt alone"
    return f"{found.kappa_low:.2f} to {found.kappa_high:.2f} at {found.level:.0%}"
