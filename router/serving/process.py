"""One process that serves: its event loop, its signals, its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Iterator

import uvicorn

from router import RouterError
from router.serving.app import create_app
from router.serving.channel import Channel
from router.serving.log import Log, uvicorn_logging
from router.serving.metrics import Metrics
from router.serving.protocol import BoundedProtocol, bounded_protocol
from router.serving.service import Service
from router.serving.settings import Settings, read_access

__all__ = ["serve", "tell_listening"]

_TICKS_PER_SECOND = 10  # of uvicorn's main loop


class _Server(uvicorn.Server):
    """uvicorn's server, with deadlines looked after every second, and signals left to us.

    Its own handling ends the process by the signal; ours ends with exit code 0 when all is answered.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

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
            self._service.metrics.set_load(len(state.tasks), len(state.connections))
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
    log = Log(settings.log, prompts=settings.log_prompts)
    uvicorn_logging(log)
    metrics = Metrics()
    config = uvicorn.Config(
        "router.serving",  # replaced below: the application wants the loop that the configuration chooses
        http=bounded_protocol(settings.limits, metrics),
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
        runner.run(_serve(settings, listener, channel, config, log, metrics))


async def _serve(
    settings: Settings,
    listener: socket.socket,
    channel: Channel | None,
    config: uvicorn.Config,
    log: Log,
    metrics: Metrics,
) -> None:
    access = read_access(settings)
    service = Service(
        settings.model, settings.limits, access, log, metrics, None if channel is None else channel.reload
    )
    config.app = create_app(service)
    server = _Server(config, service)
    stopping: list[asyncio.Task[None]] = []

    async def stop() -> None:
        service.draining = True
        log.event("stopping", requests=len(server.server_state.tasks))
        await asyncio.sleep(settings.drain_delay)
        server.should_exit = True

    def on_stop() -> None:
        if stopping:
            server.force_exit = server.should_exit = True
        stopping.append(asyncio.ensure_future(stop()))

    loop = asyncio.get_running_loop()
    background: set[asyncio.Task[None]] = set()

    def on_hangup() -> None:
        if _terminal_is_gone():
            on_stop()
            return
        task = asyncio.ensure_future(service.reload_quietly())
        background.add(task)
        task.add_done_callback(background.discard)

    loop.add_signal_handler(signal.SIGTERM, on_stop)
    if channel is None:
        loop.add_signal_handler(signal.SIGINT, on_stop)
        loop.add_signal_handler(signal.SIGHUP, on_hangup)
    else:  # the process that looks after the workers tells them
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        await service.load()
    except RouterError:
        server.should_exit = server.force_exit = True
        await serving
        raise
    if channel is not None:
        channel.attach(service, on_stop)
    elif not stopping:
        tell_listening(log, settings, listener, service.model.model_id)
    await serving
    log.flush()
    log.event("stopped", requests=server.server_state.total_requests)


def tell_listening(log: Log, settings: Settings, listener: socket.socket, model_id: str) -> None:
    """Say in the log where the service answers, and by which model."""
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    keys = read_access(settings).keys is not None
    log.event("listening", url=url, model_id=model_id, workers=settings.workers, keys=keys)


def _terminal_is_gone() -> bool:
    """Whether the hangup means that the terminal was closed; else it is an operator's signal."""
    for stream in (0, 1, 2):
        try:
            if not os.isatty(stream):
                continue
            os.tcgetpgrp(stream)
        except OSError:
            return True
        return False
    return False
