"""The second half of a weekly run: the artefact against the champion and against baselines, on prompts that none has seen.

Everything here is measured on the artefact as it will serve, loaded from its folder.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.baselines import BASELINES
from eval.design import describe
from eval.drift import measure_drift
from eval.drift_page import render_drift_html, render_drift_svg, render_drift_text
from eval.duel import Contender, calibration_beyond_chance, duel
from eval.estimators import SUBJECT, answers
from eval.evaluate import SCHEMA, evaluate
from eval.folds import Fold, Plan
from eval.outcomes import Outcomes
from eval.progress import Progress
from eval.report import N_BOOT, WORTH_WORKERS, default_workers, promised_by, write_report
from eval.report_plots import render_plots
from eval.rows import extract_rows
from eval.verdict import MIN_PROMPTS, why_not
from router import Router
from training.pipeline.fitting import Fitting
from training.pipeline.gate import GateError
from training.pipeline.incumbent import Incumbent, contender
from training.pipeline.settings import Settings
from training.pipeline.verify import verify

__all__ = ["DRIFT", "DUEL", "PLOTS", "REPORT", "Findings", "Judging", "became_void"]

REPORT, PLOTS, DUEL, DRIFT = "report", "plots", "duel.json", "drift"
"""What the steps leave in the run's folder."""

SIMPLE = ("length", "cost-only")
"""Baselines that whoever has no router could route by at once; the others are estimators of their own."""


@dataclass(frozen=True)
class Findings:
    """What judging found, each part JSON-ready.

    Attributes
    ----------
    verified : mapping
        As `training.pipeline.verify.verify` gives it.
    evaluation : mapping
        The report's verdict, what each contender closes of the gap, and the challenger's operating point.
    duel : mapping
        As `eval.duel.duel` gives it, and `calibration`, the error beyond chance by tier.
    drift : mapping or None
        As `eval.drift.measure_drift` gives it, abridged, and `was_void`: whether the certificate was void before; None without a champion.
    """

    verified: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    duel: Mapping[str, Any]
    drift: Mapping[str, Any] | None

    @property
    def is_void(self) -> bool:
        """Whether new outcomes contradict the champion's certificate, and that was not known before."""
        return became_void(self.drift)


def became_void(drift: Mapping[str, Any] | None) -> bool:
    """Whether new outcomes contradict the champion's certificate, and that was not known before. Pure.

    Parameters
    ----------
    drift : mapping or None
        As in `Findings`.
    """
    return drift is not None and drift["certificate"]["status"] == "void" and not drift["was_void"]


