"""The manifest: what an artefact says of itself.

Pure: parses and checks a document, does no I/O. Serving needs the few fields below; everything else (data,
metrics, reference statistics, versions) stays readable in `document`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any

from router.costs import CostModel
from router.errors import ArtifactError, ConfigError
from router.tiers import Ladder, parse_tiers

__all__ = ["SCHEMA", "Certificate", "Manifest", "parse_manifest"]

SCHEMA = 1
"""Version of the manifest's form; an artefact of another one is refused."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """Which regret is promised at which epsilon.

    Attributes
    ----------
    alpha, epsilon : tuple of float
        Row by row, ascending: with confidence `1 - delta`, routing at `epsilon[i]` has
        `P(top tier passes and chosen tier fails) <= alpha[i]` on data like the calibration data.
    delta : float
        Chance that the promise is wrong.
    n : int
        Groups on the calibration split.
    """

    alpha: tuple[float, ...] = ()
    epsilon: tuple[float, ...] = ()
    delta: float = 0.05
    n: int = 0

    def epsilon_for(self, max_regret: float) -> float | None:
        """Return the most permissive epsilon certified for this regret, or None. Pure."""
        certified = [e for a, e in zip(self.alpha, self.epsilon, strict=True) if a <= max_regret]
        return max(certified) if certified else None


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
    default_epsilon : float
        Expected loss allowed when the caller asks for nothing.
    novelty_threshold : float
        Prompts above it escalate.
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
    default_epsilon: float
    novelty_threshold: float
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
        decision = document["decision"]
        certificate = document["certificate"]
        rows = certificate["table"]
        manifest = Manifest(
            model_id=_text(document["model_id"]),
            files={_file_name(name): _text(digest) for name, digest in document["files"].items()},
            features=dict(document["features"]),
            ladder=ladder,
            costs=CostModel.from_ladder(ladder, tuple(map(_finite, document["cost"]["usd_per_answer"]))),
            default_epsilon=_share(decision["default_epsilon"]),
            novelty_threshold=_finite(decision["novelty_threshold"]),
            certificate=Certificate(
                alpha=tuple(_share(row["alpha"]) for row in rows),
                epsilon=tuple(_share(row["epsilon"]) for row in rows),
                delta=_share(certificate["delta"]),
                n=int(certificate["n"]),
            ),
            document=document,
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, ConfigError) as error:
        detail = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise ArtifactError(f"{source}: not a complete manifest: {detail}; fit again") from error
    return manifest


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
