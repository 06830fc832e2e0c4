"""The program inside the sandbox's process: isolates itself, runs one solution in a child, and says what became of it.

The rule: standard library only; `training.grade.sandbox` starts it with an empty environment and an empty folder, and
feeds it one JSON document. Three processes: the first enters the namespaces; the second watches the clock and is the
first of its process namespace, so that at its end the kernel kills all that is left; the third has no rights and runs
the solution. Only the second writes to the parent, one letter: p passed, f failed, t out of time, b bad tests; or i and
why there is no isolation.

That the tests ran to their end is proved by a number that the third process reads only after them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

_POLL_S = 0.002
_BAD_TESTS = 3


def _load(name: str) -> ModuleType:
    # By path: with this folder on the path, its names would hide the standard library's from the solution.
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None  # noqa: S101 - a file of ours
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Read what to run, run it, and write one letter."""
    order = json.load(sys.stdin)
    isolation, testing = _load("sandbox_isolation"), _load("sandbox_testing")
    user = None
    if order["isolate"]:
        try:
            user = isolation.enter(str(Path.cwd()), order["limits"]["files_mb"], network=order["network"])
        except OSError as error:
            os.write(1, f"i{error.strerror or error}".encode())
            return
    watcher = os.fork()
    if watcher == 0:
        isolation.die_with_parent()
        os.write(1, _watch(order, isolation, testing, user))
        os._exit(0)
    os.waitpid(watcher, 0)


def _watch(order: dict[str, Any], isolation: ModuleType, testing: ModuleType, user: int | None) -> bytes:
    asked, ask = os.pipe()
    answer, answered = os.pipe()
    runner = os.fork()
    if runner == 0:
        os.close(ask)
        os.close(answer)
        _run(order, isolation, testing, user, asked, answered)
    os.close(asked)
    os.close(answered)
    os.set_blocking(answer, False)
    proof = os.urandom(16)  # after the fork, so that the runner cannot find it in its own memory
    with suppress(BrokenPipeError):  # it may have ended by now
        os.write(ask, proof)
    status = _wait(runner, order["wall_s"])
    said = b""
    with suppress(BlockingIOError):
        said = os.read(answer, 64)
    _kill_descendants()
    if status is None or (os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)):
        return b"t"
    code = os.waitstatus_to_exitcode(status)
    if code == _BAD_TESTS and said == proof[::-1]:
        return b"b"
    return b"p" if code == 0 and said == proof else b"f"


def _run(
    order: dict[str, Any],
    isolation: ModuleType,
    testing: ModuleType,
    user: int | None,
    asked: int,
    answered: int,
) -> None:
    """Run the tests and end this process."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    try:
        if order["isolate"]:
            isolation.give_up_rights(user)
        isolation.limit(**order["limits"])
        passed = testing.run_tests(order["blocks"], order["tests"])
        if passed:
            os.write(answered, os.read(asked, 16))
        os._exit(0 if passed else 1)
    except testing.BadTestsError:
        os.write(answered, os.read(asked, 16)[::-1])
        os._exit(_BAD_TESTS)
    except BaseException:  # SystemExit, and all else that a solution raises
        os._exit(1)


def _wait(pid: int, seconds: float) -> int | None:
    """Return how a child ended, or None if it did not in time; it is killed then."""
    end = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        time.sleep(_POLL_S)


def _kill_descendants() -> None:
    """Kill what the solution left behind, and what that leaves behind in turn."""
    if os.getpid() == 1:
        return  # the kernel does it when this process ends
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while children.exists() and (left := children.read_text(encoding="ascii").split()):
        for pid in left:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(int(pid), signal.SIGKILL)
                os.waitpid(int(pid), 0)


if __name__ == "__main__":
    main()
