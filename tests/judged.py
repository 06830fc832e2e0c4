"""Answers of three models of which it is known what a human says, and judges from the stand-in that are asked about them.

Run as a program, with a configuration as JSON, it has them judged in a process of its own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from random import Random
from typing import Any

from eval.progress import Progress
from router.tiers import Ladder, Tier
from training.grade.grades import Row
from training.grade.judges.config import Judge, Pairwise
from training.grade.judges.judging import Judgement, judge_rows

MODELS = ("weak", "fair", "good")
RATES = (0.45, 0.70, 0.92)
LADDER = Ladder(tuple(Tier(name, (name,), 1.0, 1.0) for name in MODELS))
PRICES = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 4.0}  # of examples/standin/graders.toml


def make_rows(prompts: int = 60, seed: int = 0) -> list[Row]:
    """Return an answer of each model to each prompt; a human passes the share RATES of a model's."""
    rng, rows = Random(seed), []  # noqa: S311 - what is drawn is no secret
    for i in range(prompts):
        answers = [
            f"I, {name}, say {_thing(i, rng.random() < p)}." for name, p in zip(MODELS, RATES, strict=True)
        ]
        for model, response in zip(MODELS, answers, strict=True):
            cells = {
                "prompt_id": f"p{i}",
                "prompt": f"What is thing number {i}?",
                "model": model,
                "reference": _thing(i, True),
            }
            number = len(rows)
            row = Row(number, f"history, row {number + 1}", cells, response, answers[-1], model == MODELS[-1])
            rows.append(row)
    return rows


def passes(row: Row) -> bool:
    """Tell whether a human passes an answer."""
    return str(row.cells["reference"]) in row.response


def _thing(i: int, right: bool) -> str:
    return f"{'thing' if right else 'thong'}-{i:04d}"


def write_human(path: Path, rows: list[Row], count: int = 60, seed: int = 0, **columns: Any) -> Path:
    """Write human grades of some rows, drawn at random; of answers right and wrong in their shares."""
    drawn = Random(seed).sample(rows, count)  # noqa: S311
    lines = [
        {"prompt_id": row.cells["prompt_id"], "model": row.cells["model"], "passed": passes(row), **columns}
        for row in drawn
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def judge(human: Path | None, kind: type[Judge | Pairwise] = Judge, **more: Any) -> Judge | Pairwise:
    """Return the stand-in's judge."""
    told = {"human": str(human)} if human else {"unmeasured": True}
    return kind(**{"name": "j", "model": "standin-judge", "reference": "reference", **PRICES, **told, **more})


def run(
    url: str,
    folder: Path,
    rows: list[Row],
    *judges: Judge | Pairwise,
    budget_usd: float | None = None,
    concurrency: int = 8,
) -> Judgement:
    """Have rows judged by each judge."""
    return judge_rows(
        {each.name: (each, rows) for each in judges},
        folder=folder,
        history={(row.cells["prompt_id"], row.cells["model"]): row for row in rows},
        ladder=LADDER,
        budget_usd=budget_usd,
        concurrency=concurrency,
        base_url=url,
        progress=Progress(),
    )


def to_json(judgement: Judgement) -> dict[str, Any]:
    """Return what does not depend on when it was asked."""
    rows = {name: [asdict(each) for each in found] for name, found in judgement.rows.items()}
    return json.loads(json.dumps({"rows": rows, "summary": judgement.summary, "stopped": judgement.stopped}))


def main(told: Mapping[str, Any]) -> None:
    """Judge in this process, and print what came of it."""
    rows = make_rows(told["prompts"])
    asked = replace(
        judge(Path(told["human"]), Pairwise if told["pairwise"] else Judge), **told.get("more", {})
    )
    print(json.dumps(to_json(run(told["url"], Path(told["folder"]), rows, asked))))  # noqa: T201


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
