"""A stand-in for a provider of models: OpenAI-compatible, on this machine, free, and wrong as often as it says.

    python examples/standin/server.py --port 8181

README.md beside it says what it answers, what it bills, and which faults it can be asked for. It needs nothing but
Python; uvloop is used where it is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import json
import re
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

from batches import Batches
from bill import Bill, read_prices
from completions import MODELS, Completions, problem
from faults import KINDS, Faults, read_faults
from judge import Judge
from wire import Connection, Reply, Request

__all__ = ["Server", "main"]

_FORM = re.compile(rb'name="(\w+)"(?:; filename="([^"]*)")?')


class Server:
    """All that the stand-in knows, and what it answers."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._judge = Judge(*(getattr(options, f"judge_{name}") for name in Judge.__slots__))
        self._latency = options.latency_ms / 1e3
        self._faults = list(options.faults)
        self.reset()

    def reset(self) -> None:
        """Forget every bill, key, file and batch, and begin the faults anew."""
        options = self._options
        self.bill = Bill(read_prices())
        self.faults = Faults(self._faults, options.seed)
        self.completions = Completions(
            self.bill, self.faults, self._judge, options.seed, idempotent=not options.ignore_idempotency
        )
        self.batches = Batches(self.completions, options.batch_requests, options.batch_bytes)

    def answer(self, request: Request) -> Reply:
        """Answer a request."""
        path = request.path
        if path == "/v1/chat/completions" and request.method == "POST":
            return self._allowed(request) or self._complete(request)
        if path.startswith("/standin/"):
            return self._manage(request)
        refused = self._allowed(request)
        if refused:
            return refused
        if path == "/v1/models":
            listed = [
                {"id": model, "object": "model", "created": 0, "owned_by": "standin"} for model in MODELS
            ]
            return _json({"object": "list", "data": listed})
        for prefix, handle in (("/v1/files", self._file), ("/v1/batches", self._batch)):
            if path == prefix or path.startswith(f"{prefix}/"):
                if self.faults.met("batch_server_error"):
                    return problem("server_error")
                reply = handle(request, *path.removeprefix(prefix).split("/")[1:])
                if path == "/v1/batches" and request.method == "POST" and self.faults.met("batch_lost"):
                    return reply._replace(share=0.0)
                cut = path.endswith("/content") and self.faults.met("batch_cut")
                return reply._replace(share=0.5) if cut else reply
        return _missing()

    def _allowed(self, request: Request) -> Reply | None:
        key = self._options.api_key
        if key is None or request.headers.get("authorization") == f"Bearer {key}":
            return None
        return problem("unauthorized")

    def _complete(self, request: Request) -> Reply:
        reply = self.completions.complete(_object(request.body), request.headers.get("idempotency-key"))
        return reply._replace(
            headers=f"{reply.headers}x-request-id: req_{self.bill.requests}\r\n", delay_s=self._latency
        )

    def _file(self, request: Request, file_id: str = "", part: str = "") -> Reply:
        if request.method == "POST" and not file_id:
            form = _read_form(request)
            content, filename = form.get("file", (b"", ""))
            if "file" not in form or "purpose" not in form:
                return problem("rejected", "Expected a form with file and purpose.")
            shown = self.batches.add_file(content, filename, form["purpose"][0].decode())
            return _json(shown) if shown else problem("rejected", "The file is too long.")
        if not file_id:
            return _json({"object": "list", "data": [shown for shown, _ in self.batches.files.values()]})
        if file_id not in self.batches.files:
            return _missing()
        if request.method == "DELETE":
            del self.batches.files[file_id]
            return _json({"id": file_id, "object": "file", "deleted": True})
        shown, content = self.batches.files[file_id]
        return Reply(200, content, "application/octet-stream") if part == "content" else _json(shown)

    def _batch(self, request: Request, batch_id: str = "", part: str = "") -> Reply:
        if request.method == "POST" and not batch_id:
            known = None if self._options.ignore_idempotency else request.headers.get("idempotency-key")
            shown = self.batches.create(_object(request.body), known)
            return (
                _json(shown)
                if shown
                else problem("rejected", "Expected a file that is here and an endpoint.")
            )
        if not batch_id:
            query = {name: values[0] for name, values in parse_qs(request.query).items()}
            limit = query.get("limit", "")
            return _json(self.batches.listed(query.get("after"), int(limit) if limit.isdecimal() else 20))
        found = self.batches.cancel(batch_id) if part == "cancel" else self.batches.look(batch_id)
        return _json(found) if found else _missing()

    def _manage(self, request: Request) -> Reply:
        if request.path == "/standin/bill":
            counts = {
                "files": self.batches.uploaded,
                "batches": self.batches.created,
                "faults": self.faults.counts,
            }
            return _json(self.bill.to_dict() | counts)
        if request.path == "/standin/reset" and request.method == "POST":
            self.reset()
            return _json({"reset": True})
        if request.path == "/standin/faults" and request.method == "POST":
            try:
                self._faults = read_faults(request.body.decode())
            except (ValueError, TypeError) as error:
                return problem("rejected", str(error))
            self.faults.faults = tuple(self._faults)
            return _json({"faults": len(self._faults)})
        return _missing()


