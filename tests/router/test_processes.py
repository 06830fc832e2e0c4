"""A router decides the same in a child, however it came about, in coroutines, and within bounded memory."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toys import GOLDEN, WORDS

from router import Decision, Policy, Router

PROMPTS: list[Any] = [" ".join(WORDS[i : i + 1 + i % 5]) + "?" * (i % 3) for i in range(len(WORDS))] + GOLDEN
linux = pytest.mark.skipif(sys.platform != "linux", reason="forks, or reads /proc")

CHILDREN = '''
"""Decide in this process, in children, and in threads of children; print what differs."""
import json, multiprocessing, sys, warnings
from concurrent.futures import ThreadPoolExecutor
from router import Policy, Router, route

PROMPTS = json.loads(sys.argv[2])

def decide(_):
    return [route(p).to_dict() for p in PROMPTS] + [route(p, Policy(epsilon=0.3)).to_dict() for p in PROMPTS]

def decide_in_threads(_):
    with ThreadPoolExecutor(4) as pool:
        return [*pool.map(decide, range(4))]

if __name__ == "__main__":
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    method = sys.argv[1]
    if sys.argv[3] == "loaded":
        expected = decide(0)
        with ThreadPoolExecutor(4) as pool:  # so that there are idle slots of other threads
            pool.map(decide, range(4))
    with multiprocessing.get_context(method).Pool(2) as pool:
        plain = pool.map_async(decide, range(4)).get(60)
        threads = pool.map_async(decide_in_threads, range(2)).get(60)
    expected = decide(0)
    print(json.dumps([[expected] * 4 == plain, [[expected] * 4] * 2 == threads, len(expected), expected[3]]))
'''


@linux
@pytest.mark.parametrize(
    ("method", "when"), [("fork", "loaded"), ("fork", "fresh"), ("spawn", "loaded"), ("forkserver", "loaded")]
)
def test_children_decide_the_same(
    toy_artifact: Path, toy_router: Router, tmp_path: Path, python: Callable[..., Any], method: str, when: str
) -> None:
    script = tmp_path / "children.py"
    script.write_text(CHILDREN, encoding="utf-8")
    root = str(Path(__file__).resolve().parents[2])
    run = python(
        str(script), method, json.dumps(PROMPTS), when, TIERWISE_MODEL=str(toy_artifact), PYTHONPATH=root
    )
    assert b"" == run.stderr
    expected = toy_router.route(PROMPTS[3]).to_dict()
    assert [True, True, 2 * len(PROMPTS), expected] == json.loads(run.stdout)


FORKED_WHILE_LOADING = """
import os, signal, sys, threading, warnings
from router import Router, route, routing
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
renewed = sys.argv[1] == "renewed"
Router.load()  # what is imported at a load is, before there are threads
load, begun, go = Router.__dict__["load"], threading.Event(), threading.Event()

def slow(location=None):
    begun.set()
    go.wait()
    return load.__get__(None, Router)(location)

Router.load = staticmethod(slow)
held = routing._default_lock
thread = threading.Thread(target=route, args=("hello",))
thread.start()
begun.wait()
assert held.locked()
child = os.fork()
if not child:
    signal.setitimer(signal.ITIMER_REAL, 30 if renewed else 1)  # ends a child that hangs
    Router.load = load
    if not renewed:
        routing._default_lock = held
    os._exit(7 if route("hello").model_id == "tw-toy" else 8)
_, status = os.waitpid(child, 0)
go.set()
thread.join()
print(os.waitstatus_to_exitcode(status), route("hello").model_id)
"""


@linux
@pytest.mark.parametrize(("lock", "code"), [("renewed", 7), ("as it was", -14)])  # 14 is SIGALRM: it can fail
def test_a_child_forked_while_a_thread_loads_does_not_wait_for_it(
    toy_artifact: Path, python: Callable[..., Any], lock: str, code: int
) -> None:
    run = python("-c", FORKED_WHILE_LOADING, lock, TIERWISE_MODEL=str(toy_artifact))
    assert (f"{code} tw-toy\n".encode(), b"") == (run.stdout, run.stderr)


# Coroutines


def test_coroutines_get_their_own_answers(toy_router: Router) -> None:
    policies = [None, Policy(epsilon=0.3), Policy(max_regret=0.001)]
    asked = [(prompt, policy) for prompt in PROMPTS for policy in policies] * 5
    expected = [toy_router.route(prompt, policy) for prompt, policy in asked]

    async def inline(prompt: Any, policy: Policy | None) -> Decision:
        await asyncio.sleep(0)
        first = toy_router.route(prompt, policy)
        await asyncio.sleep(0)
        assert first == toy_router.route(prompt, policy)
        return first

    async def all_at_once() -> list[list[Decision]]:
        in_line = asyncio.gather(*(inline(*each) for each in asked))
        in_threads = asyncio.gather(*(asyncio.to_thread(toy_router.route, *each) for each in asked))
        return [await in_line, await in_threads]

    assert [expected, expected] == asyncio.run(all_at_once())


# Memory

HOSTILE = """
import json, random, sys
from router import Router
router = Router.load()
draw = random.Random(0)
alphabets = ["abcdefghijklmnopqrstuvwxyz0123456789", "абвгдежзийклмнопрст", "ÀÉÎÕÜßñ", "한국어가나다라마",
    "世界北京天地", "かきくけこさし", "\\ud800\\udc00\\U0010ffff\\u0378", "🙂🎉🚀❤"]
pieces = router._model.extractor.embedding._pieces

def resident_mb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024

def route(n):
    for i in range(n):
        if i % 2:
            words = ["".join(draw.choices(alphabets[0], k=draw.randrange(4, 30))) for _ in range(5)]
        else:
            words = ["".join(draw.choices(a, k=draw.randrange(4, 12))) for a in draw.sample(alphabets, 3)]
            words.append("—".join(words))
        router.route(" ".join(words))
        seen.add(len(pieces._words))
        seen_parts.add(len(pieces._parts))

seen, seen_parts = set(), set()
route(300)
before = resident_mb()
route(30_000)
print(json.dumps([resident_mb() - before, max(seen), max(seen_parts)]))
"""
MOST_GROWTH_MB = 25


@linux
def test_ever_new_words_do_not_fill_the_memory(python: Callable[..., Any]) -> None:
    """Thirty thousand prompts, hardly a word of which comes again, with the packaged model."""
    run = python("-c", HOSTILE)
    assert b"" == run.stderr
    growth_mb, n_words, n_parts = json.loads(run.stdout)
    assert growth_mb < MOST_GROWTH_MB
    assert min(n_words, n_parts) > 20_000  # it did remember, and so could have grown
