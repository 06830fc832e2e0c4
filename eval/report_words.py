"""How a report says things: numbers, intervals, verdicts, definitions. Shared by HTML, Markdown and terminal.

The rule: pure, plain text, nothing escaped for any format. Whatever comes from data goes through `clean`.
"""

from __future__ import annotations

import math
import re
from typing import Any

__all__ = [
    "DECIDED",
    "GLOSSARY",
    "KINDS",
    "MISSING",
    "NOT_REACHED",
    "QUALITY_LEVELS",
    "SETTING",
    "SLICE_KINDS",
    "best_contender",
    "called",
    "clean",
    "count",
    "decimal",
    "dropped",
    "expectation",
    "finite",
    "interval",
    "letters",
    "listed",
    "percent",
    "point_labels",
    "point_words",
    "points",
    "positives",
    "shorten",
    "slice_head",
    "standings",
    "style_of",
    "subject_of",
    "usd",
]  # fmt: skip

LINE_STYLES = 8  # colours and dash patterns that the style sheet has, as classes s0 (the subject) to s8
MISSING = "–"
NOT_REACHED = "not reached"
QUALITY_LEVELS = ("1", "0.99", "0.97", "0.95")
KINDS = {
    "subject": "router under test",
    "baseline": "learned baseline",
    "fixed": "fixed policy",
    "tier": "one tier for all",
    "random": "reference: 0%",
    "oracle": "reference: 100%",
}
SLICE_KINDS = {
    "task": "By task",
    "feature": "By feature",
    "language": "By script",
    "length": "By prompt length",
    "source": "By source",
}
SETTING = "At the cheapest setting that keeps 97% of the top tier’s quality"
DECIDED = "As the model decides by default"
_CALLED = {"hand-rule": "the rule by hand", "random-mix": "random mixing"}
GLOSSARY = (
    (
        "Gap closed",
        "How far a router gets from mixing the tiers at random (0%) to an oracle that knows every outcome (100%), over "
        "all budgets. Below 0% is worse than chance.",
    ),
    (
        "Lead",
        "The gap closed by the router under test less that of another, on the same prompts and resamples.",
    ),
    (
        "Saving at 97% quality",
        "The part of the top tier's cost that is saved by the cheapest setting that keeps 97% of the top tier's quality.",
    ),
    (
        "Regret",
        "The share of prompts where the top tier passes and the chosen tier fails: sent too low. For a model's own decisions "
        "and for promises, the best tier stands in the top tier's place.",
    ),
    (
        "Promise",
        "What a certificate states of routing, with a confidence: either that at most some share of prompts fails where the "
        "best tier passes, or that at least some share of the best tier's quality is kept, net of what cheaper tiers win.",
    ),
    (
        "Best tier, also reference tier",
        "What promises and a model's own decisions are measured against: the dearest tier, unless a cheaper one is better "
        "beyond chance. The top tier is the dearest, always.",
    ),
    ("Over-routing", "The share of prompts where a tier cheaper than the chosen one passes: sent too high."),
    (
        "Expected cost",
        "What a call is taken to cost before it is made: the prompt at the tier's price, and the answer as long as "
        "answers to such prompts were. A setting is a price of quality, at which the tier of most quality less cost is "
        "chosen.",
    ),
    (
        "AIQ",
        "Mean quality over all costs from the cheapest to the dearest tier: the area under the cost-quality curve, "
        "divided by its width (RouterBench).",
    ),
    (
        "ECE, log loss, Brier, AUC",
        "How good the predicted pass probabilities are. ECE is the mean distance between what was predicted and what "
        "happened; log loss and Brier score punish confident mistakes; of all three, less is better. AUC is the chance "
        "that a passing prompt is ranked above a failing one: 0.5 is a coin, 1 is perfect.",
    ),
    (
        "Script",
        "The writing system of most of a prompt's letters: what can be said of its language without guessing.",
    ),
    (
        "Interval",
        "Where the number would lie in 95% of histories like this one, by resampling whole groups of prompts.",
    ),
    ("ROUTE", "The router beats the best baseline, and chance does not explain it."),
    ("TIE", "With these prompts the router cannot be told from the best baseline."),
    ("DO NOT ROUTE", "A simpler baseline is clearly better, or routing gains nothing over mixing at random."),
    ("CANNOT TELL", "The history does not allow a measurement, whatever the router does."),
)

