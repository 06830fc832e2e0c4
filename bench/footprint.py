"""What the base install weighs and how fast it starts.

`python -m bench.footprint [--wheel FILE] [--repeats 25]`. Builds the wheel (or takes FILE), installs it into
a fresh virtual environment, so a package index must be in reach, and measures there, from outside the
checkout: size of site-packages without pip and setuptools, as pip leaves it (byte code included); size of the
packaged artefact; time of `import router` over numpy's own, as the median over pairs of processes, one with
and one without it in turn; time from the start of a process to its first decision, and resident memory after
it. Files are in the page cache, as they are on a machine that has started the router before.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import venv
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

from bench.measuring import ROOT, Child, describe_machine, render_table, report, run_child

TARGETS = {"import_over_numpy_s": 0.2, "install_mb": 165.0, "artefact_mb": 10.0}
# What a virtual environment starts with; no part of the install.
NOT_OURS = ("pip", "setuptools", "wheel", "_distutils_hack", "distutils-precedence.pth", "pkg_resources")
MB, MIB = 1e6, 2.0**20

NUMPY = "import numpy"
ROUTER = "import numpy, router"
RESIDENT = """
import json, os, resource, sys, time
def resident():
    try:
        return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
"""
FIRST_DECISION = (
    "import router; d = router.route('Extract the invoice number from: Invoice INV-20931.'); import time; at = time.monotonic()"
    + RESIDENT
    + "print(json.dumps({'at': at, 'resident': resident(), 'file': router.__file__, 'decision': d.to_dict()}))"
)
NUMPY_RESIDENT = NUMPY + RESIDENT + "print(resident())"


def install(wheel: Path | None, folder: Path) -> tuple[Path, Path]:
    """Install the wheel into a fresh environment; return its interpreter and its site-packages."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    if wheel is None:
        run_child(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
        (wheel,) = folder.glob("tierwise-*.whl")
    run_child(*pip, "install", "--quiet", wheel.resolve())
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return python, Path(run_child(python, "-I", "-c", where).stdout.strip())


def weigh(folder: Path) -> int:
    """Return the bytes of all files under a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def weigh_install(site: Path) -> tuple[Counter[str], int]:
    """Return the bytes of each package in site-packages, and how many of the sum are byte code."""
    sizes: Counter[str] = Counter()
    byte_code = 0
    for entry in site.iterdir():
        name = entry.name.split("-")[0] if entry.name.endswith(".dist-info") else entry.name
        if name in NOT_OURS:
            continue
        files = [entry] if entry.is_file() else [path for path in entry.rglob("*") if path.is_file()]
        sizes[name.removesuffix(".libs")] += sum(path.stat().st_size for path in files)
        byte_code += sum(path.stat().st_size for path in files if path.suffix == ".pyc")
    return sizes, byte_code


def measure_starts(python: Path, site: Path, cwd: Path, repeats: int) -> dict[str, Any]:
    """Time imports and first decisions, each in processes of their own, in turn."""
    # Isolated (-I): neither the checkout nor the caller's settings, such as a model of their own.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "TIERWISE"))}

    def run_isolated(code: str) -> Child:
        return run_child(python, "-I", "-c", code, cwd=cwd, environment=environment)

    without, over, first, resident, bare = [], [], [], [], []
    ids = set()
    for i in range(repeats + 1):
        a = run_isolated(NUMPY).wall_s
        b = run_isolated(ROUTER).wall_s
        start = time.monotonic()
        found = run_isolated(FIRST_DECISION).last_json
        numpy_bytes = int(run_isolated(NUMPY_RESIDENT).stdout)
        assert Path(found["file"]).is_relative_to(site), "another router than the one installed"
        assert len(found["decision"]["p_pass"]) > found["decision"]["index"], "not a decision"
        ids.add(found["decision"]["model_id"])
        if i:  # the first round fills the page cache
            without.append(a)
            over.append(b - a)
            first.append(found["at"] - start)
            resident.append(found["resident"])
            bare.append(numpy_bytes)
    packaged = json.loads((site / "router" / "default" / "manifest.json").read_text(encoding="utf-8"))
    assert ids == {packaged["model_id"]}, "decided by another model than the packaged one"
    return {
        "numpy_process_s": round(median(without), 4),
        "import_over_numpy_s": round(median(over), 4),
        "first_decision_s": round(median(first), 4),
        "first_decision_resident_mb": round(median(resident) / MB, 1),
        "numpy_resident_mb": round(median(bare) / MB, 1),
        "repeats": repeats,
    }


def main() -> None:
    """Install, weigh and start."""
    parser = argparse.ArgumentParser(prog="python -m bench.footprint", description=__doc__)
    parser.add_argument("--wheel", type=Path, help="measure this wheel instead of building one")
    parser.add_argument("--repeats", type=int, default=25, help="rounds of processes (default %(default)s)")
    options = parser.parse_args()
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve()
        python, site = install(options.wheel, folder)
        sizes, byte_code = weigh_install(site)
        total = sizes.total()
        artefact = weigh(site / "router" / "default")
        listing = run_child(python, "-m", "pip", "list", "--format", "json", "--disable-pip-version-check")
        installed = {row["name"]: row["version"] for row in listing.last_json}
        starts = measure_starts(python, site, folder, options.repeats)
    assert {"tierwise", "numpy", "onnxruntime", "tokenizers"} <= installed.keys(), "an incomplete install"
    machine["versions"] = {name: number for name, number in installed.items() if name not in NOT_OURS}
    result = {
        "install_mb": round(total / MB, 1),
        "install_mib": round(total / MIB, 1),
        "byte_code_mb": round(byte_code / MB, 1),
        "artefact_mb": round(artefact / MB, 2),
        "artefact_mib": round(artefact / MIB, 2),
        **starts,
        "packages_mb": {name: round(size / MB, 2) for name, size in sizes.most_common()},
    }
    met = {name: result[name] <= limit for name, limit in TARGETS.items()}
    verdict = {name: f"{TARGETS[name]:g} ({'met' if ok else 'MISSED'})" for name, ok in met.items()}
    rows = [(name, value, verdict.get(name, "")) for name, value in result.items() if name != "packages_mb"]
    tables = [
        render_table(("footprint", "measured", "at most"), rows),
        render_table(("package", "MB"), list(result["packages_mb"].items())[:12]),
    ]
    report({"bench": "footprint", "machine": machine, **result, "targets": TARGETS, "met": met}, *tables)


if __name__ == "__main__":
    main()
