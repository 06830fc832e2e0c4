"""What `tierwise inspect` prints: a manifest in words that a manager can read. Pure."""

from __future__ import annotations

from typing import Any

from router.columns import WIDTH, columns, wrap
from router.manifest import Manifest
from router.promise import (
    Certified,
    best_words,
    certified,
    default_words,
    dominance_words,
    is_default,
    missing_words,
    percent,
    preset_rows,
    reserve_words,
    saving_words,
    slice_row,
    void_words,
    whole,
)

__all__ = ["describe"]

_PROMISE, _SAVES = 33, 6
_NARROWEST = 7  # columns of a tier, its share and the space before it


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
    reference = manifest.ladder.names[manifest.defaults.reference]
    void = void_words(document["certificate"], _plain(reference))
    sections = [
        f"{document.get('name', 'model')} {manifest.model_id}, fitted {str(document.get('created', ''))[:10]}\n"
        f"{folder}: {n_bytes / 1e6:.1f} MB, {len(manifest.files)} files, hashes and golden scores verified",
        "\n".join(_wrap(void)),
        _tiers(manifest),
        _data(document),
        *([] if void else _certificate(manifest)),
        _metrics(document),
    ]
    return "\n\n".join(section for section in sections if section)


def _tiers(manifest: Manifest) -> str:
    tiers = manifest.ladder.tiers
    names = [_plain(tier.name) for tier in tiers]
    width = min(max(map(columns, names)), 40)
    lines = _wrap(
        f"Tiers, cheapest first (a score of {manifest.ladder.pass_score:g} passes; USD per million tokens)"
    )
    for tier, name in zip(tiers, names, strict=True):
        prices = f"in {tier.input_usd_per_mtok:<7g} out {tier.output_usd_per_mtok:<7g}"
        models, *more = _wrap(", ".join(tier.models), " " * (width + len(prices) + 5)) or [""]
        lines += [f"  {_fit(name, width)}  {prices} {models.strip()}".rstrip(), *more]
    return "\n".join([*lines, *_wrap(best_words(manifest.document["decision"], manifest.ladder.names))])


def _data(document: dict[str, Any]) -> str:
    data, model = document.get("data", {}), document.get("model", {})
    split = data.get("split", {})
    if not split:
        return ""
    fitted = (
        f"Fitted on {', '.join(file['name'] for file in data.get('files', []))}: {split['train']:,} prompts to learn "
        f"from, {split['calibration']:,} to certify, {split['test']:,} to judge"
    )
    return "\n".join([*_wrap(fitted), *_wrap(f"Blend of {', '.join(model.get('members', []))}")])


def _certificate(manifest: Manifest) -> list[str]:
    """Return the sections on what is promised: the promises, presets, slices, and what is missing."""
    certificate, decision = manifest.document["certificate"], manifest.document["decision"]
    tiers = [_plain(name) for name in manifest.ladder.names]
    reference = _plain(decision.get("reference", tiers[-1]))
    regret, quality = certified(certificate, "regret"), certified(certificate, "quality")
    notes = [dominance_words(decision, tiers), missing_words(certificate), default_words(decision, reference)]
    said = ["\n".join(_wrap(note)) for note in notes]
    if not regret and not quality:
        head = (
            f"Certificate: none; {certificate['n']:,} calibration groups support no promise, so requests for one go to "
            f"{reference}, the best tier"
        )
        return ["\n".join(_wrap(head)), *said]
    files = ", ".join(file["name"] for file in manifest.document.get("data", {}).get("files", []))
    head = (
        f"Certificate: each promise with {1 - certificate['delta']:.0%} confidence, on data like the {certificate['n']:,} "
        f"groups that made it{f' ({files})' if files else ''} on {certificate.get('date', 'an unknown date')}. Savings are "
        f"against {reference} for all; shares are of prompts, by tier.{reserve_words(certificate)}"
    )
    failing = [f"at most {percent(row.loss)} of prompts" for row in regret]
    keeping = [f"at least {percent(1 - row.loss)}" for row in quality]
    parts = [
        _wrap(head),
        _promises("Fail where the best tier passes", failing, regret, tiers),
        _promises("Kept of the best tier's quality", keeping, quality, tiers),
    ]
    tables = ["\n".join(lines) for lines in parts]
    return [*tables, *said, _presets(certificate, decision, reference), _slices(certificate)]


