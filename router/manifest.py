"""The manifest: what an artefact says of itself.

Pure: parses and checks a document, does no I/O. Serving needs the few fields below; everything else (data,
metrics, reference statistics, versions) stays readable in `document`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from math import isfinite
from typing import Any, NamedTuple

from router.costs import CostModel
from router.errors import ArtifactError, ConfigError
from router.rule import Loss
from router.tiers import Ladder, parse_tiers

__all__ = ["SCHEMA", "Certificate", "Defaults", "Manifest", "Void", "is_date", "parse_manifest"]

SCHEMA = 2
"""Version of the manifest's form; an artefact of another one is refused."""

_SAME = 1e-9  # 0.3 - 0.25 is not quite 0.05, and asks for the same promise


Rows = tuple[tuple[float, float], ...]
"""What is promised, and the epsilon that it is promised at."""


class Void(NamedTuple):
    """That a certificate no longer holds: new outcomes have contradicted it.

    Attributes
    ----------
    date : str
        Since when, YYYY-MM-DD.
    why : str
        What was found, in a sentence.
    """

    date: str
    why: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """What is promised at which epsilon, on data like the calibration data, each row with confidence `1 - delta`.

    Attributes
    ----------
    regret : tuple of (alpha, epsilon)
        `P(reference tier passes and chosen tier fails) <= alpha`, by the loss of that name.
    quality : tuple of (share, epsilon)
        `E[score of the chosen tier] >= share * E[score of the reference tier]`, by the loss of that name.
    slices : dict of str to tuple of (alpha, epsilon)
        As `regret`, within a slice such as "task=math"; all slices hold together.
    delta : float
        Chance that a promise is wrong.
    n : int
        Groups on the calibration split.
    void : Void or None
        Set where nothing of this holds any more; then every decision is for the reference tier, whatever is asked.
    """

    regret: Rows = ()
    quality: Rows = ()
    slices: dict[str, Rows] = field(default_factory=dict)
    delta: float = 0.05
    n: int = 0
    void: Void | None = None

    def epsilon_for_regret(self, most: float, within: str | None = None) -> float | None:
        """Return the most permissive epsilon certified for this regret, in all or within a slice, or None. Pure."""
        rows = self.regret if within is None else self.slices.get(within, ())
        return max((epsilon for alpha, epsilon in rows if alpha <= most + _SAME), default=None)

    def epsilon_for_quality(self, least: float) -> float | None:
        """Return the most permissive epsilon certified to keep this share of quality, or None. Pure."""
        return max((epsilon for share, epsilon in self.quality if share >= least - _SAME), default=None)


