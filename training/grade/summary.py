"""What grading came to, in numbers: by rule, by grader, and why rows have no score.

Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from training.grade.answers import Answers
from training.grade.combine import Label
from training.grade.config import Grading
from training.grade.grades import Grade
from training.grade.grading import Graded

__all__ = ["summarise"]

_NO_RULE = "no rule"


def summarise(
    answers: Answers,
    graded: Mapping[int, Graded],
    labels: Mapping[int, Label],
    grading: Grading,
    pass_score: float,
) -> dict[str, Any]:
    """Return the counts of a graded history, JSON-ready, with warnings of what looks like a mistake. Pure."""
    ungraded: Counter[str] = Counter()
    kept = 0
    for i, reason in enumerate(answers.ungraded):
        if i in labels:
            if labels[i].score is None:
                ungraded[str(labels[i].why)] += 1
        elif answers.scores[i] is not None:
            kept += 1
        else:
            ungraded[reason or _NO_RULE] += 1
    rules = _rules(graded, labels, grading)
    graders = {
        name: _grader([e.given[name].grade for e in graded.values() if name in e.given], pass_score)
        for name in grading.graders
    }
    scores = [label.score for label in labels.values() if label.score is not None]
    errors = [label.error for label in labels.values() if label.score is not None and label.error is not None]
    return {
        "rows": len(answers.places),
        "graded": len(scores),
        "passed": sum(score >= pass_score for score in scores),
        "kept": kept,
        "ungraded": dict(sorted(ungraded.items())),
        "rules": rules,
        "graders": graders,
        "mean_label_error": sum(errors) / len(errors) if errors else None,
        "grading_usd": sum(each.grading_usd for each in graded.values()),
        "warnings": _warnings(rules, graders, grading, kept, ungraded[_NO_RULE], len(answers.places)),
    }


def _rules(
    graded: Mapping[int, Graded], labels: Mapping[int, Label], grading: Grading
) -> list[dict[str, Any]]:
    rows: Counter[int] = Counter(id(each.rule) for each in graded.values())
    scored: Counter[int] = Counter(id(each.rule) for i, each in graded.items() if labels[i].score is not None)
    return [
        {
            "when": {column: list(values) for column, values in rule.when.items()},
            "graders": list(rule.graders),
            "combine": str(rule.combine),
            "rows": rows[id(rule)],
            "graded": scored[id(rule)],
        }
        for rule in grading.rules
    ]


def _grader(grades: list[Grade], pass_score: float) -> dict[str, Any]:
    scores = [grade.score for grade in grades if grade.score is not None]
    return {
        "applied": len(grades),
        "scored": len(scores),
        "passed": sum(score >= pass_score for score in scores),
        "mean": sum(scores) / len(scores) if scores else None,
        "null": dict(sorted(Counter(str(grade.why) for grade in grades if grade.why is not None).items())),
    }


def _warnings(
    rules: list[dict[str, Any]],
    graders: Mapping[str, dict[str, Any]],
    grading: Grading,
    kept: int,
    no_rule: int,
    n: int,
) -> list[str]:
    said = [
        f"{grading.source}: rule {i} matches no row that an earlier rule has not, and grades nothing"
        for i, rule in enumerate(rules, 1)
        if rule["rows"] == 0
    ]
    said += [f"{grading.source}: grader {name} is in no rule, and grades nothing" for name in grading.unused]
    said += [
        f"grader {name} has no score for any of its {each['applied']:,} rows ({', '.join(each['null'])})"
        for name, each in graders.items()
        if each["applied"] and not each["scored"]
    ]
    if no_rule:
        said.append(
            f"{no_rule:,} of {n:,} rows match no rule and stay without a score; a rule without `when` matches all"
        )
    if kept:
        said.append(
            f"{kept:,} of {n:,} rows came with a score and keep it; grade a history without scores to grade them anew"
        )
    return said
