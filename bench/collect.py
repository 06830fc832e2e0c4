"""How fast prompts become answers, whether memory stays flat meanwhile, and what is left of a run that is killed.

`python -m bench.collect [--prompts 10000] [--kills 20] [--killed-prompts 1000] [--write [--docs docs]]`. The stand-in
server of examples/standin answers, on the same machine. `python -m training collect` runs as a process of its own at a
concurrency of 64; its resident memory is sampled at shares of the calls made. Beside it a bare loop over the openai SDK
makes calls at the same concurrency and keeps nothing: what is left is the journal's, the budget's and the history's share.
Then the same on fewer prompts, killed after random numbers of calls and started again until it ends; its history is compared with
an unkilled run's, and the server's bill says whether anything was billed twice. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

from bench.measuring import ROOT, describe_machine, render_table, report, run_child
from bench.sections import Section, render_markdown

STANDIN = ROOT / "examples" / "standin"
CONCURRENCY = 64
LEAST_CALLS_PER_S = 500.0
MOST_GROWTH_MB = 30.0
"""Resident memory at the last call over that at a tenth of the calls: where each answer of 10,000 prompts stands in the
journal has to be known, and takes some."""
SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)
SDK_CALLS = 6000
_EVERY_S = 0.1
MB = 1e6
KILLED_CONCURRENCY = 16

# The least that calls can cost in one process: the SDK's raw responses, their JSON parsed, nothing kept.
SDK_LOOP = """
import asyncio, json, sys, time
from openai import AsyncOpenAI
url, n, concurrency = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
async def main():
    client = AsyncOpenAI(api_key="none", base_url=url, max_retries=0)
    left = iter(range(n))
    async def work():
        for i in left:
            raw = await client.chat.completions.with_raw_response.create(
                model="standin-small", max_tokens=64, messages=[{"role": "user", "content": f"What is {i} + {i}?"}]
            )
            json.loads(raw.content)
    await work_once(client)
    start = time.monotonic()
    await asyncio.gather(*(work() for _ in range(concurrency)))
    print(json.dumps({"calls_per_s": n / (time.monotonic() - start)}))
async def work_once(client):
    await client.chat.completions.with_raw_response.create(model="standin-small", messages=[{"role": "user", "content": "."}])
asyncio.run(main())
"""

_open = build_opener(ProxyHandler({})).open


@contextmanager
def serving(folder: Path, *flags: str) -> Iterator[str]:
    """Run the stand-in on a free port; yield its address, which ends in /v1."""
    said = folder / "standin.log"
    command = [sys.executable, str(STANDIN / "server.py"), "--port", "0", *flags]
    with said.open("wb") as log:
        server = subprocess.Popen(command, stdout=log)  # noqa: S603 - our own
    try:
        while not (found := re.search(r"listening on (http://\S+)", said.read_text(encoding="utf-8"))):
            assert server.poll() is None, "the stand-in did not start"
            time.sleep(0.05)
        yield found[1]
    finally:
        server.terminate()
        server.wait()


def ask_bill(url: str) -> dict[str, Any]:
    """Return what the stand-in billed."""
    with _open(f"{url.removesuffix('/v1')}/standin/bill", timeout=60) as answer:
        return dict(json.load(answer))


def write_prompts(n: int, folder: Path) -> Path:
    """Write n prompts that the stand-in can answer."""
    path = folder / f"prompts-{n}.jsonl"
    run_child(sys.executable, STANDIN / "prompts.py", "--count", str(n), "--out", path)
    return path


def command_of(prompts: Path, out: Path, url: str, concurrency: int) -> list[str]:
    """Return the command that is measured."""
    flags = ["--prompts", str(prompts), "--tiers", str(STANDIN / "tiers.toml"), "--out", str(out)]
    return [
        sys.executable, "-m", "training", "collect", *flags, "--base-url", url, "--concurrency", str(concurrency),
    ]  # fmt: skip


def measure_speed(n: int, folder: Path) -> dict[str, Any]:
    """Collect n prompts on three tiers; return calls per second and memory on the way."""
    prompts, out = write_prompts(n, folder), folder / "history.parquet"
    with serving(folder) as url:
        sdk = [run_sdk(url)]
        before, used = ask_bill(url)["calls"], _children_s()
        child = subprocess.Popen(  # noqa: S603 - our own
            command_of(prompts, out, url, CONCURRENCY), cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        samples: list[tuple[int, float]] = []
        while child.poll() is None:
            samples.append((ask_bill(url)["calls"] - before, rss_mb(child.pid)))
            time.sleep(_EVERY_S)
        said, _ = child.communicate()
        used = _children_s() - used
        if child.returncode:
            sys.exit(f"bench: exit code {child.returncode} of collect")
        sdk.append(run_sdk(url))
    result = json.loads(said.strip().splitlines()[-1])
    total = 3 * n
    assert result["calls"]["made"] == total, "not every call was made"
    calls_per_s = total / result["calls"]["seconds"]
    return {
        "prompts": n,
        "calls": total,
        "concurrency": CONCURRENCY,
        "seconds": result["calls"]["seconds"],
        "calls_per_s": round(calls_per_s, 1),
        "cpu_ms_per_call": round(used / total * 1e3, 3),
        "sdk_calls_per_s": [round(each, 1) for each in sdk],
        "of_sdk": round(calls_per_s / (sum(sdk) / len(sdk)), 3),
        "rss_mb": {f"{share:g}": round(rss_at(samples, share * total), 1) for share in SHARES},
        "peak_mb": round(max(rss for _, rss in samples), 1),
        "by_status": result["calls"]["by_status"],
    }


def _children_s() -> float:
    """Return the processor time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_sdk(url: str) -> float:
    """Return the calls per second of the bare loop."""
    child = run_child(sys.executable, "-c", SDK_LOOP, url, str(SDK_CALLS), str(CONCURRENCY))
    return float(child.last_json["calls_per_s"])


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process; 0 once it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / MB


