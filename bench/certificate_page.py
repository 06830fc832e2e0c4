"""The certificate bench's figures, as tables for a terminal and a section of CERTIFICATE.md. Pure."""

from __future__ import annotations

from typing import Any

from scipy.stats import norm

from bench.measuring import render_table
from bench.sections import Section, render_markdown
from bench.targets import Target, target_rows

__all__ = ["SECTION", "TARGETS", "render_tables"]

TARGETS = (
    Target(
        "saving at 5 % regret, routerbench_subset, other ladder",
        "resplits routerbench_subset_other alphas 0.05 regret saving", 0.42, at_least=True,
    ),
    Target("saving at 5 % regret, mmlu_pro", "resplits mmlu_pro alphas 0.05 regret saving", 0.12, at_least=True),
    Target("resplits: share of promises broken on the whole history", "resplits_broken share", 0.05),
    Target("resplits: the same on unseen rows alone, noise included", "resplits_broken share_unseen", 0.10),
    Target("simulations: cells with more broken than chance explains", "simulations beyond_chance", 0),
    Target("simulations: controls that look as if the promise held", "simulations controls_within_chance", 0),
    Target("certifying 10,000 prompts, 40 promises, 300 epsilons, s", "speed wall_s", 5),
)  # fmt: skip
"""What is promised; the other figures are only told."""

_Table = tuple[str, tuple[str, ...], list[tuple[object, ...]], str]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _tables(document: dict[str, Any]) -> list[_Table]:
    """Return a title, a header, rows and what to say below, for each table."""
    judged = [
        each | {"measured": round(each["measured"], 4) if each["measured"] % 1 else int(each["measured"])}
        for each in document["targets"]
    ]
    tables: list[_Table] = [
        ("Against targets", ("figure", "measured", "target", ""), target_rows(judged), ""),
        _needed(document),
    ]
    simulations = document["simulations"]
    tables.append(_simulated(simulations))
    tables += [_saved(document["resplits"]), _broken(document), _explained(document["resplits"])]
    return tables


def _needed(document: dict[str, Any]) -> _Table:
    rows = [
        (_percent(each["alpha"]), f"{each['regret']:,}", f"{each['quality']:,}")
        for each in document["needed"]
    ]
    return (
        "Calibration groups that a promise needs at the least",
        ("alpha", "regret", "quality"),
        [*rows],
        "If nothing goes wrong at all, at 95 %; for quality, of a reference tier that passes every prompt.",
    )


def _simulated(simulations: dict[str, Any]) -> _Table:
    alphas = list(dict.fromkeys(float(p.split()[1]) for p in simulations["worlds"][0]["promises"]))
    rows = []
    for world in simulations["worlds"]:
        for kind in ("regret", "quality"):
            cells = []
            for alpha in alphas:
                rate = world["promises"][f"{kind} {alpha:g}"]
                found = f"{_percent(rate['broken'])} ({100 * rate['low']:.1f} to {100 * rate['high']:.1f})"
                cells.append(found if rate["made"] else "–")
            rows.append((world["name"], _percent(world["regret_of_cheapest"]), world["groups"], kind, *cells))
    return (
        "Promises broken where the truth is known",
        (
            "outcomes",
            "regret of always cheapest",
            "groups",
            "kind",
            *(f"alpha {_percent(a)}" for a in alphas),
        ),
        [*rows],
        f"{simulations['repetitions']:,} calibration parts each, with exact intervals of 95 %; a promise that is not made is kept, "
        f"and – is never made. At most {100 * simulations['delta']:g} % may be broken, and chance makes that {_percent(simulations['most_by_chance'])} in the worst cell. The last two rows are the control: "
        "the same prompts, whose outcomes all of a group share, as if each were a group of its own.",
    )


def _saved(resplits: dict[str, Any]) -> _Table:
    rows = []
    for name, found in resplits.items():
        for alpha, kinds in found["alphas"].items():
            cells = [
                (
                    _percent(kinds[kind]["saving"]),
                    _percent(kinds[kind]["regret"]),
                    _percent(kinds[kind]["quality"]),
                )
                for kind in ("regret", "quality")
            ]
            rows.append((name, found["calibration_groups"], _percent(float(alpha)), *cells[0], *cells[1]))
    return (
        "What certificates save on prompts that they did not see",
        (
            "history", "groups", "alpha", "regret kind: saving", "regret", "relative quality",
            "quality kind: saving", "regret", "relative quality",
        ),
        [*rows],
        "Means over resplits by group, 1,500 prompts or half for calibration; scores, spreads and expected costs cross-fitted. "
        "Without the novelty guard, which takes a point of it or less (BENCHMARKS.md, Guards); the reference tier and its mean "
        "cost are those of the whole history. Against the reference tier on all prompts. `_other` is another ladder of the same history (eval/ladders).",
    )  # fmt: skip


