"""Years of weekly retrains on traffic that drifts, judged by their known truth.

`python -m bench.year [--weeks 52] [--per-week 600] [--seeds 1 0] [--workers 1] [--out out/year] [--write]`. Each seed is a year;
the first is the one that is told at length, the others stand beside it. In week w the pipeline runs
(`python -m training retrain`, as a process of its own, window of 8 weeks) on prompts up to that week, and what it leaves as
champion serves week w + 1 under the promise. Beside it serve, on the same prompts, the newest registered model whatever the
gate said, and that of week 8 for ever. Weeks that were run are kept in --out, in a folder for each seed: the same command goes
on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from joblib import delayed
from tqdm import tqdm

from bench.measuring import ROOT, describe_machine, report
from bench.year_history import WEEKS, Week, draw_week, events_of
from bench.year_page import SECTION, render_tables
from bench.year_truth import PROMISE, Said, judge, lead_at_same_cost, summarise_year
from eval.parallel import run_calls
from router import Policy, Router
from router.prompt import Prompt
from training.provenance import git_commit
from training.synthetic_conditions import render_tiers
from training.synthetic_model import LADDER

WINDOW = 8
"""Weeks that a run sees; the week whose model is never replaced in the comparison."""
FURTHER = 2000
"""Prompts that nobody asked, per week, to tell a week's conditions from the luck of its prompts."""
TOP = len(LADDER) - 1
_TRIED = (0, 3, 4)  # promoted or kept; data refused; the gate could not run: the old champion serves on

Retrain = Callable[[Path, Path, Path, int], dict[str, Any]]
Fetch = Callable[[Path, int, Path], None]


def run_retrain(logs: Path, tiers: Path, home: Path, seed: int) -> dict[str, Any]:
    """Run the pipeline once; what it says goes to a file beside the history."""
    command = [sys.executable, "-m", "training", "retrain", "--history", str(logs / "week-*.parquet")]
    command += ["--tiers", str(tiers), "--home", str(home), "--window", f"{WINDOW}w", "--seed", str(seed)]
    start = time.monotonic()
    with (logs.parent / "retrain.log").open("a", encoding="utf-8") as log:
        ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True, check=False)  # noqa: S603 - a command of our own
    if ended.returncode not in _TRIED:
        sys.exit(
            f"bench: exit code {ended.returncode} of {' '.join(command)}; see {logs.parent / 'retrain.log'}"
        )
    lines = ended.stdout.strip().splitlines()
    found: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    return found | {"exit_code": ended.returncode, "wall_s": round(time.monotonic() - start, 2)}


def fetch_version(home: Path, version: int, into: Path) -> None:
    """Copy a registered model's artefact out of the project at `home`."""
    from training.pipeline.tracking import Tracking  # MLflow takes seconds to import

    uri = f"sqlite:///{(home / 'mlflow.db').resolve()}"
    found = Tracking(uri, home / "artifacts", "tierwise").fetch_model(
        version, into.with_name(f"{into.name}.fetched")
    )
    _replace(into, lambda aside: shutil.copytree(found, aside))
    shutil.rmtree(into.with_name(f"{into.name}.fetched"), ignore_errors=True)


def serve(model: Path | None, week: Week) -> dict[str, Any]:
    """Return what a model's decisions on a week's prompts come to; without one, everything goes to the top tier."""
    if model is None:
        return judge(week.truth, week.conditions.ladder, np.full(len(week.truth), TOP), TOP)
    router = Router.load(model)
    decisions = router.route_many(_prompts(week), Policy(max_regret=PROMISE))
    reference = router.manifest.defaults.reference
    chosen = np.array([decision.index for decision in decisions], dtype=np.intp)
    reasons = [decision.reason.value for decision in decisions]
    return judge(week.truth, week.conditions.ladder, chosen, reference) | {
        "model_id": router.model_id,
        "shares": np.round(np.bincount(chosen, minlength=TOP + 1) / len(chosen), 4).tolist(),
        "reasons": {name: round(reasons.count(name) / len(reasons), 4) for name in sorted(set(reasons))},
    }