def rss_at(samples: list[tuple[int, float]], calls: float) -> float:
    """Return the memory of the first sample at which so many calls were made, else the last with any. Pure."""
    return next(
        (rss for made, rss in samples if made >= calls and rss), [rss for _, rss in samples if rss][-1]
    )


def measure_kills(n: int, kills: int, folder: Path, seed: int) -> dict[str, Any]:
    """Collect n prompts with and without kills, after random numbers of calls; return how the two differ."""
    prompts, whole, killed = write_prompts(n, folder), folder / "whole.jsonl", folder / "killed.jsonl"
    with serving(folder, "--latency-ms", "20") as url:
        run_child(*command_of(prompts, whole, url, KILLED_CONCURRENCY))
        unkilled = ask_bill(url)
    draw = random.Random(seed)  # noqa: S311 - no secret hangs on it
    done = 0
    with serving(folder, "--latency-ms", "20") as url:
        while done < kills:
            # After so many calls of this run, none among them: some kills fall into the start, and a sixth of the calls is
            # left for the run that ends well.
            target = ask_bill(url)["calls"] + draw.randint(0, 2 * (5 * n // 2) // kills)
            child = subprocess.Popen(  # noqa: S603 - our own
                command_of(prompts, killed, url, KILLED_CONCURRENCY),
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            while child.poll() is None and ask_bill(url)["calls"] < target:
                time.sleep(draw.uniform(0.0, 0.01))
            if child.poll() is not None:
                break
            child.send_signal(signal.SIGKILL)
            child.wait()
            done += 1
        ended = run_child(*command_of(prompts, killed, url, KILLED_CONCURRENCY)).last_json
        bill = ask_bill(url)
    return {
        "prompts": n,
        "kills": done,
        "same_history": strip(whole) == strip(killed),
        "rows": len(strip(whole)),
        "billed_calls": bill["calls"],
        "billed_twice": bill["billed_twice"],
        "repeats_not_billed": bill["given_again"],
        "usd": round(bill["usd"], 6),
        "unkilled_usd": round(unkilled["usd"], 6),
        "spent_usd": round(ended["spent_usd"], 6),
    }


def strip(history: Path) -> list[dict[str, Any]]:
    """Return the rows of a history without what may differ."""
    rows = [json.loads(line) for line in history.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        del row["latency_ms"]
    return rows


def judge(document: dict[str, Any]) -> dict[str, bool]:
    """Return whether each bound was met. Pure."""
    speed, killed = document["speed"], document["killed"]
    return {
        f"at least {LEAST_CALLS_PER_S:g} calls/s": speed["calls_per_s"] >= LEAST_CALLS_PER_S,
        f"at most {MOST_GROWTH_MB:g} MB more at the last call than at a tenth": speed["rss_mb"]["1"]
        - speed["rss_mb"]["0.1"]
        <= MOST_GROWTH_MB,
        "the history of a killed run is an unkilled one's": killed["same_history"],
        "nothing billed twice": killed["billed_twice"] == 0 and killed["usd"] == killed["unkilled_usd"],
    }


_SPEED = (
    "prompts",
    "calls",
    "at a time",
    "calls/s",
    "CPU ms a call",
    "bare SDK, calls/s",
    "ratio",
    *(f"MB at {s:.0%}" for s in SHARES),
    "peak MB",
)
_KILLS = ("prompts", "kills", "same history", "calls billed", "billed twice", "sent again, not billed")


def _speed_rows(speed: dict[str, Any]) -> list[tuple[object, ...]]:
    sdk = " and ".join(f"{each:,.0f}" for each in speed["sdk_calls_per_s"])
    memory = (f"{mb:.0f}" for mb in speed["rss_mb"].values())
    return [
        (
            f"{speed['prompts']:,}", f"{speed['calls']:,}", speed["concurrency"], f"{speed['calls_per_s']:,.0f}",
            f"{speed['cpu_ms_per_call']:.2f}", sdk,
            f"{speed['of_sdk']:.2f}", *memory, f"{speed['peak_mb']:.0f}",
        )
    ]  # fmt: skip


def _kill_rows(killed: dict[str, Any]) -> list[tuple[object, ...]]:
    return [
        (
            f"{killed['prompts']:,}", killed["kills"], "yes" if killed["same_history"] else "no",
            f"{killed['billed_calls']:,}", killed["billed_twice"], killed["repeats_not_billed"],
        )
    ]  # fmt: skip


def _render_paragraphs(document: dict[str, Any]) -> list[str]:
    """Return the section of BENCHMARKS.md. Pure."""
    machine, speed, killed = document["machine"], document["speed"], document["killed"]
    return [
        f"`python -m bench.collect --prompts {speed['prompts']} --kills {killed['kills']} --killed-prompts {killed['prompts']}`, one run: "
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_1_min']:g} before it; Python {machine['python']}. The "
        "stand-in server answers on the same machine, at once in the first table and after 20 ms in the second.",
        render_markdown(_SPEED, _speed_rows(speed)),
        "Resident memory of the command at shares of its calls; the peak is while the history is written. The bare SDK makes the same "
        "kind of calls and keeps nothing, before and after.",
        render_markdown(_KILLS, _kill_rows(killed)),
        "Bounds: "
        + "; ".join(f"{name}: {'met' if ok else '**missed**'}" for name, ok in document["met"].items())
        + ".",
    ]


SECTION = Section("collect", "## Collecting answers", _render_paragraphs)


def main() -> None:
    """Measure speed and memory, then kills, and compare with the bounds."""
    parser = argparse.ArgumentParser(prog="python -m bench.collect", description=__doc__)
    parser.add_argument("--prompts", type=int, default=10_000, help="for speed and memory")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--killed-prompts", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0, help="of the times of the kills")
    parser.add_argument(
        "--write", action="store_true", help="write collect.json and the section of BENCHMARKS.md"
    )
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder to write to")
    options = parser.parse_args()
    if options.write:
        SECTION.check(options.docs)
    document: dict[str, Any] = {"bench": "collect", "machine": describe_machine()}
    with tempfile.TemporaryDirectory() as scratch:
        document["speed"] = measure_speed(options.prompts, Path(scratch))
        document["killed"] = measure_kills(options.killed_prompts, options.kills, Path(scratch), options.seed)
    document["met"] = judge(document)
    if options.write:
        SECTION.write(options.docs, document)
    report(
        document,
        render_table(_SPEED, _speed_rows(document["speed"])),
        render_table(_KILLS, _kill_rows(document["killed"])),
        "\n".join(f"{name}: {'met' if ok else 'MISSED'}" for name, ok in document["met"].items()),
    )


if __name__ == "__main__":
    main()
