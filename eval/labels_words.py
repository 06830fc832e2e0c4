"""How a label report says what it found: its word, headline, summary and notes.

Pure, plain text from the document's figures, nothing escaped for any format.
"""

from __future__ import annotations

from typing import Any

from eval.report_words import count, finite, interval, listed, percent, shorten, usd

__all__ = [
    "WORDS",
    "say_headline",
    "say_notes",
    "say_share",
    "say_summary",
    "say_suspects",
]

_LONGEST = 40  # characters of a name in a sentence
WORDS = {
    "sound": "Nothing looks wrong",
    "look": "Look at the graders",
    "censored": "Tiers went untried",
    "few": "Too few labels",
}


def say_share(share: dict[str, Any] | None) -> str:
    """Return a share with its interval in brackets."""
    said, bounds = interval(share)
    return f"{said} ({bounds})" if bounds else said


def say_headline(document: dict[str, Any]) -> str:
    """Return one sentence: how many labels, and how often each tier passes."""
    counts = document["counts"]
    rates = [
        f"{shorten(tier['tier'], _LONGEST)} {say_share(tier['rate'])}"
        for tier in document["rates"]["all"]["tiers"]
    ]
    return f"{count(counts['labels'])} labels on {_number(counts['prompts_with_label'], 'prompt')}; answers that pass: {listed(rates)}."


def say_summary(document: dict[str, Any]) -> list[str]:
    """Return a sentence on each of what matters most."""
    return [
        said
        for said in (
            say_suspects(document),
            _inversions(document["inversions"]),
            _noise(document["noise"]),
            _more(document["more"]),
            _usd(document["usd"]),
        )
        if said
    ]


def say_notes(document: dict[str, Any]) -> list[str]:
    """Return what a reader must know of how it was measured."""
    counts, rates = document["counts"], document["rates"]
    notes = []
    missing = [tier["tier"] for tier in counts["tiers"] if not tier["labels"]]
    if missing:
        notes.append(
            f"No answer of {listed([shorten(name, _LONGEST) for name in missing])} has a label, so nothing is said of it."
        )
    if counts["strangers"]:
        named = listed(
            [f"{shorten(model, _LONGEST)} ({count(n)} rows)" for model, n in counts["strangers"].items()]
        )
        notes.append(f"On no tier, and left out: {named}.")
    if rates["whole"] is not None:
        notes.append(
            f"Tiers have labels on different prompts: {count(rates['whole']['prompts'])} of {count(rates['all']['prompts'])} have one on "
            "every tier, and only there can tiers be compared."
        )
    if counts["weighted"]:
        notes.append(
            "Prompts were sampled, so each counts as the prompts that it stands for (column weight); intervals allow for that."
        )
    if counts["groups"] < counts["prompts_with_label"]:
        notes.append(
            f"The prompts fall into {_number(counts['groups'], 'group')}; intervals are over groups, as prompts of one group are alike."
        )
    if rates["looked_at"]:
        by_chance = round(rates["looked_at"] / 20)
        missed = f"about {by_chance} of them miss" if by_chance > 1 else "one in twenty misses"
        notes.append(
            f"{count(rates['looked_at'])} rates of slices are given with 95% intervals; {missed} by chance."
        )
    if not document["graders"]:
        notes.append("No column grades, so nothing is known of how answers were graded.")
    return notes


def say_suspects(document: dict[str, Any]) -> str:
    """Return a sentence on the patterns that may be errors of graders."""
    suspects = document["suspects"]
    if not suspects:
        seen = "" if document["graders"] else "; without the column grades, most cannot be looked for"
        return f"No pattern of grader errors was found{seen}."
    kinds = dict.fromkeys(
        each["kind"] if each["about"] is None else f"{each['kind']} ({shorten(each['about'], _LONGEST)})"
        for each in suspects
    )
    shown = list(kinds)[:4]
    more = f" and {len(kinds) - 4} more" if len(kinds) > 4 else ""
    return f"{_number(len(suspects), 'pattern')} may be errors of graders: {', '.join(shown)}{more}."


def _inversions(inversions: dict[str, Any]) -> str:
    if not inversions["prompts"]:
        return ""
    said = f"A cheaper tier passes where a dearer one fails on {say_share(inversions['share'])} of {_number(inversions['prompts'], 'prompt')}."
    pairs = [pair for pair in inversions["pairs"] if pair["expected"] is not None]
    worst = max(pairs, key=lambda pair: pair["seen_on"], default=None)
    if worst is not None and worst["seen_on"]:
        said += (
            f" Of {shorten(worst['cheap'], _LONGEST)} against {shorten(worst['dear'], _LONGEST)} that is {count(worst['seen_on'])}, where wrong labels alone "
            f"would make about {count(worst['expected'])}."
        )
    return said


def _noise(noise: dict[str, Any] | None) -> str:
    if noise is None:
        return "Nothing says how often labels are wrong (column label_error), so promises are about labels, right or wrong."
    if not noise["mean"]:
        return (
            "By their graders, labels are right: rules graded them, and what rules get wrong is not in that."
        )
    said = f"Labels are wrong with a mean probability of {percent(noise['mean'])}"
    if noise["known_share"] < 0.995:
        said += f", where known ({percent(noise['known_share'], 0)} of labels)"
    if noise["added"] is not None:
        said += f"; so a promise of 5% about labels is one of at most {percent(min(1.0, 0.05 + noise['added']))} about the truth"
    return f"{said}."


def _more(more: dict[str, Any]) -> str:
    if more["why"]:
        return f"{more['why']} So no certificate can rest on this history."
    first, last = more["steps"][0], more["steps"][-1]
    said = (
        f"A certificate rests on {_number(first['groups'], 'group')} of these; with no failure at all they allow a promise of "
        f"{percent(first['zero'])}, {last['multiple']} times the labels one of {percent(last['zero'])}"
    )
    if finite(last["usd"]):
        said += f" for {usd(last['usd'])} more"
    return f"{said}."


def _usd(spent: dict[str, Any]) -> str:
    grading = f", of which {usd(spent['grading_usd'])} for grading" if spent["grading_usd"] else ""
    about = "about " if spent["logged_share"] < 0.995 else ""
    return (
        f"The labels cost {about}{usd(spent['total_usd'])}{grading}: {usd(spent['per_label_usd'])} a label, "
        f"{usd(spent['per_prompt_usd'])} a prompt."
    )


def _number(n: int, what: str) -> str:
    return f"{count(n)} {what}{'' if n == 1 else 's'}"
