"""Shape features are finite, bounded and the same numbers for one prompt, for many and in the reference."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import isfinite, log1p

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router import reference
from router.features import FEATURE_NAMES, IDENTITY, MARKS, shape, shape_many
from router.prompt import PromptView, read_prompt

TEXTS = st.text(st.characters())  # every code point, lone surrogates too
COUNTS = st.integers(0, 10**9)
VIEWS = st.builds(PromptView, TEXTS, *[COUNTS] * 6)
# Bytes that marks are made of, in any order, so that a mark begins in one prompt and would end in the next.
MARKED_VIEWS = st.builds(PromptView, st.text("`\n -_:/;({=$?\\Ba\u4e00\ud800", max_size=30), *[COUNTS] * 6)
MARKS_OF = [mark.decode() for mark in MARKS.values()]
SCRIPTS = (
    "latin_extended",
    "greek_cyrillic",
    "right_to_left",
    "indic",
    "typographic",
    "cjk",
    "hangul",
    "astral",
)


Shape = Callable[[PromptView], list[float]]


def raw_of(view: PromptView) -> bytes:
    return view.text.encode("utf-8", "surrogatepass")


def alone(view: PromptView) -> list[float]:
    return shape(view, raw_of(view))


def among_others(view: PromptView) -> list[float]:
    """As one of three, whose neighbours end and begin with halves of marks."""
    views = [PromptView("``\n;\n_:", 7, n_images=2), view, PromptView("`//_\n   - B", 9, n_tool_turns=3)]
    found: list[float] = shape_many(views, [raw_of(v) for v in views])[1].tolist()
    return found


every_way = pytest.mark.parametrize(
    "way", [alone, among_others, reference.shape], ids=["one", "many", "reference"]
)


def features(text: str, way: Shape) -> dict[str, float]:
    return dict(zip(FEATURE_NAMES, way(read_prompt(text)), strict=True))


def assert_sound(values: list[float]) -> None:
    assert len(FEATURE_NAMES) == len(values)
    assert all(isfinite(value) and value >= 0.0 for value in values)
    assert np.isfinite(np.array(values, np.float32)).all()
    for name, value in zip(FEATURE_NAMES, values, strict=True):
        if name.startswith("share_"):
            assert 1.0 >= value, name


def assert_alike(views: list[PromptView]) -> None:
    expected = np.array([reference.shape(view) for view in views])
    together = shape_many(views, [raw_of(view) for view in views])
    assert (np.float64, (len(views), len(FEATURE_NAMES))) == (together.dtype, together.shape)
    np.testing.assert_allclose(expected, together, rtol=1e-12, atol=0)
    np.testing.assert_allclose(expected, [alone(view) for view in views], rtol=1e-12, atol=0)


@given(st.lists(VIEWS | MARKED_VIEWS, min_size=1, max_size=5))
@example([PromptView("", 0)])
@example([PromptView("", 0), PromptView("?", 1), PromptView("", 0)])
@example([PromptView(a + b, 9) for a in MARKS_OF for b in MARKS_OF])
def test_one_many_and_the_reference_are_alike(views: list[PromptView]) -> None:
    assert_alike(views)


@pytest.mark.parametrize("n", [1, 2, 255, 256, 257, 600])
def test_many_are_as_many_as_there_are(n: int) -> None:
    texts = ["", "\ud800", "a b", "```\nx\n```", "\u4e2d" * 40, "? " * 500, "\n\n\n", "____"]
    rng = np.random.default_rng(n)
    assert_alike(
        [PromptView("".join(rng.choice(texts, 3)), i, i % 3, i % 5, i, i % 2, i % 7) for i in range(n)]
    )


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("n", [0, 1, 2, 3])
@every_way
def test_each_mark_is_counted_alone(way: Shape, n: int, mark: str) -> None:
    """No mark is passed over because nothing else of its class is there."""
    found = features(" x ".join([""] + [MARKS[mark].decode()] * n), way)
    assert log1p(n) == pytest.approx(found[f"log_{mark}"], rel=1e-12)


@every_way
@given(text=TEXTS)
@example(text="\ud800")
@example(text="\udfff\ud800" * 50)
@example(text="\x00")
@example(text="")
def test_features_are_finite_and_shares_are_shares(way: Shape, text: str) -> None:
    assert_sound(way(read_prompt(text)))


@every_way
@given(view=VIEWS)
def test_features_of_any_view_are_finite(way: Shape, view: PromptView) -> None:
    assert_sound(way(view))


@pytest.mark.parametrize("char", ["a", "\x00", "\n", " ", "?", "é", "中", "🙂", "\ud800", "```", "{"])
@every_way
def test_a_megabyte_of_one_thing(way: Shape, char: str) -> None:
    text = char * (1_000_000 // len(char))
    assert_sound(way(read_prompt(text)))
    assert log1p(len(text)) == pytest.approx(features(text, way)["log_chars"], rel=1e-12)
    assert_sound(way(PromptView(text, len(text))))  # unwindowed too


@every_way
@given(text=TEXTS)
def test_shares_do_not_exceed_one_together(way: Shape, text: str) -> None:
    total = sum(value for name, value in features(text, way).items() if name.startswith("share_"))
    assert total <= 1.0 + 1e-9


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("latin_extended", "çàéèùâêîôû öüäß žščřž"),
        ("greek_cyrillic", "Ο καιρός σήμερα είναι καλός."),
        ("greek_cyrillic", "Сегодня хорошая погода, пойдём гулять."),
        ("right_to_left", "מזג האוויר היום נעים מאוד."),
        ("right_to_left", "الطقس اليوم جميل جدا."),
        ("indic", "आज मौसम बहुत अच्छा है।"),
        ("indic", "আজ আবহাওয়া খুব ভালো।"),
        ("indic", "วันนี้อากาศดีมาก"),
        ("typographic", "“…” — • → ≤ ≥ € ™ ‘’"),
        ("cjk", "今天天气很好,我们去散步吧。"),
        ("cjk", "きょうはてんきがとてもいいです。"),
        ("cjk", "カタカナノブンショウデス"),
        ("hangul", "오늘은 날씨가 아주 좋습니다."),
        ("astral", "🍎🍌🍇🙂🚀"),
    ],
)
@every_way
def test_scripts_are_told_apart(way: Shape, script: str, text: str) -> None:
    found = features(text, way)
    shares = {name: found[f"share_{name}"] for name in SCRIPTS}
    assert script == max(shares, key=shares.__getitem__)
    assert 0.5 <= shares[script]


@every_way
def test_plain_english_has_no_other_script(way: Shape) -> None:
    found = features("The weather is fine today, so let us walk to the river.", way)
    assert [0.0] * len(SCRIPTS) == [found[f"share_{name}"] for name in SCRIPTS]


@every_way
def test_shares_and_counts_by_hand(way: Shape) -> None:
    found = features("Hi, 42!\n(a=b)?", way)
    expected = {
        "log_chars": log1p(14),
        "log_last_chars": log1p(14),
        "log_system_chars": 0.0,
        "log_turns": log1p(1),
        "log_tool_turns": 0.0,
        "has_images": 0.0,
        "log_words": log1p(3),  # two blanks, so three words
        "chars_per_word": 14 / 3,
        "log_lines": log1p(1),
        "share_upper": 1 / 14,
        "share_digit": 2 / 14,
        "share_space": 1 / 14,
        "share_newline": 1 / 14,
        "share_operator": 1 / 14,
        "share_bracket": 2 / 14,
        "share_sentence_end": 2 / 14,
        "share_comma": 1 / 14,
        "log_questions": log1p(1),
        "log_calls": log1p(1),
        "log_equals": log1p(1),
    }
    assert expected == pytest.approx({name: found[name] for name in expected})
    assert 0.0 == sum(value for name, value in found.items() if name not in expected)


@every_way
def test_a_lone_surrogate_is_a_character_and_no_question(way: Shape) -> None:
    found = features("a\ud800", way)
    assert (pytest.approx(log1p(2), rel=1e-12), 0.5, 0.0, 0.0) == (
        found["log_chars"],
        found["share_hangul"],  # by its lead byte
        found["share_sentence_end"],
        found["log_questions"],
    )


@every_way
def test_marks_are_seen(way: Shape) -> None:
    code = "```\nint f() {\n    return x;\n}\n```\n\n- see https://a.b\nA) $\\pi$ __\nB) no"
    found = features(code, way)
    for mark, n in {
        "code_fences": 2,
        "indented_lines": 1,
        "statements": 1,
        "braces": 1,
        "blank_lines": 1,
        "bullets": 1,
        "links": 1,
        "dollars": 2,
        "backslashes": 1,
        "blanks": 1,
        "options": 1,
    }.items():
        assert log1p(n) == pytest.approx(found[f"log_{mark}"], rel=1e-12), mark


@every_way
def test_the_parts_of_a_conversation_are_seen(way: Shape) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    view = read_prompt(
        [
            {"role": "system", "content": "abc"},
            {"role": "tool", "content": ""},
            {"role": "user", "content": [{"type": "text", "text": "de"}, image]},
        ]
    )
    expected = [log1p(5), log1p(2), log1p(3), log1p(2), log1p(1), 1.0]
    assert expected == pytest.approx(way(view)[:6], rel=1e-12)


def test_names_are_unique_and_the_identity_survives_json() -> None:
    assert len(set(FEATURE_NAMES)) == len(FEATURE_NAMES)
    assert list(FEATURE_NAMES) == IDENTITY["names"]
    assert json.loads(json.dumps(IDENTITY)) == IDENTITY
