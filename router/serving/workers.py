"""Several processes that serve one address, and the one that looks after them.

It starts them, starts those again that die, passes signals on, and sees to it that a reload happens in all or in
none. It reads no requests itself.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from router.errors import ArtifactError, ConfigError, RouterError
from router.serving.channel import Channel, Message, receive, send
from router.serving.log import Log
from router.serving.metrics import MULTIPROCESS_VARIABLE, forget_process
from router.serving.process import serve, tell_listening, terminal_is_gone
from router.serving.settings import Settings, read_access
from router.serving.watch import Watch, place_of

__all__ = ["serve_with_workers"]

_BACKOFF = 1.0  # seconds before a worker that died is started again; doubled up to the next
_MOST_BACKOFF = 30.0
_GRACE = 5.0  # seconds that workers get beyond their own time to drain
_EXIT_NO_MODEL = 3
_KEPT_FROM_WORKERS = {signal.SIGINT, signal.SIGHUP}  # which a terminal sends to all of its processes


def serve_with_workers(settings: Settings, listener: socket.socket) -> None:
    """Serve in several processes until a signal says to stop, and all that was under way is answered.

    Raises
    ------
    RouterError
        There is no usable model.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix="tierwise-")
    except OSError as error:
        raise ConfigError(
            f"serve: workers need a writable folder for temporary files ({error.strerror}); mount one and set $TMPDIR"
        ) from None
    with folder as name:
        os.environ[MULTIPROCESS_VARIABLE] = name  # the workers inherit it, and add up their metrics there
        try:
            _Supervisor(settings, listener).run()
        finally:
            del os.environ[MULTIPROCESS_VARIABLE]


class _Worker:
    """A process, and the pipe to it."""

    def __init__(self, process: BaseProcess, pipe: Connection) -> None:
        self.process = process
        self.pipe = pipe
        self.begun = time.monotonic()
        self.is_ready = False
        self.model_id = ""


class _Reload:
    """A reload under way: who asked, whose word is missing, and what the others opened."""

    def __init__(self, asker: _Worker, previous: str, waiting: set[_Worker]) -> None:
        self.asker = asker
        self.previous = previous
        self.waiting = waiting
        self.workers = len(waiting)
        self.prepared: dict[_Worker, str] = {}  # ids of models
        self.model_id = ""  # of what is committed
        self.refusal: str | None = None
        self.is_committing = False


