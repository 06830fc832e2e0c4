"""Redaction: what has a form goes, with every digit of it; doing it twice changes nothing; hooks fail in one sentence."""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.status import Status
from router.errors import ConfigError, RouterError
from training.imports.logged import LoggedCall
from training.imports.redaction import Redactor, builtin, load_hook

PROMPT_TEXT = "the secret words of a prompt"
SCHEMES = [("4", 16, (4, 4, 4, 4)), ("51", 16, (4, 4, 4, 4)), ("34", 15, (4, 6, 5)), ("6011", 16, (4, 4, 4, 4)),
           ("4", 13, (13,)), ("4", 19, (4, 4, 4, 4, 3)), ("36", 14, (4, 6, 4)), ("2221", 16, (4, 4, 4, 4)), ("62", 16, (16,))]  # fmt: skip
BEFORE = st.text(alphabet="abc xyz.,:;()<>\n\"'é日", max_size=12)


def call(prompt: str, response: str | None = None) -> LoggedCall:
    return LoggedCall("log, line 1", [{"role": "user", "content": prompt}], "m", Status.ANSWERED, response)


def luhn(digits: str) -> str:
    total = 0
    for place, digit in enumerate(reversed(digits), start=1):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return digits + str(-total % 10)


@st.composite
def cards(draw: st.DrawFn) -> str:
    prefix, length, printed = draw(st.sampled_from(SCHEMES))
    rest = draw(
        st.text(alphabet="0123456789", min_size=length - len(prefix) - 1, max_size=length - len(prefix) - 1)
    )
    number = luhn(prefix + rest)
    gap = draw(st.sampled_from(["", " ", "-", "\u00a0", "."]))
    parts, at = [], 0
    for size in printed:
        parts.append(number[at : at + size])
        at += size
    return gap.join(parts)


@given(BEFORE, cards(), BEFORE)
def test_no_digit_of_a_card_survives(before: str, card: str, after: str) -> None:
    found = builtin(f"{before}{card}{after}")
    assert not any(char.isdecimal() for char in found)
    assert "<CARD>" in found


@given(BEFORE, st.lists(cards(), min_size=1, max_size=3), BEFORE)
def test_nor_of_several(before: str, several: list[str], after: str) -> None:
    found = Counter[str]()
    assert not any(char.isdecimal() for char in builtin(f"{before}{', '.join(several)}{after}", found))
    assert len(several) == found["CARD"]


@given(st.text(alphabet="0123456789abcdef.:@+-<> ()sk_xyzDE\u00a0/", max_size=80))
def test_redacting_twice_changes_nothing(text: str) -> None:
    once = builtin(text)
    assert once == builtin(once)


@given(st.text(max_size=200))
def test_any_text_is_taken(text: str) -> None:
    assert isinstance(builtin(text), str)


@given(st.ip_addresses())
def test_addresses_go(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    text = str(address)
    kept = address.is_loopback or address.is_unspecified
    if not kept and address.version == 6 and sum(char.isalnum() for char in text) < 4:
        return
    if address.version == 6 and not any(char.isdecimal() for char in text):
        return
    assert (f"from {text} to" if kept else "from <IP> to") == builtin(f"from {text} to")


@given(st.text(alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=11, max_size=28), st.booleans())
def test_bank_accounts_with_right_check_digits_go(account: str, spaced: bool) -> None:
    plain = account + "GB00"
    check = 98 - int("".join(str(int(char, 36)) for char in plain)) % 97
    number = f"GB{check:02d}{account}"
    shown = " ".join(number[i : i + 4] for i in range(0, len(number), 4)) if spaced else number
    assert builtin(f"pay {shown}; now") == "pay <IBAN>; now"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to ann.lee+x@mail.example.com, please", "write to <EMAIL>, please"),
        ("jörg@bücher.example", "<EMAIL>"),
        ("call +49 (30) 901820 or (555) 123-4567", "call <PHONE> or <PHONE>"),
        ("0049 30 901820", "<PHONE>"),
        ("Authorization: Bearer abcdefghijklmnop1234", "Authorization: Bearer <KEY>"),
        ("key sk-proj-abcdefghijklmnopqrst end", "key <KEY> end"),
        ("AKIAABCDEFGHIJKLMNOP", "<KEY>"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "<KEY>"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----", "<KEY>"),
        ("DE89 3704 0044 0532 0130 00 thanks", "<IBAN> thanks"),
        ("host 10.0.0.1:8080", "host <IP>:8080"),
        ("::ffff:8.8.8.8", "<IP>"),
    ],
)
def test_what_has_a_form_goes(text: str, expected: str) -> None:
    assert expected == builtin(text)


@pytest.mark.parametrize(
    "text",
    [
        "add 1234567890123 and 4111111111111112",
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",
        "on 2024-01-31 at 12:30:45 in v1.2.3",
        "std::vector<a::b> x; @decorator def f(): pass",
        "127.0.0.1 and ::1",
        "3.141592653589793",
        "a@b is no address, nor is x @ y",
    ],
)
def test_what_merely_looks_like_it_stays(text: str) -> None:
    assert text == builtin(text)


