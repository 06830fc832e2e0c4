"""Options are checked before anything starts, and each sentence names the flag at fault."""

from __future__ import annotations

import math
import socket
from pathlib import Path
from typing import Any

import pytest
from served import refuse

from router import ConfigError
from router.serving.keys import ADMIN_VARIABLE, KEYS_VARIABLE
from router.serving.settings import Settings, bind, read_access

KEY = "a-key-of-this-test-0123456789"


@pytest.fixture(autouse=True)
def _without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (KEYS_VARIABLE, ADMIN_VARIABLE):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("workers", [0, -1, 257]),
        ("port", [-1, 65536, 10**9]),
        ("drain_seconds", [-1.0, math.nan, math.inf, 1e9]),
        ("drain_delay", [-0.1, math.nan, math.inf]),
        ("watch", [0.0, -1.0, math.nan, math.inf, 1e6]),
    ],
)
def test_numbers_have_bounds(option: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(
            ConfigError, match=f"serve: --{option.replace('_', '-')} is a number .*; found {value}"
        ):
            Settings(**{option: value})


@pytest.mark.parametrize("option", ["workers", "port", "drain_seconds", "drain_delay", "watch"])
def test_numbers_at_their_bounds(option: str) -> None:
    for value in {"workers": (1, 256), "port": (0, 65535), "watch": (0.1, 86400.0)}.get(
        option, (0.0, 0.5, 3600.0)
    ):
        assert value == getattr(Settings(**{option: value}), option)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "",
        "tools.example",
        "https://",
        "ftp://a",
        "https://a/",
        "https://a/b",
        "https://*.a",
        "HTTPS//a",
    ],
)
def test_a_site_is_a_site(origin: str) -> None:
    with pytest.raises(ConfigError, match=r"serve: --cors-origin is a site such as https://tools\.example"):
        Settings(origins=(origin,))
    Settings(origins=("https://tools.example", "http://localhost:3000", "http://[::1]:8000"))


def test_who_may_ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = read_access(Settings())
    assert (None, None, True) == (here.keys, here.admin, here.loopback_only)
    anywhere = "0.0.0.0"  # noqa: S104 - what this is about
    with pytest.raises(ConfigError, match="lets other machines in, and there are no API keys"):
        read_access(Settings(host=anywhere))
    assert not read_access(Settings(host=anywhere, without_keys=True)).loopback_only
    assert not read_access(Settings(without_keys=True)).loopback_only
    file = tmp_path / "keys"
    file.write_text(KEY, encoding="utf-8")
    of_file = read_access(Settings(host=anywhere, keys_file=str(file)))
    assert of_file.keys is not None
    assert of_file.keys.check(KEY.encode())
    monkeypatch.setenv(ADMIN_VARIABLE, KEY)
    with pytest.raises(ConfigError, match="there are no API keys"):
        read_access(Settings(host=anywhere))
    monkeypatch.setenv(KEYS_VARIABLE, KEY)
    of_environment = read_access(Settings(host=anywhere, origins=("https://tools.example",)))
    assert of_environment.keys is not None
    assert of_environment.admin is not None
    assert frozenset({"https://tools.example"}) == of_environment.origins


def test_a_socket_to_listen_on() -> None:
    with bind(Settings(port=0)) as listener:
        host, port = listener.getsockname()[:2]
        assert ("127.0.0.1", True) == (host, port > 0)
        assert not listener.getblocking()
        with pytest.raises(ConfigError) as caught:
            bind(Settings(port=port))
        assert (
            f"serve: cannot listen on 127.0.0.1 port {port} (Address already in use); "
            "choose others with --host and --port"
        ) == str(caught.value)
        socket.create_connection((host, port), 5).close()
    with bind(Settings(host="::1", port=0)) as listener:
        assert socket.AF_INET6 == listener.family


@pytest.mark.parametrize(
    "host", ["203.0.113.7", "nowhere.invalid", "a" * 70, "..", "127.0.0.1:80", "http://127.0.0.1"]
)
def test_a_host_that_is_none(host: str) -> None:
    with pytest.raises(ConfigError) as caught:
        bind(Settings(host=host, port=0))
    told = str(caught.value)
    assert told.startswith(f"serve: cannot listen on {host} port 0 (")
    assert told.endswith("); choose others with --host and --port")


def test_on_the_command_line(toy_artifact: Path) -> None:
    """Each is one sentence, and nothing is printed besides."""
    for options in (
        ("--workers", "0"),
        ("--cors-origin", "*"),
        ("--max-in-flight", "0"),
    ):
        code, out, err = refuse("--model", str(toy_artifact), *options)
        assert (3, "", 1) == (code, out, len(err.splitlines()))
        assert err.startswith(f"error: serve: {options[0]} is ")
    code, out, err = refuse("--workers", "many")
    assert (2, "") == (code, out)
    assert "argument --workers: invalid int value: 'many'" in err
