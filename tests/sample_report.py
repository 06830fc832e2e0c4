"""Made-up evaluation documents: a plausible one, the worst that data can bring, and those that lack things."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np

HOSTILE = [
    "<script>alert('x')</script>",
    "\"quoted\" & 'single' </title><img src=x onerror=alert(1)>",
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 2,
    "\u202eright to left override \u05e9\u05dc\u05d5\u05dd\u202c",
    "lone \ud800 surrogate \x1b[31mred\x07",
    "| pipes | and `ticks` and [link](https://example.org) **bold** _x_",
    "提示词分类任务：数学推理与代码生成以及长文本摘要和多语言翻译",
    "",
]


def interval(value: float, half: float) -> dict[str, Any]:
    return {"value": round(value, 6), "low": round(value - half, 6), "high": round(value + half, 6)}


NOTHING: dict[str, Any] = {"value": None, "low": None, "high": None}


def _curve(costs: list[float], qualities: list[float], bend: float, n: int) -> dict[str, list[float]]:
    """A concave path from the cheapest tier to a little above the dearest, `bend` above the chord."""
    t = np.linspace(0, 1, n)
    cost = costs[0] + (costs[-1] - costs[0]) * t
    chord = qualities[0] + (qualities[-1] - qualities[0]) * t
    quality = chord + bend * 4 * (t * (1 - t)) ** 0.75 * (1.25 - 0.5 * t)
    return {
        "cost_usd": [round(float(c), 8) for c in cost],
        "quality": [round(min(1.0, float(q)), 6) for q in quality],
    }


def contender(
    name: str,
    label: str,
    kind: str,
    gap: float,
    tiers: list[dict[str, Any]],
    lead: float | None,
    half: float = 0.035,
) -> dict[str, Any]:
    costs, qualities = [t["cost_usd"] for t in tiers], [t["quality"] for t in tiers]
    predicts = kind in ("subject", "baseline")
    if kind in ("fixed", "tier"):
        place = {"always-middle": 1, "hand-rule": 0}.get(name, 0)
        own = (costs[place] * 1.4, min(1, qualities[place] + 0.01))
        at = {"cost_usd": [costs[0], own[0], costs[-1]], "quality": [qualities[0], own[1], qualities[-1]]}
        points, hull = at, at
    else:
        bend = min(0.1, 1 - qualities[-1]) if kind == "oracle" else 0.14 * gap
        hull = _curve(costs, qualities, bend, 2 if kind == "random" else 14)
        points = _curve(costs, [q - 0.002 for q in qualities], bend, 60)
    reached = kind not in ("fixed", "tier")
    saving = {
        q: interval(s + 0.5 * gap, half) if reached else NOTHING
        for q, s in (("1", 0.02), ("0.99", 0.08), ("0.97", 0.17), ("0.95", 0.26))
    }
    return {
        "name": name, "label": label, "kind": kind, "gap_closed": interval(gap, half if kind not in ("random", "oracle") else 0),
        "aiq": interval(0.74 + 0.1 * gap, 0.011), "lead": None if lead is None else interval(lead, half * 0.8),
        "saving_at_quality": saving,
        "at_97": {"saving": saving["0.97"], "quality": interval(0.81, 0.01), "regret": interval(0.06 - 0.05 * gap, 0.012),
                  "over_routing": interval(0.31 - 0.2 * gap, 0.02)} if reached else None,
        "hull_gap_closed": round(gap + (0.02 if predicts else 0.0), 6), "points": points, "hull": hull, "two_tier": None,
        "log_loss": round(0.58 - 0.2 * gap, 4) if predicts else None, "ece": round(0.05 - 0.06 * gap, 4) if predicts else None,
        "auc": round(0.6 + 0.4 * gap, 4) if predicts else None,
    }  # fmt: skip


def _tier(
    name: str, model: str, quality: float, cost: float, explained: float | None = None
) -> dict[str, Any]:
    return {
        "name": name,
        "model": model,
        "quality": quality,
        "pass_rate": round(quality - 0.02, 4),
        "cost_usd": cost,
        "cost_explained": explained,
    }


def _calibration(tier: str, observed: int, shift: float, bins: int = 15) -> dict[str, Any]:
    mean_p = np.linspace(0.08, 0.97, bins) ** 0.8
    mean_y = np.clip(mean_p + shift * np.sin(5 * mean_p), 0, 1)
    table = {
        "mean_p": mean_p.round(5).tolist(),
        "mean_y": mean_y.round(5).tolist(),
        "count": [observed // bins] * bins,
    }
    return {
        "tier": tier,
        "observed": observed,
        "ece": abs(shift) * 0.6,
        "log_loss": 0.51,
        "brier": 0.17,
        "auc": 0.781,
        "reliability": table,
    }


def _slice(by: str, value: str, prompts: int, gap: float, tiers: list[str]) -> dict[str, Any]:
    half = min(3.0, 2.2 / math.sqrt(prompts))
    return {
        "by": by, "value": value, "prompts": prompts, "groups": max(1, prompts // 3), "gap_closed": interval(gap, half),
        "lead_over_length": interval(gap / 3, half), "saving_at_97": interval(0.2 + gap / 3, half / 2), "regret": interval(0.04, 0.01),
        "ece": 0.031, "log_loss": 0.52, "auc": 0.73, "top_quality": 0.84, "routed_quality": 0.82,
        "calibration": {t: {k: v for k, v in _calibration(t, prompts, 0.03, 4).items() if k != "tier"} for t in tiers},
    }  # fmt: skip


def _misroute(i: int, kind: str, tiers: list[str]) -> dict[str, Any]:
    under = kind == "under"
    return {
        "prompt_id": f"req-{4821 + 37 * i:06d}", "group": f"user-{i % 7}", "task": ["support", "code", "extraction"][i % 3],
        "chosen": tiers[0] if under else tiers[-1], "needed": tiers[-1] if under else tiers[0], "p_pass": [0.93 - 0.01 * i, 0.95, 0.97][: len(tiers)],
        "loss": 1.0 - 0.05 * i, "kind": kind, "wasted_usd": 0.0 if under else 0.0132 - 0.0004 * i,
    }  # fmt: skip


def promises(tiers: list[str], first: int = 2, *, broken: bool = False) -> dict[str, Any]:
    """Promises on a ladder, certified from the `first` of the grid on; regret saves more than net quality below 5%."""
    losses = [round(0.005 * (i + 1), 3) for i in range(first, 40)]
    saved: dict[str, Callable[[float], float]] = {
        "regret": lambda a: 0.95 * (1 - math.exp(-9 * a)),
        "quality": lambda a: 0.98 * (1 - math.exp(-250 * a * a)),
    }
    rows = [
        {
            "kind": kind, "promise": loss, "epsilon": round(3 * loss, 4), "saving": round(saved[kind](loss), 6),
            "measured": {
                "saving": interval(saved[kind](loss) + 0.01, 0.03),
                "came_to": interval(loss * (0.8 + broken), 0.2 * loss) if kind == "regret" else interval(1 - 0.8 * loss, 0.01),
                "share_per_tier": {tier: round((i + 1) / sum(range(len(tiers) + 1)), 6) for i, tier in enumerate(tiers)},
            },
            "broken": broken and kind == "regret",
        }
        for kind in saved
        for loss in (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2)
        if loss in losses
    ]  # fmt: skip
    return {
        "text": "A certificate made on one half of the groups, and what each promise came to on the other half.",
        "delta": 0.05, "groups": 212, "judged": {"prompts": 2184, "groups": 695}, "tiers": tiers, "reference": tiers[-1],
        "lines": {
            kind: [{"promise": loss, "saving": round(save(loss), 6)} for loss in losses] for kind, save in saved.items()
        },
        "rows": rows, "needed": [{"promise": 0.01, "groups": 299}] if first > 1 else [],
        "why": "At 2%, the promise of net quality saves 9.3% and that of regret saves 15.7%: 4.7% of the prompts pass on a cheaper tier only.",
        "dominated": False, "files": None,
    }  # fmt: skip


def plausible() -> dict[str, Any]:
    """Three tiers, all contenders, a clear win; what a good history gives."""
    tiers = [
        _tier("small", "nova-mini", 0.614, 0.00031, 0.523),
        _tier("medium", "nova", 0.748, 0.0021, 0.447),
        _tier("large", "atlas", 0.836, 0.0094, 0.381),
    ]
    names = [t["name"] for t in tiers]
    learned = [
        ("logistic-embedding", "logistic regression on embeddings", 0.241), ("lightgbm", "LightGBM on embeddings", 0.228),
        ("knn-50", "50 nearest neighbours", 0.206), ("label-classifier", "classifier of the cheapest passing tier", 0.183),
        ("logistic-tfidf", "logistic regression on words", 0.162), ("cost-only", "expected cost alone", 0.094),
        ("length", "prompt length alone", 0.071),
    ]  # fmt: skip
    subject = 0.287
    contenders = [contender("tierwise", "tierwise", "subject", subject, tiers, None)]
    contenders += [contender(n, label, "baseline", gap, tiers, subject - gap) for n, label, gap in learned]
    contenders += [
        contender("hand-rule", "keyword and length rule", "fixed", 0.021, tiers, subject - 0.021),
        contender("always-middle", "always the middle tier", "fixed", -0.062, tiers, subject + 0.062),
    ]
    for t in tiers:
        one = contender(f"tier:{t['name']}", f"always {t['name']}", "tier", -0.21, tiers, subject + 0.21)
        one["hull"] = one["points"] = {"cost_usd": [t["cost_usd"]], "quality": [t["quality"]]}
        contenders.append(one)
    contenders += [
        contender("random-mix", "random mix", "random", 0.0, tiers, subject), contender("oracle", "oracle", "oracle", 1.0, tiers, None)
    ]  # fmt: skip
    slices = [
        _slice("task", v, n, g, names)
        for v, n, g in (
            ("support", 1840, 0.33),
            ("code", 1210, 0.24),
            ("extraction", 960, 0.41),
            ("planning", 310, 0.08),
            ("small talk", 48, -0.05),
        )
    ]
    slices += [
        _slice("language", v, n, g, names)
        for v, n, g in (("English", 3300, 0.3), ("German", 700, 0.22), ("Japanese", 180, 0.12))
    ]
    slices += [
        _slice("length", v, n, g, names)
        for v, n, g in (
            ("up to 120 characters", 1450, 0.21),
            ("121 to 600", 1460, 0.27),
            ("over 600", 1458, 0.31),
        )
    ]
    return {
        "schema": 1, "title": "Is a router worth it on support-2026?", "created": "2026-11-21T13:40:00+00:00",
        "command": "python -m eval report --history history.parquet --tiers tiers.toml --out report",
        "subject": {"name": "tierwise", "text": "the blend, fitted five times and judged on the fold left out"},
        "sampling": {"method": "group", "text": "Five folds by group: no user is in the part learned from and in the part judged.", "folds": 5, "seed": 0},
        "data": {
            "prompts": 4512, "outcomes": 13411, "complete": 4368, "representative": None, "censored": None, "groups": 1391, "sources": {"gateway logs": 4100, "replay": 412}, "split": {"none": 4512},
            "pass_score": 0.5,
            "tiers": [{"name": t["name"], "models": [t["model"]], "observed": 4512 - 40 * i, "pass_rate": t["pass_rate"], "mean_score": t["quality"],
                       "mean_cost_usd": t["cost_usd"], "cost_estimated_share": 0.12 * i, "cheapest_pass_share": (0.59, 0.17, 0.1)[i]} for i, t in enumerate(tiers)],
            "none_passed_share": 0.11, "unknown_share": 0.03, "non_monotone_share": 0.047, "dropped": {"blank prompt": 12, "no outcome on any tier": 0},
        },
        "comparison": {
            "prompts": 4368, "groups": 1391, "n_boot": 1000, "gap_to_close": interval(0.117, 0.008), "tiers": tiers, "contenders": contenders,
            "calibration": [_calibration(n, 4512 - 40 * i, 0.03 + 0.01 * i) for i, n in enumerate(names)],
        },
        "operating_point": None,
        "promises": promises(names),
        "slices": slices,
        "misroutes": [_misroute(i, kind, names) for kind in ("under", "over") for i in range(8)],
        "verdict": {
            "word": "ROUTE", "exit_code": 0, "headline": "tierwise closes 28.7% of the gap to the oracle, 4.6 points more than logistic regression on embeddings.",
            "reason": "The lead over the best baseline is +4.6 points, and its interval, +1.8 to +7.4, lies above zero.",
            "more_data": "More prompts would narrow the interval, not change the answer.", "best_baseline": "logistic-embedding",
            "lead": interval(0.046, 0.028), "needed_prompts": None,
            "beats": [n for n, _, _ in learned] + ["hand-rule", "always-middle"], "ties": [], "loses_to": [],
        },
    }  # fmt: skip


def worst() -> dict[str, Any]:
    """Many of everything, hostile names everywhere, prompts included, intervals that run off the scale."""
    document = plausible()
    tiers = [
        _tier(f"{HOSTILE[i]} tier {i}", HOSTILE[-2 - i], q, c, explained)
        for i, (q, c, explained) in enumerate(
            [
                (0.912, 0.00001, -12345.678),
                (0.9125, 0.000012, None),
                (0.93, 0.0002, 0.0),
                (0.934, 0.0011, 1.0),
                (0.9372, 0.19, -1e-9),
            ]
        )
    ]
    names = [t["name"] for t in tiers]
    contenders = [contender("tierwise", HOSTILE[0], "subject", -0.02, tiers, None, 0.06)]
    contenders += [
        contender(
            f"b{i}",
            f"{HOSTILE[i % 7]} {i}",
            "baseline",
            0.06 - 0.013 * i,
            tiers,
            -0.08 + 0.013 * i,
            0.02 + 0.05 * i,
        )
        for i in range(12)
    ]
    contenders += [
        contender("hand-rule", HOSTILE[2], "fixed", -7.5, tiers, 7.4, 2.5),
        contender("always-middle", HOSTILE[3], "fixed", -0.3, tiers, 0.28),
    ]
    for t in tiers:
        one = contender(f"tier:{t['name']}", f"always {t['name']}", "tier", -0.9, tiers, 0.88, 0.5)
        one["hull"] = one["points"] = {"cost_usd": [t["cost_usd"]], "quality": [t["quality"]]}
        contenders.append(one)
    contenders += [
        contender("random-mix", "random mix", "random", 0.0, tiers, 0.02),
        contender("oracle", "oracle", "oracle", 1.0, tiers, None),
    ]
    contenders[1]["two_tier"] = {"apgr": interval(0.51, 0.02), "cpt50": NOTHING, "cpt80": interval(0.7, 0.05)}
    slices = [_slice("task", f"{HOSTILE[i % 8]} {i}", 5 + i, 0.5 * math.sin(i), names) for i in range(160)]
    slices += [_slice("source", f"source {i}", 9000, 0.2, names) for i in range(40)]
    misroutes = [
        _misroute(i, kind, names)
        | {
            "prompt_id": HOSTILE[i % 8],
            "task": HOSTILE[(i + 3) % 8],
            "group": HOSTILE[(i + 1) % 8],
            "p_pass": [0.91, 0.9, 0.99, 0.1, 0.2],
            "prompt": "\n".join(HOSTILE) * 30,
        }
        for kind in ("under", "over")
        for i in range(20)
    ]
    document.update(
        title=" ".join(HOSTILE), command=f"python -m eval report --title {HOSTILE[1]}", subject={"name": HOSTILE[4], "text": HOSTILE[2]},
        slices=slices, misroutes=misroutes,
        promises=promises(names, 0, broken=True) | {"dominated": True, "reference": names[1], "why": HOSTILE[0], "text": HOSTILE[2]},
        operating_point={"text": HOSTILE[0], "epsilon": 0.05, "saving": interval(-0.2, 0.1), "quality_relative_to_top": interval(1.01, 0.02), "regret": NOTHING,
                         "over_routing": interval(0.3, 0.1), "share_per_tier": dict.fromkeys(names, 0.2)},
    )  # fmt: skip
    document["comparison"].update(
        tiers=tiers, contenders=contenders, calibration=[_calibration(n, 50000, 0.3) for n in names]
    )
    document["data"].update(
        sources={f"{HOSTILE[i % 8]} {i}": 10 + i for i in range(40)}, split={"train": 4000, HOSTILE[0]: 512}, dropped={HOSTILE[i]: 10 for i in range(8)},
        tiers=[{"name": n, "models": HOSTILE[:7], "observed": 1234567, "pass_rate": None, "mean_score": None, "mean_cost_usd": None, "cost_estimated_share": None, "cheapest_pass_share": None} for n in names],
    )  # fmt: skip
    document["verdict"].update(
        word="DO NOT ROUTE", exit_code=11, headline=f"{HOSTILE[1]} is better by 8.0 points.", reason=" ".join(HOSTILE), more_data=HOSTILE[2], best_baseline="b0",
        lead=interval(-0.08, 0.02), beats=["hand-rule"], ties=[f"b{i}" for i in range(3, 12)], loses_to=["b0", "b1", "b2", "not in the comparison"],
    )  # fmt: skip
    return document


def cannot_tell() -> dict[str, Any]:
    """No comparison at all."""
    document = plausible()
    document.update(comparison=None, promises=None, slices=[], misroutes=[])
    document["verdict"] = {
        "word": "CANNOT TELL", "exit_code": 12, "headline": "No prompt was answered by every tier.", "reason": "There is no overlap between tiers, so no two of them can be compared.",
        "more_data": "Send at least 30 prompts to all three tiers.", "best_baseline": None, "lead": None, "needed_prompts": None, "beats": [], "ties": [], "loses_to": [],
    }  # fmt: skip
    return document


def two_tiers() -> dict[str, Any]:
    """A ladder of two, a tie, prompts shown, a model's own operating point."""
    document = plausible()
    comparison = document["comparison"]
    comparison["tiers"] = [comparison["tiers"][0], comparison["tiers"][2]]
    comparison["calibration"] = [comparison["calibration"][0], comparison["calibration"][2]]
    comparison["contenders"] = [
        c for c in comparison["contenders"] if c["name"] not in ("always-middle", "tier:medium")
    ]
    for i, c in enumerate(comparison["contenders"][:8]):
        c["two_tier"] = {
            "apgr": interval(0.66 - 0.02 * i, 0.02),
            "cpt50": interval(0.3 + 0.02 * i, 0.03),
            "cpt80": interval(0.6 + 0.02 * i, 0.04),
        }
    document["data"]["tiers"] = [document["data"]["tiers"][0], document["data"]["tiers"][2]]
    document["promises"] = promises(["small", "large"], 8)
    document["misroutes"] = [
        m | {"prompt": "Summarise the contract below.\n\nClause 1 …", "p_pass": m["p_pass"][::2]}
        for m in document["misroutes"]
    ]
    document["operating_point"] = {
        "text": "The packaged policy: regret of at most 5%, certified at 95% confidence.", "epsilon": 0.034, "saving": interval(0.312, 0.03), "quality": interval(0.82, 0.01), "quality_relative_to_top": interval(0.981, 0.012),
        "regret": interval(0.037, 0.009), "over_routing": interval(0.22, 0.02), "share_per_tier": {"small": 0.44, "large": 0.56},
    }  # fmt: skip
    document["verdict"].update(
        word="TIE", exit_code=10, headline="tierwise leads logistic regression on embeddings by 1.2 points, which chance may explain.", reason="The interval of the lead, −1.6 to +4.0 points, includes zero.",
        more_data="About 24,000 prompts like these would tell.", needed_prompts=24000, lead=interval(0.012, 0.028), beats=["length", "cost-only", "hand-rule"], ties=["logistic-embedding", "lightgbm", "knn-50"],
    )  # fmt: skip
    return document


