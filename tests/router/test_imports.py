"""What `import router` loads, what loading a model adds, and which way dependencies point."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from router import Router

ROOT = Path(__file__).resolve().parents[2]
NEVER = {
    "fastapi",
    "starlette",
    "uvicorn",
    "prometheus_client",
    "pydantic",
    "pandas",
    "lightgbm",
    "sklearn",
    "scipy",
    "mlflow",
    "torch",
    "onnx",
    "eval",
    "training",
}
AT_LOAD = {"onnxruntime", "tokenizers"}

PROBE = "\nimport json, sys\nprint(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


def loaded(python: Callable[..., Any], code: str, *arguments: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter holds after some code."""
    run = python("-c", code + PROBE, *arguments)
    assert b"" == run.stderr
    return set(json.loads(run.stdout))


def test_importing_the_router_loads_numpy_and_nothing_heavy(python: Callable[..., Any]) -> None:
    modules = loaded(python, "import router")
    assert set() == modules & (NEVER | AT_LOAD)
    assert {"router", "numpy"} <= modules


def test_loading_a_model_loads_onnxruntime_and_no_more(
    python: Callable[..., Any], toy_artifact: Path
) -> None:
    code = "import sys\nfrom router import Router\nRouter.load(sys.argv[1]).route('hello')"
    modules = loaded(python, code, str(toy_artifact))
    assert AT_LOAD == modules & (NEVER | AT_LOAD)


def test_the_commands_load_no_more(python: Callable[..., Any]) -> None:
    assert set() == loaded(python, "import router.cli") & (NEVER | AT_LOAD)


@pytest.mark.parametrize(
    "module", ["router", "router.cli", "router.client", "router.routing", "router.demand"]
)
def test_nothing_but_the_service_loads_the_service(python: Callable[..., Any], module: str) -> None:
    code = f"import {module}" + PROBE.replace(".partition('.')[0]", "")
    modules = set(json.loads(python("-c", code).stdout))
    assert module in modules
    assert [] == [name for name in modules if name.startswith("router.serving")]


# What a fresh environment lacks: whoever asks for one of these packages is told that it is not there.
WITHOUT_EXTRA = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"fastapi", "starlette", "uvicorn", "prometheus_client", "pydantic", "pydantic_core"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
from router.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_serving_without_the_extra_says_what_to_install(
    python: Callable[..., Any], toy_artifact: Path
) -> None:
    for options in (
        [],
        ["--model", str(toy_artifact), "--port", "0"],
        ["--workers", "2", "--host", "::"],
    ):
        run = python("-c", WITHOUT_EXTRA, "serve", *options)
        assert (3, b"") == (run.returncode, run.stdout)
        (line,) = run.stderr.decode().splitlines()
        assert line.startswith("error: serve needs more packages (")
        assert line.endswith("): pip install 'tierwise[serve]'")


def test_the_other_commands_do_without_the_extra(
    python: Callable[..., Any], toy_artifact: Path, toy_router: Router
) -> None:
    run = python("-c", WITHOUT_EXTRA, "route", "hello", "--json", "--model", str(toy_artifact))
    assert (0, b"") == (run.returncode, run.stderr)
    assert toy_router.route("hello").to_dict() == json.loads(run.stdout)
    run = python("-c", WITHOUT_EXTRA, "serve", "--help")
    assert (0, b"") == (run.returncode, run.stderr)
    assert b"--keys" in run.stdout


@pytest.mark.parametrize(
    "module",
    ["onnx", "onnxruntime", "tokenizers", "fastapi", "uvicorn", "starlette", "prometheus_client", "pydantic"],
)
def test_the_check_can_fail(python: Callable[..., Any], module: str) -> None:
    assert module in loaded(python, f"import router, {module}") & (NEVER | AT_LOAD)


# Which way dependencies point


