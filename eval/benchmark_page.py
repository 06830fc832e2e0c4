"""The benchmark's documents, made from its record alone. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from eval.estimators import SUBJECT
from router.errors import ConfigError

__all__ = ["render_page", "render_table", "splice"]

START, END = "<!-- benchmark: made by python -m eval benchmark -->", "<!-- /benchmark -->"

_MISSING = "–"


def splice(text: str, block: str, name: str = "document") -> str:
    """Return a document with what lies between its marks replaced by a block, marks included. Pure.

    Raises
    ------
    ConfigError
        The document does not hold the two marks once each, in order.
    """
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end or START in rest:
        raise ConfigError(
            f"{name}: expected one block between {START} and {END}, found another number; put the two marks "
            "where the table belongs"
        )
    return before + block.strip() + after


def render_table(record: dict[str, Any]) -> str:
    """Return the README's table: a row per history, on the ladder that it was given."""
    rows = []
    for run in _runs(record, "as given"):
        ours, best = _contender(run, SUBJECT), _contender(run, run["verdict"]["best_baseline"])
        rows.append(
            [
                run["history"],
                f"{run['prompts']:,}",
                _percent(ours["gap_closed"]),
                f"{_percent(best['gap_closed'])}, {best['label']}",
                _percent(_contender(run, "length")["gap_closed"], interval=False),
                _percent(ours["saving_at_quality"]["0.99"]),
                _percent(ours["saving_at_quality"]["0.97"]),
                run["verdict"]["word"],
            ]
        )
    header = [
        "history",
        "prompts",
        "gap closed",
        "by the best baseline",
        "by length",
        "saving at 99 % of the top tier's quality",
        "at 97 %",
        "verdict",
    ]
    return f"{START}\n\n{_table(header, rows)}\n\n{END}"


def render_page(record: dict[str, Any]) -> str:
    """Return the whole of docs/BENCHMARKS.md that a benchmark makes."""
    sections = [
        START,
        f"`{record['command']}`, {record['created']}, seed {record['seed']}: {record['seconds'] / 60:.0f} minutes with "
        f"{record['workers']} processes, {record['peak_mb']:,} MB at most.",
        "Every figure is out of sample: five folds by group; each fold's estimator is fitted anew, weights and "
        f"calibration included, on the other four. All of it {record['repeats']} times over, folded another way; a "
        "prompt counts once for each, and its copies stay together in the resamples. Intervals are 95 %, by 1,000 resamples of groups that all contenders "
        "share. *Gap closed* is the share of the area between random mixing of tiers and hindsight, cross-fitted: the "
        "settings of a budget are chosen on other prompts than it is judged on. All contenders choose at the same expected "
        "costs, predicted for each prompt and tier; how well is said of each run, and what they close without, where a "
        "call is taken to cost its tier's mean, has a table of its own. *Lead* is tierwise's gap less the "
        "row's, in points, paired.",
    ]
    for which, title in (("as given", "Ladders as given"), ("another", "Other ladders")):
        runs = _runs(record, which)
        if runs:
            sections += [
                f"## {title}: gap closed",
                _gaps(runs),
                _summary(runs),
                "### Where a call is taken to cost its tier's mean",
                _gaps(runs, at_mean=True),
                f"{_summary(runs, at_mean=True)} {_at_mean_costs(runs)}".strip(),
            ]
    pairs = [run for run in record["runs"] if len(run["tiers"]) == 2]
    if pairs:
        sections += [
            "## Two tiers",
            "The cheapest and the dearest tier of each ladder alone, by share of calls to the dear one, as RouteLLM "
            "measures (arXiv 2406.18665). Random order has an APGR of .5, a CPT(50) of .5 and a CPT(80) of .8.",
            *(_two_tier(name, pairs, name) for name in ("apgr", "cpt50", "cpt80")),
        ]
    if record["learning"]:
        sections += [
            "## Learning curves",
            "Gap closed when fitted on so many labelled prompts and judged on all others, ladder as given: mean and "
            "standard deviation over draws of the prompts. Where few are left to judge, it is these few that differ.",
            *(_learning(record, name) for name in record["learning"]),
        ]
    sections += ["## Each run", *(_run(run) for run in record["runs"]), END]
    return "\n\n".join(sections)


