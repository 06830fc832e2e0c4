"""How long one decision takes, by length of the prompt.

`python -m bench.decision [--data ../shared/data] [--prompts 1000] [--passes 3]`. At each length, on distinct
texts: `Router.route`; the `tokenizers` encode of the same whole text; the ONNX call alone; and `route_many`
in batches of 256, per prompt. The three single calls take turns every 25 texts, so that other jobs on the
machine disturb all alike, and a long encode does not leave its cold caches to the next call: ratios are what
to trust. p50 and p99 are over every call. "Best p99" is over each text's best pass, which leaves out what the
machine did meanwhile, and also what a cache saves on a second pass. `route_many` is the median batch, each by
its best pass. Texts are the prompts of the histories in the data folder, joined and cut; synthetic ones where
there is no folder.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from bench.measuring import describe_machine, render_table, report
from eval.history import read_history
from router import Router
from router.artifact import find_artifact, open_artifact
from router.prompt import read_prompt
from training.synthetic import generate

LENGTHS = (220, 500, 2_000, 32_000)
BATCH = 256
LEAST_PROMPTS = 1000
WARM_UP = 50
BLOCK = 25
CALLS = ("route", "tokenizer", "onnx")


Call = Callable[[int], object]
"""Does something with the text of that number."""


def read_texts(data: Path) -> tuple[list[str], str]:
    """Return the distinct prompts of a folder's histories, or synthetic ones, and where they come from."""
    files = [path for path in sorted(data.glob("*.parquet")) if path.with_suffix(".tiers.toml").is_file()]
    if files:
        prompts = [prompt for path in files for prompt in read_history(path).prompts["prompt"]]
        source = ", ".join(path.stem for path in files)
    else:
        prompts, source = generate(20_000, 0)["prompt"].dropna().tolist(), "synthetic, 20,000 prompts, seed 0"
    return list(dict.fromkeys(read_prompt(prompt).text for prompt in prompts)), source


def cut_texts(prompts: list[str], length: int, n: int, seed: int = 0) -> list[str]:
    """Return n distinct texts of exactly `length` characters: shuffled prompts, joined and cut. Pure.

    Each prompt is used once before any is used again, so a text says little about the next.
    """
    order = [prompt for prompt in prompts if prompt.strip()]
    shuffle = random.Random(seed).shuffle  # noqa: S311 - no secret
    texts: dict[str, None] = {}
    pool: list[str] = []
    for _ in range(2 * n):  # starts may be alike, in prompts from one template
        text = ""
        while len(text) < length:
            if not pool:
                pool = order.copy()
                shuffle(pool)
            text = f"{text}\n\n{pool.pop()}" if text else pool.pop()
        texts[text[:length]] = None
        if len(texts) == n:
            return list(texts)
    raise SystemExit(f"bench: {len(texts)} distinct texts of {length} characters, {n} needed")


def time_calls(calls: list[Call], block: range, first: int) -> NDArray[np.float64]:
    """Return (calls, block) microseconds; the call numbered `first` (modulo their number) starts."""
    taken = np.empty((len(calls), len(block)))
    for k in range(len(calls)):
        turn = (first + k) % len(calls)
        call = calls[turn]
        for column, i in enumerate(block):
            start = perf_counter_ns()
            call(i)
            taken[turn, column] = (perf_counter_ns() - start) / 1000
    return taken


