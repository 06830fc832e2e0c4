"""Where each tier is asked, with which key and within which limits: one TOML file beside the ladder.

The rule: what is wrong is refused before anything is sent, by a sentence that names the place; a key is never shown, not
even one that stands where its variable's name belongs. Reads one file; keys are read from the environment, by `read_keys`
alone, and stand in no object that is shown.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from router.errors import ConfigError
from router.masking import mask
from router.tiers import MAX_TOKENS, Ladder, Tier
from training.pipeline.values import read_choice, read_number, read_table, reject_unknown

__all__ = [
    "Endpoint",
    "check_base_url",
    "check_key_env",
    "is_loopback",
    "read_endpoints",
    "read_keys",
    "shown_host",
]

DUMMY_KEY = "none"
"""Sent to a server of this machine where no key is set."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
# What providers' keys begin with, and long names with digits and small letters: no variable is called so.
_SECRET = re.compile(
    r"(?:sk|rk|pk|gsk|hf|xai|ghp|AIza|AKIA|eyJ)\w*[0-9]|(?=\w*[0-9])(?=\w*[a-z])\w{24}|[0-9A-F]{24}"
)
_LIMIT_FIELDS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
# Set by us, or would change what an answer is.
_RESERVED = frozenset({"model", "messages", "stream", "stream_options", "n", *_LIMIT_FIELDS})


@dataclass(frozen=True)
class Endpoint:
    """One tier as it is asked.

    Attributes
    ----------
    name : str
        The tier's name, or a judge's.
    tier : Tier
        Model and prices; the first model is asked.
    base_url : str or None
        None is the SDK's own: OpenAI, or what OPENAI_BASE_URL names.
    api_key_env : str
        Name of the environment variable that holds the key.
    max_output_tokens : int
        Asked for in the field `output_limit_field`.
    timeout_s : float
        For one attempt, from request to the answer's last byte.
    requests_per_minute, tokens_per_minute : float or None
        None is no limit.
    max_attempts : int
        Requests in all that a call may take.
    params : dict
        Further fields of the request's body, such as temperature.
    """

    name: str
    tier: Tier
    base_url: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    max_output_tokens: int = 1024
    output_limit_field: str = "max_tokens"
    timeout_s: float = 120.0
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_attempts: int = 6
    params: dict[str, Any] = field(default_factory=dict)


_KEYS = tuple(each.name for each in fields(Endpoint) if each.name not in ("name", "tier"))


def read_endpoints(path: Path | None, ladder: Ladder, *, base_url: str | None = None) -> dict[str, Endpoint]:
    """Read the endpoints of a ladder's tiers, by tier name, cheapest first.

    Parameters
    ----------
    path : Path or None
        TOML with [defaults] and [tier.NAME] tables, both of the keys of `Endpoint`; None is every default.
    ladder : Ladder
        The tiers.
    base_url : str or None
        What the command line says, for all tiers; it goes before the file.

    Raises
    ------
    ConfigError
        The file cannot be read, a key or tier is unknown, or a value is wrong; the message says where.
    """
    document = {} if path is None else _load(path)
    where = f"endpoints file {path}"
    reject_unknown(document, ("defaults", "tier"), where)
    defaults = _read_values(document.get("defaults", {}), f"{where}, [defaults]")
    tiers = read_table(document.get("tier", {}), f"{where}, [tier]")
    for name in tiers:
        read_choice(name, f"{where}, [tier.…]: the name of a tier", ladder.names)
    flag = {} if base_url is None else {"base_url": check_base_url(base_url, "--base-url")}
    return {
        tier.name: Endpoint(
            tier.name,
            tier,
            **(
                defaults
                | _read_values(tiers.get(tier.name, {}), f"{where}, [tier.{tier.name}]", defaults)
                | flag
            ),
        )
        for tier in ladder.tiers
    }


