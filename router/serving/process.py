"""One process that serves: its event loop, its signals, its end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
from collections.abc import Iterator
from functools import partial

import uvicorn
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from router import RouterError
from router.serving.app import create_app
from router.serving.channel import Channel
from router.serving.direct import Turn, direct_protocol
from router.serving.gate import Gate
from router.serving.log import Log, uvicorn_logging
from router.serving.metrics import Metrics
from router.serving.protocol import BoundedProtocol, bounded_protocol
from router.serving.service import Service
from router.serving.settings import Settings, read_access
from router.serving.watch import Watch, place_of

__all__ = ["serve", "tell_listening", "terminal_is_gone"]

_TICKS_PER_SECOND = 10  # of uvicorn's main loop


class _Server(uvicorn.Server):
    """uvicorn's server, with deadlines looked after every second, and signals left to us.

    Its own handling ends the process by the signal; ours ends with exit code 0 when all is answered.
    """

    def __init__(self, config: uvicorn.Config, service: Service, turn: Turn) -> None:
        super().__init__(config)
        self._service = service
        self._turn = turn

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Look after connections, keys and gauges."""
        if counter % _TICKS_PER_SECOND == 0:
            state, now = self.server_state, asyncio.get_running_loop().time()
            for connection in list(state.connections):
                if isinstance(connection, BoundedProtocol):
                    connection.expire(now)
            in_flight = len(state.tasks) + self._turn.take_most()
            self._service.metrics.set_load(in_flight, len(state.connections))
            self._service.refresh_keys()
        return await super().on_tick(counter)


def serve(settings: Settings, listener: socket.socket, channel: Channel | None = None) -> None:
    """Serve until a signal says to stop, and all that was under way is answered.

    Parameters
    ----------
    channel : Channel or None
        To the process that looks after the workers, if this is one of them.

    Raises
    ------
    RouterError
        There is no usable model, or the keys are wrong.
    """
    early: list[int] = []  # signals that come before the loop can take them
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: early.append(number))
    log = Log(settings.log, prompts=settings.log_prompts)
    uvicorn_logging(log)
    metrics = Metrics()
    reloader = None if channel is None else channel.reload
    service = Service(
        settings.model, settings.limits, read_access(settings), log, metrics, reloader, settings.policy
    )
    gate = Gate(create_app(service), service)
    app: ASGIApp = gate
    turn = Turn()
    protocol: type[BoundedProtocol] = direct_protocol(settings.limits, metrics, gate, turn)
    if settings.origins:
        # In front of the gate: what asks before it asks has no key.
        app = CORSMiddleware(
            gate,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-request-id"],
            expose_headers=["x-request-id", "retry-after"],
        )
        protocol = bounded_protocol(settings.limits, metrics)
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=max(1, int(settings.limits.keep_alive)),
        timeout_graceful_shutdown=max(1, int(settings.drain_seconds)),
    )
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(settings, listener, channel, _Server(config, service, turn), service, early))


async def _serve(
    settings: Settings,
    listener: socket.socket,
    channel: Channel | None,
    server: _Server,
    service: Service,
    early: list[int],
) -> None:
    log = service.log
    # Where there are several workers, the process that looks after them watches.
    seconds = settings.watch if channel is None else None
    watch = None if seconds is None else Watch(place_of(settings.model), seconds, log)
    stopping: list[asyncio.Task[None]] = []

    async def stop() -> None:
        service.draining = True
        # Of a worker that never served there is nothing to tell.
        if channel is None or (loading.done() and loading.exception() is None):
            log.event("stopping", requests=len(server.server_state.tasks))
        await asyncio.sleep(settings.drain_delay)
        server.should_exit = True

    def on_stop() -> None:
        if not stopping:
            stopping.append(asyncio.ensure_future(stop()))
        elif channel is None:  # a worker may hear of one stop twice, where a signal goes to all processes
            server.force_exit = server.should_exit = True

    loop = asyncio.get_running_loop()
    background: set[asyncio.Task[None]] = set()

    def begin_reload(*, once: bool) -> None:
        task = asyncio.ensure_future(service.reload_quietly(once=once))
        background.add(task)
        task.add_done_callback(background.discard)

    def on_hangup() -> None:
        if terminal_is_gone():
            on_stop()
        else:
            begin_reload(once=False)

    def on_change() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(partial(begin_reload, once=True))

    async def load() -> None:
        if watch is not None:
            await asyncio.to_thread(watch.begin)
        await service.load()

    handlers = {signal.SIGTERM: on_stop}
    if channel is None:
        handlers |= {signal.SIGINT: on_stop, signal.SIGHUP: on_hangup}
    else:  # the process that looks after the workers tells them
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
        if number in early:
            handler()
    loading = asyncio.ensure_future(load())
    if channel is not None and channel.is_late:  # the others are ready: let them have the requests until then
        await asyncio.wait((loading,))
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    await asyncio.wait((serving, loading), return_when=asyncio.FIRST_COMPLETED)
    if (
        not loading.done()
    ):  # told to stop meanwhile; the thread that loads cannot be, and may be long about it
        await serving
        if channel is None:
            log.event("stopped", requests=server.server_state.total_requests)
        os._exit(0)
    try:
        await loading
    except RouterError:
        server.should_exit = server.force_exit = True
        await serving
        raise
    if channel is not None:
        channel.attach(service, on_stop)
    elif not stopping:
        tell_listening(log, settings, listener, service.model.model_id, keys=service.access.keys is not None)
    if watch is not None:
        watch.start(lambda: service.model.model_id, on_change)
    await serving
    if watch is not None:
        watch.stop()
    await asyncio.sleep(0)  # the last requests are recorded
    log.event("stopped", requests=server.server_state.total_requests)


def tell_listening(
    log: Log, settings: Settings, listener: socket.socket, model_id: str, *, keys: bool
) -> None:
    """Say in the log where the service answers, and by which model."""
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    log.event("listening", url=url, model_id=model_id, workers=settings.workers, keys=keys)


def terminal_is_gone() -> bool:
    """Whether a hangup means that the terminal was closed; else it is an operator's signal."""
    for stream in (0, 1, 2):
        try:
            os.tcgetpgrp(stream)
        except OSError as error:
            if error.errno not in (errno.ENOTTY, errno.EBADF):  # it was a terminal
                return True
    return False
