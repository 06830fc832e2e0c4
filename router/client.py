"""Ask a tierwise server for a decision: what is behind `tierwise route --url`.

One POST over the standard library's HTTP. No proxy of the environment is used and no redirect is followed, so
a prompt and a key go where the address says and nowhere else. What comes back is not trusted: it is bounded,
and checked for its form. Errors name the server; they hold neither the key nor the prompt.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from typing import Any, NoReturn
from urllib.parse import urlsplit

from router.decision import Reason
from router.errors import RequestError, RouterError

__all__ = ["LARGEST_ANSWER_BYTES", "route_remotely"]

LARGEST_ANSWER_BYTES = 1_000_000
LONGEST_WAIT_S = 3600.0
LONGEST_DETAIL = 300

_PROBLEM = "urn:tierwise:problem:"  # how the types of tierwise's own problems begin
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")  # what could steer a terminal
_ABOUT_THE_REQUEST = (400, 413, 415, 422)
_IS_IT = "is it a tierwise server, of this version?"


def route_remotely(
    url: str, body: Mapping[str, Any], key: str | None = None, timeout_s: float = 10.0
) -> dict[str, Any]:
    """POST a request to a server's `/v1/route` and return its answer, checked.

    Parameters
    ----------
    url : str
        Where the server is, `http://host:port` or `https://…`, with or without a path before `/v1`.
    body : mapping
        The request as the server takes it: `prompt` or `messages`, `policy` and the rest.
    key : str, optional
        Sent as `Authorization: Bearer`.
    timeout_s : float
        Seconds for the whole exchange.

    Returns
    -------
    dict
        The fields of `Decision.to_dict`, with `tiers` and `request_id`.

    Raises
    ------
    RequestError
        The address, the key or the request cannot be sent, or the server refuses the request.
    RouterError
        The server cannot be reached, asks for another key, is overloaded, or is not tierwise.
    """
    if not 0.0 < timeout_s <= LONGEST_WAIT_S:
        raise RequestError(f"the timeout: expected seconds above 0, at most {LONGEST_WAIT_S:g}")
    connection, path, place = _open(url, timeout_s)
    headers = {"Content-Type": "application/json", "Accept": "application/json", "Connection": "close"}
    key = (key or "").strip()
    if key:
        if not re.fullmatch(r"[!-~]+", key):
            raise RequestError(
                "TIERWISE_API_KEY: expected printable ASCII without spaces; check how it is set"
            )
        headers["Authorization"] = f"Bearer {key}"
    content = _encode(body)
    deadline = time.monotonic() + timeout_s
    try:
        status, retry_after, raw = _exchange(connection, path, content, headers, deadline)
    except (OSError, HTTPException, UnicodeError) as error:
        late = isinstance(error, TimeoutError) or time.monotonic() >= deadline
        fault = f"no answer within {timeout_s:g} s; is the server overloaded?" if late else _explain(error)
        # Without the cause: a parser of HTTP quotes what it complains of.
        raise RouterError(f"{place}: {fault}") from None
    if len(raw) > LARGEST_ANSWER_BYTES:
        raise RouterError(f"{place}: the answer is over {LARGEST_ANSWER_BYTES:,} bytes; {_IS_IT}")
    answer = _decode(raw)
    if status != 200:
        _refuse(status, answer, retry_after, place, has_key=bool(key))
    if not _has_the_form(answer):
        raise RouterError(f"{place}: the answer is not a decision; {_IS_IT}")
    response: dict[str, Any] = answer
    return response


def _open(url: str, timeout_s: float) -> tuple[HTTPConnection, str, str]:
    """Return a connection not yet made, the path to ask for, and what errors call the two."""
    # What was given is not repeated: it may be a prompt in the wrong place, or hold a password.
    form = "the address of the server: expected http://HOST:PORT or https://HOST:PORT, perhaps with a path"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise RequestError(form) from None
    if not re.fullmatch(r"[!-~]+", url) or parts.scheme not in ("http", "https") or not host or port == 0:
        raise RequestError(form)
    if "@" in parts.netloc:
        raise RequestError(f"{form}; found a name or a password: a key goes into TIERWISE_API_KEY")
    if "?" in url or "#" in url:
        raise RequestError(f"{form}; found a query or a fragment")
    path = parts.path.rstrip("/") + "/v1/route"
    place = f"{parts.scheme}://{parts.netloc}{path}"
    if parts.scheme == "http":
        return HTTPConnection(host, port or 80, timeout=timeout_s), path, place
    context = ssl.create_default_context()
    return HTTPSConnection(host, port or 443, timeout=timeout_s, context=context), path, place


def _encode(body: Mapping[str, Any]) -> bytes:
    try:
        try:
            return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        except UnicodeEncodeError:  # a lone surrogate: JSON can escape it, UTF-8 cannot hold it
            return json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        raise RequestError("the request: expected plain data and finite numbers, as JSON has them") from None


def _exchange(
    connection: HTTPConnection, path: str, content: bytes, headers: dict[str, str], deadline: float
) -> tuple[int, str | None, bytes]:
    """Return the status, Retry-After and the body, or as much of it as shows that it is too large."""
    cut: threading.Timer | None = None
    try:
        connection.connect()
        # The timeout of a socket begins anew with every byte that drips in; this one does not.
        cut = threading.Timer(max(0.0, deadline - time.monotonic()), _shut, (connection.sock,))
        cut.daemon = True
        cut.start()
        with suppress(BrokenPipeError, ConnectionResetError):  # it may refuse before it has read all
            connection.request("POST", path, content, headers)
        with connection.getresponse() as response:
            raw = response.read(LARGEST_ANSWER_BYTES + 1)
            if time.monotonic() >= deadline:
                raise TimeoutError  # an answer that ends where its connection does may have been cut
            if response.length and len(raw) <= LARGEST_ANSWER_BYTES:
                raise IncompleteRead(raw, response.length)
            return response.status, response.headers.get("Retry-After"), raw
    finally:
        if cut is not None:
            cut.cancel()
        connection.close()


def _shut(connected: socket.socket) -> None:
    with suppress(OSError):  # closed meanwhile
        socket.socket.shutdown(connected, socket.SHUT_RDWR)  # TLS's own would let go on in clear


def _explain(error: Exception) -> str:
    """Say in a sentence what became of a request that got no answer."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({error.verify_message}); SSL_CERT_FILE may name who signed it"
        )
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason}); is it an http:// address?"
    if isinstance(error, socket.gaierror | UnicodeError):
        return "no host of that name is known; check the address"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there; is `tierwise serve` running?"
    if isinstance(error, ConnectionError):
        return f"the connection was closed without an answer; {_IS_IT}"
    if isinstance(error, IncompleteRead):
        return "the answer broke off; try again"
    if isinstance(error, OSError):
        return f"cannot be reached ({error.strerror}); check the address"
    return f"the answer is not HTTP; {_IS_IT}"