def compare_champions(new: Path | None, old: Path | None, week: Week) -> dict[str, Any]:
    """Return what a champion and the one that it replaced come to on a week's prompts, as `year_truth.compare` takes it."""
    told: dict[str, Any] = {"new": serve(new, week), "old": serve(old, week), "same_cost": None}
    if new is not None and old is not None:
        prompts = _prompts(week)
        ours, theirs = (
            Said(router.score(prompts).astype(np.float64), router.expected_cost(prompts))
            for router in map(Router.load, (new, old))
        )
        spent_usd = told["new"]["usd"]
        told["same_cost"] = lead_at_same_cost(week.truth, week.conditions.ladder, ours, theirs, spent_usd)
    return told


def _prompts(week: Week) -> list[Prompt]:
    """Return a week's prompts in the order of its truth."""
    rows = week.history.drop_duplicates("prompt_id").set_index("prompt_id").loc[week.truth["prompt_id"]]
    return [
        prompt if isinstance(prompt, str) else json.loads(messages)
        for prompt, messages in zip(rows["prompt"], rows["messages"], strict=True)
    ]


class Year:
    """One year, in a folder that keeps what was run.

    Parameters
    ----------
    out : Path
        Holds logs/, home/ (the pipeline's), models/ and weeks/.
    retrain, fetch : callable
        Run the pipeline; copy a version's artefact.
    """

    def __init__(
        self,
        out: Path,
        per_week: int,
        seed: int,
        retrain: Retrain = run_retrain,
        fetch: Fetch = fetch_version,
    ) -> None:
        self.out, self.per_week, self.seed = out.resolve(), per_week, seed
        self.home = self.out / "home"
        self._retrain, self._fetch = retrain, fetch
        for name in ("logs", "weeks", "models"):
            (self.out / name).mkdir(parents=True, exist_ok=True)
        told, settings = self.out / "settings.json", {"per_week": per_week, "seed": seed, "further": FURTHER}
        if told.exists() and json.loads(told.read_text(encoding="utf-8")) != settings:
            sys.exit(
                f"bench: {out} holds another year ({told.read_text(encoding='utf-8')}); name another folder with --out"
            )
        _write_json(told, settings)

    def run_week(self, number: int) -> dict[str, Any]:
        """Return a week's record, running the pipeline where that was not done yet."""
        kept = self.out / "weeks" / f"{number:02d}.json"
        if kept.exists():
            found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
            return found
        week = draw_week(number, self.per_week, self.seed)
        log = self.out / "logs" / f"week-{number:02d}.parquet"
        _replace(log, lambda aside: week.history.to_parquet(aside, index=False, compression="zstd"))
        tiers = self.out / "tiers.toml"
        tiers.write_text(render_tiers(week.conditions.ladder), encoding="utf-8")
        before = self._copy_champion(number)
        result = self._run_pipeline(number, tiers)
        champion = self._model("champion")
        self._keep_models(number, result)

        following = draw_week(number + 1, self.per_week, self.seed)
        further = draw_week(number + 1, FURTHER, self.seed, further=True)
        record: dict[str, Any] = {
            "week": number,
            "commit": git_commit(),
            "served": number + 1,
            "events": events_of(number + 1),
            "retrain": result,
        }
        models = {"champion": champion, "newest": self._model("newest"), "never": self._model("never")}
        for name, model in models.items():
            judged = name != "never" or number >= WINDOW
            record[name] = (
                {"served": serve(model, following), "further": serve(model, further)} if judged else None
            )
        record["change"] = None
        # A run whose gate could not run demotes, too, and says nothing of it.
        if _manifest(champion) != _manifest(before):
            now = draw_week(number, FURTHER, self.seed, further=True)
            how = "promoted" if result.get("promoted") else "demoted"
            record["change"] = {"how": how, **compare_champions(champion, before, now)}
        _write_json(kept, record)
        shutil.rmtree(self.out / "models" / f"before-{number:02d}", ignore_errors=True)
        return record

    def _run_pipeline(self, number: int, tiers: Path) -> dict[str, Any]:
        """Run it, and keep what it said at once: run again, it would say that all is done."""
        kept = self.out / "weeks" / f"{number:02d}.retrain.json"
        if not kept.exists():
            _write_json(kept, self._retrain(self.out / "logs", tiers, self.home, self.seed))
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return found

    def _model(self, name: str) -> Path | None:
        folder = self.home / "champion" if name == "champion" else self.out / "models" / name
        return folder if (folder / "manifest.json").is_file() else None

    def _copy_champion(self, number: int) -> Path | None:
        """Return a copy of who serves before the week's run; where nobody does, an empty folder remembers it."""
        copy, champion = self.out / "models" / f"before-{number:02d}", self._model("champion")
        if not copy.exists():
            _replace(
                copy, lambda aside: aside.mkdir() if champion is None else shutil.copytree(champion, aside)
            )
        return self._model(copy.name)

    def _keep_models(self, number: int, result: dict[str, Any]) -> None:
        """Keep the newest registered model, and that of the week whose model is never replaced."""
        if result.get("version") is not None:
            self._fetch(self.home, int(result["version"]), self.out / "models" / "newest")
        newest = self._model("newest")
        if number == WINDOW and newest is not None:
            _replace(self.out / "models" / "never", lambda aside: shutil.copytree(newest, aside))


