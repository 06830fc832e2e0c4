"""Bodies are JSON as RFC 8259 has it: the library's own reader is the oracle, but for what it lets pass."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router.serving.limits import MAX_DEPTH
from router.serving.problems import Problem
from router.serving.strict_json import parse_json

MARKER = "zebra"
TEXT = st.text(st.characters(), max_size=8)
# What a reader that looks for brackets without reading strings trips over.
TRAPS = st.text(st.sampled_from('[]{}"\\/bn \n,:é🙂'), max_size=12)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXT, TRAPS
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT | TRAPS, inner, max_size=4),
    max_leaves=12,
)
SPACES = st.sampled_from(["", " ", "\n", "\r\n\t"])


def outcome(text: str) -> tuple[bool, Any]:
    """Return what the library makes of a text: whether it can read it, and what it holds."""
    try:
        return True, json.loads(text)
    except ValueError:
        return False, None


def refused(raw: bytes, name: str = "malformed-json", *words: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_json(raw)
    assert name == caught.value.name
    assert 400 == caught.value.status
    assert MARKER not in caught.value.detail
    assert "\n" not in caught.value.detail
    assert [] == [word for word in words if word not in caught.value.detail]


# The same as the library


@given(
    value=VALUES, is_ascii=st.booleans(), indent=st.sampled_from([None, 0, 2]), before=SPACES, after=SPACES
)
def test_what_json_can_say_is_read_as_the_library_reads_it(
    value: Any, is_ascii: bool, indent: int | None, before: str, after: str
) -> None:
    text = before + json.dumps(value, ensure_ascii=is_ascii, indent=indent) + after
    try:
        raw = text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair can only be escaped
        raw = (before + json.dumps(value, indent=indent) + after).encode()
    found = parse_json(raw)
    assert value == found
    assert repr(json.loads(raw)) == repr(found)  # 1 is not 1.0, and -0.0 is not 0.0


@given(
    text=st.lists(
        st.sampled_from([*'[]{}",:\\ \n\t\x00\x1f', *"0123456789.eE+-", "true", "null", '"a":', "\\u", "é"]),
        max_size=12,
    ).map("".join)
)
@example(text='{"a":1}}')
@example(text='"\t"')
@example(text="01")
@example(text="1.")
@example(text="+1")
@example(text=".5")
@example(text="[1,]")
@example(text='{"a":1,}')
@example(text="{'a':1}")
@example(text="[1]//")
@example(text="\x0b1")
@example(text="\xa01")
@example(text="٣")
def test_what_the_library_cannot_read_is_refused(text: str) -> None:
    is_json, value = outcome(text)
    try:
        found, problem = parse_json(text.encode()), None
    except Problem as raised:
        found, problem = None, raised
    if problem is None:
        assert is_json
        assert repr(value) == repr(found)
    else:
        assert "malformed-json" == problem.name
        assert not is_json or "twice" in problem.detail


@given(raw=st.binary(max_size=16))
@example(raw=b"\xff")
@example(raw=b'"\xed\xa0\x80"')  # half of a surrogate pair, as bytes
@example(raw=b'"\xc0\x80"')  # longer than it need be
@example(raw=b'"\xf4\x90\x80\x80"')  # above U+10FFFF
@example(raw=b'"\xe2\x82"')  # cut
@example(raw="{}".encode("utf-16"))
@example(raw=b"\xef\xbb\xbf{}")
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        refused(raw, "invalid-utf8", "send JSON as UTF-8")
        return
    is_json, value = outcome(text)
    if is_json and not (isinstance(value, float) and not math.isfinite(value)):
        assert repr(value) == repr(parse_json(raw))


def test_the_place_of_the_first_wrong_byte_is_told() -> None:
    refused(f'{{"prompt":"{MARKER}'.encode() + b"\xff", "invalid-utf8", "byte 16 ")


def test_the_place_of_what_is_no_json_is_told() -> None:
    refused(f'{{"prompt":\n  {MARKER}}}'.encode(), "malformed-json", "line 2 column 3")


@pytest.mark.parametrize("raw", [b"", b" ", b"\r\n\t"])
def test_nothing_is_told_as_nothing(raw: bytes) -> None:
    refused(raw, "malformed-json", "the body is empty")


# What the library lets pass


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("form", ["%s", "[%s]", '{"a":{"b":[1,%s]}}'])
def test_what_is_no_number_is_refused(number: str, form: str) -> None:
    assert outcome(form % number)[0]
    refused((form % number).encode(), "malformed-json", "NaN or Infinity")


@pytest.mark.parametrize("text", ['"NaN"', '{"Infinity":"-Infinity"}', '"\\"NaN"'])
def test_its_names_may_stand_in_strings(text: str) -> None:
    assert json.loads(text) == parse_json(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}',
        '{"a":1,"b":2,"a":3}',
        '{"a":1,"\\u0061":2}',
        '{"":0,"":0}',
        '[{"x":{"a":[{"a":1,"a":2}]}}]',
        '{"a":{"a":1},"a":{"a":1}}',
        '{"\\ud800":1,"\\ud800":2}',
        '{"é":1,"\\u00e9":2}',
    ],
)
def test_a_name_that_stands_twice_is_refused(text: str) -> None:
    assert outcome(text)[0]
    refused(text.encode(), "malformed-json", "twice")


@pytest.mark.parametrize(
    "text", ['{"a":{"a":1}}', '[{"a":1},{"a":1}]', '{"a":1,"A":1}', '{"é":1,"e\\u0301":1}']
)
def test_a_name_may_stand_in_two_objects(text: str) -> None:
    assert json.loads(text) == parse_json(text.encode())


@given(
    pairs=st.lists(st.tuples(TEXT | TRAPS | st.sampled_from("ab"), SCALARS), max_size=5),
    depth=st.integers(0, 3),
)
def test_an_object_is_read_if_and_only_if_its_names_differ(pairs: list[tuple[str, Any]], depth: int) -> None:
    body = ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in pairs)
    raw = ("[" * depth + "{" + body + "}" + "]" * depth).encode()
    if len(dict(pairs)) == len(pairs):
        assert json.loads(raw) == parse_json(raw)
    else:
        refused(raw, "malformed-json", "twice")


@pytest.mark.parametrize("digits", [4_300, 4_301, 5_000, 100_000])
def test_a_number_of_any_length_is_read_or_refused(digits: int) -> None:
    """The interpreter bounds them: to read one takes the square of its length."""
    raw = b"1" * digits
    if digits <= 4_300:
        assert json.loads(raw) == parse_json(raw)
    else:
        refused(raw, "malformed-json", "too many digits")
        refused(b'{"policy":{"epsilon":[-%b]}}' % raw, "malformed-json", "too many digits")


@pytest.mark.parametrize("digits", [5_000, 1_000_000])
def test_a_fraction_of_any_length_is_read(digits: int) -> None:
    raw = b"0." + b"1" * digits
    assert 1 / 9 == parse_json(raw)


# Depth


@given(
    kinds=st.lists(st.booleans(), min_size=MAX_DEPTH - 2, max_size=MAX_DEPTH + 2),
    names=st.lists(TRAPS, min_size=MAX_DEPTH + 2, max_size=MAX_DEPTH + 2),
    beside=st.lists(TRAPS | st.just("\\"), max_size=4),
    space=SPACES,
)
@example(kinds=[True] * MAX_DEPTH, names=["\\"] * (MAX_DEPTH + 2), beside=['\\"[', "]\\\\"], space="")
@example(kinds=[False] * (MAX_DEPTH + 1), names=['"]'] * (MAX_DEPTH + 2), beside=["]" * 40], space="")
def test_arrays_and_objects_nest_to_the_limit_and_no_deeper(
    kinds: list[bool], names: list[str], beside: list[str], space: str
) -> None:
    """Strings of brackets, quotes and backslashes stand inside and beside; they neither add depth nor hide it."""
    value: Any = None
    for depth, is_object in enumerate(kinds):
        around = beside if depth % 7 == 3 else []
        value = {names[depth]: value} if is_object else [*around, value, *around]
    raw = json.dumps(value, ensure_ascii=False, separators=("," + space, ":")).encode()
    if len(kinds) <= MAX_DEPTH:
        assert value == parse_json(raw)
    else:
        refused(raw, "malformed-json", f"more than {MAX_DEPTH} deep")


@given(value=VALUES)
def test_what_is_flat_is_never_called_deep(value: Any) -> None:
    """However many brackets there are."""
    many = [value] * 40 + [[[]]] * 40 + ["[[[["] * 40
    raw = json.dumps(many).encode()
    assert many == parse_json(raw)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":', b'["\\\\",'])
@pytest.mark.parametrize("closing", [b"", b"]", b"}"])
def test_a_megabyte_of_brackets_is_refused(opening: bytes, closing: bytes) -> None:
    n = 1_000_000 // len(opening)
    refused(opening * n + closing * n)


@pytest.mark.parametrize(
    "raw", [b"]" * 100, b"}{" * 100, b"[}" * 100, b"{[" * 100 + b"}]" * 100, b'"' + b"[" * 100]
)
def test_brackets_that_do_not_pair_are_refused(raw: bytes) -> None:
    refused(raw)


def test_brackets_in_one_string_have_no_depth() -> None:
    text = '[{"\\' * 100_000
    assert {"prompt": text} == parse_json(json.dumps({"prompt": text}).encode())
