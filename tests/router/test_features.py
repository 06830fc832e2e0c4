"""Shape features are finite, bounded and the same number for any text."""

from __future__ import annotations

import json
from math import isfinite, log1p

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router.features import FEATURE_NAMES, IDENTITY, shape
from router.prompt import PromptView, read_prompt

TEXTS = st.text(st.characters())  # every code point, lone surrogates too
COUNTS = st.integers(0, 10**9)
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


def features(text: str) -> dict[str, float]:
    return dict(zip(FEATURE_NAMES, shape(read_prompt(text)), strict=True))


def assert_sound(values: list[float]) -> None:
    assert len(FEATURE_NAMES) == len(values)
    assert all(isfinite(value) and value >= 0.0 for value in values)
    assert np.isfinite(np.array(values, np.float32)).all()
    for name, value in zip(FEATURE_NAMES, values, strict=True):
        if name.startswith("share_"):
            assert 1.0 >= value, name


@given(TEXTS)
@example("\ud800")
@example("\udfff\ud800" * 50)
@example("\x00")
@example("")
def test_features_are_finite_and_shares_are_shares(text: str) -> None:
    assert_sound(shape(read_prompt(text)))


@given(st.builds(PromptView, TEXTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS))
def test_features_of_any_view_are_finite(view: PromptView) -> None:
    assert_sound(shape(view))


@pytest.mark.parametrize("char", ["a", "\x00", "\n", " ", "?", "é", "中", "🙂", "\ud800", "```", "{"])
def test_a_megabyte_of_one_thing(char: str) -> None:
    text = char * (1_000_000 // len(char))
    assert_sound(shape(read_prompt(text)))
    assert log1p(len(text)) == features(text)["log_chars"]
    assert_sound(shape(PromptView(text, len(text))))  # unwindowed too


@given(TEXTS)
def test_shares_do_not_exceed_one_together(text: str) -> None:
    total = sum(value for name, value in features(text).items() if name.startswith("share_"))
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
def test_scripts_are_told_apart(script: str, text: str) -> None:
    found = features(text)
    shares = {name: found[f"share_{name}"] for name in SCRIPTS}
    assert script == max(shares, key=shares.__getitem__)
    assert 0.5 <= shares[script]


def test_plain_english_has_no_other_script() -> None:
    found = features("The weather is fine today, so let us walk to the river.")
    assert [0.0] * len(SCRIPTS) == [found[f"share_{name}"] for name in SCRIPTS]


def test_shares_and_counts_by_hand() -> None:
    found = features("Hi, 42!\n(a=b)?")
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


def test_a_lone_surrogate_is_a_character_and_no_question() -> None:
    found = features("a\ud800")
    assert (log1p(2), 0.5, 0.0, 0.0) == (
        found["log_chars"],
        found["share_hangul"],  # by its lead byte
        found["share_sentence_end"],
        found["log_questions"],
    )


def test_marks_are_seen() -> None:
    code = "```\nint f() {\n    return x;\n}\n```\n\n- see https://a.b\nA) $\\pi$ __\nB) no"
    found = features(code)
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
        assert log1p(n) == found[f"log_{mark}"], mark


def test_the_parts_of_a_conversation_are_seen() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    view = read_prompt(
        [
            {"role": "system", "content": "abc"},
            {"role": "tool", "content": ""},
            {"role": "user", "content": [{"type": "text", "text": "de"}, image]},
        ]
    )
    assert [log1p(5), log1p(2), log1p(3), log1p(2), log1p(1), 1.0] == shape(view)[:6]


def test_names_are_unique_and_the_identity_survives_json() -> None:
    assert len(set(FEATURE_NAMES)) == len(FEATURE_NAMES)
    assert list(FEATURE_NAMES) == IDENTITY["names"]
    assert json.loads(json.dumps(IDENTITY)) == IDENTITY
