"""HTTP as a client speaks it: a connection that is kept, one request at a time, or bytes as they are."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Mapping
from http.client import HTTPConnection, HTTPResponse
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

__all__ = ["JSON", "MARKER", "NDJSON", "Answer", "Client", "read_answer", "refused"]

JSON = "application/json"
NDJSON = "application/x-ndjson"
PROBLEM = "application/problem+json"
MARKER = "confidential-zebra"
"""Stands in the prompts of requests that are refused, and in no answer to them."""
MOST_SECONDS = 30.0


class Answer(NamedTuple):
    """An answer as it came; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return what the body holds."""
        return json.loads(self.body)

    def lines(self) -> list[Any]:
        """Return what the lines of an NDJSON body hold."""
        assert b"" == self.body[-1:].strip(b"\n")
        return [json.loads(line) for line in self.body.split(b"\n")[:-1]]


class Client:
    """Asks one server; keeps its connection for the next request.

    Parameters
    ----------
    url : str
        The address, as `served.serve` gives it.
    key : str, optional
        An API key, sent with every request.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        address = urlsplit(url)
        assert address.hostname is not None
        assert address.port is not None
        self.host, self.port = address.hostname, address.port
        self._always = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._connection = HTTPConnection(self.host, self.port, timeout=MOST_SECONDS)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        in_chunks: bool = False,
    ) -> Answer:
        """Send a request, its body whole or in chunks, and return its answer."""
        more = {"Transfer-Encoding": "chunked"} if in_chunks else {}
        parts = iter([body]) if in_chunks and body else body
        try:
            self._connection.request(
                method, path, parts, {**self._always, **(headers or {}), **more}, encode_chunked=in_chunks
            )
            return read_answer(self._connection.getresponse())
        except BaseException:
            self._connection.close()
            raise

    def get(self, path: str, **headers: str) -> Answer:
        """Send a GET."""
        return self.ask("GET", path, headers=_named(headers))

    def post(self, path: str, document: Any, content_type: str | None = JSON, **headers: str) -> Answer:
        """Send a POST of bytes as they are, or of a document as JSON."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        types = {} if content_type is None else {"Content-Type": content_type}
        return self.ask("POST", path, body, types | _named(headers))

    def route(self, document: Any) -> Answer:
        """Send the body of a request, or bytes in its place, to /v1/route."""
        return self.post("/v1/route", document)

    def batch(self, *items: Any) -> Answer:
        """Send items to /v1/route/batch, as JSON."""
        return self.post("/v1/route/batch", {"items": items})

    def stream(self, *lines: Any) -> Answer:
        """Send lines to /v1/route/batch, as NDJSON: bytes as they are, other things as JSON."""
        body = b"".join(
            line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines
        )
        return self.post("/v1/route/batch", body, NDJSON)

    def connect(self) -> socket.socket:
        """Return a connection of its own, to be closed by the caller."""
        return socket.create_connection((self.host, self.port), MOST_SECONDS)

    def send(self, *segments: bytes) -> Answer:
        """Send bytes as they are on a connection of their own, a segment at a time; return the first answer."""
        with self.connect() as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for segment in segments:
                connection.sendall(segment)
            return read_answer(_begin(connection))

    def head(self, method: str, path: str, *headers: str) -> bytes:
        """Return the head of a request: its line, Host, and headers as they are given."""
        lines = (f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}", *headers, "", "")
        return "\r\n".join(lines).encode("latin-1")

    def metrics(self) -> dict[str, float]:
        """Return what /metrics counts: name with labels, and value."""
        text = self.get("/metrics").body.decode()
        rows: Iterable[list[str]] = (
            line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")
        )
        return {name: float(value) for name, value in rows}

    def counted_since(self, before: Mapping[str, float]) -> dict[str, float]:
        """Return by how much what /metrics counts has grown since then."""
        return {name: value - before.get(name, 0.0) for name, value in self.metrics().items()}


def read_answer(response: HTTPResponse) -> Answer:
    """Return an answer whose head has been read, with its whole body."""
    with response:
        names = [name.lower() for name, _ in response.getheaders()]
        assert len(names) == len(set(names)), f"a header stands twice: {names}"
        return Answer(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            response.read(),
        )


def refused(answer: Answer, name: str, *words: str, pointer: str | None = None) -> dict[str, Any]:
    """Check that an answer is a problem of a type, with words in its sentence and a field at fault; return it."""
    problem: dict[str, Any] = answer.json()
    assert (f"urn:tierwise:problem:{name}", answer.status) == (problem["type"], problem["status"])
    assert PROBLEM == answer.headers["content-type"]
    assert answer.headers["x-request-id"] == problem["request_id"]
    assert {"type", "title", "status", "detail", "request_id"} == set(problem) - {"errors"}
    everything = str(answer)
    assert MARKER not in everything
    assert "Traceback" not in everything
    detail = problem["detail"]
    assert [] == [word for word in words if word not in detail], detail
    assert "pydantic" not in detail
    assert detail == detail.strip().rstrip(".")
    assert (pointer is None) == ("errors" not in problem)
    if pointer is not None:
        assert pointer in [error["pointer"] for error in problem["errors"]]
        assert all({"pointer", "detail"} == set(error) and error["detail"] for error in problem["errors"])
    return problem


def _begin(connection: socket.socket) -> HTTPResponse:
    response = HTTPResponse(connection)
    response.begin()
    return response


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
