"""The first half of a weekly run: from checked data to an artefact, step by step.

Each step is done once: its result is in the ledger, and what is dear to make again is in the run's folder. What a later
step needs of an earlier one is made or opened when it is asked for, so a run that is resumed does no more than it must.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.calibration import ece
from eval.certify import abridge
from eval.history import History, read_history, window
from eval.outcomes import tabulate
from eval.progress import Progress
from eval.rows import extract_rows
from eval.summary import summarise
from router.artifact import read_manifest
from router.errors import ConfigError
from router.extractor import Extractor
from router.tiers import Ladder
from training.fit import export
from training.learning import Learned, learn, open_learned
from training.material import Material, prepare
from training.pipeline.incumbent import digest_groups, write_digests
from training.pipeline.ledger import Ledger, digest
from training.pipeline.settings import Settings
from training.pipeline.sources import Loaded
from training.promised import Promises, Scored, measure_test, promise, score, take
from training.provenance import describe_files

__all__ = ["ARTEFACT", "HELD", "SEEN", "Fitting", "read_checked", "require_fresh"]

ARTEFACT, LEARNED, SEEN, HELD, LABELS = (
    "artefact",
    "learned",
    "seen_groups.npy",
    "held_groups.npy",
    "labels.json",
)
"""What the steps leave in the run's folder."""


def read_checked(loaded: Loaded, settings: Settings) -> tuple[History, dict[str, Any]]:
    """Read a history, keep its window, and say what it holds.

    Raises
    ------
    ConfigError
        It breaks the contract, nothing is left of it, or its newest prompt is too old.
    """
    history = read_history(loaded.files)
    whole = len(history.prompts)
    if settings.since is not None or settings.window is not None:
        history = window(history, settings.since, settings.window)
    stamps = history.prompts["timestamp"].dropna()
    oldest, newest = (stamps.min(), stamps.max()) if len(stamps) else (None, None)
    found = {
        "prompts": len(history.prompts),
        "rows": len(history.rows),
        "left_out": whole - len(history.prompts),
        "from": None if oldest is None else oldest.isoformat(),
        "until": None if newest is None else newest.isoformat(),
    }
    require_fresh(found, settings.max_age)
    return history, found


def require_fresh(window: Mapping[str, Any], max_age: timedelta | None) -> None:
    """Refuse a window, as `read_checked` describes it, whose newest prompt is too old: nothing arrives any more.

    Raises
    ------
    ConfigError
        It is, or nothing says how old it is.
    """
    if max_age is None:
        return
    if window["until"] is None:
        raise ConfigError("history: max_age needs timestamps, found none; add them, or take max_age out")
    newest = datetime.fromisoformat(window["until"])
    age = datetime.now(UTC) - newest
    if age > max_age:
        raise ConfigError(
            f"history: its newest prompt is {age.days} days old ({newest.date()}), and max_age allows {max_age.days}; see "
            "why nothing newer arrived"
        )


