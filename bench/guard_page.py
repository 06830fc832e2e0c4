"""The guard bench's figures as tables for a terminal and a section of BENCHMARKS.md. Pure."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from bench.measuring import render_table
from bench.sections import Section, render_markdown

__all__ = ["SECTION", "render_tables"]

_Table = tuple[str, tuple[str, ...], list[tuple[object, ...]]]

_SHIFT = (
    "left out", "guard", "flagged", "regret", "promise", "saving", "quality", "regret at the same saving, none", "guard less it",
)  # fmt: skip
_KNOWN = ("guard", "saving, mean", "less none's", "lowest", "highest")
_ATTACK = (
    "family", "flagged novel", "by embedding", "by shape", "below the reference tier, before", "after", "before, no guard",
    "after, no guard",
)  # fmt: skip
_PLAIN = "as they are"
_NOTICED, _UNNOTICED = 0.9, 0.1  # shares flagged from which, and up to which, the section names a family


def render_tables(document: dict[str, Any]) -> list[str]:
    """Return the tables for a terminal. Pure."""
    return [f"{title}\n{render_table(header, rows)}\n" for title, header, rows in _tables(document)]


def _tables(document: dict[str, Any]) -> list[_Table]:
    """Return a title, a header and rows for each table."""
    shift = [
        (
            each["history"],
            name,
            _percent(each["flagged"]) if "novelty" in name or name == "both" else "–",
            _interval(found["regret"]),
            found["verdict"],
            _percent(found["saving"]),
            f"{found['quality']:.3f}",
            *(("–", "–") if name == "none" else _same_saving(found["smaller_epsilon"])),
        )
        for each in document["shift"]
        for name, found in each["guards"].items()
    ]
    tables: list[_Table] = [
        ("A history that taught nothing", _SHIFT, [*shift]),
        ("What the guards cost where nothing is new", _KNOWN, _known_rows(document)),
    ]
    for attacks in document["attacks"]:
        rows = [
            _attack_row(name, found, attacks["families"][_PLAIN])
            for name, found in attacks["families"].items()
        ]
        tables.append((f"Attacked prompts, {attacks['source']}", _ATTACK, [*rows]))
    return tables


def _attack_row(name: str, found: dict[str, Any], plain: dict[str, Any]) -> tuple[object, ...]:
    same = found["prompts"] == plain["prompts"]  # short prompts are no others made short
    flagged = [_percent(found[key]) for key in ("flagged", "flagged_by_embedding", "flagged_by_shape")]
    before, before_unguarded = (
        (_percent(plain[key]) if same else "–") for key in ("below", "below_unguarded")
    )
    return (
        name,
        *flagged,
        before,
        _percent(found["below"]),
        before_unguarded,
        _percent(found["below_unguarded"]),
    )


def _known_rows(document: dict[str, Any]) -> list[tuple[object, ...]]:
    savings = {
        name: [each["guards"][name]["saving_known"] for each in document["shift"]]
        for name in document["shift"][0]["guards"]
    }
    without = fmean(savings["none"])
    return [
        (name, _percent(fmean(values)), f"{_points(fmean(values) - without)} points", _percent(min(values)), _percent(max(values)))
        for name, values in savings.items()
    ]  # fmt: skip


def _same_saving(found: dict[str, Any]) -> tuple[str, str]:
    gap = found["guard_less_it"]
    return _percent(
        found["regret"]
    ), f"{_points(gap['value'])} ({_points(gap['low'])} to {_points(gap['high'])})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %".replace("-", "−")


def _points(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")


def _interval(rate: dict[str, float]) -> str:
    return f"{_percent(rate['value'])} ({100 * rate['low']:.1f} to {100 * rate['high']:.1f})"


def _say_shift(document: dict[str, Any]) -> str:
    """Say what the first table shows: promises kept, and guards against a smaller epsilon."""
    shift, parts = document["shift"], []
    for name in shift[0]["guards"]:
        verdicts = [each["guards"][name]["verdict"] for each in shift]
        counted = ", ".join(
            f"{kind} on {verdicts.count(kind)}"
            for kind in ("kept", "within noise", "violated")
            if kind in verdicts
        )
        saving = fmean(each["guards"][name]["saving"] for each in shift)
        parts.append(f"{name}: {counted}, mean saving {_percent(saving)}")
    gaps = [
        (each["history"], name, found["smaller_epsilon"]["guard_less_it"])
        for each in shift
        for name, found in each["guards"].items()
        if name != "none"
    ]
    better = [f"{name} on {history}" for history, name, gap in gaps if gap["high"] < 0]
    worse = [f"{name} on {history}" for history, name, gap in gaps if gap["low"] > 0]
    mean = fmean(gap["value"] for _, _, gap in gaps)
    expected = ", ".join(f"{each['history']} {each['expected_over_paid']:.2f}" for each in shift)
    cheapest = ", ".join(f"{each['history']} {_percent(each['regret_of_cheapest'])}" for each in shift)
    return (
        f"The promise of {_percent(document['alpha'])} by guard, over {len(shift)} histories. {'; '.join(parts)}. Against an unguarded "
        f"router with the epsilon that saves as much, a guard's regret differs by {_points(mean)} points in the mean: lower beyond "
        f"chance {_list(better)}, higher beyond chance {_list(worse)}; {len(gaps) - len(better) - len(worse)} of {len(gaps)} cannot be "
        "told apart. That epsilon is known in hindsight only, when outcomes have come in. "
        f"Whether anything is saved is also a matter of costs: the reference tier's expected ones over those paid are {expected}. Always "
        f"the cheapest tier would have a regret of {cheapest}."
    )


def _say_attacks(attacks: dict[str, Any]) -> str:
    """Say which families the novelty guard notices, and which attack gains the most."""
    plain, families = attacks["families"][_PLAIN], attacks["families"].items()
    others = [
        (name, each) for name, each in families if each["prompts"] == plain["prompts"] and name != _PLAIN
    ]
    noticed = [name for name, each in others if each["flagged"] >= _NOTICED]
    unnoticed = [name for name, each in others if each["flagged"] <= _UNNOTICED]
    parts = [
        f"Flagged at {100 * _NOTICED:.0f} % or more: {'; '.join(noticed) or 'none'}. At {100 * _UNNOTICED:.0f} % or less: {'; '.join(unnoticed) or 'none'}."
    ]
    for key, guards in (("below", "both guards"), ("below_unguarded", "none")):
        name, each = max(others, key=lambda other: float(other[1][key]))
        parts.append(
            f"With {guards}, most go below the reference tier by “{name}”: {_percent(each[key])}, from {_percent(plain[key])}."
        )
    return " ".join(parts)


def _list(cases: list[str]) -> str:
    return f"in {len(cases)} ({'; '.join(cases)})" if cases else "nowhere"


def _render_paragraphs(document: dict[str, Any]) -> list[str]:
    """Return the section of BENCHMARKS.md. Pure."""
    shift, known, *attacks = _tables(document)
    flags = ", ".join(f"{each['history']} {_percent(each['flagged_known'])}" for each in document["shift"])
    spreads = ", ".join(f"{each['spread_known']:.3f} and {each['spread']:.3f}" for each in document["shift"])
    parts = [
        f"`python -m bench.guard`, {document['date']}, seed {document['seed']}. A router is sent to the reference tier by two guards: a "
        f"*novel* prompt, unlike the training data (a threshold at a false-alarm rate of {_percent(document['false_alarm'])}, set out of fold on the training "
        "part), and *paired uncertainty*, the spread of its members on the difference between two tiers, which is added to the expected loss.",
        f"### {shift[0]}",
        "Each history is left out in turn; the others are pooled, tier by tier, teach and certify, each guard with a certificate "
        f"of its own at {_percent(document['alpha'])}. A certificate is void on traffic like this: it is of prompts like the calibration data. Regret has its exact "
        "interval of 95 %; *kept* is a regret of the promise at most, *violated* one whose interval lies above. The last columns "
        "are the honest comparison: no guard, and the epsilon that saves as much, found in hindsight. Costs are in "
        "units of a history's mean call of its dearest tier, for between histories these differ more than tenfold.",
        render_markdown(shift[1], shift[2]),
        _say_shift(document),
        f"### {known[0]}",
        f"Saving on the calibration rows of the same routers, at the same promise. Flagged there: {flags} (by history left out). Mean spread, known "
        f"and left out: {spreads}.",
        render_markdown(known[1], known[2]),
    ]
    for (title, header, rows), measured in zip(attacks, document["attacks"], strict=True):
        parts += [f"### {title}", render_markdown(header, rows), _say_attacks(measured)]
    parts.append(
        f"Routers fitted on all histories, and on {document['synthetic_prompts']:,} synthetic prompts; what is attacked are prompts that they did not learn from. "
        f"Gadgets are {document['gadget_tokens']} tokens. Searched ones are found greedily, with the router at hand, on other prompts: so that most prompts go "
        "below the reference tier, without guards; so that most do in spite of both guards; and upwards, to make calls dear (the "
        "confounders of arXiv 2501.01818). Each router has the epsilon that is certified for it."
    )
    return parts


SECTION = Section("guard", "## Guards", _render_paragraphs)
"""Where the figures are kept."""