@dataclass(frozen=True, eq=False)
class Judging:
    """The challenger's artefact, the champion, and the prompts that judge both.

    Attributes
    ----------
    fitting : Fitting
        Done as far as the artefact.
    incumbent : Incumbent or None
        The champion, if there is one.
    settings : Settings
        Of the run.
    progress : Progress
        Where steps are told.
    """

    fitting: Fitting
    incumbent: Incumbent | None
    settings: Settings
    progress: Progress

    # What steps share

    @cached_property
    def challenger(self) -> Router:
        """The artefact, opened."""
        return Router.load(self.fitting.artefact)

    @cached_property
    def rows(self) -> NDArray[np.intp]:
        """Held-out prompts that the champion has not learned from either."""
        material = self.fitting.material
        judged = material.split.test
        if self.incumbent is not None:
            judged = judged & self.incumbent.unseen(material.outcomes)
        return np.flatnonzero(judged)

    @cached_property
    def judged(self) -> Outcomes:
        """Those prompts and their outcomes."""
        return self.fitting.material.outcomes.take(self.rows)

    @property
    def champion_compares(self) -> bool:
        """Whether there is a champion whose decisions can be judged on today's ladder."""
        return self.incumbent is not None and self.incumbent.change.comparable

    # Steps

    def judge(self) -> Findings:
        """Take all steps, in order."""
        verified = self.verify()
        drift = self.drift()  # told also where the gate cannot run
        return Findings(verified, self.evaluate(), self.duel(), drift)

    def verify(self) -> dict[str, Any]:
        """Open the artefact as a server would, and time it beside the champion."""
        folder = None if self.incumbent is None else self.incumbent.folder

        def do() -> dict[str, Any]:
            self.progress.step("verifying the artefact in a process of its own")
            return verify(self.fitting.artefact, folder)

        return self.fitting.ledger.run("verify", self._inputs(), do)

    def evaluate(self) -> dict[str, Any]:
        """Judge the challenger against baselines, and write the report."""
        return self.fitting.ledger.run("evaluate", self._inputs(), self._evaluate, [REPORT, PLOTS])

    def duel(self) -> dict[str, Any]:
        """Hold challenger and champion against each other."""
        return self.fitting.ledger.run("duel", self._inputs(), self._duel, [DUEL])

    def drift(self) -> dict[str, Any] | None:
        """Hold the new prompts against what the champion was made from, and its certificate against their outcomes.

        None where there is no champion.
        """
        if self.incumbent is None:
            return None
        return self.fitting.ledger.run("drift", self._inputs(), self._drift, [DRIFT])

    def _inputs(self) -> dict[str, Any]:
        """Return what judging depends on. Which champion serves may have changed since the run was interrupted."""
        incumbent = self.incumbent
        return {
            "challenger": self.challenger.model_id,
            "champion": None if incumbent is None else [incumbent.version, incumbent.router.model_id],
            "max_regret": self.settings.promotion.max_regret,
        }

    def _evaluate(self) -> dict[str, Any]:
        self.progress.step(
            f"judging {len(self.rows):,} prompts that neither challenger nor champion has seen"
        )
        material = self.fitting.material
        if (why := why_not(self.judged)) is not None:
            raise GateError(
                f"gate: the prompts that judge allow no judgement. {why} Grade more of the newest prompts."
            )
        plan = self._plan()
        outcomes, router = material.outcomes, self.challenger
        design = describe(outcomes, self.fitting.X, self.fitting.extractor)
        whole = _said_by_default(router, outcomes, self.rows)
        with self.progress.bar(len(BASELINES), "fit") as bar:

            def tick(name: str) -> None:
                bar.set_description(name)
                bar.update()

            document = evaluate(
                outcomes,
                design,
                plan,
                dict(BASELINES),
                answers(),
                **whole,
                epsilon=router.manifest.defaults.epsilon,
                promised=promised_by(router, outcomes.prompts, plan),
                n_boot=N_BOOT,
                seed=self.settings.seed,
                workers=default_workers() if len(outcomes) >= WORTH_WORKERS else 1,
                tick=tick,
            )
        document = {
            "schema": SCHEMA,
            "title": f"{self.settings.model_name}, week of {datetime.now(UTC).date().isoformat()}",
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": "python -m training retrain",
            "subject": {"name": SUBJECT, "text": f"model {router.model_id}, the challenger of this run"},
            **document,
        }
        folder = self.fitting.ledger.folder
        write_report(document, folder / REPORT)
        (folder / PLOTS).mkdir(exist_ok=True)
        for name, text in render_plots(document).items():
            (folder / PLOTS / name).write_text(text, encoding="utf-8")
        verdict, comparison = document["verdict"], document["comparison"]
        self.progress.say(
            f"the report, which holds it against other estimators, too: {verdict['word']}. {verdict['headline']}"
        )
        return {
            "verdict": verdict,
            "contenders": {}
            if comparison is None
            else {entry["name"]: entry["gap_closed"] for entry in comparison["contenders"]},
            "rules": []
            if comparison is None
            else [
                {"label": entry["label"], "lead": entry["lead"]}
                for entry in comparison["contenders"]
                if entry["kind"] in ("fixed", "tier", "random") or entry["name"] in SIMPLE
            ],
            "operating_point": document["operating_point"],
        }

    def _plan(self) -> Plan:
        """Return the plan of the report: who teaches baselines, and who judges."""
        taught = np.flatnonzero(~self.fitting.material.split.test)
        text = (
            f"Judged on {len(self.rows):,} held-out prompts that neither the challenger nor the champion learned from; "
            f"baselines were fitted on {len(taught):,} others."
        )
        return Plan((Fold(taught, self.rows),), "held-out", text)

    def _duel(self) -> dict[str, Any]:
        judged, promise, seed = self.judged, self.settings.promotion.max_regret, self.settings.seed
        if int(judged.complete.sum()) < MIN_PROMPTS:
            raise GateError(
                f"gate: expected {MIN_PROMPTS} held-out prompts or more that every tier answered and neither model learned "
                f"from, found {int(judged.complete.sum())}; grade more of the newest prompts on every tier"
            )
        reference = self.fitting.manifest["decision"]["reference"]
        ours, theirs = self._contender(self.challenger, reference), None
        if self.incumbent is not None and self.champion_compares:
            theirs = self._contender(self.incumbent.router, reference)
        found = duel(
            judged,
            ours,
            theirs,
            reference=judged.ladder.names.index(reference),
            max_regret=promise,
            n_boot=N_BOOT,
            seed=seed,
        )
        assert ours.scores is not None, "an artefact has the tiers that it was made for"  # noqa: S101
        found["calibration"] = {
            name: calibration_beyond_chance(ours.scores[:, k], judged.passed[:, k], seed)
            for k, name in enumerate(judged.ladder.names)
        }
        _write_json(self.fitting.ledger.folder / DUEL, found)
        return found

    def _contender(self, router: Router, reference: str) -> Contender:
        judged = self.judged
        return contender(router, judged.prompts, judged.ladder, self.settings.promotion.max_regret, reference)

    def _drift(self) -> dict[str, Any]:
        assert self.incumbent is not None, "without a champion there is nothing to have drifted from"  # noqa: S101
        self.progress.step("looking for drift")
        router = self.incumbent.router
        found = measure_drift(
            self.judged,
            router,
            extract_rows(router.model.extractor, self.judged.prompts, self.progress),
            max_regret=self.settings.promotion.max_regret,
            seed=self.settings.seed,
            described=self.incumbent.held_out(self.judged),
        )
        folder = self.fitting.ledger.folder / DRIFT
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        title = f"Drift since champion {self.incumbent.version}"
        (folder / "drift.html").write_text(render_drift_html(found, title), encoding="utf-8")
        (folder / "drift.svg").write_text(render_drift_svg(found), encoding="utf-8")
        _write_json(folder / "drift.json", found)
        self.progress.say("\n" + render_drift_text(found))
        return {key: found[key] for key in ("prompts", "groups", "from", "until", "certificate", "text")} | {
            "was_void": self.incumbent.is_void,
            "drifted": [row["name"] for row in found["rows"] if row["drifted"]],
        }


def _said_by_default(router: Router, outcomes: Outcomes, rows: NDArray[np.intp]) -> dict[str, Any]:
    """Return what a router says of some prompts when its caller asks for nothing, as `evaluate` takes it.

    Prompts that do not judge are not asked about: their rows hold nothing.
    """
    prompts = [outcomes.prompts[row] for row in rows]
    shape = outcomes.passed.shape
    scores, usd = np.zeros(shape), np.zeros(shape)
    decisions = np.zeros(len(outcomes), np.intp)
    scores[rows] = router.score(prompts)
    usd[rows] = router.expected_cost(prompts)
    decisions[rows] = [decision.index for decision in router.route_many(prompts)]
    return {"model_scores": scores, "model_costs": usd, "decisions": decisions}


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
