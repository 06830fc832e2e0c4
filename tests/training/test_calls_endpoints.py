"""The endpoints file: what it says, and how what is wrong is refused without showing a key."""

from __future__ import annotations

from pathlib import Path

import pytest
from calling import LADDER
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ConfigError
from training.calls.endpoints import (
    Endpoint,
    check_base_url,
    check_key_env,
    is_loopback,
    read_endpoints,
    read_keys,
    shown_host,
)


def _read(tmp_path: Path, text: str, **options: str) -> dict[str, Endpoint]:
    path = tmp_path / "endpoints.toml"
    path.write_text(text, encoding="utf-8")
    return read_endpoints(path, LADDER, **options)


def test_without_a_file_all_is_as_the_sdk_has_it() -> None:
    found = read_endpoints(None, LADDER)
    assert list(LADDER.names) == list(found)
    assert Endpoint("small", LADDER.tiers[0]) == found["small"]
    assert {None} == {each.base_url for each in found.values()}
    assert {"http://127.0.0.1:8181/v1"} == {
        each.base_url for each in read_endpoints(None, LADDER, base_url="http://127.0.0.1:8181/v1/").values()
    }


def test_a_tiers_table_goes_before_the_defaults_and_the_flag_before_both(tmp_path: Path) -> None:
    text = """
        [defaults]
        base_url = "https://api.example.com/v1/"
        max_output_tokens = 256
        requests_per_minute = 600
        params = { temperature = 0, seed = 1 }
        [tier.large]
        base_url = "https://other.example.com"
        api_key_env = "OTHER_KEY"
        output_limit_field = "max_completion_tokens"
        timeout_s = 3.5
        tokens_per_minute = 1e6
        max_attempts = 2
        params = { seed = 2, reasoning_effort = "low" }
    """
    found = _read(tmp_path, text)
    small, large = found["small"], found["large"]
    assert ("https://api.example.com/v1", "OPENAI_API_KEY", 256) == (
        small.base_url,
        small.api_key_env,
        small.max_output_tokens,
    )
    assert {"temperature": 0, "seed": 1} == small.params
    assert {"temperature": 0, "seed": 2, "reasoning_effort": "low"} == large.params
    assert ("https://other.example.com", "OTHER_KEY", "max_completion_tokens", 256) == (
        large.base_url,
        large.api_key_env,
        large.output_limit_field,
        large.max_output_tokens,
    )
    assert (3.5, 600.0, 1e6, 2) == (
        large.timeout_s,
        large.requests_per_minute,
        large.tokens_per_minute,
        large.max_attempts,
    )
    flagged = _read(tmp_path, text, base_url="http://localhost:1")
    assert {"http://localhost:1"} == {each.base_url for each in flagged.values()}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[default]", r"unknown key 'default' \(did you mean defaults\?\)"),
        ("[defaults]\nbase_ulr = 'x'", r"\[defaults\]: unknown key 'base_ulr' \(did you mean base_url\?\)"),
        ("[tier.smal]", r"found 'smal' \(did you mean small\?\)"),
        ("tier = 5", r"\[tier\] is a table; found 5"),
        ("[tier]\nsmall = 5", r"\[tier.small\] is a table; found 5"),
        ("[defaults]\nmax_output_tokens = 0", "max_output_tokens is a whole number from 1"),
        ("[defaults]\nmax_output_tokens = 1.5", "found 1.5"),
        ("[defaults]\nmax_attempts = true", "max_attempts is a whole number from 1 to 100; found True"),
        ("[defaults]\nmax_attempts = 'x'", "found str"),
        ("[defaults]\ntimeout_s = 0", "timeout_s is a finite number above 0; found 0"),
        ("[defaults]\nrequests_per_minute = -1", "requests_per_minute is a finite number above 0"),
        ("[defaults]\noutput_limit_field = 'max_token'", r"did you mean max_tokens\?"),
        ("[defaults]\nparams = 3", "params is a table; found 3"),
        ("[defaults]\nparams = { stream = true }", "stream is set by the command itself"),
        ("[defaults]\nparams = { max_tokens = 5 }", "the most output tokens are max_output_tokens"),
        ("[defaults]\nparams = { x = [2026-01-31] }", "params: expected values that JSON has"),
        ("[defaults]\nparams = { x = nan }", "params: expected values that JSON has"),
        ("[defaults]\nbase_url = 5", "base_url is a URL such as https://api.example.com/v1; found int"),
        ("[defaults]\nbase_url = 'api.example.com'", "found 'api.example.com'"),
        ("[defaults]\nbase_url = 'ftp://x'", "found 'ftp://x'"),
        ("[defaults]\nbase_url = 'http://x:port'", "found something else"),
        ("[defaults\n", "not valid TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        _read(tmp_path, text)
    assert "endpoints file" in str(refused.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_endpoints(tmp_path / "none.toml", LADDER)
    (tmp_path / "latin.toml").write_bytes(b"# \xe9t\xe9")
    with pytest.raises(ConfigError, match="expected UTF-8, found another encoding at byte 2"):
        read_endpoints(tmp_path / "latin.toml", LADDER)


KEYS = [
    "sk-proj-abcdef0123456789",
    "sk_live_0123456789",
    "gsk_abc123def456ghi789",
    "hf_abcDEF123",
    "xai-123",
    "AIzaSyA0123456789",
    "AKIAIOSFODNN7EXAMPLE",
    "eyJhbGciOiJIUzI1NiJ9.e30.abc",
    "0123456789abcdef0123456789abcdef",
    "abcdef0123456789abcdef0123456789",
    "ABCDEF0123456789ABCDEF0123456789",
    "Bearer x",
]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_in_the_place_of_its_variable_is_refused_and_not_shown(tmp_path: Path, key: str) -> None:
    for text in (f"[defaults]\napi_key_env = '{key}'", f"[tier.small]\napi_key_env = '{key}'"):
        with pytest.raises(ConfigError, match="which is not shown because it may be a key") as refused:
            _read(tmp_path, text)
        assert key not in str(refused.value)


@pytest.mark.parametrize(
    "name", ["OPENAI_API_KEY", "KEY", "KEY_2", "SK_KEY", "my_key", "AZURE_OPENAI_API_KEY_WEST_EUROPE_2"]
)
def test_a_variables_name_is_taken(name: str) -> None:
    assert name == check_key_env(name, "api_key_env")


@pytest.mark.parametrize(
    "url", ["https://bob:hush@x/v1", "https://hush@x/v1", "https://x/v1?key=hush", "http://x/#hush"]
)
def test_a_url_with_a_secret_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigError, match="put the key into an environment variable") as refused:
        check_base_url(url, "--base-url")
    assert "hush" not in str(refused.value)


@given(text=st.text(max_size=30).map(lambda end: f"http://{end}") | st.text(max_size=30))
def test_any_text_is_a_url_or_refused(text: str) -> None:
    try:
        assert shown_host(check_base_url(text, "--base-url"))
    except ConfigError:
        assert True


def test_keys_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Endpoint("small", LADDER.tiers[0], api_key_env="A_KEY")
    monkeypatch.setenv("A_KEY", " hush1\n")
    assert {"small": "hush1"} == read_keys({"small": plain})
    monkeypatch.delenv("A_KEY")
    with pytest.raises(
        ConfigError, match="endpoint small: expected its API key in the environment variable A_KEY"
    ):
        read_keys({"small": plain})
    local = Endpoint("small", LADDER.tiers[0], base_url="http://127.0.0.1:8/v1", api_key_env="A_KEY")
    assert read_keys({"small": local})["small"]
    for bad in ("hu\nsh", "hu sh", "huésh"):
        monkeypatch.setenv("A_KEY", bad)
        with pytest.raises(
            ConfigError, match="holds a line end, a space or a letter beyond ASCII"
        ) as refused:
            read_keys({"small": local})
        assert bad not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:1", True),
        ("http://127.1.2.3/v1", True),
        ("http://[::1]:8/v1", True),
        ("http://10.0.0.1", False),
        ("https://localhost.example.com", False),
    ],
)
def test_what_is_of_this_machine(url: str, expected: bool) -> None:
    assert expected == is_loopback(url)
