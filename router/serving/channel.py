"""What a worker and the process that looks after it say to one another: JSON through a pipe.

The supervisor says `ask` where a signal or a watch wants a reload, `prepare`, `commit`, `forget`, and `reloaded` or `refused` to
whoever asked; a worker says `ready`, `failed`,
`reload`, `prepared`, `unprepared` and `committed`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine
from multiprocessing.connection import Connection
from typing import Any

from router.errors import ArtifactError, RouterError
from router.serving.service import Reloaded, Service

__all__ = ["Channel", "receive", "send"]

Message = dict[str, Any]
_NO_SUPERVISOR = "the process that looks after the workers has died"


def send(pipe: Connection, say: str, **fields: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
    """Send a message."""
    pipe.send_bytes(json.dumps({"say": say, **fields}).encode())


def receive(pipe: Connection) -> Message:
    """Return the next message.

    Raises
    ------
    EOFError, OSError
        The other end is gone.
    """
    message: Message = json.loads(pipe.recv_bytes())
    return message


class Channel:
    """A worker's end.

    Parameters
    ----------
    pipe : Connection
        To the supervisor.
    is_late : bool
        Whether the worker takes the place of one that died, while others serve.
    """

    def __init__(self, pipe: Connection, *, is_late: bool = False) -> None:
        self.is_late = is_late
        self._pipe = pipe
        self._asked: asyncio.Future[Reloaded] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def attach(self, service: Service, stop: Callable[[], None]) -> None:
        """Say that the service is ready, and do what the supervisor says from now on.

        Parameters
        ----------
        stop : callable
            Called when the supervisor is gone.
        """
        loop = asyncio.get_running_loop()

        def on_readable() -> None:
            try:
                message = receive(self._pipe)
            except (EOFError, OSError):
                loop.remove_reader(self._pipe.fileno())
                self._refuse(_NO_SUPERVISOR)
                stop()
                return
            self._obey(service, message)

        loop.add_reader(self._pipe.fileno(), on_readable)
        with contextlib.suppress(OSError):  # the supervisor has died meanwhile, as on_readable will find
            send(self._pipe, "ready", model_id=service.model.model_id)

    async def reload(self) -> Reloaded:
        """Ask for a reload of all workers.

        Raises
        ------
        RouterError
            One of them cannot use the model; none has changed.
        """
        self._asked = asyncio.get_running_loop().create_future()
        try:
            send(self._pipe, "reload")
        except OSError:
            raise ArtifactError(_NO_SUPERVISOR) from None
        return await self._asked

    def _obey(self, service: Service, message: Message) -> None:
        match message["say"]:
            case "ask":
                self._begin(service.reload_quietly(once=message["once"]))
            case "prepare":
                self._begin(self._prepare(service))
            case "commit":
                service.commit()
                send(self._pipe, "committed")
            case "forget":
                service.forget()
            case "reloaded":
                if self._asked is not None and not self._asked.done():
                    self._asked.set_result(
                        Reloaded(message["model_id"], message["previous_model_id"], message["workers"])
                    )
            case "refused":
                self._refuse(message["detail"])

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _refuse(self, detail: str) -> None:
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(ArtifactError(detail))

    async def _prepare(self, service: Service) -> None:
        try:
            say, fields = "prepared", {"model_id": await service.prepare()}
        except RouterError as error:
            say, fields = "unprepared", {"detail": str(error)}
        except Exception as error:  # whatever it is, the others wait for a word
            service.log.failure("failure", error)
            say, fields = "unprepared", {"detail": "a worker failed to open it; the log has more"}
        with contextlib.suppress(OSError):  # the supervisor has died
            send(self._pipe, say, **fields)
