"""What a run leaves in MLflow for people to find: parameters, metrics with their intervals, documents and plots.

Pure; `training.pipeline.tracking` sends it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from training.pipeline.gate import Verdict
from training.pipeline.judging import Findings

__all__ = ["measured", "parameters", "render_verdict"]

Metrics = dict[str, float | None]


def parameters(settings: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, object]:
    """Return a run's parameters: what was asked for, and what the fit chose."""
    asked = {key: value for key, value in settings.items() if key not in ("promotion", "history", "tiers")}
    asked |= {"history": json.dumps(settings["history"]), "tiers_file": settings["tiers"]}
    split, model, decision = manifest["data"]["split"], manifest["model"], manifest["decision"]
    return {
        **asked,
        **{f"promotion.{key}": value for key, value in settings["promotion"].items()},
        "split": split["method"],
        **{f"prompts.{part}": split[part] for part in ("train", "calibration", "test")},
        "learned_until": split["learned_until"],
        "tiers": ", ".join(tier["name"] for tier in manifest["tiers"]["tier"]),
        "reference": decision["reference"],
        "members": ", ".join(model["members"]),
        **{f"weight.{name}": round(weight, 4) for name, weight in model["weights"].items()},
        "default_epsilon": decision["default_epsilon"],
        "novelty_threshold": decision["novelty_threshold"],
    }


def measured(manifest: Mapping[str, Any], findings: Findings) -> Metrics:
    """Return a run's metrics by name; an interval is three of them: NAME, NAME.low and NAME.high."""
    duel = findings.duel
    found: Metrics = {"judged.prompts": duel["prompts"], "judged.groups": duel["groups"]}
    for side in ("challenger", "champion"):
        for name in ("saving", "quality", "regret"):
            found |= dict(_interval(f"{side}.{name}", duel[side][name]))
        found[f"{side}.keeps_promise"] = float(duel[side]["keeps"])
        found |= {f"{side}.share.{tier}": share for tier, share in duel[side]["share_per_tier"].items()}
    for name in ("saving_lead", "quality_lead", "same_cost_lead"):
        found |= dict(_interval(name, duel[name]))
    found |= {f"calibration_error.{tier}": error for tier, error in duel["calibration"].items()}
    for name, gap in findings.evaluation["contenders"].items():
        found |= dict(_interval(f"gap_closed.{name}", gap))
    found |= {
        f"certified.saving_at_{row['alpha']:g}": row["saving"] for row in manifest["certificate"]["table"]
    }
    found["certificate.groups"] = manifest["certificate"]["n"]
    for tier in manifest["data"]["summary"]["tiers"]:
        found[f"label.pass_rate.{tier['name']}"] = tier["pass_rate"]
        found[f"label.cheapest.{tier['name']}"] = tier["cheapest_pass_share"]
    found |= {
        f"latency.{name}": findings.verified[name] for name in ("median_us", "p99_us", "champion_median_us")
    }
    if findings.drift is not None:
        found["drift.found"] = float(len(findings.drift["drifted"]))
        found["drift.certificate_void"] = float(findings.is_void)
    return found


def render_verdict(
    verdict: Verdict, findings: Findings, champion: int | None, changes: tuple[str, ...]
) -> str:
    """Return the verdict as Markdown, for whoever opens the run."""
    duel, drift = findings.duel, findings.drift
    drifted = () if drift is None else (drift["text"],)
    whom = f"champion (version {champion})" if champion is not None else f"always {duel['reference']}"
    lines = [
        f"# {verdict.word}",
        "",
        verdict.headline,
        "",
        f"{duel['prompts']:,} held-out prompts in {duel['groups']:,} groups, promise {duel['max_regret']:.1%} regret.",
        "",
        f"| | challenger | {whom} |",
        "|---|---|---|",
        *(
            f"| {name} | {_cell(duel['challenger'][name])} | {_cell(duel['champion'][name])} |"
            for name in ("saving", "quality", "regret")
        ),
        "",
        "| check | | |",
        "|---|---|---|",
        *(
            f"| {check.name} | {'passed' if check.passed else '**failed**'} | {check.text} |"
            for check in verdict.checks
        ),
    ]
    for title, texts in (("What changed on the ladder", changes), ("Drift", drifted)):
        if texts:
            lines += ["", f"## {title}", "", *(f"- {text}" for text in texts)]
    return "\n".join(lines) + "\n"


def _interval(name: str, bounds: Mapping[str, float | None] | None) -> Iterator[tuple[str, float | None]]:
    if bounds is not None:
        yield name, bounds["value"]
        yield f"{name}.low", bounds["low"]
        yield f"{name}.high", bounds["high"]


def _cell(bounds: Mapping[str, float | None]) -> str:
    value, low, high = (bounds[name] for name in ("value", "low", "high"))
    said = "unknown" if value is None else f"{value:.1%}"
    return said if low is None or high is None else f"{said} [{low:.1%}, {high:.1%}]"