def _manifest(model: Path | None) -> bytes | None:
    return None if model is None else (model / "manifest.json").read_bytes()


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file or folder aside, then put it in place."""
    aside = path.with_name(f".{path.name}.tmp")
    for old in (aside, path):
        shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
    write(aside)
    aside.replace(path)


def _write_json(path: Path, document: dict[str, Any]) -> None:
    text = json.dumps(document, ensure_ascii=False)
    _replace(path, lambda aside: aside.write_text(text, encoding="utf-8"))


def run_year(seed: int, runs: int, per_week: int, out: Path) -> dict[str, Any]:
    """Run a year, or what is left of it; return its summary."""
    year, weeks = Year(out / f"seed-{seed}", per_week, seed), []
    with tqdm(
        total=runs, desc=f"seed {seed}", unit="week", file=sys.stderr, disable=None, dynamic_ncols=True
    ) as bar:
        for number in range(1, runs + 1):
            record = year.run_week(number)
            weeks.append(record)
            said, served = record["retrain"], record["champion"]["served"]
            tqdm.write(
                f"seed {seed}, week {number:2d}: {said.get('verdict', 'exit code ' + str(said['exit_code'])):12s} {said['wall_s']:5.1f} s; "
                f"then regret {served['regret']:.3f}, saving {served['saving']:.3f}",
                file=sys.stderr,
            )
            bar.update()
    return {"seed": seed, **summarise_year(weeks)}


def main() -> None:
    """Run the years, or what is left of them."""
    parser = argparse.ArgumentParser(prog="python -m bench.year", description=__doc__)
    parser.add_argument("--weeks", type=int, default=WEEKS, help="runs, 52 at most (default %(default)s)")
    parser.add_argument(
        "--per-week", type=int, default=600, help="prompts of a usual week (default %(default)s)"
    )
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[1, 0],
        help="years; the first is told at length (default 1 0)",
    )
    parser.add_argument(
        "--workers", type=int, default=1, help="years that run at a time (default %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out/year"), help="folder that keeps the weeks (default %(default)s)"
    )
    parser.add_argument(
        "--write", action="store_true", help="write year.json, year.svg and the figures of YEAR.md"
    )
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder to write to")
    options = parser.parse_args()
    if not 1 <= options.weeks <= WEEKS:
        parser.error(f"--weeks is 1 to {WEEKS}; found {options.weeks}")
    seeds: list[int] = options.seeds
    if len(set(seeds)) < len(seeds):
        parser.error(f"--seeds are different years; found {' '.join(map(str, seeds))}")
    if options.write:
        if options.weeks < WEEKS:
            parser.error("--weeks is for trying: its figures are not written")
        SECTION.check(options.docs)
    machine, workers = describe_machine(), min(options.workers, len(seeds))
    calls = (delayed(run_year)(seed, options.weeks, options.per_week, options.out) for seed in seeds)
    years = {year["seed"]: year for year in run_calls(calls, workers)}
    document = {
        "bench": "year",
        "machine": machine,
        "workers": workers,
        "per_week": options.per_week,
        "window": WINDOW,
        "years": [years[seed] for seed in seeds],
    }
    if options.write:
        SECTION.write(options.docs, document)
    report(document, *render_tables(document))


if __name__ == "__main__":
    main()
