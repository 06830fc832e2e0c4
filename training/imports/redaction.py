"""Takes personal data out of prompts and answers before anything of them is written.

The rule: what is found is replaced by what it was, such as `<EMAIL>`, the same word everywhere, and only counted; the
original is kept nowhere. Patterns find what has a form: they find no names and no street addresses. For these there are
hooks, functions of the user's own from text to text, and redaction by pattern promises no anonymity.

Pure but for `load_hook`, which imports a module that the operator named.
"""

from __future__ import annotations

import importlib
import ipaddress
import json
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from router.errors import ConfigError, RouterError
from training.imports.logged import LoggedCall
from training.imports.values import opened

__all__ = ["Hook", "Redactor", "builtin", "load_hook"]

Hook = Callable[[str], str]

_STRUCTURE = ("role", "type", "id", "tool_call_id")
_MEDIA = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,[A-Za-z0-9+/=_-]*")

_EMAIL = re.compile(
    r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}(?![\w-])"
)
_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.{0,10000}?-----END [A-Z ]{0,30}PRIVATE KEY-----"
    r"|(?<![A-Za-z0-9])(?:"
    r"sk-[A-Za-z0-9_-]{16,200}|[rs]k_(?:live|test)_[A-Za-z0-9]{10,200}|gh[pousr]_[A-Za-z0-9]{20,255}"
    r"|github_pat_[A-Za-z0-9_]{20,255}|glpat-[A-Za-z0-9_-]{16,64}|xox[abeoprs]-[A-Za-z0-9-]{10,250}"
    r"|A[KS]IA[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{35}|hf_[A-Za-z0-9]{20,100}|npm_[A-Za-z0-9]{36}"
    r"|eyJ[A-Za-z0-9_-]{8,4000}\.eyJ[A-Za-z0-9_-]{4,8000}\.[A-Za-z0-9_-]{4,2000}"
    r")|(?<=[Bb]earer )[A-Za-z0-9._~+/-]{16,2000}={0,2}",
    re.DOTALL,
)
_KEY_MARKS = (
    *(
        "-----BEGIN",
        "sk-",
        "k_live_",
        "k_test_",
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "github_pat_",
        "glpat-",
    ),
    *("xox", "AKIA", "ASIA", "AIza", "hf_", "npm_", "eyJ", "earer "),
)

# Each begins with the characters that it can begin with, and looks behind itself after: so that the search may skip to one.
_GAP = "[ \u00a0\u2009\u202f.\u2010\u2011\u2013-]"
_CARD = re.compile(
    rf"\d(?<!\d.)(?:\d{{12,18}}|\d{{3}}{_GAP}\d{{6}}{_GAP}\d{{4,5}}"
    rf"|\d{{3}}(?:{_GAP}\d{{4}}){{2}}{_GAP}\d{{1,4}}(?:{_GAP}\d{{1,3}})?)(?!\d)"
)
_IBAN = re.compile(  # in one, or in groups of four as it is printed
    r"[A-Za-z](?<![A-Za-z0-9].)[A-Za-z]\d{2}(?:[ \u00a0-]?[A-Za-z0-9]{4}){2,7}(?:[ \u00a0-]?[A-Za-z0-9]{1,3})?(?![A-Za-z0-9])"
)
_IPV4 = re.compile(r"\d(?<![\w.:].)\d{0,2}(?:\.\d{1,3}){3}(?![\w.]*\d)")
_IPV6 = re.compile(
    r"[0-9A-Fa-f:](?<![\w.:].)(?<=:|\w)(?:[0-9A-Fa-f]{0,3}:|(?<=:):)(?:[0-9A-Fa-f]{0,4}:){0,6}"
    r"(?:(?:\d{1,3}\.){3}\d{1,3}|[0-9A-Fa-f]{1,4})?(?![\w:])"
)
_PHONE = re.compile(
    r"[+0](?<![\w.+-].)(?:(?<=\+)|0)[1-9]\d{0,2}(?:[ \u00a0./-]{0,2}\(?\d{1,5}\)?){2,6}(?![\w-])"
)
_PHONE_OF_AMERICA = re.compile(
    r"[(\d](?<![\w.+-].)(?:(?<=\()\d{3}\) ?|(?<=\d)\d{2}[-.])\d{3}[-.]\d{4}(?![\w-])"
)