def _gaps(runs: Sequence[dict[str, Any]], *, at_mean: bool = False) -> str:
    rows = []
    for name in _scored(runs):
        cells = [_percent(_gap(run, name, at_mean)) for run in runs]
        bold = [_gap(run, name, at_mean)["value"] == _best_gap(run, at_mean) for run in runs]
        cells = [f"**{cell}**" if best else cell for cell, best in zip(cells, bold, strict=True)]
        mean = f"{100 * _mean_gap(runs, name, at_mean):.1f} %".replace("-", "−")
        rows.append([_contender(runs[0], name)["label"], *cells, mean])
    return _table(["", *(run["history"] for run in runs), "mean"], rows)


def _summary(runs: Sequence[dict[str, Any]], *, at_mean: bool = False) -> str:
    means = {name: _mean_gap(runs, name, at_mean) for name in _scored(runs)}
    best = max((name for name in means if name != SUBJECT), key=lambda name: means[name])
    lead = means[SUBJECT] / means[best] - 1 if means[best] > 0 else float("nan")
    behind = [
        f"{_contender(run, name)['label']} on {run['history']}"
        for run in runs
        for name in means
        if name != SUBJECT and _behind(run, name, at_mean)
    ]
    label = _contender(runs[0], best)["label"]
    return (
        f"On the mean, tierwise closes {100 * means[SUBJECT]:.1f} % and the best single estimator, {label}, "
        f"{100 * means[best]:.1f} %: {lead:+.0%}. Significantly behind: {', '.join(behind) or 'nowhere'}."
    )


def _at_mean_costs(runs: Sequence[dict[str, Any]]) -> str:
    """Return what expected costs are worth: everyone without them, and tierwise with them against that."""
    ours = _mean_gap(runs, SUBJECT)
    theirs = max(_mean_gap(runs, name, at_mean=True) for name in _scored(runs) if name != SUBJECT)
    return (
        f"Tierwise with expected costs against the best of the others without: {ours / theirs - 1:+.0%}."
        if theirs > 0
        else ""
    )


def _behind(run: dict[str, Any], name: str, at_mean: bool) -> bool:
    entry = _contender(run, name)
    lead = (entry["at_mean_cost"] if at_mean else entry)["lead"]
    return lead["high"] is not None and lead["high"] < 0


def _two_tier(metric: str, runs: Sequence[dict[str, Any]], title: str) -> str:
    rows = []
    for name in _scored(runs):
        values = [(_contender(run, name)["two_tier"] or {}).get(metric) for run in runs]
        rows.append([_contender(runs[0], name)["label"], *(_number(value) for value in values)])
    titles = {"apgr": "APGR", "cpt50": "CPT(50 %)", "cpt80": "CPT(80 %)"}
    return f"### {titles[title]}\n\n" + _table(["", *(run["history"] for run in runs)], rows)


def _learning(record: dict[str, Any], history: str) -> str:
    run = next(run for run in _runs(record, "as given") if run["history"] == history)
    curve = record["learning"][history]
    rows = [
        [
            f"{point['prompts']:,}",
            f"{point['judged']:,}",
            f"{point['draws']}",
            *(
                f"{100 * gap['mean']:.1f} ± {100 * gap['sd']:.1f} %".replace("-", "−")
                for gap in point["gap_closed"].values()
            ),
        ]
        for point in curve
    ]
    labels = [_contender(run, name)["label"] for name in curve[0]["gap_closed"]]
    return f"### {history}\n\n" + _table(["labelled prompts", "judged on", "draws", *labels], rows)


