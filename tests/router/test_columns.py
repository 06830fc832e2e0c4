"""Lines of a terminal: none too wide, no word lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.columns import WIDTH, columns, wrap


def test_wide_characters_take_two_columns_and_combining_ones_none() -> None:
    assert (3, 4, 1) == (columns("abc"), columns("漢字"), columns("e\u0301"))


@given(st.text("ab é漢\u0301", max_size=400), st.sampled_from(["", "  "]))
def test_no_line_is_too_wide_and_no_character_is_lost(text: str, indent: str) -> None:
    lines = wrap(text, indent)
    assert all(columns(line) <= WIDTH and line.startswith(indent) for line in lines)
    assert "".join(text.split()) == "".join("".join(lines).split())


def test_blank_text_has_no_line() -> None:
    assert [] == wrap(" \n ", "  ")
