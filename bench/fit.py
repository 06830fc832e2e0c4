"""How long a fit takes and how much memory it needs, and how both grow with the history.

`python -m bench.fit [--data ../shared/data] [--sizes 10000 30000 100000]`. Each fit is one
`python -m training fit` as a process of its own, so start-up and import count. Histories: mmlu_pro if the
data folder holds it, and synthetic ones of the given sizes. Growth is the slope between two sizes on
log-log axes: 1 is linear. It is judged on user CPU seconds, which other jobs on the machine move less than
the wall clock.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from itertools import pairwise
from math import log
from pathlib import Path
from typing import Any

from bench.measuring import describe_machine, render_table, report, run_child

REAL = "mmlu_pro"
TARGETS = {"mmlu_pro_wall_s": 90.0, "mmlu_pro_peak_mb": 1500.0, "growth_exponent": 1.0}
# Two runs of one fit differ by up to 5 % on a shared machine; over a factor of 3 in size that is .05.
GROWTH_NOISE = 0.05


def measure_fit(history: Path, tiers: Path, out: Path, seed: int) -> dict[str, Any]:
    """Fit one history in a child process, and check the artefact that came out."""
    fit = [sys.executable, "-m", "training", "fit", "--seed", str(seed)]
    child = run_child(*fit, "--history", history, "--tiers", tiers, "--out", out)
    result = child.last_json
    # A load verifies hashes and golden scores.
    manifest = run_child(sys.executable, "-m", "router", "inspect", out, "--json").last_json
    assert manifest["model_id"] == result["model_id"], "another artefact than the fit reported"
    prompts = result["summary"]["prompts"]
    router = result["metrics"]["router"]
    assert 0 < router["prompts"] < prompts, "nothing was held out"
    assert all(tier["auc"] > 0.5 for tier in router["calibration"].values()), "worse than chance"
    # A child's peak starts at its parent's, so a parent as large would hide it.
    own_mb = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    )
    assert child.peak_mb > own_mb, "the peak may be the bench's own"
    return {
        "prompts": prompts,
        "outcomes": result["summary"]["outcomes"],
        "members": result["members"],
        "gap_closed": router["gap_closed"]["value"],
        "wall_s": round(child.wall_s, 2),
        "user_s": round(child.user_s, 2),
        "system_s": round(child.system_s, 2),
        "peak_mb": round(child.peak_mb, 1),
        "wall_s_per_1000": round(1000 * child.wall_s / prompts, 3),
        "user_s_per_1000": round(1000 * child.user_s / prompts, 3),
    }


def growth(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the log-log slope of wall time, CPU time and memory between neighbouring sizes. Pure."""
    rows = sorted(rows, key=lambda row: row["prompts"])
    return [
        {
            "from": a["prompts"],
            "to": b["prompts"],
            **{
                name: round(log(b[name] / a[name]) / log(b["prompts"] / a["prompts"]), 3)
                for name in ("wall_s", "user_s", "peak_mb")
            },
        }
        for a, b in pairwise(rows)
    ]


def main() -> None:
    """Measure every history, and compare with the targets."""
    parser = argparse.ArgumentParser(prog="python -m bench.fit", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help=f"folder with {REAL}")
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 30_000, 100_000], help="prompts")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    machine = describe_machine()
    fits: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        history, tiers = ((options.data / f"{REAL}{end}").resolve() for end in (".parquet", ".tiers.toml"))
        if history.is_file() and tiers.is_file():
            fits[REAL] = measure_fit(history, tiers, folder / REAL, options.seed)
        for size in options.sizes:
            name = f"synthetic_{size}"
            # In a child, or the tables would count as every later child's peak.
            synthetic = [sys.executable, "-m", "training", "synthetic"]
            run_child(*synthetic, "--out", folder, "--prompts", str(size))
            fits[name] = measure_fit(
                folder / "history.parquet", folder / "tiers.toml", folder / name, options.seed
            )
            assert fits[name]["prompts"] == size, "not the history that was made"
    if not fits:
        parser.error(f"nothing to fit: --data {options.data} holds no {REAL}, and --sizes is empty")
    slopes = growth([row for name, row in fits.items() if name != REAL])
    met: dict[str, bool] = {}
    if REAL in fits:
        met["mmlu_pro_wall_s"] = fits[REAL]["wall_s"] <= TARGETS["mmlu_pro_wall_s"]
        met["mmlu_pro_peak_mb"] = fits[REAL]["peak_mb"] <= TARGETS["mmlu_pro_peak_mb"]
    if slopes:
        worst = max(slope["user_s"] for slope in slopes)
        met["growth_exponent"] = worst <= TARGETS["growth_exponent"] + GROWTH_NOISE
    columns = ("prompts", "wall_s", "user_s", "peak_mb", "wall_s_per_1000", "user_s_per_1000")
    tables = [
        render_table(
            ("fit", *columns, "members"),
            [(name, *(row[c] for c in columns), "+".join(row["members"])) for name, row in fits.items()],
        ),
        render_table(
            ("growth (1 = linear)", "wall", "user CPU", "peak memory"),
            [(f"{s['from']:,} to {s['to']:,}", s["wall_s"], s["user_s"], s["peak_mb"]) for s in slopes],
        ),
        "\n".join(f"{name} <= {TARGETS[name]:g}: {'met' if ok else 'MISSED'}" for name, ok in met.items()),
        f"growth of user CPU, within {GROWTH_NOISE:g} of noise",
    ]
    report(
        {
            "bench": "fit",
            "machine": machine,
            "fits": fits,
            "growth": slopes,
            "targets": TARGETS,
            "growth_noise": GROWTH_NOISE,
            "met": met,
        },
        *tables,
    )


if __name__ == "__main__":
    main()