def _run(run: dict[str, Any]) -> str:
    rows = []
    for entry in run["contenders"]:
        savings = entry["saving_at_quality"] or {}
        at_97 = entry["at_97"] or {}
        rows.append(
            [
                entry["label"],
                _percent(entry["gap_closed"]),
                _percent({"value": entry["hull_gap_closed"]}),
                _percent(entry["lead"], unit=""),
                *(_percent(savings.get(share)) for share in ("1", "0.99", "0.97", "0.95")),
                _percent(at_97.get("regret")),
                _percent(at_97.get("over_routing")),
                *(
                    _MISSING if entry[key] is None else f"{entry[key]:.3f}"
                    for key in ("log_loss", "ece", "auc")
                ),
            ]
        )
    header = ["", "gap closed", "by plain hull", "lead of tierwise", "saving at 100 %", "99 %", "97 %", "95 %",
              "regret at 97 %", "over-routed", "log loss", "ECE", "AUC"]  # fmt: skip
    tiers = ", ".join(
        f"{tier['name']} {tier['model']} (quality {tier['quality']:.3f}, {1000 * tier['cost_usd']:.3g} USD per 1,000"
        f"{_explained(tier['cost_explained'])})"
        for tier in run["tiers"]
    )
    verdict = run["verdict"]
    calibration = _table(
        ["tier", "observed", "ECE", "log loss", "Brier", "AUC"],
        [
            [
                row["tier"],
                f"{row['observed']:,}",
                *(
                    _MISSING if row[key] is None else f"{row[key]:.3f}"
                    for key in ("ece", "log_loss", "brier", "auc")
                ),
            ]
            for row in run["calibration"]
        ],
    )
    return (
        f"### {run['history']}, ladder {run['ladder']}\n\n{run['prompts']:,} prompts in {run['groups']:,} groups. "
        f"{tiers}.\n\n**{verdict['word']}.** {verdict['reason']} {verdict['more_data']}\n\n{_table(header, rows)}\n\n"
        f"Calibration of tierwise:\n\n{calibration}"
    )


def _explained(share: float | None) -> str:
    return "" if share is None else f", of whose spread {100 * share:.0f} % was expected".replace("-", "−")


def _runs(record: dict[str, Any], which: str) -> list[dict[str, Any]]:
    return [run for run in record["runs"] if run["ladder"] == which]


def _contender(run: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(entry for entry in run["contenders"] if entry["name"] == name)
    return found


def _scored(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Return the subject and the learned baselines, by mean gap."""
    names = [e["name"] for e in runs[0]["contenders"] if e["kind"] in ("subject", "baseline")]
    return sorted(names, key=lambda name: (name != SUBJECT, -_mean_gap(runs, name)))


def _gap(run: dict[str, Any], name: str, at_mean: bool = False) -> dict[str, Any]:
    entry = _contender(run, name)
    found: dict[str, Any] = (entry["at_mean_cost"] if at_mean else entry)["gap_closed"]
    return found


def _mean_gap(runs: Iterable[dict[str, Any]], name: str, at_mean: bool = False) -> float:
    gaps = [_gap(run, name, at_mean)["value"] for run in runs]
    return float(sum(gaps) / len(gaps))


def _best_gap(run: dict[str, Any], at_mean: bool = False) -> float:
    return max(float(_gap(run, name, at_mean)["value"]) for name in _scored([run]))


def _percent(bounds: dict[str, Any] | None, *, interval: bool = True, unit: str = " %") -> str:
    if bounds is None or bounds["value"] is None:
        return _MISSING
    text = f"{100 * bounds['value']:.1f}{unit}".replace("-", "−")
    low, high = bounds.get("low"), bounds.get("high")
    if not interval or low is None or high is None or low == high:
        return text
    return f"{text} ({100 * low:.1f} to {100 * high:.1f})".replace("-", "−")


def _number(bounds: dict[str, Any] | None) -> str:
    if bounds is None or bounds["value"] is None:
        return _MISSING
    if bounds["low"] is None:
        return f"{bounds['value']:.3f}"
    return f"{bounds['value']:.3f} ({bounds['low']:.3f} to {bounds['high']:.3f})"


def _table(header: list[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
