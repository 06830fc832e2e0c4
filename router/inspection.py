"""What `tierwise inspect` prints: a manifest in words that a manager can read. Pure."""

from __future__ import annotations

from typing import Any

from router.manifest import Manifest

__all__ = ["describe"]


def describe(manifest: Manifest, folder: str, n_bytes: int) -> str:
    """Return the description of a verified artefact. Pure.

    Parameters
    ----------
    folder : str
        Where it was found.
    n_bytes : int
        Size of the folder.
    """
    document = manifest.document
    sections = [
        f"{document.get('name', 'model')} {manifest.model_id}, fitted {str(document.get('created', ''))[:10]}\n"
        f"{folder}: {n_bytes / 1e6:.1f} MB, {len(manifest.files)} files, hashes and golden scores verified",
        _tiers(manifest),
        _data(document),
        _certificate(manifest),
        _metrics(document),
    ]
    return "\n\n".join(section for section in sections if section)


def _tiers(manifest: Manifest) -> str:
    tiers = manifest.ladder.tiers
    width = max(len(tier.name) for tier in tiers)
    lines = [
        f"Tiers, cheapest first (a score of {manifest.ladder.pass_score:g} passes; USD per million tokens)"
    ]
    lines += [
        f"  {tier.name:<{width}}  in {tier.input_usd_per_mtok:<7g} out {tier.output_usd_per_mtok:<7g} {', '.join(tier.models)}"
        for tier in tiers
    ]
    return "\n".join(lines)


def _data(document: dict[str, Any]) -> str:
    data, model = document.get("data", {}), document.get("model", {})
    split = data.get("split", {})
    if not split:
        return ""
    return (
        f"Fitted on {', '.join(file['name'] for file in data.get('files', []))}: {split['train']:,} prompts to learn "
        f"from, {split['calibration']:,} to certify, {split['test']:,} to judge\n"
        f"Blend of {', '.join(model.get('members', []))}"
    )


def _certificate(manifest: Manifest) -> str:
    document = manifest.document["certificate"]
    if not document["table"]:
        return f"Certificate: none; {document['n']:,} calibration groups support no promise, so requests for one go to the top tier"
    lines = [
        f"Certificate: on data like that of {document.get('date', '')} ({document['n']:,} groups), with "
        f"{1 - document['delta']:.0%} confidence,",
        "  fails where the top tier passes    saves against always top    epsilon",
    ]
    lines += [
        f"  at most {row['alpha']:>6.1%} of prompts             {row.get('saving', 0.0):>6.0%}                     {row['epsilon']:.4f}"
        for row in document["table"]
    ]
    decision = manifest.document["decision"]
    lines.append(
        f"  by default epsilon is {decision['default_epsilon']:g}, from {decision.get('basis')} "
        f"(regret {decision.get('default_max_regret', 0):.0%})"
    )
    return "\n".join(lines)


def _metrics(document: dict[str, Any]) -> str:
    metrics = document.get("metrics", {})
    parts = {"all": metrics, **metrics.get("by_source", {})}
    lines = []
    for name, part in parts.items():
        point = part.get("router", {}).get("operating_point")
        if point:
            lines.append(
                f"  {name:<24} saves {_interval(point['saving'])}, quality {_interval(point['quality_relative_to_top'])} of top, "
                f"regret {_interval(point['regret'])}"
            )
    return "\n".join(["Held-out test part, by default, with 95 % intervals", *lines]) if lines else ""


def _interval(interval: dict[str, float | None]) -> str:
    value, low, high = (interval[key] for key in ("value", "low", "high"))
    text = "unknown" if value is None else f"{value:.1%}"
    return text if low is None or high is None else f"{text} [{low:.1%}, {high:.1%}]"
