"""A prompt is read within bounds, and one user message reads like the string it holds."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.prompt import CONTEXT_CHARS, HEAD_CHARS, TAIL_CHARS, PromptView, read_prompt

# The window and its seam, then the system prompt and the earlier turns, each after a line break.
BOUND = HEAD_CHARS + 1 + TAIL_CHARS + 2 * (1 + CONTEXT_CHARS)

TEXTS = st.text(st.characters())  # every code point, lone surrogates too
LENGTHS = st.integers(0, 5000)
LONG_TEXTS = st.builds(lambda text, n: (text * n)[:n], TEXTS, LENGTHS)
PARTS = st.one_of(
    LONG_TEXTS.map(lambda text: {"type": "text", "text": text}),
    st.just({"type": "image_url", "image_url": {"url": "data:,"}}),
    st.just({"type": "input_audio", "input_audio": {}}),
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"]),
            "content": st.one_of(st.none(), LONG_TEXTS, st.lists(PARTS, max_size=4)),
        }
    ),
    max_size=8,
)


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


@given(LONG_TEXTS)
def test_a_string_and_one_user_message_read_alike(text: str) -> None:
    view = read_prompt(text)
    assert view == read_prompt([user(text)])
    assert view == read_prompt((user(text),))
    assert view == read_prompt([OrderedDict(user([{"type": "text", "text": text}]))])


@given(st.one_of(LONG_TEXTS, MESSAGES))
def test_what_is_read_stays_bounded(prompt: Any) -> None:
    view = read_prompt(prompt)
    assert BOUND >= len(view.text)
    assert view.n_chars >= view.n_system_chars + view.n_last_chars
    assert all(n >= 0 for n in view[1:])


@pytest.mark.parametrize("n", [0, 1, 2047, 2048, 2049, 10_000_000])
def test_the_window_keeps_head_and_tail(n: int) -> None:
    text = "".join(map(chr, range(97, 123))) * (n // 26 + 1)
    text = text[:n]
    expected = text if n <= 2048 else f"{text[:1536]}\n{text[-512:]}"
    assert PromptView(expected, n, 0, n, 1, 0, 0) == read_prompt(text)


def test_the_bound_is_reached() -> None:
    view = read_prompt(
        [{"role": "system", "content": "s" * 9999}, user("old " * 9999), user("new " * 9999)],
    )
    assert BOUND == len(view.text)


@pytest.mark.parametrize("n", [1, 3, 100, 2000])
def test_many_short_messages_fill_their_budget_and_no_more(n: int) -> None:
    turns = [user(""), *(user("x") for _ in range(n)), user("last")]
    systems = [{"role": "system", "content": "s"} for _ in range(n)]
    view = read_prompt(systems + turns)
    last, *rest = view.text.split("\n")
    assert "last" == last
    assert (n + 4 + n, n, n + 2) == (view.n_chars, view.n_system_chars, view.n_turns)
    text = "\n".join(rest)
    assert 2 * CONTEXT_CHARS + 1 >= len(text)
    assert (min(n, 256), min(n, 256)) == (text.count("s"), text.count("x"))


def test_the_start_of_the_system_prompt_and_the_end_of_the_turns_are_kept() -> None:
    view = read_prompt(
        [
            {"role": "system", "content": "START" + "-" * 600},
            user("-" * 600 + "LATE"),
            user("ask"),
        ]
    )
    last, system, earlier = view.text.split("\n")
    assert "ask" == last
    assert "START" + "-" * (CONTEXT_CHARS - 5) == system
    assert "-" * (CONTEXT_CHARS - 4) + "LATE" == earlier


@pytest.mark.parametrize(
    ("expected", "messages"),
    [
        (PromptView("", 0, 0, 0, 0), []),
        (PromptView("rule", 4, 4, 0, 0), [{"role": "system", "content": "rule"}]),
        (PromptView("rule", 4, 4, 0, 0), [{"role": "developer", "content": "rule"}]),
        (PromptView("A", 1, 0, 1, 1), [{"role": "assistant", "content": "A"}]),
        (
            PromptView("A2\nA1", 4, 0, 2, 2),
            [{"role": "assistant", "content": "A1"}, {"role": "assistant", "content": "A2"}],
        ),
        (PromptView("U\nA", 2, 0, 1, 2), [user("U"), {"role": "assistant", "content": "A"}]),
        (
            PromptView("U2\nS\nU1\nA1", 7, 1, 2, 3),
            [
                {"role": "system", "content": "S"},
                user("U1"),
                {"role": "assistant", "content": "A1"},
                user("U2"),
            ],
        ),
        (
            PromptView("U\nS\nD", 3, 2, 1, 1),
            [{"role": "system", "content": "S"}, user("U"), {"role": "developer", "content": "D"}],
        ),
        (PromptView("", 0, 0, 0, 1), [user(None)]),
        (PromptView("", 0, 0, 0, 1), [user([])]),
        (PromptView("a\nb", 3, 0, 3, 1), [user([{"type": "text", "text": t} for t in "ab"])]),
    ],
)
def test_each_part_has_its_place(expected: PromptView, messages: list[dict[str, Any]]) -> None:
    assert expected == read_prompt(messages)


def test_the_order_of_turns_matters_and_that_of_the_system_prompt_does_not() -> None:
    first, second, rule = user("first"), user("second"), {"role": "system", "content": "rule"}
    assert read_prompt([rule, first, second]) == read_prompt([first, second, rule])
    assert "second\nrule\nfirst" == read_prompt([rule, first, second]).text
    assert "first\nrule\nsecond" == read_prompt([rule, second, first]).text


def test_tool_calls_and_results_are_counted() -> None:
    call = {"type": "function", "function": {"name": "search", "arguments": "{}"}}
    messages = [
        user("find"),
        {"role": "assistant", "content": None, "tool_calls": [call, call]},
        {"role": "tool", "content": "one"},
        {"role": "function", "content": "two"},
        {"role": "assistant", "content": "done", "tool_calls": None},
    ]
    view = read_prompt(messages)
    assert (4, 5, 14) == (view.n_tool_turns, view.n_turns, view.n_chars)
    assert "find\none\ntwo\ndone" == view.text.replace("\n\n", "\n")
    assert 0 == read_prompt([{"role": "assistant", "content": "x", "tool_calls": "not a list"}]).n_tool_turns


@pytest.mark.parametrize("kind", ["image_url", "input_image", "image"])
def test_images_are_counted_whatever_else_their_part_holds(kind: str) -> None:
    bare = user([{"type": "text", "text": "see"}, {"type": kind}, {"type": kind, "text": None}])
    assert PromptView("see", 3, 0, 3, 1, 0, 2) == read_prompt([bare])
    captioned = user([{"type": kind, "text": "a caption"}])
    assert PromptView("a caption", 9, 0, 9, 1, 0, 1) == read_prompt([captioned])


@pytest.mark.parametrize(
    "prompt",
    [
        b"bytes",
        bytearray(b"bytes"),
        memoryview(b"bytes"),
        7,
        1.5,
        True,
        None,
        [1, 2],
        ["a string"],
        [None],
        [[user("nested")]],
        user("not in a list"),
        {user("x")["role"]},
        (message for message in [user("x")]),
        np.array(["x"]),
        [user(7)],
        [user(b"")],
        [user(b"bytes")],
        [user({"type": "text", "text": "not in a list"})],
        [user(["a string"])],
        [user([None])],
    ],
    ids=lambda prompt: type(prompt).__name__,
)
def test_a_wrong_type_is_a_type_error(prompt: Any) -> None:
    with pytest.raises(TypeError, match="found "):
        read_prompt(prompt)


@pytest.mark.parametrize(
    "prompt", [b"confidential", {"role": "confidential"}, ["confidential"], [user([b"confidential"])]]
)
def test_no_error_repeats_the_prompt(prompt: Any) -> None:
    with pytest.raises(TypeError) as caught:
        read_prompt(prompt)
    assert "confidential" not in str(caught.value)
