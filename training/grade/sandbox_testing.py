"""Runs a solution against its tests, in the process that is thrown away afterwards.

The rule: imports the standard library only, and is loaded by path. Whatever the solution does, it has passed only if
this module's function comes to its end: the solution ends early, raises, or rebinds what the tests rely on, and it has
not. Solution and tests share one interpreter, so that one written to deceive this very module could; guarded against is
what models write to get past tests.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import sys
import types
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

__all__ = ["BadTestsError", "run_tests"]


class BadTestsError(Exception):
    """The tests are no Python, which is not the solution's fault."""


def run_tests(blocks: Sequence[str], tests: str) -> bool:
    """Tell whether a solution passes its tests.

    Parameters
    ----------
    blocks : sequence of str
        The code of the response; blocks that are no Python, or raise, are left out where another is and does not.
    tests : str
        Python that raises where the solution fails. It sees the solution's names, and the module `solution`. Its
        functions `test_*` and its classes of `unittest.TestCase` are run too.
    """
    try:
        tree = ast.parse(tests)
        test_code = compile(tree, "tests", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise BadTestsError from None
    guarded = _guard(tree)
    solution = types.ModuleType("solution")
    sys.modules["solution"] = solution
    codes = [code for block in blocks if (code := _compiled(block)) is not None]
    ran = 0
    for code in codes:
        with suppress(Exception):  # such as an example of use with names of its own
            exec(code, solution.__dict__)  # noqa: S102 - what this process is for
            ran += 1
    if not ran:
        return False
    names = {**solution.__dict__, "__name__": "tests"}
    if not _is_whole(guarded):
        return False
    exec(test_code, names)  # noqa: S102
    mine = {name: value for name, value in names.items() if solution.__dict__.get(name) is not value}
    return _run_defined(mine) and _is_whole(guarded) and not _equals_anything(object)


def _equals_anything(parent: Any) -> bool:  # noqa: ANN401 - a class, of any metaclass
    """Tell whether the solution has a class whose objects equal whatever a test expects."""
    classes: list[Any] = type.__subclasses__(parent)
    for cls in classes:
        if cls.__module__ == "solution" and "__eq__" in vars(cls):
            with suppress(Exception):
                if cls.__new__(cls) == object():
                    return True
        if _equals_anything(cls):
            return True
    return False


def _compiled(block: str) -> types.CodeType | None:
    try:
        return compile(block, "solution", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _run_defined(names: dict[str, Any]) -> bool:
    for name, value in names.items():
        if name.startswith("test_") and isinstance(value, types.FunctionType):
            value()
    unittest = sys.modules.get("unittest")  # half of the time of a run, were it imported for all
    if unittest is None:
        return True
    cases = [
        value for value in names.values() if isinstance(value, type) and issubclass(value, unittest.TestCase)
    ]
    suite = unittest.TestSuite(unittest.defaultTestLoader.loadTestsFromTestCase(case) for case in cases)
    return bool(suite.run(unittest.TestResult()).wasSuccessful())


Guarded = list[
    tuple[dict[str, Any] | types.MappingProxyType[str, Any], str, Callable[..., Any] | types.ModuleType]
]


def _guard(tree: ast.Module) -> Guarded:
    """Return the callables of builtins and of the modules that the tests import, by where they are bound."""
    wanted = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    wanted |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    wanted -= {"solution"}
    for name in wanted:
        with suppress(ImportError):
            importlib.import_module(name)
    guarded: Guarded = []
    homes: list[Any] = [builtins, *(sys.modules[name] for name in wanted if name in sys.modules)]
    if "unittest" in sys.modules:
        homes += [sys.modules["unittest"].TestCase, sys.modules["unittest"].TestResult]
    for home in homes:
        names = vars(home)
        guarded += [(names, name, value) for name, value in names.items() if callable(value)]
    guarded += [(sys.modules, name, sys.modules[name]) for name in wanted if name in sys.modules]
    return guarded


def _is_whole(guarded: Guarded) -> bool:
    # In a loop: `all` and its like are among what may be bound anew.
    for names, name, value in guarded:  # noqa: SIM110
        if names.get(name) is not value:
            return False
    return True