# C0 and C1 controls, which drive terminals; bidirectional overrides, which reorder what stands around them; surrogates.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufffe\uffff\ud800-\udfff]"
)


def clean(text: object) -> str:
    """Return text that any format can hold: controls, overrides and lone surrogates become U+FFFD; lines stay."""
    return _UNSAFE.sub("\ufffd", str(text).replace("\r\n", "\n"))


def shorten(text: object, width: int) -> str:
    """Return cleaned text on one line of at most `width` characters, with an ellipsis where it was cut."""
    line = " ".join(clean(text).split())
    return line if len(line) <= width else f"{line[: width - 1].rstrip()}…"


def finite(value: object) -> float | None:
    """Return a number as float; None where it is none or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def percent(value: object, digits: int = 1) -> str:
    """Return a share as a percentage."""
    share = finite(value)
    return MISSING if share is None else f"{_signed(100 * share, digits)}%"


def points(value: object) -> str:
    """Return a difference of shares in percentage points, with its sign."""
    share = finite(value)
    return MISSING if share is None else f"{_signed(100 * share, 1, plus=True)} pts"


def decimal(value: object, digits: int = 3) -> str:
    """Return a number with a fixed number of decimals."""
    number = finite(value)
    return MISSING if number is None else _signed(number, digits)


def count(value: object) -> str:
    """Return a whole number with thousands set apart."""
    number = finite(value)
    return MISSING if number is None else f"{round(number):,}"


def usd(value: object) -> str:
    """Return dollars: cents from a dollar on, three significant digits below."""
    number = finite(value)
    if number is None:
        return MISSING
    size = abs(number)
    if size >= 1000:
        text = f"{size:,.0f}"
    elif size >= 1 or size == 0:
        text = f"{size:.2f}"
    else:
        text = f"{size:.{min(12, 2 - math.floor(math.log10(size)))}f}"
    return f"{'−' if number < 0 and float(text.replace(',', '')) else ''}${text}"


def interval(value: dict[str, Any] | None, unit: str = "percent") -> tuple[str, str]:
    """Return an interval's value and its bounds as text, without brackets; bounds are "" where unknown or of no width.

    `unit` is "percent", "points" or "decimal".
    """
    say = {"percent": percent, "points": points, "decimal": decimal}[unit]
    if value is None or finite(value.get("value")) is None:
        return MISSING, ""
    low, high = finite(value.get("low")), finite(value.get("high"))
    if low is None or high is None or low == high == value["value"]:
        return say(value["value"]), ""
    scale, digits = (1, 3) if unit == "decimal" else (100, 1)
    bounds = (_signed(scale * bound, digits, plus=unit == "points") for bound in (low, high))
    return say(value["value"]), " to ".join(bounds)


def subject_of(comparison: dict[str, Any]) -> dict[str, Any] | None:
    """Return the contender that is under test; None where there is none."""
    return next((c for c in comparison["contenders"] if c["kind"] == "subject"), None)


def best_contender(document: dict[str, Any]) -> dict[str, Any] | None:
    """Return the baseline that the verdict compares with; None where there is none."""
    name, comparison = document["verdict"].get("best_baseline"), document["comparison"]
    if comparison is None or name is None:
        return None
    return next((c for c in comparison["contenders"] if c["name"] == name), None)


def expectation(comparison: dict[str, Any]) -> str:
    """Return a sentence on what contenders take a call to cost."""
    shares = [
        f"{percent(max(tier['cost_explained'], 0.0), 0)} ({clean(tier['name'])})"
        for tier in comparison["tiers"]
        if finite(tier.get("cost_explained")) is not None
    ]
    if not shares:
        return "All contenders take the calls to a tier to cost alike."
    return (
        "All contenders choose at the same expected costs, predicted for each prompt. Of how much calls differ in cost, "
        f"that explains {listed(shares)}."
    )


def called(contender: dict[str, Any]) -> str:
    """Return how a sentence calls a contender."""
    return _CALLED.get(contender["name"], clean(contender["label"]))


def listed(phrases: list[str]) -> str:
    """Return phrases as a sentence lists them: "a, b and c"."""
    return " and ".join([", ".join(phrases[:-1]), phrases[-1]] if len(phrases) > 1 else phrases)


def _grouped(contenders: list[dict[str, Any]], names: list[str]) -> list[str]:
    """Return how to call these contenders, the tiers together; names that are not known stay as they are.

    The middle tier is one of the tiers, so that beside them it needs no word of its own.
    """
    known = {c["name"]: c for c in contenders}
    tiers = [c["name"] for c in contenders if c["kind"] == "tier"]
    together = [name for name in names if name in tiers]
    whole = len(together) == len(tiers)
    alike = [known[name]["gap_closed"] for name in together]
    phrases = []
    for name in names:
        middle = name == "always-middle" and name in known and known[name]["gap_closed"] in alike
        if middle or (whole and name in together[1:]):
            continue
        phrases.append(
            "each tier alone"
            if whole and name in together
            else called(known[name])
            if name in known
            else clean(name)
        )
    return phrases


def standings(
    contenders: list[dict[str, Any]], verdict: dict[str, Any], reason: str = ""
) -> list[tuple[str, list[str]]]:
    """Return whom the router beats, ties with and loses to; lists that the reason gives already are left out.

    Who is the best baseline is said elsewhere, so it is in no list.
    """
    kinds = (("Clearly beats", "beats"), ("Cannot be told from", "ties"), ("Loses to", "loses_to"))
    found = [
        (said, _grouped(contenders, [name for name in verdict[key] if name != verdict.get("best_baseline")]))
        for said, key in kinds
    ]
    return [(said, labels) for said, labels in found if any(label not in reason for label in labels)]


def point_labels(point: dict[str, Any]) -> dict[str, str]:
    """Return, by key of an operating point, what its figures against the best tier are called: saving, quality."""
    best = clean(point.get("reference") or "the best tier")
    return {
        "saving": f"saving against {best} for all",
        "quality": "quality",
        "quality_relative_to_top": f"quality relative to {best}",
    }


def point_words(point: dict[str, Any]) -> str:
    """Return the sentences that say what a model decides by default; shares of tiers are not among them."""
    epsilon, quality = finite(point.get("epsilon")), finite((point.get("quality") or {}).get("value"))
    said = [clean(point["text"])] if point.get("text") else []
    said += (
        [
            f"It accepts an expected loss (epsilon) of {decimal(epsilon)} for saving one average call of the best tier."
        ]
        if epsilon is not None
        else []
    )
    said += [f"Mean quality {percent(quality)}."] if quality is not None else []
    return " ".join(said)


def slice_head(by: str) -> str:
    """Return what stands over a column of slices of one kind."""
    return "script" if by == "language" else clean(by)


def letters(contenders: list[dict[str, Any]]) -> dict[str, str]:
    """Return the letter by which legend, lines and tables name each learned baseline and fixed policy."""
    named = [c["name"] for c in contenders if c["kind"] in ("baseline", "fixed")]
    return {name: chr(65 + i) if i < 26 else str(i - 25) for i, name in enumerate(named)}


def style_of(contenders: list[dict[str, Any]]) -> dict[str, str]:
    """Return the class that gives each contender its colour and line: s0 is the subject, s1 to s8 baselines."""
    styles, seen = {}, 0
    for contender in contenders:
        kind = contender["kind"]
        if kind == "baseline":
            styles[contender["name"]] = f"s{seen % LINE_STYLES + 1}"
            seen += 1
        else:
            styles[contender["name"]] = "s0" if kind == "subject" else kind
    return styles


def dropped(data: dict[str, Any]) -> list[str]:
    """Return one phrase per reason for which prompts were left out."""
    return [f"{count(n)} ({clean(reason)})" for reason, n in (data.get("dropped") or {}).items() if n]


def positives(names: dict[str, Any]) -> list[str]:
    """Return "name: count" for each name that counts something."""
    return [f"{clean(name)}: {count(n)}" for name, n in names.items() if n]


def _signed(number: float, digits: int, *, plus: bool = False) -> str:
    text = f"{abs(number):,.{digits}f}"
    if not float(text.replace(",", "")):
        return text
    return f"{'−' if number < 0 else '+' if plus else ''}{text}"
