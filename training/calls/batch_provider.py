"""The Batch API of one provider: upload, create, find, look, download. The one module of batches that talks to the network.

The rule: a step that may have been done is not done twice. An upload may be repeated, for a file costs nothing; before a
batch is created once more, it is looked for by its tag, which also is the Idempotency-Key.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, TypeVar

from openai import APIConnectionError, APIStatusError, DefaultHttpxClient, OpenAI
from openai.types import Batch

from eval.status import Status
from router.errors import RouterError
from training.calls.answer import Answer
from training.calls.batch_spool import URL
from training.calls.endpoints import Endpoint, shown_host
from training.calls.reading import read_failure
from training.calls.retries import backoff_s, retry_after_s, worth_another

__all__ = ["Provider", "Refused", "Seen", "Stopping", "Unreached"]

TAG = "tierwise"
"""The key of a batch's metadata that holds its tag."""
LOOK_BACK_S = 86_400.0
"""How much older than we take it to be a batch may be by the provider's clock."""
PAGE = 100

_T = TypeVar("_T")
# What the SDK's transport raises while a body streams in, which the SDK does not wrap; of httpx or its successor.
_STREAM_ERROR: type[Exception] = importlib.import_module(
    DefaultHttpxClient.__mro__[1].__module__.partition(".")[0]
).TransportError


class Refused(RouterError):  # noqa: N818 - a state
    """The provider said no: it was not done.

    Attributes
    ----------
    gone : bool
        What was asked for is not there.
    """

    def __init__(self, message: str, *, gone: bool = False) -> None:
        super().__init__(message)
        self.gone = gone


class Unreached(RouterError):  # noqa: N818 - a state
    """The provider did not answer, or could not: it may have been done."""


class Stopping(Exception):  # noqa: N818 - a state
    """The user wants to stop, and there was something to wait for."""


class Seen(NamedTuple):
    """A batch as the provider shows it; `errors` are codes and lines, from 1, of its validation."""

    id: str
    status: str
    done: int
    total: int
    output_file_id: str | None
    error_file_id: str | None
    errors: tuple[tuple[str, int | None], ...]


class Provider:
    """One endpoint's Batch API; a context."""

    def __init__(self, endpoint: Endpoint, key: str, stop: threading.Event) -> None:
        self._endpoint = endpoint
        self._stop = stop
        self._client = OpenAI(
            api_key=key, base_url=endpoint.base_url, max_retries=0, timeout=endpoint.timeout_s
        )

    def __enter__(self) -> Provider:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def upload(self, path: Path) -> str:
        """Upload a file of requests and return its id."""

        def once() -> str:
            with path.open("rb") as file:
                return self._client.files.create(file=(f"{TAG}-{path.name}", file), purpose="batch").id

        return self._ask("the requests could not be uploaded", once)

    def create(self, file_id: str, tag: str, since: float) -> Seen:
        """Create a batch of an uploaded file, unless there is one of this tag; return it."""

        def once() -> Seen:
            return _see(
                self._client.batches.create(
                    input_file_id=file_id,
                    endpoint=URL,
                    completion_window="24h",
                    metadata={TAG: tag},
                    extra_headers={"Idempotency-Key": tag},
                )
            )

        return self._ask("the batch could not be created", once, lambda: self.find(tag, since))

    def find(self, tag: str, since: float) -> Seen | None:
        """Return the batch of a tag, created at some time since 1970 or later; None if there is none."""

        def once() -> Seen | None:
            older = 0  # in a row
            for batch in self._client.batches.list(limit=PAGE):  # fetches page after page
                if (batch.metadata or {}).get(TAG) == tag:
                    return _see(batch)
                older = older + 1 if batch.created_at < since - LOOK_BACK_S else 0
                if older >= PAGE:  # the newest come first, at least by and large
                    break
            return None

        return self._ask("its batches could not be listed", once)

    def look(self, batch_id: str) -> Seen:
        """Return a batch as it is now."""
        return self._ask(
            "the batch could not be looked at", lambda: _see(self._client.batches.retrieve(batch_id))
        )

    def download(self, file_id: str, path: Path) -> None:
        """Write a file of results to `path`, whole or not at all."""
        part = path.with_suffix(".part")

        def once() -> None:
            with (
                self._client.files.with_streaming_response.content(file_id) as response,
                part.open("wb") as file,
            ):
                for chunk in response.iter_bytes():
                    file.write(chunk)

        self._ask("the results could not be downloaded", once)
        part.replace(path)

    def _ask(self, failed: str, once: Callable[[], _T], found: Callable[[], _T | None] | None = None) -> _T:
        """Ask until there is an answer, or no sense in asking.

        Parameters
        ----------
        failed : str
            What to say where there is none.
        once : callable
            Asks.
        found : callable or None
            Before it is asked again: returns what an attempt without an answer has brought about after all.
        """
        number = 1
        while True:
            wait = None
            try:
                return once()
            except APIStatusError as error:
                answer = read_failure(error.status_code, error.response.content)
                wait = retry_after_s(error.response.headers)
            except (APIConnectionError, _STREAM_ERROR):
                answer = Answer(Status.CUT_OFF)
            if not worth_another(answer):
                raise Refused(self._describe(failed, answer), gone=answer.http_status == 404)
            if number >= self._endpoint.max_attempts:
                raise Unreached(self._describe(failed, answer))
            if self._stop.wait(backoff_s(number) if wait is None else wait):
                raise Stopping
            if found is not None and (there := found()) is not None:
                return there
            number += 1

    def _describe(self, failed: str, answer: Answer) -> str:
        host = shown_host(str(self._client.base_url))
        if answer.http_status is None:
            why, advice = "did not answer", "check the address and the network"
        else:
            code = f" ({answer.code})" if answer.code else ""
            why = f"answered {answer.http_status}{code}"
            if answer.status is Status.UNAUTHORIZED:
                advice = f"set the right key in {self._endpoint.api_key_env}"
            elif answer.status is Status.UNKNOWN_MODEL:
                advice = "check that it has a Batch API, and that address and key are those the batch was submitted with"
            elif worth_another(answer):
                advice = "wait until it is well"
            else:
                advice = "check its limits and the parameters of the endpoint"
        return f"tier {self._endpoint.name}: {failed}: {host} {why}; {advice}"


def _see(batch: Batch) -> Seen:
    counts = batch.request_counts
    errors = (batch.errors.data if batch.errors else None) or []
    return Seen(
        batch.id,
        batch.status,
        counts.completed + counts.failed if counts else 0,
        counts.total if counts else 0,
        batch.output_file_id,
        batch.error_file_id,
        tuple((error.code or "unknown", error.line) for error in errors),
    )
