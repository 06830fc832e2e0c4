"""What a weekly run is told, as values.

Pure. `training.pipeline.config` reads them from TOML and flags.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, get_args

from router.masking import mask
from training.pipeline.values import read_choice, read_number

__all__ = ["Files", "Place", "Promotion", "Query", "Settings", "Source"]

OnVoid = Literal["top", "previous", "keep"]

_SHARES = ("max_regret", "reserve", "margin_saving", "margin_quality", "margin_slice", "max_ece")


@dataclass(frozen=True)
class Promotion:
    """When a challenger is promoted, and what becomes of a champion whose certificate is void.

    Attributes
    ----------
    max_regret : float
        The promise that champion and challenger are both held to.
    reserve : float
        The part of each promise that a certificate keeps back for what changes until the next run.
    margin_saving, margin_quality : float
        By how much a challenger saves more, or answers better, before it is promoted: shares.
    margin_slice : float
        By how much a slice may get worse.
    max_ece : float
        Calibration error beyond what chance gives.
    max_latency_us : float
        Microseconds of a decision.
    on_void : {"top", "previous", "keep"}
        Send everything to the top tier, go back to the previous champion, or only say so.

    Raises
    ------
    ConfigError
        A value is of another type or out of range.
    """

    max_regret: float = 0.05
    reserve: float = 0.1
    margin_saving: float = 0.01
    margin_quality: float = 0.005
    margin_slice: float = 0.02
    max_ece: float = 0.05
    max_latency_us: float = 1000.0
    on_void: OnVoid = "top"

    def __post_init__(self) -> None:
        for key in _SHARES:
            object.__setattr__(self, key, read_number(getattr(self, key), f"promotion: {key}", most=1.0))
        latency = read_number(self.max_latency_us, "promotion: max_latency_us", unit=" of microseconds")
        object.__setattr__(self, "max_latency_us", latency)
        read_choice(self.on_void, "promotion: on_void", get_args(OnVoid))


@dataclass(frozen=True)
class Files:
    """A history in files: paths and globs, relative to the working directory."""

    patterns: tuple[str, ...]

    def to_json(self) -> list[str]:
        """Return what stands under `history`."""
        return list(self.patterns)


@dataclass(frozen=True)
class Query:
    """A history in a database: one SELECT, and where to ask.

    Attributes
    ----------
    query : str
        Its columns are those of a history.
    url : str or None
        As SQLAlchemy reads it; it may hold a password, and is never shown as it is.
    url_env : str or None
        The environment variable that holds the URL, in place of `url`; read when the database is asked.
    """

    query: str
    url: str | None = field(default=None, repr=False)
    url_env: str | None = None

    def to_json(self) -> dict[str, str | None]:
        """Return what stands under `history`, without a password."""
        place = {"url_env": self.url_env} if self.url is None else {"url": mask(self.url)}
        return {**place, "query": self.query}


Source = Files | Query
"""Where a history is."""


@dataclass(frozen=True)
class Place:
    """Where everything of a project is kept.

    Attributes
    ----------
    home : Path
        Absolute; what is local is in here unless it is told to be elsewhere.
    tracking_uri : str
        MLflow's; it may hold a password, so show what `router.masking.mask` makes of it.
    artifact_dir, champion_dir : Path
        Absolute: MLflow's files, and the champion's artefact as a folder.
    model_name : str
        Of the registered model.
    """

    home: Path
    tracking_uri: str = field(repr=False)
    artifact_dir: Path
    champion_dir: Path
    model_name: str = "tierwise"

    @property
    def lock_file(self) -> Path:
        """What the one run at a time holds."""
        return self.home / "retrain.lock"

    @property
    def work_dir(self) -> Path:
        """Unfinished runs, each in a folder named by its key."""
        return self.home / "work"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A weekly run's configuration, checked and resolved; docs/OPERATIONS.md says what each key means."""

    history: Source
    tiers: Path
    since: datetime | None = None
    window: timedelta | None = None
    model_name: str = "tierwise"
    home: Path
    tracking_uri: str = field(repr=False)
    artifact_dir: Path
    champion_dir: Path
    promotion: Promotion = Promotion()
    seed: int = 0
    split: str = "auto"
    embedding: Path | None = None
    max_age: timedelta | None = None

    @property
    def place(self) -> Place:
        """Where the run keeps what it makes."""
        return Place(self.home, self.tracking_uri, self.artifact_dir, self.champion_dir, self.model_name)

    def to_dict(self) -> dict[str, Any]:
        """Return what is set, ready for JSON, in the form that `parse_settings` reads; passwords are masked."""
        found: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        found |= {"history": self.history.to_json(), "tracking_uri": mask(self.tracking_uri)}
        found["promotion"] = asdict(self.promotion)
        return {key: _plain(value) for key, value in found.items() if value is not None}

    def deciding(self) -> dict[str, Any]:
        """Return what a run's outcome depends on beside data, ladder, embedding and code; ready for JSON.

        Not where things are: a project that moves to another folder or server is the same project. `max_age` only
        refuses. Data, ladder and embedding count by content, which is not known here.
        """
        return {
            "query": self.history.query if isinstance(self.history, Query) else None,
            "since": _plain(self.since),
            "window": _plain(self.window),
            "promotion": asdict(self.promotion),
            "seed": self.seed,
            "split": self.split,
            "model_name": self.model_name,
        }


def _plain(value: Any) -> Any:  # noqa: ANN401 - of each field's type
    if isinstance(value, timedelta):
        return f"{value.days // 7}w" if value.days % 7 == 0 else f"{value.days}d"
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Path) else value
