"""Drift reports made by hand, to look at: ordinary, void, of nothing that can be told, and of the worst names."""

from __future__ import annotations

from typing import Any

from eval.drift_rows import Row, make_row, untold_row

TIERS = ("small", "medium", "large")


def _rows(tiers: tuple[str, ...], moved: float) -> list[Row]:
    """Rows of every kind; what drifts moved by this much of its limit."""
    common = {"shift": 0.1, "limit": 0.1}
    rows = [
        make_row("embedding", "mean embedding", "apart", before=0.0, now=0.004, of_limit=0.6, **common),
        make_row(
            "feature", "log_chars", "longer", before=0.5, now=0.81, of_limit=moved, cut=5.0, where="prompts with more than 148 characters", **common
        ),
        make_row(
            "feature", "share_cjk", "same", before=0.01, now=0.01, of_limit=0.1, cut=0.0, where="prompts with Chinese or Japanese characters", **common
        ),
        make_row("novelty", "novel prompts", "as ever", before=0.01, now=0.012, of_limit=0.1, low=0.002, high=0.03, **common),
    ]  # fmt: skip
    for k, tier in enumerate(tiers):
        rate = 0.5 + 0.4 * k / len(tiers)
        low, high = rate - 0.04, min(1.0, rate + 0.04)
        rows += [
            make_row("score", tier, "as ever", before=0.4, now=0.45, of_limit=0.4, cut=0.7, where=f"prompts given more than 0.70 to pass on {tier}", **common),
            make_row(
                "label", tier, f"{tier} passed", before=rate, now=rate - 0.03, low=low - 0.03, high=high - 0.03, of_limit=moved if k == 1 else 0.5,
                before_low=low, before_high=high, prompts=400, **common,
            ),
            make_row("cost", tier, "dear", before=1e-4 * 9**k, now=1.1e-4 * 9**k, low=1e-4 * 9**k, high=1.2e-4 * 9**k, of_limit=0.8, **common),
            make_row("calibration", f"{tier}: p and pass rate", "near", before=-0.01, now=0.02, low=-0.01, high=0.05, of_limit=0.7, **common),
            make_row("calibration", f"{tier}: ECE", "near", before=0.03, now=0.04, of_limit=0.2, **common),
        ]  # fmt: skip
    return rows


def _promises(status: str) -> list[dict[str, Any]]:
    seen = {"void": (0.09, 0.07, 0.11), "holding": (0.02, 0.01, 0.035), "unproven": (0.05, 0.03, 0.07)}
    observed, low, high = seen[status]
    kept = {"kind": "quality", "promise": 0.03, "observed": 0.99, "low": 0.96, "high": 1.02, "level": 0.025}
    return [
        {"kind": "regret", "promise": 0.05, "observed": observed, "low": low, "high": high, "level": 0.05, "asked": True, "status": status},
        {"kind": "regret", "promise": 0.1, "observed": 0.04, "low": 0.02, "high": 0.07, "level": 0.025, "asked": False, "status": "holding"},
        kept | {"asked": False, "status": "unproven"},
    ]  # fmt: skip


def _document(rows: list[Row], status: str, promises: list[dict[str, Any]], **other: Any) -> dict[str, Any]:
    told = sum(row["told"] for row in rows)
    moved = any(row["drifted"] for row in rows)
    headline = (
        "2 of 19 things looked at on 480 new prompts drifted: pass rates." if moved else "Nothing drifted."
    )
    text = {"void": "The certificate is void.", "untold": "It cannot be checked."}.get(status, "It holds.")
    details = "Longer prompts." if moved else ""
    return {
        "model_id": "tw-0123456789ab",
        "prompts": 480,
        "groups": 455,
        "from": "2026-03-02T00:00:00+00:00",
        "until": "2026-03-08T23:10:00+00:00",
        "before": {"prompts": 2400, "groups": 2300, "date": "2026-02-23T04:00:00+00:00"},
        "alpha": 0.05,
        "seed": 0,
        "looked_at": len(rows),
        "told": told,
        "drifted": moved,
        "rows": rows,
        "certificate": {"status": status, "promises": promises, "groups": 455 if promises else 0, "prompts": 470, "text": text},
        "notes": [],
        "headline": headline,
        "details": details,
        "text": " ".join(part for part in (headline, details, text) if part),
    } | other  # fmt: skip


def moved() -> dict[str, Any]:
    """Prompts became longer, and a tier worse."""
    return _document(_rows(TIERS, 2.3), "unproven", _promises("unproven"))


def steady() -> dict[str, Any]:
    """Nothing drifted."""
    return _document(_rows(TIERS, 0.4), "holding", _promises("holding"))


def broken() -> dict[str, Any]:
    """The certificate is void, and things moved beyond the scale."""
    return _document(_rows(TIERS, 40.0), "void", _promises("void"))


def untold() -> dict[str, Any]:
    """Nothing can be told."""
    why = "2 groups of new prompts; 30 are needed"
    rows = [untold_row(row["kind"], row["name"], why) for row in _rows(TIERS, 0.4)]
    none = {"from": None, "until": None, "prompts": 2, "groups": 2}
    return _document(rows, "untold", [], headline=f"Nothing can be told of drift: {why}.", **none)


def worst() -> dict[str, Any]:
    """Names that would break a page which trusted them, and long ones."""
    tiers = ("<script>alert(1)</script>", "שכבה ארוכה " * 12, "\u202eevil\ud800&\"'", "m" * 120)
    notes = ["Tier <b>bold</b> is \ud800 now."]
    return _document(_rows(tiers, 3.0), "void", _promises("void"), notes=notes, model_id="tw-<i>")
