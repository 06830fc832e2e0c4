"""Code of models runs, fails and ends, and reaches nothing that it should not."""

from __future__ import annotations

import os
import socket
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from router.errors import ConfigError
from training.grade.code import Code, code_blocks
from training.grade.grades import Row, Why
from training.grade.sandbox import Limits, Outcome, Sandbox

LIMITS = Limits(cpu_s=1, memory_mb=512, files_mb=8, processes=8)
BARE = Sandbox(LIMITS, 20.0, network=True, isolate=False)
TESTS = "assert f(2) == 4"
RIGHT = "def f(x):\n    return 2 * x"


@pytest.fixture(scope="module")
def isolated() -> Sandbox:
    try:
        return Sandbox(LIMITS, 20.0).checked("test")
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["isolated", "bare"])
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    if request.param == "bare":
        return BARE
    found: Sandbox = request.getfixturevalue("isolated")
    return found


def body(text: str) -> str:
    """Return a function f of these lines."""
    return "def f(x):\n" + textwrap.indent(textwrap.dedent(text).strip(), "    ")


OUTCOMES = {
    "right": (RIGHT, Outcome.PASSED),
    "wrong": (body("return 3 * x"), Outcome.FAILED),
    "no function": ("x = 1", Outcome.FAILED),
    "no Python": ("def f(x) return 4", Outcome.FAILED),
    "deep": ("(" * 5000 + ")" * 5000, Outcome.FAILED),
    "loops": (body("while True: pass"), Outcome.OUT_OF_TIME),
    "raises": (body("raise KeyError(x)"), Outcome.FAILED),
    "recurses": (body("return f(x)"), Outcome.FAILED),
    "exits at once with 0": ("import sys\nsys.exit(0)", Outcome.FAILED),
    "ends at once with 0": ("import os\nos._exit(0)", Outcome.FAILED),
    "ends in the test with 0": (body("import os\nos._exit(0)"), Outcome.FAILED),
    "exits in the test with 0": (body("raise SystemExit(0)"), Outcome.FAILED),
    "kills itself": (body("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)"), Outcome.FAILED),
    "writes the marker everywhere": (
        "import os\nfor fd in range(20):\n    try:\n        os.write(fd, b'p')\n    except OSError:\n        pass\nos._exit(0)",
        Outcome.FAILED,
    ),
    "prints a lot": (body("for _ in range(10_000): print('x' * 1000)\nreturn 4"), Outcome.PASSED),
    "reads input": (body("return input()"), Outcome.FAILED),
    "takes memory": (body("return len(bytearray(10**10)) and 4"), Outcome.FAILED),
    "writes too much": (body("open('x', 'wb').write(b'x' * 10**8)\nreturn 4"), Outcome.FAILED),
    "writes a little": (body("open('x', 'w').write('4')\nreturn int(open('x').read())"), Outcome.PASSED),
    "rebinds what tests call": ("import builtins\nbuiltins.abs = lambda x: 4\n" + RIGHT, Outcome.FAILED),
    "rebinds within the test": (body("import builtins\nbuiltins.all = any\nreturn 4"), Outcome.FAILED),
    "equals anything": (
        "class E:\n    def __eq__(self, other): return True\n" + body("return E()"),
        Outcome.FAILED,
    ),
    "a number that equals any": (
        "class E(int):\n    def __eq__(self, other): return True\n" + body("return E()"),
        Outcome.FAILED,
    ),
    "equals its like": (
        "class E:\n    def __eq__(self, other): return self.x == other.x\n" + RIGHT,
        Outcome.PASSED,
    ),
    "has its own tests": ("def test_f():\n    raise KeyError\n" + RIGHT, Outcome.PASSED),
    "uses the library": ("import json, re, heapq, decimal, datetime, asyncio\n" + RIGHT, Outcome.PASSED),
    "finds no secrets": (
        body("import os\nreturn 4 if not set(os.environ) - {'PYTHONHASHSEED', 'LC_CTYPE'} else 0"),
        Outcome.PASSED,
    ),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_outcomes(sandbox: Sandbox, name: str) -> None:
    code, expected = OUTCOMES[name]
    assert expected is sandbox.run([code], TESTS)


TEST_CODES = [
    ("assert f(", RIGHT, Outcome.BAD_TESTS),
    ("from solution import f as g\nassert g(1) == 2", RIGHT, Outcome.PASSED),
    ("def test_a():\n    assert f(2) == 4\n", RIGHT, Outcome.PASSED),
    ("def test_a():\n    assert f(2) == 5\n", RIGHT, Outcome.FAILED),
    (
        "import unittest\nclass T(unittest.TestCase):\n    def test_a(self): self.assertEqual(4, f(2))",
        RIGHT,
        Outcome.PASSED,
    ),
    (
        "import unittest\nclass T(unittest.TestCase):\n    def test_a(self): self.assertEqual(5, f(2))",
        RIGHT,
        Outcome.FAILED,
    ),
    (
        "import unittest\nclass T(unittest.TestCase):\n    def test_a(self): self.assertEqual(5, f(2))",
        "import unittest\nunittest.TestCase.assertEqual = lambda *_: None\n" + RIGHT,
        Outcome.FAILED,
    ),
    (
        "import math\nassert math.isclose(f(2), 5)",
        "import math\nmath.isclose = lambda *_: True\n" + RIGHT,
        Outcome.FAILED,
    ),
    (
        "import math\nassert math.isclose(f(2), 5)",
        "import sys, types\nm = types.ModuleType('math')\nm.isclose = lambda *_: 1\nsys.modules['math'] = m\n"
        + RIGHT,
        Outcome.FAILED,
    ),
]


@pytest.mark.parametrize(("tests", "code", "expected"), TEST_CODES)
def test_forms_of_tests(tests: str, code: str, expected: Outcome) -> None:
    assert expected is BARE.run([code], tests)


def test_the_wall_clock_ends_what_sleeps(sandbox: Sandbox) -> None:
    short = replace(sandbox, wall_s=0.5)
    assert short.run(["import time\ntime.sleep(1000)"], TESTS) is Outcome.OUT_OF_TIME


def test_sets_have_the_same_order_twice(sandbox: Sandbox) -> None:
    code = body("return hash('the seed of hashes')")
    told = [sandbox.run([code], f"assert f(2) % 2 == {i}") for i in (0, 1) for _ in range(3)]
    assert sorted(told, key=str) == [Outcome.FAILED] * 3 + [Outcome.PASSED] * 3
    assert len(set(told[:3])) == 1


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_the_network_is_out_of_reach(isolated: Sandbox, listener: int) -> None:
    code = body(f"import socket\nsocket.create_connection(('127.0.0.1', {listener}), 5).close()\nreturn 4")
    assert isolated.run([code], TESTS) is Outcome.FAILED
    assert replace(isolated, network=True).run([code], TESTS) is Outcome.PASSED


def test_files_of_the_machine_are_out_of_reach(isolated: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("4", encoding="utf-8")
    code = body(f"return int(open({str(secret)!r}).read())")
    assert isolated.run([code], TESTS) is Outcome.FAILED
    assert BARE.run([code], TESTS) is Outcome.PASSED
    for place in ("/usr", "/", str(Path(os.__file__).parent)):
        assert isolated.run([body(f"open('{place}/x', 'w')\nreturn 4")], TESTS) is Outcome.FAILED


def test_no_rights_and_no_way_to_gain_them(isolated: Sandbox) -> None:
    code = body("import os\nreturn 0 if 0 in os.getresuid() + os.getresgid() else 4")
    assert isolated.run([code], TESTS) is Outcome.PASSED
    for call in (
        "unshare(0x10000000)",
        "unshare(0x40000000)",
        "chroot(b'/usr')",
        "mount(b'/usr', b'/tmp', None, 4096, None)",
    ):
        code = body(f"import ctypes\nreturn 4 if ctypes.CDLL(None).{call} == 0 else 0")
        assert isolated.run([code], TESTS) is Outcome.FAILED


def test_other_processes_are_out_of_reach(isolated: Sandbox) -> None:
    code = body(f"import os\nos.kill({os.getpid()}, 0)\nreturn 4")
    assert isolated.run([code], TESTS) is Outcome.FAILED
    assert isolated.run([body("import os\nos.kill(-1, 9)\nreturn 4")], TESTS) is Outcome.FAILED


def test_forks_are_limited(isolated: Sandbox) -> None:
    bomb = "import os\nwhile True:\n    os.fork()"
    assert isolated.run([bomb], TESTS) in (Outcome.FAILED, Outcome.OUT_OF_TIME)
    code = body(
        """
        import os, time
        for n in range(100):
            try:
                child = os.fork()
            except OSError:
                return 4
            if child == 0:
                time.sleep(1000)
        return n
        """
    )
    assert isolated.run([code], TESTS) is Outcome.PASSED


def test_nothing_is_left_behind(sandbox: Sandbox, tmp_path: Path) -> None:
    # The child holds the writing end of a pipe until it ends: end of file on the other end is its end.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    code = body(
        f"""
        import os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                try:
                    held = os.open({str(pipe)!r}, os.O_WRONLY)
                except OSError:
                    pass
                time.sleep(1000)
            os._exit(0)
        os.wait()
        return 4
        """
    )
    if not sandbox.isolate and os.geteuid() != 0:
        pytest.skip("limits alone count the user's processes, so that code of theirs can start none")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert sandbox.run([code], TESTS) is Outcome.PASSED
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)


