"""Ask a tierwise server for a decision: what is behind `tierwise route --url`.

One POST over the standard library's HTTP: no proxy of the environment is used and no redirect is followed, so a
prompt and a key go where the address says and nowhere else. What comes back is not trusted: it is bounded, and
checked for its form. Errors name the server; they hold neither the key nor the prompt.
"""

from __future__ import annotations

import http.client
import json
import math
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn
from urllib.parse import urlsplit

from router.decision import Reason
from router.errors import RequestError, RouterError

__all__ = ["LARGEST_ANSWER_BYTES", "route_remotely", "split_response"]

LARGEST_ANSWER_BYTES = 1_000_000
_PROBLEM = "urn:tierwise:problem:"
_LONGEST_DETAIL = 300
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # would move the cursor of a terminal
_ABOUT_THE_REQUEST = (400, 413, 415, 422)


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
        The fields of `Decision.to_dict`, and `tiers` and `request_id`.

    Raises
    ------
    RequestError
        The address, the key or the request is not one that can be sent, or the server refuses the request.
    RouterError
        The server cannot be reached, asks for another key, is overloaded, or is not tierwise.
    """
    connection, path, place = _connection(url, timeout_s)
    headers = {"Content-Type": "application/json", "Accept": "application/json", "Connection": "close"}
    key = (key or "").strip()
    if key:
        if not re.fullmatch(r"[!-~]+", key):
            raise RequestError("TIERWISE_API_KEY: expected printable ASCII without spaces; check how it is set")
        headers["Authorization"] = f"Bearer {key}"
    status, retry_after, raw = _exchange(connection, path, _encode(body), headers, place, timeout_s)
    if len(raw) > LARGEST_ANSWER_BYTES:
        raise RouterError(f"{place}: the answer is over {LARGEST_ANSWER_BYTES:,} bytes; {_OTHER}")
    try:
        answer: Any = json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        answer = None
    if status != http.HTTPStatus.OK:
        _raise_for(status, answer, retry_after, place, has_key=bool(key))
    fault = _fault(answer)
    if fault:
        raise RouterError(f"{place}: {fault}; {_OTHER}")
    response: dict[str, Any] = answer
    return response


def split_response(response: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Return the names of the tiers, cheapest first, and the fields of the decision alone. Pure."""
    decision = {name: response[name] for name in _DECISION}
    return list(response["tiers"]), decision


_OTHER = "is it a tierwise server, of this version?"


def _connection(url: str, timeout_s: float) -> tuple[http.client.HTTPConnection, str, str]:
    """Return a connection not yet opened, the path to ask for, and how errors name the place."""
    expected = "the address of a server: expected http://HOST:PORT or https://HOST:PORT, perhaps with a path"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise RequestError(f"{expected}; found another form") from None
    # What was given is not repeated: it may be a prompt that stands in the wrong place.
    if not re.fullmatch(r"[!-~]+", url) or parts.scheme not in ("http", "https") or not host or port == 0:
        raise RequestError(f"{expected}; found another form")
    if "@" in parts.netloc:
        raise RequestError(f"{expected}; found a name or password in it, and a key goes in TIERWISE_API_KEY")
    if "?" in url or "#" in url:
        raise RequestError(f"{expected}; found a query or fragment")
    path = parts.path.rstrip("/") + "/v1/route"
    place = f"{parts.scheme}://{parts.netloc}{path}"
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=timeout_s), path, place
    context = ssl.create_default_context()
    return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context), path, place


def _encode(body: Mapping[str, Any]) -> bytes:
    try:
        try:
            return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        except UnicodeEncodeError:  # lone surrogates, which JSON can carry and UTF-8 cannot
            return json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        raise RequestError("the request: expected plain data with finite numbers, found what JSON cannot hold") from None


def _exchange(
    connection: http.client.HTTPConnection,
    path: str,
    body: bytes,
    headers: Mapping[str, str],
    place: str,
    timeout_s: float,
) -> tuple[int, str | None, bytes]:
    """Send and receive; return the status, Retry-After and as much of the body as may be read."""
    deadline = time.monotonic() + timeout_s
    cut: threading.Timer | None = None
    try:
        try:
            connection.connect()
            # A socket's own timeout begins again with every byte; this one does not.
            cut = threading.Timer(max(deadline - time.monotonic(), 0.0), _shut, [connection.sock])
            cut.daemon = True
            cut.start()
            try:
                connection.request("POST", path, body, dict(headers))
            except (BrokenPipeError, ConnectionResetError):
                pass  # a server may answer before it has read all, and say why
            with connection.getresponse() as response:
                raw = response.read(LARGEST_ANSWER_BYTES + 1)
                if response.length:
                    if len(raw) <= LARGEST_ANSWER_BYTES:
                        raise http.client.IncompleteRead(raw, response.length)
                return response.status, response.getheader("Retry-After"), raw
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() >= deadline:
                raise TimeoutError from error
            raise
    except (OSError, http.client.HTTPException) as error:
        # The context is left out: what a parser of HTTP complains of may be quoted in it.
        raise RouterError(f"{place}: {_explain(error, timeout_s)}") from None
    finally:
        if cut:
            cut.cancel()
        connection.close()