def imports(source: str) -> Iterator[tuple[str, str]]:
    """Yield the form of each import, "import" or "from", and the module it names."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (("import", alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:  # a relative one stays in its package
            yield "from", node.module or ""


def trespasses(source: str, forbidden: set[str]) -> list[str]:
    """Return the imports that point the wrong way, and those that hide a builtin."""
    return [
        f"{form} {module}"
        for form, module in imports(source)
        if module.partition(".")[0] in forbidden or (form == "import" and module.partition(".")[0] == "eval")
    ]


# An evaluation fits what a fit would fit (docs/adr/0006): one module may, when asked.
ESTIMATORS = ROOT / "eval" / "estimators.py"

MODULES = [
    *((path, {"eval", "training", "bench", "tests"}) for path in sorted((ROOT / "router").rglob("*.py"))),
    *(
        (path, {"bench", "tests"} | ({"training"} if path != ESTIMATORS else set()))
        for path in sorted((ROOT / "eval").rglob("*.py"))
    ),
    *((path, {"bench", "tests"}) for path in sorted((ROOT / "training").rglob("*.py"))),
]


@pytest.mark.parametrize(
    ("path", "forbidden"), MODULES, ids=[path.relative_to(ROOT).as_posix() for path, _ in MODULES]
)
def test_dependencies_point_one_way(path: Path, forbidden: set[str]) -> None:
    assert [] == trespasses(path.read_text(encoding="utf-8"), forbidden)


def test_evaluation_reaches_training_only_when_asked(python: Callable[..., Any]) -> None:
    found = trespasses(ESTIMATORS.read_text(encoding="utf-8"), {"training"})
    assert ["from training.answers", "from training.blend"] == sorted(found)
    assert "training" not in loaded(python, "import eval.estimators")
    assert "training" in loaded(python, "from eval.estimators import estimators\nestimators()")


def test_the_modules_are_found() -> None:
    found = {path.relative_to(ROOT).as_posix() for path, _ in MODULES}
    assert {"router/routing.py", "eval/outcomes.py", "training/fit.py"} <= found


def test_one_module_imports_mlflow_in_each_package() -> None:
    """The registry is reached from `router.registry` at serving and from one module of training."""
    users: dict[str, list[str]] = {"router": [], "eval": [], "training": []}
    for path, _ in MODULES:
        if any(
            module.partition(".")[0] == "mlflow" for _, module in imports(path.read_text(encoding="utf-8"))
        ):
            users[path.relative_to(ROOT).parts[0]].append(path.name)
    assert (["registry.py"], []) == (users["router"], users["eval"])
    assert [] == [name for name in users["training"] if not name.startswith("tracking")]


@pytest.mark.parametrize(
    ("expected", "source"),
    [
        (["import training"], "import training"),
        (["from training.fit"], "def f():\n    from training.fit import fit"),
        (["from eval"], "from eval import curve"),
        (["from eval.curve"], "if x:\n    from eval.curve import y"),
        (["import eval"], "import eval"),
        (["import eval.curve"], "import numpy, eval.curve as c"),
        ([], "import evaluation, trainings\nfrom router.eval import x\nfrom .eval import y\neval('1')"),
    ],
)
def test_the_check_of_directions_can_fail(expected: list[str], source: str) -> None:
    assert expected == trespasses(source, {"eval", "training"})


def test_evaluation_is_imported_by_name_only() -> None:
    assert ["import eval"] == trespasses(
        "import eval\nfrom eval import curve\nfrom eval.curve import x", set()
    )


def test_loading_a_model_leaves_nothing_in_the_home_folder_and_reports_to_no_one(
    python: Callable[..., Any], toy_artifact: Path, tmp_path: Path
) -> None:
    """ONNX Runtime's released builds keep an identifier of the machine there and send events, unless told not to."""
    code = (
        "import os, sys, threading\n"
        "from router import Router\n"
        "Router.load(sys.argv[1]).route('hello')\n"
        "print(os.environ['ORT_DISABLE_TELEMETRY'], threading.active_count())"
    )
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_DATA_HOME": str(tmp_path)}
    run = python("-c", code, str(toy_artifact), **home)
    assert (b"", b"1 1\n") == (run.stderr, run.stdout)
    assert [] == list(tmp_path.iterdir())
