"""The model card: what a manifest says, for a person. Pure."""

from __future__ import annotations

from typing import Any

from router.promise import (
    certified,
    default_words,
    dominance_words,
    is_default,
    missing_words,
    preset_rows,
    promise_words,
    reserve_words,
    slice_row,
    void_words,
    whole,
)

__all__ = ["render_card", "render_voided"]

_GENERATED = "Everything below is generated from `manifest.json`."
_TIERS = "\n\n## Tiers\n"
_WARNING = "> **CERTIFICATE VOID"


def render_card(manifest: dict[str, Any], notes: str = "") -> str:
    """Return the card as Markdown.

    Parameters
    ----------
    manifest : dict
        As written, but for the digest of the card itself.
    notes : str
        Markdown that stands after the heading: purpose, limits, licences.
    """
    sections = [
        f"# {manifest['name']}",
        f"Model `{manifest['model_id']}`, fitted {manifest['created'][:10]} with tierwise "
        f"{manifest['versions']['tierwise']}. {_GENERATED}",
        *_void(manifest),
        *([notes.strip()] if notes.strip() else []),
        _tiers(manifest),
        _data(manifest),
        _model(manifest),
        _certificate(manifest),
        _metrics(manifest),
    ]
    return "\n\n".join(sections) + "\n"


def render_voided(manifest: dict[str, Any], original: str) -> str:
    """Return the card of a copy whose certificate is void. Pure.

    Parameters
    ----------
    manifest : dict
        The copy's, with `certificate.void`.
    original : str
        The card of what was copied. One that `render_card` made is made anew, with its notes; any other stays, below the
        warning.
    """
    if f"{_GENERATED}\n\n" in original and _TIERS in original:
        below = original.partition(_GENERATED)[2]
        return render_card(manifest, _without_warning(below.partition(_TIERS)[0].strip()))
    return "\n\n".join([*_void(manifest), _without_warning(original)])


def _without_warning(text: str) -> str:
    """Return Markdown without the warning that it begins with, if it does."""
    return text.partition("\n\n")[2].lstrip("\n") if text.startswith(_WARNING) else text


def _void(manifest: dict[str, Any]) -> list[str]:
    """Return the paragraph that says that the certificate is void, or nothing."""
    said = void_words(manifest["certificate"], manifest["decision"]["reference"])
    head, _, rest = said.partition(": ")
    return [f"> **{head}:** {rest}"] if said else []


def _table(header: list[str], rows: list[list[str]]) -> str:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [header, ["---"] * len(header), *escaped]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _tiers(manifest: dict[str, Any]) -> str:
    answers = manifest["cost"]["usd_per_answer"]
    rows = [
        [
            tier["name"],
            ", ".join(tier["models"]),
            f"{tier['input_usd_per_mtok']:g}",
            f"{tier['output_usd_per_mtok']:g}",
            f"{1000 * answer:.3g}",
        ]
        for tier, answer in zip(manifest["tiers"]["tier"], answers, strict=True)
    ]
    header = ["tier", "models", "USD per million input tokens", "output tokens", "USD per 1,000 answers"]
    return f"## Tiers\n\nA score of {manifest['tiers']['pass_score']:g} or more passes.\n\n{_table(header, rows)}"


def _data(manifest: dict[str, Any]) -> str:
    data, split = manifest["data"], manifest["data"]["split"]
    files = _table(
        ["file", "bytes", "sha256"],
        [[f["name"], f"{f['bytes']:,}", f"`{f['sha256'][:16]}…`"] for f in data["files"]],
    )
    return (
        f"## Data\n\n{files}\n\n{split['train']:,} prompts to learn from, {split['calibration']:,} to certify and "
        f"{split['test']:,} to judge; divided by group ({split['method']}), seed {split['seed']}."
        f"{_caveats(data['summary'])}"
    )


def _caveats(summary: dict[str, Any]) -> str:
    """Return what the history does not say by itself, in paragraphs; nothing of most histories."""
    said = []
    if (kept := summary.get("representative")) is not None:
        said.append(
            f"A weighted sample: {kept:,} of its {summary['prompts']:,} prompts, drawn by weight, stand for the traffic, and only "
            "they certify and judge."
        )
    if (censored := summary.get("censored")) is not None:
        said.append(" ".join(censored["sentences"]))
    return "".join(f"\n\n{paragraph}" for paragraph in said)


def _model(manifest: dict[str, Any]) -> str:
    model = manifest["model"]
    embedding = manifest["features"]["embedding"]
    blend = model["candidates"][-1]
    length = next(row for row in model["candidates"] if row["members"] == ["length"])
    return (
        f"## Model\n\nBlend of {_weights(model['weights'])} on a static embedding of "
        f"{embedding.get('dimension')} dimensions distilled from {embedding.get('teacher')} "
        f"({embedding.get('licence')}) and {len(manifest['features']['shape']['names'])} length and shape "
        f"features, in one ONNX graph. Weighted by grouped cross-validation on the training part; there the log loss is "
        f"{blend['log_loss']:.3f}, by length alone {length['log_loss']:.3f}, and the gap closed {_share(blend)}, by "
        f"length alone {_share(length)} (where a call is taken to cost its tier's mean)."
    )


def _weights(weights: dict[str, float]) -> str:
    return ", ".join(f"{name} ({weight:.0%})" for name, weight in weights.items())


