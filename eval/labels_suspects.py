"""Patterns in labels that speak for an error of a grader rather than of a model, each with what it was seen on.

Pure. A pattern is reported where it was seen, with how often, on which prompts, and what to look at; that a model may do the
same is said with it. Nothing here changes a label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binom

from eval.agreement import kappa
from eval.bounds import rate_bounds
from eval.labels_monotone import MOST_IDS
from eval.labels_rows import Grades, Labels
from eval.labels_shares import FEW
from eval.labels_slices import OTHER, Slice
from eval.status import GRADABLE

__all__ = ["find_suspects"]

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Suspect = dict[str, Any]

FAULTS = ("error", "off format", "time limit", "refused", "unanswered", "bad reference")
"""Why a grader gave no score that is no property of the answer (`training.grade.grades`, which eval does not import)."""
LIKELY_WRONG = 0.25
_LEAST = 5  # prompts
_LEAST_ALIKE = 3
_BY_CHANCE = 0.01
_TOGETHER = 0.5  # of a grader's failures, those that all tiers share
_AGREES = 0.4  # kappa: "moderate" by the usual reading (Landis and Koch, Biometrics 33, 1977)
_FAULTY = 0.02


def find_suspects(labels: Labels, slices: Sequence[Slice]) -> list[Suspect]:
    """Return the patterns found. Pure.

    Returns
    -------
    list of dict
        JSON-ready: `kind`, `about` (a grader, slice or None), `count`, `of`, `share`, `unit` ("prompts" or "labels"), `text` (what was seen),
        `look_at` (what to do) and `prompt_ids`, the first of them in their own order.
    """
    graders = labels.graders.items()
    to_the_letter = _answers(labels, loosely=False)
    found: list[Suspect] = [*_never_answered(labels)]
    for name, grades in graders:
        found += _contradicts_itself(labels, to_the_letter, name, grades)
    found += _same_answer_failed(labels, _answers(labels, loosely=True))
    for name, grades in graders:
        found += _shared_failures(labels, name, grades)
        found += _says_one_thing(labels, name, grades)
        found += _cannot_judge(labels, name, grades)
    found += _dearest_alone_fails(labels)
    for each in slices:
        found += _never_passed(labels, each)
    found += _likely_wrong(labels)
    return found


def _suspect(
    kind: str,
    about: str | None,
    unit: str,
    of: int,
    ids: list[str],
    text: str,
    look_at: str,
    count: int | None = None,
) -> Suspect:
    number = len(ids) if count is None else count
    return {
        "kind": kind,
        "about": about,
        "count": number,
        "of": of,
        "share": number / of,
        "unit": unit,
        "text": text,
        "look_at": look_at,
        "prompt_ids": ids[:MOST_IDS],
    }


def _never_answered(labels: Labels) -> Iterator[Suspect]:
    """Yield calls that came to nothing and have a score all the same."""
    empty = np.array([status is not None and status not in GRADABLE for status in labels.status], np.bool_)
    rows = empty & labels.labelled
    if rows.any():
        yield _suspect(
            "score without an answer", None, "labels", int(labels.labelled.sum()), _ids(labels, rows),
            "The status says that no answer came, which is unknown and no failure, and yet there is a score.",
            "grade the collected history again: python -m training grade leaves these scores null", int(rows.sum()),
        )  # fmt: skip


def _contradicts_itself(
    labels: Labels, answers: NDArray[np.intp], name: str, grades: Grades
) -> Iterator[Suspect]:
    """Yield the same answer to the same prompt, passed on one tier and failed on another."""
    scores = _at(labels, grades.score)
    drawn = (scores > 0.0) & (scores < 1.0)
    if drawn.any():  # a measured judge; where a person graded the answer, its score is that person's, 0 or 1
        scores = np.where(drawn, scores, np.nan)
    same, differ = np.zeros(len(scores), np.bool_), np.zeros(len(scores), np.bool_)
    for k, j in combinations(range(scores.shape[1]), 2):
        alike = (answers[:, k] >= 0) & (answers[:, k] == answers[:, j])
        alike &= ~np.isnan(scores[:, k]) & ~np.isnan(scores[:, j])
        same |= alike
        differ |= alike & ((scores[:, k] >= labels.pass_score) != (scores[:, j] >= labels.pass_score))
    if differ.any():
        yield _suspect(
            "contradicts itself", name, "prompts", int(same.sum()), labels.prompt_ids(differ),
            f"Two tiers gave the same answer, to the letter, and {name} passes one and fails the other.",
            "what a judge draws by chance: set its temperature to 0, or measure it on more human grades",
        )  # fmt: skip


def _same_answer_failed(labels: Labels, answers: NDArray[np.intp]) -> Iterator[Suspect]:
    """Yield prompts where all tiers give one answer, and it fails."""
    passed = labels.outcomes.passed
    observed = ~np.isnan(passed)
    several = (observed.sum(axis=1) >= 2) & np.all((answers >= 0) | ~observed, axis=1)
    first = answers[np.arange(len(answers)), observed.argmax(axis=1)]
    alike = several & np.all((answers == first[:, None]) | ~observed, axis=1)
    failed = several & np.all((passed == 0.0) | ~observed, axis=1)
    found = alike & failed
    if found.sum() >= _LEAST_ALIKE:
        yield _suspect(
            "same answer, failed everywhere", None, "prompts", int(failed.sum()), labels.prompt_ids(found),
            "Of the prompts that all tiers fail, they fail these with one and the same answer.",
            "the reference first: models that agree are often right, though a trap takes them all in, too",
        )  # fmt: skip


def _shared_failures(labels: Labels, name: str, grades: Grades) -> Iterator[Suspect]:
    """Yield prompts where no tier satisfies a grader, where that is more than hard prompts make.

    Hard prompts are failed by all tiers, too, but then cheap tiers fail many more. What speaks for the grader is that one
    tier's failure is mostly all tiers' failure, so that it is about the prompt and not the answer; or that a grader
    which agrees with it elsewhere passes these answers.
    """
    scores = _at(labels, grades.score)
    known = ~np.isnan(scores)
    rows = known.sum(axis=1) >= 2
    fails = scores < labels.pass_score
    found = rows & np.all(fails | ~known, axis=1)
    some = int((rows & np.any(fails, axis=1)).sum())
    number, of = int(found.sum()), int(rows.sum())
    if number < _LEAST or number == of:  # one that fails everything is told of by itself
        return
    rates = np.array([_mean(fails[rows, k], known[rows, k]) for k in range(scores.shape[1])])
    apart = float(np.where(known[rows], rates, 1.0).prod(axis=1).mean())
    together, disputed = number / some, _disputed(labels, name, grades, found)
    if binom.sf(number - 1, of, apart) > _BY_CHANCE or (together < _TOGETHER and disputed < _LEAST_ALIKE):
        return
    said = (
        f"No tier satisfies {name} on these, {100 * together:.0f}% of the prompts that any tier fails by it; "
        f"{apart * of:.0f} would be expected if tiers failed apart from each other."
    )
    if disputed:
        said += f" On {disputed} a grader that agrees with it elsewhere passes an answer."
    yield _suspect(
        "all tiers fail", name, "prompts", of, labels.prompt_ids(found), said,
        "a few of these answers: a format that the prompt does not ask for, or a wrong reference, fails all tiers alike",
    ) | {"expected": apart * of, "together": together, "disputed": disputed}  # fmt: skip


def _disputed(labels: Labels, name: str, grades: Grades, prompts: Mask) -> int:
    """Return on how many of some prompts another grader passes an answer, one whose kappa with this one is not low."""
    found = np.zeros(len(prompts), np.bool_)
    for other, others in labels.graders.items():
        both = ~np.isnan(grades.score) & ~np.isnan(others.score)
        if other == name or not both.any():
            continue
        ours, theirs = (each.score[both] >= labels.pass_score for each in (grades, others))
        agree = kappa(np.histogram2d(ours, theirs, bins=(2, 2), range=((0, 1), (0, 1)))[0])
        if agree is not None and agree >= _AGREES:
            found |= np.any(_at(labels, others.score) >= labels.pass_score, axis=1)
    return int((found & prompts).sum())


def _says_one_thing(labels: Labels, name: str, grades: Grades) -> Iterator[Suspect]:
    rows = ~np.isnan(grades.score) & (labels.prompt >= 0)
    passes = grades.score[rows] >= labels.pass_score
    if len(np.unique(labels.groups[labels.prompt[rows]])) < FEW or (passes.any() and not passes.all()):
        return
    verb = "passes" if passes.all() else "fails"
    yield _suspect(
        f"{verb} everything", name, "labels", len(passes), _ids(labels, rows), f"{name} {verb} every answer that it grades.",
        "its settings: it tells no answer from another, so it adds nothing to other graders, or hides what they say",
        len(passes),
    )  # fmt: skip


def _cannot_judge(labels: Labels, name: str, grades: Grades) -> Iterator[Suspect]:
    faulty = grades.asked & np.isin(grades.why.astype(str), FAULTS)
    if faulty.sum() < _LEAST or faulty.sum() < _FAULTY * grades.asked.sum():
        return
    counts = Counter(grades.why[faulty].tolist())
    why = ", ".join(
        f"{reason} {n:,}" for reason, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )
    yield _suspect(
        "gives no score", name, "labels", int(grades.asked.sum()), _ids(labels, faulty),
        f"{name} gave no score for reasons of its own ({why}).",
        "its settings; what it skips may be what is hard, and then the labels are not of all prompts",
        int(faulty.sum()),
    )  # fmt: skip


def _dearest_alone_fails(labels: Labels) -> Iterator[Suspect]:
    """Yield prompts that the dearest tier alone fails, if cheaper ones pass there as often as anywhere else."""
    passed = labels.outcomes.passed
    if passed.shape[1] < 3:
        return
    rows = ~np.isnan(passed).any(axis=1)
    failed = rows & (passed[:, -1] == 0.0)
    cheaper = rows & np.all(passed[:, :-1] == 1.0, axis=1)
    found = failed & cheaper
    if found.sum() < _LEAST or found.sum() < failed.sum() * cheaper.sum() / rows.sum():
        return
    top = labels.names[-1]
    yield _suspect(
        "only the dearest tier fails", None, "prompts", int(failed.sum()), labels.prompt_ids(found),
        f"Of the prompts that {top} fails, all cheaper tiers pass these: no fewer than of all prompts, as if its failures had "
        "nothing to do with how hard a prompt is.",
        f"the answers of {top}: longer or more careful ones are failed by graders that look for one form",
    )  # fmt: skip


def _never_passed(labels: Labels, part: Slice) -> Iterator[Suspect]:
    passed = labels.outcomes.passed
    groups = len(np.unique(labels.groups[part.inside]))
    if part.value == OTHER or groups < _LEAST or np.any(passed[part.inside] == 1.0):
        return
    most = rate_bounds(0.0, groups)[1]
    yield _suspect(
        "no tier ever passes", f"{part.by} {part.value}", "prompts", int(part.inside.sum()), labels.prompt_ids(part.inside),
        f"No tier passes any of them; with 95% confidence at most {100 * most:.0f}% of such prompts are passed.",
        "its graders and references; if it is as hard as that, there is nothing to route",
    )  # fmt: skip


def _likely_wrong(labels: Labels) -> Iterator[Suspect]:
    wrong = labels.errors >= LIKELY_WRONG
    if not wrong.any():
        return
    yield _suspect(
        "labels in doubt", None, "labels", int((~np.isnan(labels.outcomes.passed)).sum()),
        labels.prompt_ids(np.asarray(wrong.any(axis=1))),
        f"These are wrong with a probability of {100 * LIKELY_WRONG:.0f}% or more, by how their judge agrees with people.",
        "some of these by hand, and give the judge more human grades; or take a better judge", int(wrong.sum()),
    )  # fmt: skip


def _at(labels: Labels, values: Floats) -> Floats:
    """Return values of rows (R,) at each label, (n, k), NaN where there is none."""
    return np.where(labels.chosen >= 0, values[labels.chosen], np.nan)


def _ids(labels: Labels, rows: Mask) -> list[str]:
    """Return the prompts of rows (R,), in their own order and each once."""
    return sorted(set(labels.history.rows["prompt_id"].to_numpy(object)[rows].astype(str).tolist()))


def _mean(values: NDArray[Any], where: Mask) -> float:
    return float(values[where].mean()) if where.any() else 0.0


def _answers(labels: Labels, *, loosely: bool) -> NDArray[np.intp]:
    """Return a number per label, (n, k), the same for the same answer; -1 for none.

    Loosely: answers that differ in case, spaces and a full stop alone are the same.
    """
    rows = labels.history.rows
    if "response" not in rows:
        return np.full(labels.chosen.shape, -1, np.intp)
    texts = [cell if isinstance(cell, str) and cell.strip() else None for cell in rows["response"].tolist()]
    if loosely:
        texts = [None if text is None else " ".join(text.casefold().split()).rstrip(".") for text in texts]
    codes = pd.factorize(np.array(texts, dtype=object))[0]
    return np.where(labels.chosen >= 0, codes[labels.chosen], -1)