class Fitting:
    """What is made of one window of history.

    Parameters
    ----------
    ledger : Ledger
        Of the run.
    history : History
        The window.
    ladder : Ladder
        The tiers.
    extractor, embedding : Extractor, Path
        The embedding, opened, and its folder.
    described : list of dict
        The history's files, as `training.provenance.describe_files` gives them.
    """

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        history: History,
        ladder: Ladder,
        extractor: Extractor,
        embedding: Path,
        described: list[dict[str, Any]],
        progress: Progress,
    ) -> None:
        self.ledger = ledger
        self.ladder = ladder
        self.extractor = extractor
        self._settings = settings
        self._history: History | None = history
        self._embedding = embedding
        self._described = described
        self._progress = progress

    @property
    def artefact(self) -> Path:
        """The folder of the artefact, once it is exported."""
        return self.ledger.folder / ARTEFACT

    # What steps share

    @cached_property
    def material(self) -> Material:
        """The window laid out by tier and divided. The history itself is let go of."""
        history, self._history = self._history, None
        assert history is not None, "the material is made once"  # noqa: S101
        return prepare(history, self.ladder, self._settings.seed, self._settings.split, self._progress)

    @cached_property
    def X(self) -> NDArray[np.float32]:  # noqa: N802 - the field's name
        """Features of all prompts, float32 (n, width), without a lexicon."""
        prompts = self.material.outcomes.prompts
        self._progress.step(f"extracting features of {len(prompts):,} prompts")
        return extract_rows(self.extractor, prompts, self._progress)

    @cached_property
    def _learned(self) -> Learned:
        return open_learned(self.ledger.folder / LEARNED)

    @cached_property
    def _scored(self) -> Scored:
        return score(self.material, self._learned, self.X, self.extractor, self._progress)

    @cached_property
    def _promises(self) -> Promises:
        reserve = self._settings.promotion.reserve
        return promise(self.material, self._learned, self._scored, self._progress, reserve)

    # Steps

    def label(self) -> dict[str, Any]:
        """Label each prompt with the cheapest tier that passed, and count."""
        inputs = {
            "history": self._described,
            "window": self._deciding("since", "window"),
            "tiers": self.ladder.to_dict(),
        }

        def do() -> dict[str, Any]:
            assert self._history is not None, "labels come first"  # noqa: S101
            summary = summarise(tabulate(self._history, self.ladder))
            if not any(tier["pass_rate"] for tier in summary["tiers"]):
                raise ConfigError(
                    f"history: no tier passed any of {summary['prompts']:,} prompts at a score of {self.ladder.pass_score:g}; "
                    "see to the grader, or to pass_score in the tiers file"
                )
            return {"summary": summary}

        return self.ledger.run("label", inputs, do)

    def split(self) -> dict[str, Any]:
        """Divide the prompts by group; the newest judge where there are times."""
        inputs = {"label": self._done("label"), **self._deciding("seed", "split")}

        def do() -> dict[str, Any]:
            test = self.material.split.test
            groups = {SEEN: ~test, HELD: test}
            found = {name: digest_groups(self.material.outcomes, rows) for name, rows in groups.items()}
            for name, digests in found.items():
                write_digests(self.ledger.folder / name, digests)
            return self.material.describe_split() | {"groups_seen": len(found[SEEN])}

        return self.ledger.run("split", inputs, do, [SEEN, HELD])

    def fit(self) -> dict[str, Any]:
        """Choose members, fit them, and write the graph."""
        inputs = {"split": self._done("split"), "embedding": self.extractor.identity}

        def do() -> dict[str, Any]:
            learned = learn(self.material, self.X, self.extractor, self._progress)
            folder = self.ledger.folder / LEARNED
            folder.mkdir(exist_ok=True)
            learned.save(folder)
            return {
                "members": list(learned.members),
                "weights": learned.weights,
                "reference": self.ladder.names[learned.reference],
            }

        return self.ledger.run("fit", inputs, do, [LEARNED])

    def calibrate(self) -> dict[str, Any]:
        """Score all prompts as served, and see how well probabilities mean what they say on the calibration part."""

        def do() -> dict[str, Any]:
            self._progress.step("calibrating")
            rows = self.material.split.calibration
            said, passed = take(self._scored.scores, rows), self.material.outcomes.passed[rows]
            errors = {
                name: _number(ece(said.p_pass[:, k].astype(np.float64), passed[:, k].astype(np.float64)))
                for k, name in enumerate(self.ladder.names)
            }
            return {
                "ece": errors,
                "unit_usd": self._scored.path.unit_usd,
                "novel_above": self._learned.novel_above,
            }

        return self.ledger.run("calibrate", {"fit": self._done("fit")}, do)

    def certify(self) -> dict[str, Any]:
        """Certify what the data supports."""
        inputs = {"calibrate": self._done("calibrate"), "reserve": self._settings.promotion.reserve}

        def do() -> dict[str, Any]:
            self._progress.step("certifying")
            certificate, decision = self._promises.certificate, dict(self._promises.decision)
            del decision["spend"]
            return {"certificate": abridge(certificate), "decision": decision}

        return self.ledger.run("certify", inputs, do)

    def export(self) -> dict[str, Any]:
        """Measure on the test part, and write the artefact."""
        inputs = {"certify": self._done("certify"), "name": self._settings.model_name}

        def do() -> dict[str, Any]:
            epsilon = self._promises.decision["default_epsilon"]
            metrics = measure_test(self.material, self._learned, self._scored, epsilon)
            self._progress.step("exporting")
            document = export(
                self.artefact,
                self.material,
                self._learned,
                self._scored,
                self._promises,
                metrics,
                self.X,
                embedding=self._embedding,
                name=self._settings.model_name,
                notes="",
                files=self._described,
                tiers=describe_files([self._settings.tiers]),
            )
            return {"model_id": document["model_id"]}

        return self.ledger.run("export", inputs, do, [ARTEFACT])

    @property
    def manifest(self) -> dict[str, Any]:
        """What the artefact says of itself."""
        return read_manifest(self.artefact).document

    def forget(self) -> None:
        """Let go of what only the steps so far needed."""
        for name in ("_learned", "_scored", "_promises"):
            self.__dict__.pop(name, None)

    def _deciding(self, *keys: str) -> dict[str, Any]:
        found = self._settings.deciding()
        return {key: found[key] for key in keys}

    def _done(self, step: str) -> str:
        entry = self.ledger.entries[step]
        return digest({key: entry[key] for key in ("inputs", "result", "files")})


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