def read_keys(endpoints: Mapping[str, Endpoint]) -> dict[str, str]:
    """Return the API key of each endpoint, from the environment.

    Raises
    ------
    ConfigError
        A variable is not set, or holds what no HTTP header may; its name is said, its value never.
    """
    keys = {}
    for name, endpoint in endpoints.items():
        variable = endpoint.api_key_env
        key = os.environ.get(variable, "").strip()
        if not key and endpoint.base_url is not None and is_loopback(endpoint.base_url):
            key = DUMMY_KEY
        if not key:
            raise ConfigError(
                f"endpoint {name}: expected its API key in the environment variable {variable}, which is not set; set it, or name "
                f"another with api_key_env in the endpoints file"
            )
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ConfigError(
                f"endpoint {name}: the environment variable {variable} holds a line end, a space or a letter beyond ASCII, which no "
                "key has; set it anew"
            )
        keys[name] = key
    return keys


def check_base_url(value: object, where: str) -> str:
    """Return a base URL without a slash at its end.

    Raises
    ------
    ConfigError
        It is none, or holds a password, a query or a fragment; then it is not shown.
    """
    expected = f"{where} is a URL such as https://api.example.com/v1"
    if not isinstance(value, str):
        raise ConfigError(f"{expected}; found {type(value).__name__}")
    try:
        parts = urlsplit(value.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigError(f"{expected}; found something else") from None
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            f"{expected}; found one with a user, a query or a fragment, where secrets would be logged on the way; put the "
            "key into an environment variable and name that in api_key_env"
        )
    if parts.scheme not in ("http", "https") or not host or not value.isprintable() or " " in value.strip():
        raise ConfigError(f"{expected}; found {mask(value)[:80]!r}")
    return value.strip().rstrip("/")


def check_key_env(value: object, where: str) -> str:
    """Return the name of an environment variable.

    Raises
    ------
    ConfigError
        It is none, or looks like a key; it is not shown, for it may be one.
    """
    if not isinstance(value, str) or not _VARIABLE.fullmatch(value) or _SECRET.match(value):
        raise ConfigError(
            f"{where} is the name of an environment variable that holds the key, such as OPENAI_API_KEY; found something "
            "else, which is not shown because it may be a key: keys do not belong into files"
        )
    return value


def is_loopback(url: str) -> bool:
    """Return whether a URL names this machine. Pure."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def shown_host(url: str) -> str:
    """Return the host and port of a URL, as a message may show them. Pure."""
    parts = urlsplit(url)
    host = parts.hostname or "unknown host"
    return host if parts.port is None else f"{host}:{parts.port}"


def _load(path: Path) -> dict[str, Any]:
    where = f"endpoints file {path}"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read ({error.strerror}); check the path") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{where}: expected UTF-8, found another encoding at byte {error.start}; save it as UTF-8"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: not valid TOML: {error}") from None


def _read_values(value: object, where: str, defaults: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the fields that a table sets; its params are added to those of the defaults."""
    table = read_table(value, where)
    reject_unknown(table, _KEYS, where)
    found: dict[str, Any] = {}
    for key, given in table.items():
        place = f"{where}: {key}"
        if key == "base_url":
            found[key] = check_base_url(given, place)
        elif key == "api_key_env":
            found[key] = check_key_env(given, place)
        elif key == "output_limit_field":
            found[key] = read_choice(given, place, _LIMIT_FIELDS)
        elif key == "max_output_tokens":
            found[key] = _whole(given, place, MAX_TOKENS)
        elif key == "max_attempts":
            found[key] = _whole(given, place, 100)
        elif key == "params":
            found[key] = (defaults or {}).get("params", {}) | _params(given, place)
        else:
            found[key] = read_number(given, place)
    return found


def _whole(value: object, where: str, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        shown = value if isinstance(value, int | float) and abs(value) < 10**20 else type(value).__name__
        raise ConfigError(f"{where} is a whole number from 1 to {most}; found {shown}")
    return value


def _params(value: object, where: str) -> dict[str, Any]:
    params = read_table(value, where)
    for key in params:
        if key in _RESERVED:
            raise ConfigError(
                f"{where}: {key} is set by the command itself; leave it out (the most output tokens are max_output_tokens)"
            )
    try:
        json.dumps(params, allow_nan=False)
    except (TypeError, ValueError):
        raise ConfigError(
            f"{where}: expected values that JSON has, found a date, a time, or a number without end; write it as text"
        ) from None
    return params