@dataclass(frozen=True, slots=True)
class Defaults:
    """What decisions rest on where the caller says nothing.

    Attributes
    ----------
    epsilon : float
        Loss accepted for saving the mean call of the reference tier.
    loss : Loss
        By which loss.
    reference : int
        Position of the reference tier.
    unit_usd : float
        What a call of the reference tier is expected to cost in the mean, above 0.
    novelty_threshold : float
        Prompts above it escalate.
    spend : tuple of (epsilon, usd)
        What requests cost in the mean at an epsilon, by the loss of quality; epsilons ascend, costs descend.
    """

    epsilon: float
    loss: Loss
    reference: int
    unit_usd: float
    novelty_threshold: float
    spend: Rows

    def epsilon_for_budget(self, usd: float) -> float | None:
        """Return the least epsilon at which a request costs no more than this in the mean, or None. Pure."""
        return next((epsilon for epsilon, spent in self.spend if spent <= usd), None)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What serving needs of a manifest.

    Attributes
    ----------
    model_id : str
        Names the model's content.
    files : dict
        File name to sha256.
    features : dict
        Identity of the extractor that the model was fitted with.
    ladder : Ladder
        The tiers.
    costs : CostModel
        Expected USD per tier.
    defaults : Defaults
        What decisions rest on.
    certificate : Certificate
        Empty where nothing could be certified.
    document : dict
        The whole manifest.
    """

    model_id: str
    files: dict[str, str]
    features: dict[str, Any]
    ladder: Ladder
    costs: CostModel
    defaults: Defaults
    certificate: Certificate
    document: dict[str, Any]


def parse_manifest(document: object, source: str = "manifest.json") -> Manifest:
    """Check a parsed manifest. Pure.

    Raises
    ------
    ArtifactError
        It is not a manifest, of another schema, or incomplete.
    """
    if not isinstance(document, dict):
        raise ArtifactError(f"{source}: expected a JSON object, found {type(document).__name__}; fit again")
    schema = document.get("schema")
    if schema != SCHEMA:
        raise ArtifactError(
            f"{source}: schema {schema!r} is not one that this version reads ({SCHEMA}); "
            "fit again, or install the version of tierwise that wrote it"
        )
    try:
        ladder = parse_tiers(document["tiers"], source)
        manifest = Manifest(
            model_id=_text(document["model_id"]),
            files={_file_name(name): _text(digest) for name, digest in document["files"].items()},
            features=dict(document["features"]),
            ladder=ladder,
            costs=CostModel.from_ladder(ladder, tuple(map(_finite, document["cost"]["usd_per_answer"]))),
            defaults=_defaults(document["decision"], ladder),
            certificate=_certificate(document["certificate"]),
            document=document,
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, ConfigError) as error:
        detail = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise ArtifactError(f"{source}: not a complete manifest: {detail}; fit again") from error
    return manifest


def _defaults(decision: dict[str, Any], ladder: Ladder) -> Defaults:
    usd = _finite(decision["unit_usd"])
    if not usd > 0.0:
        raise ValueError(f"unit_usd is above 0; found {usd!r}")
    return Defaults(
        epsilon=_not_negative(decision["default_epsilon"]),
        loss=Loss(decision["default_loss"]),
        reference=_position(decision["reference"], ladder),
        unit_usd=usd,
        novelty_threshold=_finite(decision["novelty_threshold"]),
        spend=tuple((_not_negative(row["epsilon"]), _not_negative(row["usd"])) for row in decision["spend"]),
    )


def _position(tier: object, ladder: Ladder) -> int:
    if tier not in ladder.names:
        raise ValueError(f"reference is a tier of the ladder, {', '.join(ladder.names)}; found {tier!r}")
    return ladder.names.index(tier)


def _certificate(document: dict[str, Any]) -> Certificate:
    return Certificate(
        regret=_rows(document["table"], "alpha"),
        quality=_rows(document["quality"], "min_quality"),
        slices={_text(part["name"]): _rows(part["table"], "alpha") for part in document["slices"]},
        delta=_share(document["delta"]),
        n=int(document["n"]),
        void=_void(document.get("void")),
    )


def _void(document: object) -> Void | None:
    """Return what is said of a void certificate; a certificate that says nothing holds."""
    if document is None:
        return None
    if not isinstance(document, Mapping):
        raise ValueError(f"void is an object with date and why; found {document!r}")
    since, why = _text(document["date"]), _text(document["why"])
    if not is_date(since):
        raise ValueError(f"void has a date such as 2026-01-31; found {since!r}")
    if why.isspace():
        raise ValueError("void says why; found blanks")
    return Void(since, why)


def is_date(text: str) -> bool:
    """Return whether text is a day, YYYY-MM-DD. Pure."""
    try:
        return date.fromisoformat(text).isoformat() == text  # it reads other forms, too
    except ValueError:
        return False


def _rows(table: list[dict[str, Any]], promise: str) -> Rows:
    return tuple((_share(row[promise]), _not_negative(row["epsilon"])) for row in table)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"expected text, found {value!r}")
    return value


def _file_name(value: object) -> str:
    name = _text(value)
    if name.startswith(".") or "/" in name or "\\" in name:
        raise ValueError(f"{name!r} is not a file of this folder")
    return name


def _finite(value: object) -> float:
    # A threshold of NaN would call nothing novel, and say nothing.
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError(f"expected a finite number, found {value!r}")
    return float(value)


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
        raise ValueError(f"expected a number from 0 to 1, found {value!r}")
    return float(value)


def _not_negative(value: object) -> float:
    number = _finite(value)
    if number < 0.0:
        raise ValueError(f"expected a number of 0 or more, found {value!r}")
    return number
