"""Who has a key may ask; the keys may change under way, and are told to no one."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served import Served, Wire, ask, refuse, request, start, wait_until

from router import ConfigError
from router.serving import keys as module
from router.serving.keys import Keys

FIRST, SECOND, ADMIN, NEW = (f"{name}-key-0123456789" for name in ("first", "second", "admin", "new"))
BODY = b'{"prompt":"hello"}'
CLOSED = ["/v1/route", "/v1/route/batch", "/v1/model", "/v1/model/reload", "/metrics"]


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


# The list


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def test_lines_are_keys(file: Path) -> None:
    file.write_text(f"# ours\n\n  {FIRST}  \n{SECOND}\r\n#{NEW}\n", encoding="utf-8")
    keys = Keys.read(file, "NONE")
    assert keys is not None
    for key in (FIRST, SECOND):
        assert hashlib.sha256(key.encode()).hexdigest()[:8] == keys.check(key.encode())
    for key in (NEW, f"#{NEW}", "", FIRST[:-1], FIRST + "a", FIRST.upper(), f" {FIRST}", "# ours"):
        assert keys.check(key.encode()) is None


def test_the_environment_has_keys_where_there_is_no_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Keys.read(None, "THE_KEYS") is None
    monkeypatch.setenv("THE_KEYS", "  ")
    assert Keys.read(None, "THE_KEYS") is None
    monkeypatch.setenv("THE_KEYS", f"{FIRST}, {SECOND},")
    keys = Keys.read(None, "THE_KEYS")
    assert keys is not None
    assert keys.check(FIRST.encode())
    assert keys.check(SECOND.encode())
    assert not keys.refresh()
    file.write_text(NEW, encoding="utf-8")
    keys = Keys.read(file, "THE_KEYS")
    assert keys is not None
    assert keys.check(NEW.encode())
    assert not keys.check(FIRST.encode())


WRONG: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "expected 1 to 1000 keys, found 0"),
    "comments": (b"# a\n\n", "expected 1 to 1000 keys, found 0"),
    "short": (b"a-key\n", "key 1 is not 16 or more printable ASCII characters"),
    "one short": (f"{FIRST}\nshort\n".encode(), "key 2 is not 16"),
    "other letters": ("schlüssel-0123456789\n".encode(), "key 1 is not 16"),
    "spaces": (b"a key of many words 0123456789\n", "key 1 is not 16"),
    "a control character": (b"a-key-\x01-0123456789\n", "key 1 is not 16"),
    "not UTF-8": (b"\xff\xfe" + b"a\0" * 30, "not UTF-8 text"),
    "many": (b"a-key-of-many-0123456789\n" * 1001, "expected 1 to 1000 keys, found 1001"),
    "huge": (b"#" * (1024 * 1024 + 1), "expected one key a line, found 1,048,577 bytes"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_file_is_refused(file: Path, what: str) -> None:
    content, words = WRONG[what]
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        Keys.read(file, "NONE")
    assert f"keys file {file}: " in str(caught.value)
    assert words in str(caught.value)
    for line in content[:1000].decode("latin-1").splitlines():
        assert len(line) < 4 or line not in str(caught.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in (".", "pipe", "nowhere", "a" * 300):
        with pytest.raises(ConfigError, match="check the path"):
            Keys.read(tmp_path / name, "NONE")
    with pytest.raises(ConfigError, match="check the path"):
        Keys.read("/dev/zero", "NONE")


def test_a_file_that_changes_is_read_again(file: Path) -> None:
    file.write_text(FIRST, encoding="utf-8")
    keys = Keys.read(file, "NONE")
    assert keys is not None
    assert not keys.refresh()
    for i, wrong in enumerate((b"", b"short", None)):
        if wrong is None:
            file.unlink()
        else:
            file.write_bytes(wrong)
        with pytest.raises(ConfigError):
            keys.refresh()
        assert not keys.refresh(), i  # it is told once
        assert keys.check(FIRST.encode())
    file.write_text(SECOND, encoding="utf-8")
    assert keys.refresh()
    assert (False, True) == (bool(keys.check(FIRST.encode())), bool(keys.check(SECOND.encode())))
    other = file.with_name("other")
    other.write_text(NEW, encoding="utf-8")
    other.rename(file)
    assert keys.refresh()
    assert keys.check(NEW.encode())


def test_every_key_is_compared_whichever_it_is(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the time tells nothing: as many comparisons of whole digests for the first, the last and none."""
    file.write_text("\n".join((FIRST, SECOND, NEW)), encoding="utf-8")
    keys = Keys.read(file, "NONE")
    assert keys is not None
    compared: list[tuple[bytes, bytes]] = []

    def note(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return hmac.compare_digest(a, b)

    class Counted:
        compare_digest = staticmethod(note)

    monkeypatch.setattr(module, "hmac", Counted)
    for key in (FIRST, NEW, "none", "", "a" * 100_000):
        compared.clear()
        keys.check(key.encode())
        assert 3 == len(compared)
        assert {32} == {len(digest) for pair in compared for digest in pair}
    assert not any(
        key in repr(vars(keys) if hasattr(keys, "__dict__") else keys._digests) for key in (FIRST, NEW)
    )


# The service


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text(f"{FIRST}\n{SECOND}\n", encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def served(toy_artifact: Path, key_file: Path) -> Iterator[Served]:
    options = ("--model", str(toy_artifact), "--keys", str(key_file))
    with start(*options, environment={"TIERWISE_ADMIN_KEYS": f"{ADMIN},another-admin-key-0123"}) as served:
        yield served
        assert [] == served.events("failure")
        for key in (FIRST, SECOND, ADMIN, NEW):
            assert key not in served.log
            assert key[4:] not in served.log


def closed(path: str, **headers: str) -> bytes:
    if path in ("/v1/model", "/metrics"):
        return request("GET", path, **headers)
    return request("POST", path, b'{"items":[]}' if path.endswith("batch") else BODY, **headers)


def status(served: Served, path: str, **headers: str) -> int:
    with Wire(served) as wire:
        return wire.ask(closed(path, **headers)).status


@pytest.mark.parametrize("path", CLOSED)
def test_without_a_key_nothing_is_told(served: Served, path: str) -> None:
    with Wire(served) as wire:
        reply = wire.ask(closed(path))
        assert (401, "missing-key") == (reply.status, reply.problem)
        assert "Bearer" == reply.headers["www-authenticate"]
        reply = wire.ask(closed(path, **bearer("a-key-that-is-none-01234")))
        assert (401, "wrong-key") == (reply.status, reply.problem)
        assert 'Bearer error="invalid_token"' == reply.headers["www-authenticate"]
        assert b"a-key-that" not in reply.body


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/"])
def test_some_need_no_key(served: Served, path: str) -> None:
    assert 200 == ask(served, "GET", path).status


def test_any_of_the_keys_opens(served: Served) -> None:
    for key in (FIRST, SECOND, ADMIN):
        reply = ask(served, "POST", "/v1/route", BODY, **bearer(key))
        assert 200 == reply.status
        request_id = reply.json["request_id"]
        line = wait_until(
            lambda request_id=request_id: next(
                (e for e in served.events("request") if e["request_id"] == request_id), None
            ),
            "no line in the log",
        )
        assert hashlib.sha256(key.encode()).hexdigest()[:8] == line["key"]
        assert 200 == ask(served, "GET", "/metrics", **bearer(key)).status


def test_only_an_admin_reloads(served: Served) -> None:
    for key, expected in ((FIRST, 403), (ADMIN, 200), ("another-admin-key-0123", 200), (NEW, 401)):
        reply = ask(served, "POST", "/v1/model/reload", **bearer(key))
        assert expected == reply.status
    assert "forbidden" == ask(served, "POST", "/v1/model/reload", **bearer(FIRST)).problem


FORMS = {
    f"bearer {FIRST}": 200,
    f"BEARER {FIRST}": 200,
    FIRST: 401,
    "Bearer": 401,
    "Bearer ": 401,
    f"Basic {FIRST}": 401,
    f"Bearer{FIRST}": 401,
    f"Bearer {FIRST} {SECOND}": 401,
    f"Bearer {FIRST},{SECOND}": 401,
    f"Bearer '{FIRST}'": 401,
    f"Bearer {FIRST}\xff": 401,
    "Bearer \xff\xfe": 401,
    f"Token {FIRST}": 401,
    "Bearer " + "a" * 20_000: 401,
}


@pytest.mark.parametrize("value", FORMS, ids=range(len(FORMS)))
def test_forms_of_the_header(served: Served, value: str) -> None:
    assert FORMS[value] == status(served, "/v1/route", authorization=value)


def test_a_key_elsewhere_is_none(served: Served) -> None:
    for sent in (
        request("POST", f"/v1/route?key={FIRST}&authorization=Bearer%20{FIRST}", BODY),
        request("POST", "/v1/route", BODY, x_api_key=FIRST, cookie=f"authorization=Bearer {FIRST}"),
        request("POST", "/v1/route", BODY, proxy_authorization=f"Bearer {FIRST}"),
    ):
        with Wire(served) as wire:
            assert 401 == wire.ask(sent).status


def test_the_key_is_asked_for_before_anything_is_read(served: Served) -> None:
    """Who has none learns nothing by what is wrong with a body, and has none of it kept."""
    for sent in (
        request("POST", "/v1/route", b"{"),
        request("POST", "/v1/route", BODY, content_type="text/plain"),
        request("POST", "/v1/route", b"", content_length="99999999"),
        request("POST", "/v1/route/batch", b"", content_type="application/x-ndjson"),
        request("DELETE", "/v1/model"),
    ):
        with Wire(served) as wire:
            assert 401 == wire.ask(sent).status


@pytest.mark.parametrize(
    "path", ["/v1/model/", "//v1/model", "/v1/model%0a", "/v1/../v1/model", "/V1/model", "/v1/model%2f"]
)
def test_no_other_name_of_an_endpoint_passes_the_keys(served: Served, path: str) -> None:
    reply = ask(served, "GET", path)
    assert reply.status in (400, 401, 404)
    assert b"manifest" not in reply.body


def test_a_body_larger_than_one_may_send_is_not_kept_for_want_of_a_key(served: Served) -> None:
    before = _resident_mb(served)
    with Wire(served) as wire:
        wire.send(request("POST", "/v1/route", b"", content_length=str(50 * 2**20)))
        assert 401 == wire.read().status
        for _ in range(50):
            wire.send(bytes(2**20))
        assert 200 == wire.ask(request("GET", "/healthz")).status
    assert _resident_mb(served) - before < 20


def _resident_mb(served: Served) -> float:
    lines = Path(f"/proc/{served.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def test_keys_rotate_without_a_restart(served: Served, key_file: Path) -> None:
    def is_open(key: str) -> bool:
        return 200 == status(served, "/v1/route", **bearer(key))

    def events() -> list[tuple[Any, Any]]:
        return [(event["what"], event["outcome"]) for event in served.events("keys")]

    with Wire(served) as wire:  # a connection that was opened by an old key is not open for ever
        assert 200 == wire.ask(closed("/v1/route", **bearer(FIRST))).status
        following = key_file.with_name("following")
        following.write_text(f"{NEW}\n", encoding="utf-8")
        following.rename(key_file)
        wait_until(lambda: is_open(NEW), "the new key is not taken", seconds=5)
        assert 401 == wire.ask(closed("/v1/route", **bearer(FIRST))).status
    assert [("keys", "read again")] == events()
    key_file.write_bytes(b"short\n")
    wait_until(lambda: ("keys", "refused") in events(), "the broken file is not told of", seconds=5)
    assert is_open(NEW)
    assert not is_open("short")
    key_file.unlink()
    wait_until(lambda: 2 == events().count(("keys", "refused")), "the missing file is not told of", seconds=5)
    assert is_open(NEW)
    key_file.write_text(f"{FIRST}\n{SECOND}\n", encoding="utf-8")
    wait_until(lambda: is_open(FIRST), "the file's return is not noticed", seconds=5)
    assert not is_open(NEW)
    assert is_open(ADMIN)


@pytest.mark.parametrize(
    ("option", "variable"), [("--keys", "TIERWISE_API_KEYS"), ("--admin-keys", "TIERWISE_ADMIN_KEYS")]
)
def test_wrong_keys_keep_it_from_starting(toy_artifact: Path, file: Path, option: str, variable: str) -> None:
    file.write_bytes(b"secret\n")
    for arguments, environment in (((option, str(file)), {}), ((), {variable: "secret"})):
        code, out, err = refuse("--model", str(toy_artifact), *arguments, **environment)
        assert (3, "") == (code, out)
        assert 1 == len(err.splitlines())
        assert "key 1 is not 16 or more" in err
        assert "secret\n" not in err
        assert "'secret'" not in err


def test_keys_of_the_environment_do_not_reach_the_log(toy_artifact: Path) -> None:
    with start("--model", str(toy_artifact), environment={"TIERWISE_API_KEYS": FIRST}) as served:
        assert 401 == status(served, "/v1/route")
        assert 200 == status(served, "/v1/route", **bearer(FIRST))
        assert 403 == status(served, "/v1/model/reload", **bearer(FIRST))  # there are no admin keys
        assert served.events("listening")[0]["keys"]
        assert FIRST not in served.log