def test_where_no_isolation_is_permitted_code_does_not_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    child = Path(__file__).parents[2] / "training" / "grade"
    for name in ("sandbox_child.py", "sandbox_isolation.py", "sandbox_testing.py"):
        (tmp_path / name).write_text((child / name).read_text(encoding="utf-8"), encoding="utf-8")
    isolation = tmp_path / "sandbox_isolation.py"
    text = isolation.read_text(encoding="utf-8")
    isolation.write_text(
        text.replace("    wanted = ", '    raise OSError(1, "Operation not permitted")\n    wanted = '),
        encoding="utf-8",
    )
    monkeypatch.setattr("training.grade.sandbox._CHILD", tmp_path / "sandbox_child.py")
    strict = Code("code", cpu_s=1)
    with pytest.raises(ConfigError, match=r'found Operation not permitted; .* network = "allowed"'):
        strict.prepare("graders g.toml: grader code")
    lax = Code("code", cpu_s=1, network="allowed")
    lax.prepare("graders g.toml: grader code")
    assert not lax.sandbox.isolate
    assert lax.grade(Row(0, "", {"tests": TESTS}, RIGHT)).score == 1.0
    strict_row = strict.grade(Row(0, "", {"tests": TESTS}, RIGHT))
    assert strict_row.why is Why.ERROR