def builtin(text: str, found: Counter[str] | None = None) -> str:
    """Return the text without what the built-in patterns find. Pure, but for the counts.

    Found are mail addresses, keys and tokens of well-known forms, payment cards (by their check digit), IBANs (by their
    check digits), IP addresses but loopback's, and telephone numbers with a country's code or in North American form.
    Doing it twice changes nothing more.

    Parameters
    ----------
    text : str
        Any text.
    found : Counter or None
        Counts what was replaced, by kind.
    """
    found = Counter() if found is None else found
    before = None
    while text != before:  # what a replacement has uncovered; each pass leaves less to find
        before = text
        for kind in _KINDS:
            if kind.may_be_in(text):
                text = _replaced(text, kind, found)
    return text


def _replaced(text: str, kind: _Kind, found: Counter[str]) -> str:
    def told(match: re.Match[str]) -> str:
        length = kind.length_of(match.group())
        if not length:
            return match.group()
        found[kind.name] += 1
        return f"<{kind.name}>{match.group()[length:]}"

    return kind.pattern.sub(told, text)


def _whole(text: str) -> int:
    return len(text)


def _is_card(text: str) -> int:
    """Check Luhn's digit (ISO/IEC 7812-1) of a number that begins as those of payment cards do."""
    digits = [unicodedata.digit(char) for char in text if char.isdecimal()]
    if not 13 <= len(digits) <= 19 or digits[0] not in (2, 3, 4, 5, 6):
        return 0
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return len(text) if (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 else 0


def _is_iban(text: str) -> int:
    """Check the two digits of ISO 13616, on the longest part that has them right: words may follow a number."""
    places = [i for i, char in enumerate(text) if char.isalnum()]
    plain = "".join(text[i] for i in places).upper()
    if not plain.isascii():
        return 0
    for length in range(min(len(plain), 34), 14, -1):
        end, turned = places[length - 1] + 1, plain[4:length] + plain[:4]
        if end < len(text) and text[end].isalnum():
            continue
        if int("".join(str(int(char, 36)) for char in turned)) % 97 == 1:
            return end
    return 0


def _is_ip(text: str) -> int:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return 0
    if address.is_loopback or address.is_unspecified:
        return 0
    # "a::b" is an address, and more often C++: one has digits, and more than a letter or two.
    likely = address.version == 4 or (any(map(str.isdigit, text)) and sum(map(str.isalnum, text)) >= 4)
    return len(text) if likely else 0


def _is_phone(text: str) -> int:
    return (
        len(text) if 8 <= sum(char.isdecimal() for char in text) <= 17 else 0
    )  # E.164: 15, and the prefix 00


class _Kind(NamedTuple):
    """One kind of what is found."""

    name: str
    pattern: re.Pattern[str]
    length_of: Callable[[str], int]
    """How much of a match it is, 0 if none."""
    may_be_in: Callable[[str], object]
    """Tells quickly that a text holds none."""


_FOUR_DIGITS = re.compile(r"\d{4}").search
_DOTTED = re.compile(r"\d\.\d").search

_KINDS = (
    _Kind(
        "KEY", _KEY, _whole, lambda text: any(mark in text for mark in _KEY_MARKS)
    ),  # may hold what looks a number
    _Kind("EMAIL", _EMAIL, _whole, lambda text: "@" in text),
    _Kind("IBAN", _IBAN, _is_iban, re.compile(r"[A-Za-z]\d{2}").search),
    _Kind("CARD", _CARD, _is_card, _FOUR_DIGITS),
    _Kind("IP", _IPV4, _is_ip, _DOTTED),
    _Kind("IP", _IPV6, _is_ip, re.compile(r":[0-9A-Fa-f]{0,4}:").search),
    _Kind("PHONE", _PHONE, _is_phone, re.compile(r"[+0]\d").search),
    _Kind("PHONE", _PHONE_OF_AMERICA, _is_phone, _FOUR_DIGITS),
)


class Redactor:
    """Applies the built-in patterns and hooks to the texts of calls, and counts."""

    def __init__(self, names: Sequence[str]) -> None:
        self._hooks: list[tuple[str, Hook | None]] = [
            (name, None if name == "builtin" else load_hook(name)) for name in names
        ]
        self.found: Counter[str] = Counter()
        """What was replaced: kinds of the built-in patterns, and texts that a hook changed."""

    def redact(self, call: LoggedCall) -> LoggedCall:
        """Return the call with its texts redacted.

        Raises
        ------
        RouterError
            A hook fails or returns no text; the message names the hook and the place and nothing of the text.
        """
        if not self._hooks:
            return call
        texts = {name: getattr(call, name) for name in ("messages", "response", "finish_reason", "task")}
        return replace(call, **self._value(texts, call.place))

    def _value(self, value: Any, place: str, kept: Sequence[str] = _STRUCTURE) -> Any:  # noqa: ANN401 - JSON of any form
        if isinstance(value, str):
            return value if _MEDIA.fullmatch(value) else self._maybe_json(value, place)
        if isinstance(value, list):
            return [self._value(item, place, kept) for item in value]
        if isinstance(value, dict):
            return {
                self._text(key, place): item
                if key in kept and isinstance(item, str)
                else self._value(item, place, kept)
                for key, item in value.items()
            }
        if isinstance(value, int | float) and not isinstance(value, bool):
            found = self._text(str(value), place)
            return value if found == str(value) else found
        return value

    def _maybe_json(self, text: str, place: str) -> str:
        """Redact the texts that JSON holds, such as the arguments of a tool: what it escapes no pattern finds in it."""
        inside = opened(text)
        if inside is text:
            return self._text(text, place)
        try:
            found = self._value(inside, place, ())
            return text if found == inside else json.dumps(found, ensure_ascii=False)
        except RecursionError:
            return self._text(text, place)

    def _text(self, text: str, place: str) -> str:
        for name, hook in self._hooks:
            if hook is None:
                text = builtin(text, self.found)
                continue
            try:
                changed = hook(text)
            except Exception as fault:  # the user's own code fails in any way it likes
                kind = type(fault).__name__
                raise RouterError(
                    f"--redact {name}: failed with {kind} at {place}; correct the function"
                ) from None
            if not isinstance(changed, str):
                kind = type(changed).__name__
                raise RouterError(
                    f"--redact {name}: expected text, found {kind} at {place}; correct the function"
                )
            self.found[name] += changed != text
            text = changed
        return text


@contextmanager
def _current_folder() -> Iterator[None]:
    """Search the current folder for modules too, as `python -m` does and an installed command does not."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def load_hook(name: str) -> Hook:
    """Return the function that `module:function` names; the current folder is searched as well.

    Raises
    ------
    ConfigError
        There is no such module or function, or it cannot be called.
    """
    module, colon, function = name.partition(":")
    if not module or not colon or not function:
        raise ConfigError(
            f"--redact: expected builtin or module:function, found {name!r}; such as privacy:strip_names"
        )
    with _current_folder():
        try:
            found = getattr(importlib.import_module(module), function)
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"--redact {name}: no module {error.name}; put it into the current folder or install it"
            ) from None
        except AttributeError:
            raise ConfigError(
                f"--redact {name}: module {module} has no {function}; name one that it has"
            ) from None
        except Exception as fault:
            kind = type(fault).__name__
            raise ConfigError(
                f"--redact {name}: importing {module} failed with {kind}; correct the module"
            ) from fault
    if not callable(found):
        raise ConfigError(
            f"--redact {name}: expected a function, found {type(found).__name__}; name a function"
        )
    return found  # type: ignore[no-any-return]
