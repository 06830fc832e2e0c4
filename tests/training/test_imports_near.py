"""Near-duplicates: no pair that is none, few that are missed, and groups that no order of the log changes."""

from __future__ import annotations

import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.imports.near import FOUND, PERMUTATIONS, Runs, bands_for, join_near
from training.imports.shingles import WORDS, Shingler, jaccard
from training.imports.unions import Unions

NAMES = [f"{a}{b}" for a in "bdfgklmnprstvz" for b in ("a", "eno", "ilo", "ora", "ush")]
texts = st.lists(st.text(alphabet="ab c1日本。!", max_size=24), min_size=1, max_size=12)


def grouped(prompts: list[str], threshold: float = 0.8) -> set[frozenset[str]]:
    runs, shingler, unions = Runs(), Shingler(), Unions(len(prompts))
    for prompt in prompts:
        runs.add(shingler.shingles(prompt))
    join_near(runs, threshold, unions)
    found: dict[int, set[str]] = {}
    for prompt, root in zip(prompts, unions.roots(), strict=True):
        found.setdefault(root, set()).add(prompt)
    return {frozenset(members) for members in found.values()}


def similarity(one: str, other: str) -> float:
    shingler = Shingler()
    return jaccard(shingler.shingles(one), shingler.shingles(other))


def chained(prompts: list[str], threshold: float) -> set[frozenset[str]]:
    """Group by comparing every pair: what the quick way has to find, less what hashing misses."""
    unions = Unions(len(prompts))
    for i, j in combinations(range(len(prompts)), 2):
        if similarity(prompts[i], prompts[j]) >= threshold:
            unions.join(i, j)
    found: dict[int, set[str]] = {}
    for prompt, root in zip(prompts, unions.roots(), strict=True):
        found.setdefault(root, set()).add(prompt)
    return {frozenset(members) for members in found.values()}


def sentences(count: int, seed: int, repeats: float = 0.3) -> list[str]:
    """Prompts of which a share repeats an earlier one with a word more, less or changed."""
    rng = random.Random(seed)  # noqa: S311 - a test's
    made: list[str] = []
    for _ in range(count):
        if made and rng.random() < repeats:
            words = rng.choice(made).split()
            words[rng.randrange(len(words))] = rng.choice(NAMES)
        else:
            words = rng.choices(NAMES, k=rng.randrange(8, 60))
        made.append(" ".join(words))
    return made


@given(texts)
def test_each_prompt_is_in_one_group(prompts: list[str]) -> None:
    groups = grouped(prompts)
    assert set(prompts) == set().union(*groups)
    assert len(set(prompts)) == sum(map(len, groups))


@given(texts, st.randoms(use_true_random=False))
def test_the_order_of_the_log_does_not_matter(prompts: list[str], rng: random.Random) -> None:
    shuffled = rng.sample(prompts, len(prompts))
    assert grouped(prompts) == grouped(shuffled)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([0.5, 0.7, 0.8, 0.95]))
def test_no_group_is_larger_than_comparing_all_pairs_makes_it(seed: int, threshold: float) -> None:
    prompts = sentences(120, seed)
    everything = chained(prompts, threshold)
    for group in grouped(prompts, threshold):
        assert any(group <= other for other in everything)


def test_nearly_all_pairs_at_the_threshold_and_above_are_found() -> None:
    missed = pairs = 0
    for seed in range(2):
        prompts = sentences(300, seed)
        of = {prompt: group for group in grouped(prompts) for prompt in group}
        for one, other in combinations(set(prompts), 2):
            if similarity(one, other) >= 0.8:
                pairs += 1
                missed += of[one] != of[other]
    assert pairs > 100
    assert missed <= 0.02 * pairs


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is the capital of France?", "what is  the capital of FRANCE"),
        ("Hello", "hello!"),
        ("Bitte übersetzen Sie den Satz.", "Bitte übersetzen Sie den Satz!"),
        ("日本の首都はどこですか。教えてください", "日本の首都はどこですか。教えてください。"),
        ("ช่วยแปลประโยคนี้เป็นภาษาอังกฤษให้หน่อยได้ไหมครับ", "ช่วยแปลประโยคนี้เป็นภาษาอังกฤษให้หน่อยได้ไหมครับ?"),
        ("x = 1; y = 2; z = 3", "x=1;y=2;z=3"),
        ("ｆｕｌｌ width words here", "full width words here"),
    ],
)
def test_the_same_in_another_dress_is_a_near_duplicate(one: str, other: str) -> None:
    assert grouped([one, other]) == {frozenset({one, other})}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is the capital of France?", "What is the capital of Chad?"),
        ("Add 12 and 31", "Add 12 and 32"),
        ("日本の首都はどこですか", "中国の首都はどこですか、そして人口は何人ですか"),
        ("!!!", "???"),
        ("", "word"),
    ],
)
def test_another_question_is_none(one: str, other: str) -> None:
    assert len(grouped([one, other])) == 2


def test_runs_are_the_same_in_every_process_and_of_every_length() -> None:
    shingler = Shingler()
    found = shingler.shingles("the quick brown fox")
    assert len(found) == 2 == 4 - WORDS + 1
    assert found.tolist() == Shingler().shingles("The QUICK, brown fox!").tolist()
    assert (found == np.sort(found)).all()
    assert [1, 1, 1] == [len(shingler.shingles(text)) for text in ("", "a", "a b")]


@given(st.floats(0.3, 1.0))
def test_bands_make_candidates_of_pairs_at_the_threshold(threshold: float) -> None:
    bands, rows = bands_for(threshold)
    assert bands * rows <= PERMUTATIONS
    assert 1 - (1 - threshold**rows) ** bands >= FOUND


def test_a_crowd_of_one_template_is_compared_in_bounded_work() -> None:
    template = " ".join(NAMES[:40])
    prompts = [f"{template} {i * 7919}" for i in range(400)]
    runs, shingler, unions = Runs(), Shingler(), Unions(len(prompts))
    for prompt in prompts:
        runs.add(shingler.shingles(prompt))
    computed = join_near(runs, 0.8, unions)
    assert len(set(unions.roots())) == 1
    assert computed < 20 * len(prompts)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=40),
    st.randoms(use_true_random=False),
)
def test_joining_is_an_equivalence_in_any_order(pairs: list[tuple[int, int]], rng: random.Random) -> None:
    one, other = Unions(31), Unions(31)
    for a, b in pairs:
        one.join(a, b)
    for a, b in rng.sample(pairs, len(pairs)):
        other.join(b, a)
    assert one.roots() == other.roots()
    assert all(root <= member for member, root in enumerate(one.roots()))
    assert all(one.root(a) == one.root(b) for a, b in pairs)
