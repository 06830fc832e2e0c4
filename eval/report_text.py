"""A report's summary for a terminal: the verdict first, no line longer than 100 columns.

The rule: pure. Wide characters count two columns; controls, which could drive a terminal, are replaced.
"""

from __future__ import annotations

from typing import Any

from eval.report_promises import CAME_TO, TITLE, notes, rows_of
from eval.report_words import (
    DECIDED,
    MISSING,
    NOT_REACHED,
    QUALITY_LEVELS,
    best_contender,
    clean,
    count,
    interval,
    percent,
    point_labels,
    shorten,
    standings,
    subject_of,
)  # fmt: skip
from router.columns import columns, wrap
from router.promise import promise_words

__all__ = ["render_text"]

_NAME, _COLUMN = 37, 29
_PROMISE = 57
_PROMISES = (0.01, 0.02, 0.05, 0.1)  # the others are in the page


def render_text(document: dict[str, Any]) -> str:
    """Return the verdict, the key numbers and a line per contender, without a line break at the end."""
    verdict, comparison = document["verdict"], document["comparison"]
    lines = _wrap(f"{verdict['word']}: {verdict['headline']}")
    for text in (verdict["reason"], verdict["more_data"]):
        lines += _wrap(text) if text else []
    contenders = comparison["contenders"] if comparison is not None else []
    for said, labels in standings(contenders, verdict, clean(verdict["reason"])):
        lines += _wrap(f"{said}: {', '.join(shorten(label, 60) for label in labels)}", "  ")
    if comparison is not None:
        subject = subject_of(comparison)
        lines += ["", *_key_numbers(document, subject)] if subject is not None else []
        lines += ["", *_operating_point(document["operating_point"])] if document["operating_point"] else []
        lines += ["", *_promises(document["promises"])] if document["promises"] else []
        lines += ["", *_contenders(comparison), ""]
        lines += _wrap(
            f"{count(comparison['prompts'])} prompts in {count(comparison['groups'])} groups; brackets hold 95% intervals"
        )
    if document["sampling"] is not None and document["sampling"].get("text"):
        lines += _wrap(document["sampling"]["text"])
    return "\n".join(line.rstrip() for line in lines).replace("−", "-").replace(MISSING, "-")


def _key_numbers(document: dict[str, Any], subject: dict[str, Any]) -> list[str]:
    best = best_contender(document)
    over = f"lead over {best['label']}" if best else "lead over the best baseline"
    pairs = [("gap closed", _say(subject["gap_closed"])), (over, _say(document["verdict"]["lead"], "points"))]
    for level in QUALITY_LEVELS:
        value = (subject["saving_at_quality"] or {}).get(level)
        pairs.append(
            (
                f"saving at {percent(float(level), 0)} of the top tier's quality",
                _say(value, missing=NOT_REACHED),
            )
        )
    pairs.append(("regret at 97% quality (sent too low)", _say((subject["at_97"] or {}).get("regret"))))
    return [f"{_fit(said, 55)}  {value}" for said, value in pairs]


def _operating_point(point: dict[str, Any]) -> list[str]:
    labels = {
        **point_labels(point),
        "regret": "regret (sent too low)",
        "over_routing": "over-routing (sent too high)",
    }
    pairs = [(said, _say(point.get(key))) for key, said in labels.items()]
    lines = [DECIDED, *(f"  {_fit(said, 53)}  {value}" for said, value in pairs)]
    shares = [
        f"{shorten(tier, 40)} {percent(share)}" for tier, share in (point.get("share_per_tier") or {}).items()
    ]
    return lines + (_wrap(f"sent to {', '.join(shares)}", "  ") if shares else [])


def _promises(promises: dict[str, Any]) -> list[str]:
    lines = [TITLE]
    for kind, came_to in CAME_TO.items():
        rows = [row for row in rows_of(promises, kind) if row["promise"] in _PROMISES]
        lines += [f"{'':{_PROMISE}}  {'saves':>8}  {came_to}"] if rows else []
        for row in rows:
            said, measured = promise_words(kind, row["promise"]), row["measured"]
            lines.append(
                f"  {_fit(said, _PROMISE - 2)}  {percent(row['saving']):>8}  {_say(measured['came_to'])}"
            )
    return lines + [line for note in notes(promises) for line in _wrap(note, "  ")]


def _contenders(comparison: dict[str, Any]) -> list[str]:
    lines = [f"{_fit('', _NAME)}  {'gap closed':<{_COLUMN}}  saving at 97% quality"]
    for c in comparison["contenders"]:
        saving = _say((c["saving_at_quality"] or {}).get("0.97"), missing=NOT_REACHED)
        lines.append(f"{_fit(c['label'], _NAME)}  {_say(c['gap_closed']):<{_COLUMN}}  {saving}")
    return lines


def _say(value: dict[str, Any] | None, unit: str = "percent", missing: str = MISSING) -> str:
    said, bounds = interval(value, unit)
    if said == MISSING:
        return f"{missing if value is not None else MISSING:>8}"
    return f"{said:>8} ({bounds})" if bounds else f"{said:>8}"


def _fit(text: object, width: int) -> str:
    """Return text on one line of exactly `width` columns, cut or filled up."""
    line = shorten(text, width)
    if columns(line) > width:
        while columns(line) > width - 1:
            line = line[:-1]
        line += "…"
    return line + " " * (width - columns(line))


def _wrap(text: object, indent: str = "") -> list[str]:
    return wrap(clean(text), indent)