def histories(n: int = 5) -> list[dict[str, Any]]:
    """The runs of a benchmark's record, as far as its figure needs them."""
    names = ["mmlu_pro", "zeroeval", "llmrouter_uiuc", "routerbench_subset", "rational_cascades"]
    kept = ("name", "label", "kind", "gap_closed", "lead")
    runs = []
    for i in range(n):
        document = plausible()
        contenders = [
            {key: c[key] for key in kept}
            | {"gap_closed": interval(c["gap_closed"]["value"] - 0.05 * i, 0.03 + 0.02 * i)}
            for c in document["comparison"]["contenders"]
        ]
        name = names[i] if i < len(names) else f"history_{i}"
        runs.append(
            {
                "history": name,
                "ladder": "as given",
                "prompts": 1000 * (i + 1),
                "contenders": contenders,
                "verdict": document["verdict"] | {"word": ("ROUTE", "TIE", "DO NOT ROUTE")[i % 3]},
            }
        )
    return runs


def bare(document: Any) -> Any:
    """The same document with every measured number null and every curve, table of bins and interval empty."""
    if isinstance(document, dict):
        if set(document) == {"value", "low", "high"}:
            return dict(NOTHING)
        if set(document) == {"cost_usd", "quality"} or set(document) == {"mean_p", "mean_y", "count"}:
            return {key: [] for key in document}
        keep = {
            "schema",
            "prompts",
            "groups",
            "observed",
            "seed",
            "folds",
            "n_boot",
            "exit_code",
            "pass_score",
            "delta",
            "promise",
        }
        return {k: v if k in keep else None if isinstance(v, float) else bare(v) for k, v in document.items()}
    return [bare(item) for item in document] if isinstance(document, list) else deepcopy(document)