BLOCKS = [
    ("```python\na\n```", ["a\n"]),
    ("```bash\npip\n```\n```py\na\n```\n```Python\nb\n```", ["a\n", "b\n"]),
    ("x\n```\na\n```", ["a\n"]),
    ("```python\na", ["a"]),
    ("~~~python\na\n```\n~~~", ["a\n```\n"]),
    ("a = 1", ["a = 1"]),
    ("```bash\npip\n```", ["```bash\npip\n```"]),
    ("1. So:\n    ```python\n    a\n      b\n    ```\n", ["a\n  b\n"]),
]


@pytest.mark.parametrize(("response", "expected"), BLOCKS)
def test_code_out_of_a_response(response: str, expected: list[str]) -> None:
    assert expected == code_blocks(response)


def test_an_example_of_use_that_raises_is_no_part_of_the_solution() -> None:
    assert BARE.run([RIGHT, "print(f(your_number))"], TESTS) is Outcome.PASSED
    assert BARE.run([RIGHT + "\nprint(f(your_number))"], TESTS) is Outcome.FAILED


def test_grades_of_code() -> None:
    grader = Code("code", network="allowed")
    seen = Row(
        0, "", {"tests": '["assert f(2) == 4", "assert f(3) == 6"]'}, f"Sure!\n```python\n{RIGHT}\n```"
    )
    assert grader.grade(seen).score == 1.0
    assert grader.grade(Row(0, "", {"tests": None}, RIGHT)).why is Why.NO_REFERENCE
    assert grader.grade(Row(0, "", {"tests": "assert ("}, RIGHT)).why is Why.BAD_REFERENCE
    assert grader.grade(Row(0, "", {"tests": TESTS}, "I cannot help with that.")).score == 0.0