def _share(candidate: dict[str, Any]) -> str:
    value, error = candidate["gap_closed"], candidate["gap_closed_standard_error"]
    return "unknown" if value is None else f"{value:.3f} ± {error:.3f}"


def _certificate(manifest: dict[str, Any]) -> str:
    certificate, decision = manifest["certificate"], manifest["decision"]
    tiers = [tier["name"] for tier in manifest["tiers"]["tier"]]
    reference = decision["reference"]
    if void := _void(manifest):
        return "\n\n".join(["## Certificate", *void])
    regret, quality = certified(certificate, "regret"), certified(certificate, "quality")
    notes = [dominance_words(decision, tiers), missing_words(certificate), default_words(decision, reference)]
    notes.append(
        f"Prompts with a novelty above {decision['novelty_threshold']:.3f} go to {reference}, as "
        f"{decision['novelty_false_alarm']:.0%} of prompts like those of the training part do."
    )
    said = [note for note in notes if note]
    if not regret and not quality:
        head = (
            f"None: {certificate['n']:,} calibration groups support no promise. Requests that ask for one go to "
            f"{reference}, the best tier."
        )
        return "\n\n".join(["## Certificate", head, *said])
    head = (
        f"Each promise holds with {1 - certificate['delta']:.0%} confidence, on prompts like those of the calibration part "
        f"({certificate['n']:,} groups, {certificate['date']}), which neither fitting nor selection saw. Savings are against "
        f"{reference} for all prompts. Regret: an exact binomial bound, one prompt per group; quality: a betting bound on "
        f"the mean over groups.{reserve_words(certificate)}"
    )
    presets = [
        [
            name,
            words,
            "not certified" if saving is None else whole(saving),
            "yes" if is_default(name, decision) else "",
        ]
        for name, words, saving in preset_rows(certificate)
    ]
    return "\n\n".join(
        [
            "## Certificate",
            head,
            *_promises(certificate, "regret", tiers),
            *_promises(certificate, "quality", tiers),
            _table(["preset", "promise", "saves", "default"], presets),
            *_slices(certificate),
            *said,
        ]
    )


def _promises(certificate: dict[str, Any], kind: str, tiers: list[str]) -> list[str]:
    """Return the table of one kind of promise, or nothing."""
    rows = [
        [
            promise_words(kind, row.loss),
            whole(row.saving),
            *(whole(share) for share in row.share_per_tier),
            _percent(row.observed),
            *([_percent(row.bound)] if kind == "regret" else []),
            f"{row.epsilon:g}",
        ]
        for row in certified(certificate, kind)
    ]
    header = ["promise", "saves", *(f"to {tier}" for tier in tiers), "observed"]
    header += ["upper bound", "epsilon"] if kind == "regret" else ["epsilon"]
    return [_table(header, rows)] if rows else []


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _slices(certificate: dict[str, Any]) -> list[str]:
    """Return the table of slices under its sentence, or nothing."""
    rows = []
    for part in certificate["slices"]:
        row = slice_row(part)
        promise = (
            ["no promise", "–"] if row is None else [promise_words("regret", row.loss), whole(row.saving)]
        )
        rows.append([part["name"], f"{part['n']:,}", *promise])
    said = f"Slices; what they are promised holds for all of them together with {1 - certificate['delta']:.0%} confidence."
    return [said, _table(["slice", "groups", "promise", "saves"], rows)] if rows else []


def _metrics(manifest: dict[str, Any]) -> str:
    metrics = manifest["metrics"]
    parts = {"all": metrics, **metrics.get("by_source", {})}
    rows = []
    for name, part in parts.items():
        router = part["router"]
        if not router["prompts"]:
            continue
        point = router["operating_point"]
        rows.append(
            [
                name,
                f"{router['prompts']:,}",
                " / ".join(f"{tier['quality']:.3f}" for tier in router["tiers"]),
                _interval(point["saving"]),
                _interval(point["quality_relative_to_top"]),
                _interval(point["regret"]),
                _interval(router["gap_closed"]),
                _interval(part["length"]["gap_closed"]),
            ]
        )
    if not rows:
        return "## Metrics\n\nNo prompt of the test part was tried on every tier."
    header = [
        "source",
        "prompts",
        "quality per tier",
        "saving",
        "quality relative to top",
        "regret",
        "gap closed",
        "gap closed by length alone",
    ]
    calibration = _table(
        ["tier", "observed", "ECE", "log loss", "AUC"],
        [
            [
                tier,
                f"{row['observed']:,}",
                *("–" if row[key] is None else f"{row[key]:.3f}" for key in ("ece", "log_loss", "auc")),
            ]
            for tier, row in metrics["router"]["calibration"].items()
        ],
    )
    return (
        '## Metrics\n\nOn the test part, at the default epsilon, with 95 % bootstrap intervals over groups. "Gap '
        'closed" is the share of the area between random mixing of tiers and the oracle.\n\n'
        f"{_table(header, rows)}\n\nCalibration on the test part:\n\n{calibration}"
    )


def _interval(interval: dict[str, float | None]) -> str:
    value, low, high = (interval[key] for key in ("value", "low", "high"))
    text = "–" if value is None else f"{value:.1%}"
    return text if low is None or high is None else f"{text} ({low:.1%} to {high:.1%})"
