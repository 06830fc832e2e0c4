"""The weekly run: retrain, compare, promote. One command that a scheduler can run without a person.

The steps in order: load, validate, label, split, fit, calibrate, certify, export, verify, drift, evaluate, duel, register,
gate, promote. Nothing that serves is touched before the last one, which moves one alias in one transaction. A run is known
by its key: the same data, configuration and code as a finished run is recognised, and as an unfinished one is resumed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from eval.estimators import SUBJECT
from eval.progress import Progress
from router.errors import ArtifactError, ConfigError, RouterError
from router.tiers import Ladder
from training.fit import open_embedding
from training.lock import hold
from training.material import read_ladder
from training.pipeline import config
from training.pipeline.fetching import FITTED_BY, INTENT, demoted_by, fetch_incumbent, moved_before
from training.pipeline.fitting import HELD, SEEN, Fitting, read_checked, require_fresh
from training.pipeline.gate import Evidence, GateError, Verdict, decide
from training.pipeline.judging import Findings, Judging, became_void
from training.pipeline.key import data_digest, run_key
from training.pipeline.ledger import Ledger, clear, run_folders, writing
from training.pipeline.logbook import DRY_RUN, RESULT, VERDICT, VERDICT_PAGE, Logbook, window_words
from training.pipeline.promotion import champion_is, check_place, promote, sync
from training.pipeline.record import render_verdict
from training.pipeline.settings import Settings
from training.pipeline.sources import Loaded, require_unchanged, resolve
from training.pipeline.tracking import CHAMPION, Run, Tracking, Version
from training.pipeline.voiding import VOID_OF, answer_void, declare_void
from training.provenance import git_commit

__all__ = ["add_arguments", "retrain", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `python -m training retrain`."""
    config.add_arguments(parser)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run `python -m training retrain`."""
    return retrain(config.read_settings(options), dry_run=options.dry_run)


def retrain(settings: Settings, *, dry_run: bool = False) -> dict[str, Any]:
    """Retrain on the newest window, and promote what is proven better.

    Parameters
    ----------
    dry_run : bool
        Do all but promote; the same run without it goes on from there.

    Returns
    -------
    dict
        JSON-ready: `verdict`, `headline`, `reasons`, `promoted`, `version`, `champion`, `model_id`, `void`, `repeated`, `dry_run`,
        `run_id`, `key`, `champion_dir`, `seconds` by step, `tracking_s` (spent in MLflow), `exit_code`.

    Raises
    ------
    ConfigError
        The configuration or the data is refused (exit code 3).
    GateError
        The gate could not run (4). A champion whose certificate is void is seen to all the same.
    RouterError
        Anything else: another run is under way, MLflow or the disk fails (1).

    The champion is as it was unless the sentence says who serves now.
    """
    with hold(settings.place.lock_file), threadpool_limits(1):
        return _WeeklyRun(settings, dry_run).go()


@dataclass(frozen=True)
class _Week:
    """What a run is about: data, ladder, embedding, and the key that they make with configuration and code."""

    loaded: Loaded
    ladder: Ladder
    embedding: Path
    data: str
    key: str


class _WeeklyRun:
    def __init__(self, settings: Settings, dry_run: bool) -> None:
        self._settings = settings
        self._dry_run = dry_run
        self._progress = Progress()
        place = settings.place
        self._tracking = Tracking(place.tracking_uri, place.artifact_dir, place.model_name)
        self._begun = time.monotonic()

    def go(self) -> dict[str, Any]:
        place, tracking = self._settings.place, self._tracking
        check_place(place)
        incoming = place.work_dir / "incoming"
        clear(place.work_dir, incoming)
        try:
            week = self._load(incoming)
            clear(place.work_dir, *run_folders(place.work_dir, but=week.key[:16]))
            if not self._dry_run:
                with suppress(ArtifactError):  # a champion that does not open is told by the gate
                    sync(tracking, place)  # what a crash between alias and folder left behind
            found = tracking.find_run(week.key)
            if (
                found is not None
                and found.status == "FINISHED"
                and (self._dry_run or found.tags.get(DRY_RUN) != "true")
            ):
                return self._repeat(found)
            run_id = self._begin(week, found)
            try:
                result = self._steps(week, run_id)
            except BaseException as error:
                Logbook(tracking, self._settings, run_id).end_badly(error)
                raise
        finally:
            clear(place.work_dir, incoming)
        if not self._dry_run:  # else the run itself goes on from there
            clear(place.work_dir, place.work_dir / week.key[:16])
        return result

    # Before anything is fitted

    def _load(self, incoming: Path) -> _Week:
        """Find the history's files, and name the run."""
        settings = self._settings
        self._progress.step("loading")
        ladder = read_ladder(settings.tiers)
        embedding, _ = open_embedding(settings.embedding)
        loaded = resolve(settings.history, incoming)
        data = data_digest(loaded.described)
        return _Week(loaded, ladder, embedding, data, run_key(settings, data, settings.tiers, embedding))

    def _begin(self, week: _Week, found: Run | None) -> str:
        self._progress.say(f"run {week.key[:16]}" + (", resumed" if found is not None else ""))
        tags = {
            "tierwise.git_commit": git_commit() or "unknown",
            "mlflow.source.name": "python -m training retrain",
            "mlflow.source.git.commit": (git_commit() or "").removesuffix("+changes"),
            "tierwise.data": week.data,
        }
        name = f"retrain {datetime.now(UTC).date().isoformat()}"
        return self._tracking.begin(week.key, name, tags, None if found is None else found.run_id)

    def _repeat(self, found: Run) -> dict[str, Any]:
        """Return what a finished run came to."""
        place = self._settings.place
        self._progress.say("the same data, configuration and code as a finished run: nothing to do")
        file = self._tracking.fetch(found.run_id, RESULT, place.work_dir / "incoming")
        if file is None:
            raise RouterError(
                f"run {found.run_id} is finished, and its {RESULT} is gone from MLflow; delete the run there, and run again"
            )
        result: dict[str, Any] = json.loads(file.read_bytes())
        require_fresh(result["window"], self._settings.max_age)
        now = self._serving()
        if now != result["champion"]:
            self._progress.say(f"since then, version {now} was made the champion by hand or by another run")
            result["headline"] = (
                f"Decided before, and since then version {now} was made the champion. {result['headline']}"
            )
        return result | {
            "repeated": True,
            "dry_run": self._dry_run,
            "champion": now,
            "seconds": {"total": round(time.monotonic() - self._begun, 2)},
            "tracking_s": round(self._tracking.seconds, 2),
        }

    # The steps

    def _steps(self, week: _Week, run_id: str) -> dict[str, Any]:
        settings, tracking = self._settings, self._tracking
        logbook = Logbook(tracking, settings, run_id)
        ledger = Ledger(settings.place.work_dir / week.key[:16], logbook.done)
        fitting = self._data(week, ledger, logbook)
        with _data_is_accepted():
            # Before minutes are spent on a challenger that cannot be compared with it.
            incumbent = fetch_incumbent(tracking, ledger, run_id, week.ladder, self._progress)
            fitting.fit()
            fitting.calibrate()
            fitting.certify()
            model_id = fitting.export()["model_id"]
            fitting.forget()
            judging = Judging(fitting, incumbent, settings, self._progress)
            try:
                findings = judging.judge()
                version = self._register(run_id, week, fitting)
                gated = self._gate(judging, findings)
            except GateError as error:
                raise self._without_gate(run_id, judging, error) from error
            logbook.judged(judging, findings)
            verdict, served = self._promote(run_id, judging, findings, gated, version)
            result = {
                "verdict": verdict.word,
                "headline": verdict.headline,
                "reasons": verdict.reasons,
                "version": version,
                **served,
                "model_id": model_id,
                "window": ledger.entries["validate"]["result"],
                "void": findings.is_void,
                "repeated": False,
                "dry_run": self._dry_run,
                "run_id": run_id,
                "key": week.key,
                "champion_dir": str(settings.place.champion_dir),
                "seconds": ledger.seconds | {"total": round(time.monotonic() - self._begun, 2)},
                "tracking_s": round(tracking.seconds, 2),
                "exit_code": 0,
            }
            has_moved = served["promoted"] or served["demoted"]
            with _moved(served["champion"] if has_moved else None), writing(ledger.folder):
                self._conclude(judging, findings, verdict, version)
                logbook.concluded(ledger.folder, gated, verdict, version, served)
                logbook.finish(ledger, result, dry_run=self._dry_run)
        return result | {"tracking_s": round(tracking.seconds, 2)}

    def _data(self, week: _Week, ledger: Ledger, logbook: Logbook) -> Fitting:
        """Take the steps in which the data may be refused."""
        settings = self._settings
        ledger.run("load", {"key": week.key}, lambda: {"files": week.loaded.described})
        self._progress.step("validating")
        history, found = read_checked(week.loaded, settings)
        require_unchanged(week.loaded)
        window = ledger.run("validate", {"data": week.data, **settings.deciding()}, lambda: found)
        embedding, extractor = open_embedding(week.embedding)
        fitting = Fitting(
            ledger,
            settings,
            history,
            week.ladder,
            extractor,
            embedding,
            week.loaded.described,
            self._progress,
        )
        labels = fitting.label()
        fitting.split()
        logbook.data(week.loaded.described, window, labels, ledger.folder)
        return fitting

    def _register(self, run_id: str, week: _Week, fitting: Fitting) -> int:
        self._progress.step("registering")
        ledger, tracking = fitting.ledger, self._tracking
        window = ledger.entries["validate"]["result"]
        tags = {
            FITTED_BY: run_id,
            "tierwise.window": window_words(window),
            "tierwise.data": week.data,
            "tierwise.git_commit": git_commit() or "unknown",
        }
        description = f"Fitted on {window['prompts']:,} prompts, {window_words(window)}."

        def do() -> dict[str, Any]:
            for name in (SEEN, HELD):
                tracking.log_files(run_id, ledger.folder / name, "training")
            return {"version": tracking.register(run_id, fitting.artefact, description, tags)}

        inputs = {"run": run_id, "export": ledger.entries["export"]["files"]}
        version: int = ledger.run("register", inputs, do)["version"]
        return version

    def _gate(self, judging: Judging, findings: Findings) -> Verdict:
        incumbent, ledger = judging.incumbent, judging.fitting.ledger
        routes = judging.champion_compares and not findings.is_void
        evidence = Evidence(
            duel=findings.duel,
            certificate=judging.fitting.manifest["certificate"],
            calibration=findings.duel["calibration"],
            latency_us=findings.verified["median_us"],
            champion=None if incumbent is None else incumbent.version,
            champion_routes=routes and incumbent is not None and not incumbent.is_void,
            compared=incumbent is None or judging.champion_compares,
            worth={
                "gap_closed": findings.evaluation["contenders"].get(SUBJECT),
                "rules": findings.evaluation["rules"],
            },
        )
        if incumbent is not None and not incumbent.change.comparable:
            self._progress.say(
                "the champion's tiers are not there any more, so the challenger is judged as a first one"
            )
        promotion = self._settings.promotion
        verdict = Verdict.of(
            ledger.run("gate", asdict(evidence), lambda: decide(evidence, promotion).to_dict())
        )
        self._progress.say(f"\n{verdict.word}: {verdict.headline}")
        for check in verdict.checks:
            self._progress.say(f"  {'passed' if check.passed else 'failed'}  {check.name:<12} {check.text}")
        return verdict

    def _promote(
        self, run_id: str, judging: Judging, findings: Findings, verdict: Verdict, version: int
    ) -> tuple[Verdict, dict[str, Any]]:
        """Move the alias, if the gate said so; else see to a champion whose certificate is void.

        Returns the verdict as it stands then, and who serves.
        """
        place, tracking = self._settings.place, self._tracking
        compared = None if judging.incumbent is None else judging.incumbent.version
        served: dict[str, Any] = {"promoted": False, "demoted": False, "champion": compared}
        if self._dry_run:
            self._progress.say("dry run: nothing is promoted")
            return verdict, served
        self._intend(judging, version)
        now = self._serving()
        if self._others_moved(run_id):
            return verdict, served | {"champion": now}
        if verdict.promotes:
            declare_void(tracking, judging, findings.drift)
            if now not in (compared, version):
                raise GateError(f"gate: champion {compared} was compared, and {now} serves now; run it again")
            self._progress.step(f"promoting version {version}")
            note = promote(tracking, place, version, verdict.headline, run_id=run_id)["note"]
            if note is not None:
                self._progress.say(f"note: {note}")
            return verdict, served | {"promoted": True, "champion": version}
        serving = self._see_to_void(run_id, judging, findings.drift)
        served["champion"] = None if serving is None else serving.version
        if findings.drift is not None and demoted_by(tracking, run_id):
            served["demoted"] = True
            word = "DO NOT ROUTE" if serving is not None and VOID_OF in serving.tags else verdict.word
            text = f"Version {compared} is demoted, and version {served['champion']} serves. {findings.drift['certificate']['text']}"
            self._progress.say(f"\n{word}: {text}")
            verdict = verdict.after_demotion(word, text)
        return verdict, served

    def _without_gate(self, run_id: str, judging: Judging, error: GateError) -> GateError:
        """See to a champion whose certificate is void although nothing is known of the challenger; return what to say."""
        drift = judging.drift()
        if judging.incumbent is None or not became_void(drift):
            return error
        if self._dry_run:
            return GateError(f"{error} And the certificate of champion {judging.incumbent.version} is void.")
        self._intend(judging, None)
        if self._others_moved(run_id):
            return error
        serving = self._see_to_void(run_id, judging, drift)
        now = "no version" if serving is None else f"version {serving.version}"
        return GateError(
            f"{error} And the certificate of champion {judging.incumbent.version} is void: {now} serves now."
        )

    def _intend(self, judging: Judging, version: int | None) -> None:
        """Write down which champion was compared, before the alias may move."""
        compared = None if judging.incumbent is None else judging.incumbent.version
        judging.fitting.ledger.run(INTENT, {"from": compared, "to": version}, lambda: {"from": compared})

    def _serving(self) -> int | None:
        champion = self._tracking.alias(CHAMPION)
        return None if champion is None else champion.version

    def _others_moved(self, run_id: str) -> bool:
        """Say so, and return True, if this run had moved the champion before it was interrupted, and others have since."""
        moved = moved_before(self._tracking, run_id, self._serving())
        if moved:
            self._progress.say(
                "this run had moved the champion, and others have since: nothing is moved again"
            )
        return moved

    def _see_to_void(self, run_id: str, judging: Judging, drift: Mapping[str, Any] | None) -> Version | None:
        """Do what the configuration says of a champion whose certificate is void, if it is; return who serves then."""
        declare_void(self._tracking, judging, drift)
        with _moved(answer_void(self._tracking, judging, drift, run_id)):
            sync(self._tracking, self._settings.place)
            return self._tracking.alias(CHAMPION)

    def _conclude(self, judging: Judging, findings: Findings, verdict: Verdict, version: int) -> None:
        """Write the verdict down, for programs and for people."""
        folder, incumbent = judging.fitting.ledger.folder, judging.incumbent
        document = json.dumps(verdict.to_dict() | {"version": version}, indent=1, allow_nan=False)
        (folder / VERDICT).write_text(document + "\n", encoding="utf-8")
        rival = incumbent.version if incumbent is not None and judging.champion_compares else None
        texts = () if incumbent is None else incumbent.change.texts
        page = render_verdict(verdict, findings, rival, texts)
        (folder / VERDICT_PAGE).write_text(page, encoding="utf-8")


@contextmanager
def _moved(version: int | None) -> Iterator[None]:
    """Have whatever goes wrong in here say that another version serves, if one does."""
    if version is None:
        yield
    else:
        with champion_is(version, "run it again: it does the rest"):
            yield


@contextmanager
def _data_is_accepted() -> Iterator[None]:
    """From here on the data is not to blame: what a step refuses is a failure."""
    try:
        yield
    except ConfigError as error:
        raise RouterError(str(error)) from error