def measure_length(
    router: Router, tools: tuple[Any, Any, Tokenizer], texts: list[str], passes: int
) -> dict[str, Any]:
    """Time one length; the texts after the first WARM_UP are those that count."""
    extractor, scorer, tokenizer = tools
    rows = extractor.extract_many(texts)  # for the ONNX call alone; the router has its own extractor

    calls: list[Call] = [
        lambda i: router.route(texts[i]),
        lambda i: tokenizer.encode(texts[i], add_special_tokens=False),
        lambda i: scorer.score(rows[i : i + 1]),
    ]
    time_calls(calls, range(WARM_UP), 0)
    blocks = [range(i, min(i + BLOCK, len(texts))) for i in range(WARM_UP, len(texts), BLOCK)]
    rounds = [[time_calls(calls, block, b + p) for b, block in enumerate(blocks)] for p in range(passes)]
    taken = np.stack([np.hstack(parts) for parts in rounds])  # (passes, calls, texts)
    many: list[Call] = [lambda i: router.route_many(texts[i : i + BATCH])]
    starts = range(WARM_UP, len(texts) - BATCH + 1, BATCH)
    batches = np.vstack([time_calls(many, starts, 0) for _ in range(passes)])

    # What was timed gives right answers: alone, in a batch and from the rows, to float32 rounding.
    single = [router.route(text) for text in texts]
    together = router.route_many(texts)
    alone = np.array([d.p_pass for d in single])
    assert np.allclose(alone, [d.p_pass for d in together], atol=1e-5), "a batch changes the score"
    assert np.allclose(alone, scorer.score(rows)[0], atol=1e-5), "the ONNX call is another one"
    assert all(
        (a.index == b.index and a.reason == b.reason) or np.ptp(a.p_pass) < 1e-5
        for a, b in zip(single, together, strict=True)
    ), "a batch changes the decision"
    assert len(np.unique(alone, axis=0)) > len(texts) // 2, "different texts get one answer"
    result: dict[str, Any] = {name: summarise(taken[:, k]) for k, name in enumerate(CALLS)}
    ratio = np.median(taken[:, 0]) / np.median(taken[:, 1])
    return {
        **result,
        "route_over_tokenizer": round(float(ratio), 3),
        "route_many_us": round(float(np.median(batches.min(axis=0))) / BATCH, 1),
    }


def summarise(us: NDArray[np.float64]) -> dict[str, float]:
    """Return percentiles in microseconds of (passes, n) times. Pure."""
    best = us.min(axis=0)
    values = {
        "p50_us": np.median(us),
        "p99_us": np.quantile(us, 0.99),
        "p99_best_us": np.quantile(best, 0.99),
    }
    return {name: round(float(value), 1) for name, value in values.items()}


def main() -> None:
    """Measure every length with the default model."""
    parser = argparse.ArgumentParser(prog="python -m bench.decision", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with histories")
    parser.add_argument("--model", type=Path, help="folder of an artefact (default: the default model)")
    parser.add_argument("--prompts", type=int, default=LEAST_PROMPTS, help="texts per length, 1000 or more")
    parser.add_argument(
        "--passes", type=int, default=3, help="times each text is timed (default %(default)s)"
    )
    options = parser.parse_args()
    if options.prompts < LEAST_PROMPTS:
        parser.error(f"--prompts is {LEAST_PROMPTS} or more: a p99 of fewer is noise")
    machine = describe_machine()
    folder = find_artifact(options.model)
    router = Router.load(folder)
    _, extractor, scorer = open_artifact(folder)
    tools = extractor, scorer, Tokenizer.from_file(str(folder / "tokenizer.json"))
    prompts, source = read_texts(options.data)
    lengths = {}
    for length in LENGTHS:
        texts = cut_texts(prompts, length, options.prompts + WARM_UP)
        assert len(set(texts)) == len(texts), "texts repeat"
        assert {len(text) for text in texts} == {length}, "texts of another length"
        lengths[str(length)] = measure_length(router, tools, texts, options.passes)
    header = (
        "us, by characters", "route p50", "p99", "best p99", "tokenizer p50", "p99", "ONNX p50", "p99",
        "route / tokenizer", "route_many",
    )  # fmt: skip
    rows = [
        (
            f"{int(length):,}",
            *m["route"].values(),
            *(m[name][p] for name in ("tokenizer", "onnx") for p in ("p50_us", "p99_us")),
            m["route_over_tokenizer"],
            m["route_many_us"],
        )
        for length, m in lengths.items()
    ]
    document = {
        "bench": "decision",
        "machine": machine,
        "model_id": router.model_id,
        "texts": source,
        "prompts_per_length": options.prompts,
        "passes": options.passes,
        "batch": BATCH,
        "lengths": lengths,
    }
    report(document, render_table(header, rows))


if __name__ == "__main__":
    main()