def _refuse(status: int, answer: Any, retry_after: str | None, place: str, *, has_key: bool) -> NoReturn:  # noqa: ANN401 - any JSON
    """Raise what a status other than 200 means."""
    problem = answer if isinstance(answer, dict) and str(answer.get("type")).startswith(_PROBLEM) else {}
    detail = _CONTROLS.sub(" ", str(problem.get("detail") or problem.get("title") or ""))[:LONGEST_DETAIL]
    if 300 <= status < 400:
        raise RouterError(
            f"{place}: a redirect, not followed lest a key go astray; give the address it leads to"
        )
    if status == 401 or (status == 403 and not problem):
        if not has_key:
            raise RouterError(f"{place}: the server asks for a key ({status}); set TIERWISE_API_KEY")
        raise RouterError(f"{place}: the key in TIERWISE_API_KEY is not one that it takes ({status})")
    if status in (429, 503):
        wait = f"in {retry_after} s" if re.fullmatch(r"[0-9]{1,6}", retry_after or "") else "later"
        raise RouterError(f"{place}: {detail or 'it cannot answer now'} ({status}); try again {wait}")
    if not problem:
        raise RouterError(f"{place}: answered {status}, not as tierwise does; check the address before /v1")
    raise (RequestError if status in _ABOUT_THE_REQUEST else RouterError)(f"{place}: {detail} ({status})")


def _decode(raw: bytes) -> Any:  # noqa: ANN401 - any JSON
    """Return what the answer holds, None where it is not JSON."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _has_the_form(answer: Any) -> bool:  # noqa: ANN401 - any JSON
    """Say whether an answer is a decision that can be shown. Pure."""
    if not isinstance(answer, dict):
        return False
    tiers, p_pass, costs = (answer.get(name) for name in ("tiers", "p_pass", "tier_cost_usd"))
    if not (isinstance(tiers, list) and isinstance(p_pass, list) and isinstance(costs, list)):
        return False
    names = [*tiers, *(answer.get(name) for name in ("tier", "model", "model_id", "request_id"))]
    numbers = [
        *p_pass,
        *costs,
        *(answer.get(name) for name in ("expected_cost_usd", "saving_usd", "novelty")),
    ]
    index: Any = answer.get("index")
    return (
        all(isinstance(name, str) and not _CONTROLS.search(name) for name in names)
        and all(type(number) in (int, float) and abs(number) < 1e300 for number in numbers)  # nor NaN
        and all(0.0 <= p <= 1.0 for p in p_pass)
        and len(tiers) == len(p_pass) == len(costs)
        and all(type(k) is int and 0 <= k < len(tiers) for k in (index, answer.get("predicted")))
        and tiers[index] == answer["tier"]
        and answer.get("reason") in [reason.value for reason in Reason]
    )