def _broken(document: dict[str, Any]) -> _Table:
    delta, rows, repetitions = document["simulations"]["delta"], [], 0
    for name, found in document["resplits"].items():
        # Part of the history is known once it has certified, and only the rest can disappoint.
        rest = 1.0 - found["calibration_groups"] / found["groups"]
        chance = float(norm.sf(norm.isf(delta) / rest**0.5))
        for alpha, kinds in found["alphas"].items():
            cells: list[str] = []
            for each in (kinds["regret"], kinds["quality"]):
                repetitions = each["repetitions"]
                made, broken, unseen, noise = (
                    each[key] * repetitions
                    for key in ("certified", "broken", "broken_unseen", "chance_unseen")
                )
                cells += [f"{made:.0f}", f"{broken:.0f} ({chance * made:.1f})", f"{unseen:.0f} ({noise:.1f})"]
            rows.append((name, _percent(float(alpha)), *cells))
    total = document["resplits_broken"]
    return (
        f"Promises broken, of {repetitions} resplits",
        ("history", "alpha", "regret kind: made", "broken", "on unseen", "quality kind: made", "broken", "on unseen"),
        [*rows],
        "Broken: on the whole history, which is what calibration prompts are drawn from and what is promised about: "
        f"{total['broken']} of {total['promises']} in all, {_percent(total['share'])}. On unseen: on the other prompts alone, a sample with noise of its own: "
        f"{total['broken_unseen']}, {_percent(total['share_unseen'])}. In brackets, how many would be if every promise were kept with nothing to spare: fewer than 5 % on the whole "
        "history, of which calibration has seen a good part, and more on unseen prompts. Resplits of one history share its prompts, "
        "so these counts scatter more than independent ones; the simulations above are the proof.",
    )  # fmt: skip


def _explained(resplits: dict[str, Any]) -> _Table:
    rows = []
    for name, found in resplits.items():
        for alpha, kinds in found["alphas"].items():
            regret, quality = kinds["regret"], kinds["quality"]
            rows.append(
                (
                    name, _percent(float(alpha)), _percent(regret["saving"]), _percent(quality["saving"]),
                    _percent(regret["known"]["saving"]), _percent(quality["known"]["saving"]),
                    _percent(quality["known"]["regret"]), _percent(quality["known"]["won"]),
                    _percent(float(alpha) * found["reference_quality"]), _why(float(alpha), found, kinds),
                )
            )  # fmt: skip
    more = sum(
        kinds["quality"]["saving"] > kinds["regret"]["saving"]
        for found in resplits.values()
        for kinds in found["alphas"].values()
    )
    return (
        "Does the quality certificate save more than the regret certificate",
        (
            "history", "alpha", "regret kind saves", "quality kind saves", "if known: regret", "if known: quality",
            "lost there", "won there", "net loss allowed", "why",
        ),
        [*rows],
        f"In {more} of {len(rows)} cases it does. If known: what the same epsilons would save if the whole history were known and nothing had to be proved. Lost and won: "
        "prompts that only the reference tier passes, or only the chosen one, at the known quality's epsilon. "
        "Net loss allowed: alpha times the reference tier's quality.",
    )  # fmt: skip


def _why(alpha: float, found: dict[str, Any], kinds: dict[str, Any]) -> str:
    """Say why one kind saves more than the other."""
    regret, quality = kinds["regret"], kinds["quality"]
    if quality["saving"] >= regret["saving"]:
        return "saves more: what is won makes up for what is lost"
    if quality["known"]["saving"] < regret["known"]["saving"]:
        allowed = alpha * found["reference_quality"]
        return f"stricter: alpha is a share of the reference tier's quality, {_percent(allowed)} of prompts, and too few are won back"
    price = {kind: kinds[kind]["known"]["saving"] - kinds[kind]["saving"] for kind in ("regret", "quality")}
    return f"proof: to the test what is won and what is lost are both noise, at {100 * price['quality']:.1f} points of saving; regret's takes {100 * price['regret']:.1f}"


def render_tables(document: dict[str, Any]) -> list[str]:
    """Return the tables for a terminal. Pure."""
    return [
        f"{title}\n{render_table(header, rows)}\n{below}\n"
        for title, header, rows, below in _tables(document)
    ]


def _render_paragraphs(document: dict[str, Any]) -> list[str]:
    """Return the section of CERTIFICATE.md. Pure."""
    machine, speed = document["machine"], document["speed"]
    versions = ", ".join(
        f"{name} {machine['versions'][name]}" for name in ("numpy", "lightgbm", "scikit-learn")
    )
    parts = [
        f"`python -m bench.certificate`, one run: {machine['cpu']}, {machine['cores']} cores, load {machine['load_1_min']:g} before it; "
        f"Python {machine['python']}, {versions}.",
        f"Certifying {speed['prompts']:,} prompts for {speed['alphas']} promises of each kind over {speed['epsilons']} epsilons, and {speed['slices']} slices, "
        f"takes {speed['wall_s']:g} s ({speed['cpu_s']:g} s of one core).",
    ]
    for title, header, rows, below in _tables(document):
        parts += [f"### {title}", render_markdown(header, rows), *([below] if below else [])]
    return parts


SECTION = Section("certificate", "## Figures", _render_paragraphs, "CERTIFICATE.md")
"""Where the figures are kept."""