def _promises(title: str, words: list[str], rows: list[Certified], tiers: list[str]) -> list[str]:
    """Return a table of one kind of promise; shares stand under their tiers, or below where there are too many."""
    if not rows:
        return []
    room = WIDTH - _PROMISE - _SAVES - 2
    width = min(max(*map(columns, tiers), 4) + 2, room // len(tiers))
    under = width >= _NARROWEST
    heads = "".join(f"  {_fit(tier, width - 2, right=True)}" for tier in tiers) if under else ""
    lines = [f"  {_fit(title, _PROMISE)}{'saves':>{_SAVES}}{heads}"]
    for said, row in zip(words, rows, strict=True):
        shares = [whole(share) for share in row.share_per_tier]
        cells = "".join(f"{share:>{width}}" for share in shares) if under else ""
        lines.append(f"  {_fit(said, _PROMISE)}{whole(row.saving):>{_SAVES}}{cells}")
        if not under and shares:
            sent = ", ".join(
                f"{share} {tier}" for share, tier in zip(shares, tiers, strict=True) if share != "0%"
            )
            lines += _wrap(f"sent to {sent}", "      ")
    return lines


def _presets(certificate: dict[str, Any], decision: dict[str, Any], reference: str) -> str:
    rows = preset_rows(certificate)
    width = max(len(words) for _, words, _ in rows) + 2
    lines = ["Presets"]
    for name, words, saving in rows:
        means = f"not certified, so {reference}" if saving is None else saving_words(saving)
        means += ", the default" if is_default(name, decision) else ""
        lines.append(f"  {name:<10}{words:<{width}}{_fit(means, WIDTH - width - 12)}".rstrip())
    return "\n".join(lines)


def _slices(certificate: dict[str, Any]) -> str:
    slices = certificate.get("slices", [])
    if not slices:
        return ""
    lines = [f"Slices, all together with {1 - certificate['delta']:.0%} confidence"]
    width = min(max(columns(_plain(part["name"])) for part in slices), 40)
    for part in slices:
        row = slice_row(part)
        promise = (
            "no promise"
            if row is None
            else f"at most {percent(row.loss)} fail where the best passes, {saving_words(row.saving)}"
        )
        lines.append(f"  {_fit(_plain(part['name']), width)}  {promise} ({part['n']:,} groups)")
    return "\n".join(lines)


def _metrics(document: dict[str, Any]) -> str:
    metrics = document.get("metrics", {})
    rows = [["", "saves", "quality kept", "regret"]]
    for name, part in {"all": metrics, **metrics.get("by_source", {})}.items():
        point = part.get("router", {}).get("operating_point")
        if point:
            measured = (point["saving"], point["quality_relative_to_top"], point["regret"])
            rows.append([_plain(name), *map(_interval, measured)])
    if len(rows) == 1:
        return ""
    widths = [2 + max(len(row[i]) for row in rows) for i in (1, 2, 3)]
    names = max(1, min(max(columns(row[0]) for row in rows), WIDTH - 2 - sum(widths)))
    when = ", before the certificate was void" if document["certificate"].get("void") else ""
    lines = [
        f"Held-out test part, asked for nothing, against the best tier for all, with 95% intervals{when}"
    ]
    for name, *cells in rows:
        shown = "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        lines.append(f"  {_fit(name, names)}{shown}")
    return "\n".join(lines)


def _interval(interval: dict[str, float | None]) -> str:
    value, low, high = (interval[key] for key in ("value", "low", "high"))
    text = "unknown" if value is None else f"{value:.1%}"
    return text if low is None or high is None else f"{text} [{low:.1%}, {high:.1%}]"


def _plain(text: object) -> str:
    """Return text on one line, without what could drive a terminal."""
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(str(text).split()))


def _fit(text: str, width: int, *, right: bool = False) -> str:
    """Return text in exactly `width` columns, one or more, cut or filled up."""
    line = text
    while columns(line) > width:
        line = line.removesuffix("…")[:-1] + "…"
    room = " " * (width - columns(line))
    return room + line if right else line + room


def _wrap(text: str, indent: str = "") -> list[str]:
    return wrap(_plain(text), indent)