class _Supervisor:
    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._log = Log(settings.log)
        self._has_keys = read_access(settings).keys is not None
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._starts: list[float] = []  # when a worker that died is to be started again
        self._backoff = _BACKOFF
        self._reload: _Reload | None = None
        self._model_id = ""
        self._is_listening = False
        self._stopping_since: float | None = None
        self._signals: list[int] = []
        self._failure: RouterError | None = None
        seconds = settings.watch
        self._watch = None if seconds is None else Watch(place_of(settings.model), seconds, self._log)
        self._is_reload_wanted = False  # by the watch's thread
        self._waker: socket.socket | None = None

    def run(self) -> None:
        with self._catch_signals() as wakeup:
            if self._watch is not None:
                self._watch.begin()
            resource_tracker.ensure_running()  # the first worker would, and have interrupts let through again
            for _ in range(self._settings.workers):
                self._start()
            while self._workers or (self._starts and self._stopping_since is None):
                pipes = {worker.pipe: worker for worker in self._workers}
                ends = {worker.process.sentinel: worker for worker in self._workers}
                for ready in wait([*pipes, *ends, wakeup], self._patience()):
                    if ready is wakeup:
                        wakeup.recv(4096)
                    elif ready in ends:
                        self._bury(ends[ready])
                    elif pipes[ready] in self._workers:  # type: ignore[index]
                        self._hear(pipes[ready])  # type: ignore[index]
                self._act_on_signals()
                self._act_on_watch()
                self._look_at_the_clock()
        if self._failure is not None:
            raise self._failure
        self._log.event("stopped")

    @contextlib.contextmanager
    def _catch_signals(self) -> Iterator[socket.socket]:
        """Collect signals, and yield a socket that becomes readable when one comes."""
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        caught = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {number: signal.signal(number, lambda n, _: self._signals.append(n)) for number in caught}
        old = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        self._waker = writer
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(old)
            for number, handler in before.items():
                signal.signal(number, handler)
            reader.close()
            writer.close()

    def _patience(self) -> float | None:
        now = time.monotonic()
        due = list(self._starts) if self._stopping_since is None else [self._deadline()]
        if self._is_accepting_on:
            due.append(self._last_call())
        return max(0.0, min(due) - now) if due else None

    @property
    def _is_accepting_on(self) -> bool:
        return self._stopping_since is not None and self._listener.fileno() >= 0

    def _last_call(self) -> float:
        assert self._stopping_since is not None  # noqa: S101 - asked of when stopping only
        return self._stopping_since + self._settings.drain_delay

    def _deadline(self) -> float:
        return self._last_call() + self._settings.drain_seconds + _GRACE

    def _start(self) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_work,
            args=(self._settings, self._listener, theirs, self._is_listening),
            name="tierwise worker",
        )
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _KEPT_FROM_WORKERS)  # as the worker inherits it
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self._workers.append(_Worker(process, ours))

    def _bury(self, worker: _Worker) -> None:
        while worker.pipe.poll():  # what it said before it died
            if not self._hear(worker):
                break
        self._workers.remove(worker)
        worker.process.join()
        code, pid = worker.process.exitcode, worker.process.pid or 0
        worker.pipe.close()
        forget_process(pid)
        self._without(worker)
        if self._stopping_since is not None:
            return
        if not self._is_listening:
            if self._failure is None:
                self._failure = ArtifactError(f"serve: a worker ended with exit code {code} before it served")
            self._stop()
            return
        self._backoff = (
            min(2 * self._backoff, _MOST_BACKOFF)
            if time.monotonic() - worker.begun < _MOST_BACKOFF
            else _BACKOFF
        )
        self._log.event("worker", outcome="died", pid=pid, exit_code=code, again_in_s=self._backoff)
        self._starts.append(time.monotonic() + self._backoff)

    def _hear(self, worker: _Worker) -> bool:
        """Act on a worker's message; return whether there was one."""
        try:
            message = receive(worker.pipe)
        except (EOFError, OSError):
            return False  # its end follows
        match message["say"]:
            case "ready":
                worker.is_ready = True
                worker.model_id = message["model_id"]
                self._on_ready(worker)
            case "failed" if self._is_listening:
                self._log.event("worker", outcome="failed", detail=message["detail"])
            case "failed":
                kind = ConfigError if message["is_config"] else ArtifactError
                self._failure = kind(message["detail"])
            case "reload":
                self._begin_reload(worker)
            case _:
                self._advance(worker, message)
        return True

    def _on_ready(self, worker: _Worker) -> None:
        if self._is_listening:
            self._agree()
        elif all(worker.is_ready for worker in self._workers):
            self._is_listening = True
            self._model_id = worker.model_id
            tell_listening(self._log, self._settings, self._listener, worker.model_id, keys=self._has_keys)
            self._agree()
            if self._watch is not None:
                self._watch.start(lambda: self._model_id, self._want_reload)

    def _agree(self) -> None:
        """Have the model opened again where a worker that started later found another one in its place."""
        if self._reload is None and any(w.model_id != self._model_id for w in self._workers if w.is_ready):
            self._ask()

    # Reload: everyone prepares; then everyone commits, or everyone forgets.

    def _ask(self, *, once: bool = False) -> None:
        """Let a worker ask for a reload, as if it had been asked itself; one of the model that is to go, if there is one."""
        ready = [worker for worker in self._workers if worker.is_ready]
        self._tell(sorted(ready, key=lambda worker: worker.model_id != self._model_id)[:1], "ask", once=once)

    def _begin_reload(self, asker: _Worker) -> None:
        ready = {worker for worker in self._workers if worker.is_ready}
        if self._reload is not None:
            self._tell([asker], "refused", detail="another reload is under way; ask again when it is done")
            return
        self._reload = _Reload(asker, self._model_id, ready)
        self._tell(ready, "prepare")

    def _advance(self, worker: _Worker, message: Message) -> None:
        reload = self._reload
        if reload is None:
            return
        if message["say"] == "prepared":
            reload.prepared[worker] = message["model_id"]
            if len(set(reload.prepared.values())) > 1:
                reload.refusal = "the artefact changed while it was being opened; ask again"
        elif message["say"] == "unprepared":
            reload.refusal = message["detail"]
        elif message["say"] == "committed":
            worker.model_id = reload.model_id
        self._without(worker)

    def _without(self, worker: _Worker) -> None:
        """Wait for a worker's word no longer: it was given, or the worker is gone."""
        reload = self._reload
        if reload is None or worker not in reload.waiting:
            return
        reload.waiting.discard(worker)
        if reload.waiting:
            return
        # A worker that became ready meanwhile has nothing to commit; it is asked about at the end, by its own id.
        prepared = {worker for worker in self._workers if worker in reload.prepared}
        if reload.refusal is not None or (not reload.is_committing and not prepared):
            self._tell(self._workers, "forget")
            self._end_reload(reload, "refused", detail=reload.refusal or "no worker is left that opened it")
        elif not reload.is_committing:
            reload.is_committing = True
            (reload.model_id,) = set(reload.prepared.values())
            reload.waiting = prepared
            self._tell(reload.waiting, "commit")
        else:
            self._model_id = reload.model_id
            self._end_reload(
                reload,
                "reloaded",
                model_id=reload.model_id,
                previous_model_id=reload.previous,
                workers=reload.workers,
            )
            self._agree()

    def _end_reload(self, reload: _Reload, say: str, **fields: str | int) -> None:
        self._reload = None
        if reload.asker in self._workers:
            self._tell([reload.asker], say, **fields)

    def _tell(self, whom: Iterable[_Worker], say: str, **fields: str | int) -> None:
        for worker in list(whom):
            with contextlib.suppress(OSError):  # it has died; its end follows
                send(worker.pipe, say, **fields)

    # Signals and time

    def _act_on_signals(self) -> None:
        while self._signals:
            number = self._signals.pop(0)
            if number == signal.SIGHUP and not terminal_is_gone():
                self._ask()
            else:
                self._stop()

    def _want_reload(self) -> None:
        """Wake up for a reload; called by the watch, in its thread."""
        self._is_reload_wanted = True
        with contextlib.suppress(
            OSError
        ):  # full, so there is something to wake up for; or this process is ending
            assert self._waker is not None  # noqa: S101 - set before the watch is started
            self._waker.send(b"\0")

    def _act_on_watch(self) -> None:
        if not self._is_reload_wanted:
            return
        self._is_reload_wanted = False  # before acting: a wish that comes from now on is for the next time
        if self._reload is None and self._stopping_since is None:  # else the watch asks again
            self._ask(once=True)

    def _stop(self) -> None:
        if self._stopping_since is None:
            self._stopping_since = time.monotonic()
            if self._watch is not None:
                self._watch.stop()
            self._starts.clear()
            if self._is_listening:
                self._log.event("stopping", workers=len(self._workers))
            for worker in self._workers:
                worker.process.terminate()
        else:
            for worker in self._workers:
                worker.process.kill()

    def _look_at_the_clock(self) -> None:
        now = time.monotonic()
        if self._is_accepting_on and now >= self._last_call():
            self._listener.close()  # as the workers do; else connections would go on to come, to no one
        if self._stopping_since is not None:
            if now >= self._deadline():
                for worker in self._workers:
                    worker.process.kill()
            return
        due = [start for start in self._starts if start <= now]
        self._starts = [start for start in self._starts if start > now]
        for _ in due:
            self._start()


def _work(settings: Settings, listener: socket.socket, pipe: Connection, is_late: bool) -> None:
    """Be a worker."""
    try:
        serve(settings, listener, Channel(pipe, is_late=is_late))
    except RouterError as error:
        with contextlib.suppress(OSError):
            send(pipe, "failed", detail=str(error), is_config=isinstance(error, ConfigError))
        sys.exit(_EXIT_NO_MODEL)