def _json(value: object) -> Reply:
    return Reply(200, json.dumps(value).encode())


def _missing() -> Reply:
    error = {
        "message": "There is nothing here.",
        "type": "invalid_request_error",
        "param": None,
        "code": "not_found",
    }
    return Reply(404, json.dumps({"error": error}).encode())


def _object(body: bytes) -> dict[str, Any]:
    with suppress(ValueError, RecursionError):
        found = json.loads(body)
        if isinstance(found, dict):
            return found
    return {}


def _read_form(request: Request) -> dict[str, tuple[bytes, str]]:
    """Return the fields of a multipart form: content and file name."""
    boundary = request.headers.get("content-type", "").partition("boundary=")[2].strip('"')
    form = {}
    if boundary:
        for part in request.body.split(b"--" + boundary.encode())[1:-1]:
            head, _, content = part.partition(b"\r\n\r\n")
            if named := _FORM.search(head):
                form[named[1].decode()] = content.removesuffix(b"\r\n"), (named[2] or b"").decode()
    return form


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    server = Server(options)
    listening = await loop.create_server(
        lambda: Connection(server.answer, loop), options.host, options.port, backlog=1024
    )
    host, port = listening.sockets[0].getsockname()[:2]
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    print(f"listening on http://{host}:{port}/v1 (models: {', '.join(MODELS)})", flush=True)
    await stop.wait()
    listening.close()


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options of a command line."""
    parser = argparse.ArgumentParser(description="An OpenAI-compatible server with stand-in models.")
    parser.add_argument("--host", default="127.0.0.1", help="default: this machine alone")
    parser.add_argument("--port", type=int, default=8181, help="0 takes a free one")
    parser.add_argument("--seed", type=int, default=0, help="which answers are wrong, and who meets a fault")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="how long an answer takes")
    parser.add_argument("--api-key", help="refuse other keys; default: take any")
    parser.add_argument("--faults", default="[]", help="a TOML file of [[fault]] tables, or JSON")
    parser.add_argument(
        "--fail", action="append", default=[], metavar="KIND=RATE", help=f"a fault; kinds: {', '.join(KINDS)}"
    )
    parser.add_argument("--ignore-idempotency", action="store_true", help="bill a repeated key again")
    parser.add_argument("--batch-requests", type=int, default=50_000, help="most requests of a batch")
    parser.add_argument("--batch-bytes", type=int, default=200_000_000, help="most bytes of a file")
    judge = Judge()
    for name in Judge.__slots__:
        flag = f"--judge-{name.replace('_', '-')}"
        parser.add_argument(flag, type=float, default=getattr(judge, name), help="a probability")
    options = parser.parse_args(arguments)
    try:
        options.faults = read_faults(options.faults)
        for given in options.fail:
            kind, _, rate = given.partition("=")
            if not re.fullmatch(r"\d*\.?\d+", rate):
                raise ValueError(f"--fail {given}: expected KIND=RATE, such as timeout=0.1")
            options.faults += read_faults(json.dumps([{"kind": kind, "rate": float(rate)}]))
        if not 0 <= options.port < 65536:
            raise ValueError(f"--port {options.port}: expected 0 to 65535")
    except ValueError as error:
        parser.error(str(error))
    return options


def main() -> int:
    """Run the server."""
    make: Callable[[], asyncio.AbstractEventLoop] | None = None
    if importlib.util.find_spec("uvloop"):
        make = importlib.import_module("uvloop").new_event_loop
    options = read_options()
    try:
        with asyncio.Runner(loop_factory=make) as runner:
            runner.run(serve(options))
    except OSError as error:
        print(
            f"cannot listen on {options.host}:{options.port}: {error.strerror}; name another --port",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