def test_long_runs_take_no_more_than_their_length() -> None:
    for unit in ("a", "1", "1 ", "a.", "1.", "a@", "+1", ":", "4111-", "eyJ", "DE12 "):
        text = unit * (200_000 // len(unit))
        assert len(builtin(text)) <= len(text) + 10


def test_prompt_and_response_are_redacted_alike_and_structure_stays() -> None:
    redactor = Redactor(["builtin"])
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "I am a@b.example"},
                                     {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
        {"role": "assistant", "tool_calls": [{"id": "call_4111111111111111", "type": "function",
                                              "function": {"name": "f", "arguments": '{"to": "a@b.example"}'}}]},
    ]  # fmt: skip
    found = redactor.redact(LoggedCall("p", messages, "m", Status.ANSWERED, "Dear a@b.example"))
    assert found.response == "Dear <EMAIL>"
    assert found.messages[0]["content"] == [
        {"type": "text", "text": "I am <EMAIL>"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    assert found.messages[1]["tool_calls"][0]["id"] == "call_4111111111111111"
    assert found.messages[1]["tool_calls"][0]["function"]["arguments"] == '{"to": "<EMAIL>"}'
    assert redactor.found == {"EMAIL": 3}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data: I am a@b.example", "data: I am <EMAIL>"),
        ("data:text/plain;base64,AAAA a@b.example", "data:text/plain;base64,AAAA <EMAIL>"),
        ('{"to": "+49\\u00a030\\u00a01234\\u00a05678"}', '{"to": "<PHONE>"}'),
        ('{"body": "Hi\\na@b.example"}', '{"body": "Hi\\n<EMAIL>"}'),
        ('{"id": "a@b.example", "b@c.example": [4111111111111111, 5, true]}', '{"id": "<EMAIL>", "<EMAIL>": ["<CARD>", 5, true]}'),
        ('{"spaced" :  "and left alone"}', '{"spaced" :  "and left alone"}'),
        ("[" * 400 + '"a@b.example"' + "]" * 400, "[" * 400 + '"<EMAIL>"' + "]" * 400),
        ('{"a":' * 900 + '"a@b.example"' + "}" * 900, '{"a":' * 900 + '"<EMAIL>"' + "}" * 900),
    ],
)  # fmt: skip
def test_neither_a_scheme_nor_json_hides_anything(text: str, expected: str) -> None:
    found = Redactor(["builtin"]).redact(call(text, text))
    assert expected == found.response == found.messages[0]["content"]


def test_no_other_text_of_a_call_is_forgotten() -> None:
    one = replace(call("hi"), task="for a@b.example", finish_reason="b@c.example")
    found = Redactor(["builtin"]).redact(one)
    assert ("for <EMAIL>", "<EMAIL>") == (found.task, found.finish_reason)


def test_without_hooks_a_call_stays_as_it_is() -> None:
    one = call("a@b.example")
    assert one is Redactor([]).redact(one)


@pytest.fixture
def hooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "privacy_hooks.py").write_text(
        "def strip(text): return text.replace('Ann', '<NAME>')\n"
        "def fail(text): raise ValueError(text)\n"
        "def wrong(text): return None\n"
        "number = 1\n",
        encoding="utf-8",
    )
    (tmp_path / "broken_hooks.py").write_text("raise RuntimeError('at import')\n", encoding="utf-8")
    return tmp_path


@pytest.mark.usefixtures("hooks")
def test_hooks_are_applied_in_their_order_and_counted() -> None:
    redactor = Redactor(["privacy_hooks:strip", "builtin"])
    found = redactor.redact(call("Ann, ann@x.example", "Hello Ann"))
    assert found.messages == [{"role": "user", "content": "<NAME>, <EMAIL>"}]
    assert found.response == "Hello <NAME>"
    assert redactor.found == {"privacy_hooks:strip": 2, "EMAIL": 1}


@pytest.mark.usefixtures("hooks")
@pytest.mark.parametrize(("name", "said"), [("fail", "ValueError"), ("wrong", "NoneType")])
def test_a_hook_that_fails_is_named_and_the_text_is_not(name: str, said: str) -> None:
    with pytest.raises(RouterError) as caught:
        Redactor([f"privacy_hooks:{name}"]).redact(call(PROMPT_TEXT))
    assert said in str(caught.value)
    assert "log, line 1" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.usefixtures("hooks")
@pytest.mark.parametrize(
    "name",
    [
        "bultin",
        "no_such_module:f",
        "privacy_hooks:nope",
        "privacy_hooks:number",
        "broken_hooks:f",
        ":",
        "a:",
        ":b",
    ],
)
def test_a_hook_that_is_none_is_refused_before_anything_is_read(name: str) -> None:
    with pytest.raises(ConfigError, match="--redact"):
        load_hook(name)
