"""The state that requests share: the router, whether it is ready, and how it is replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from router import ConfigError, Policy, RequestError, Router, RouterError
from router.model import Model
from router.serving.keys import Keys
from router.serving.limits import Limits
from router.serving.log import Log
from router.serving.metrics import Metrics
from router.serving.problems import Problem

__all__ = ["Access", "Reloaded", "Service"]


class Access(NamedTuple):
    """Who may ask. None where that is not checked.

    Attributes
    ----------
    keys, admin : Keys or None
        What opens the endpoints, and what opens the reload; an administrator may ask anything.
    loopback_only : bool
        Without keys, whether only names of this machine are answered.
    origins : frozenset of str
        Sites whose pages may ask.
    """

    keys: Keys | None = None
    admin: Keys | None = None
    loopback_only: bool = True
    origins: frozenset[str] = frozenset()


class Reloaded(NamedTuple):
    """What became of a reload, in how many processes."""

    model_id: str
    previous_model_id: str
    workers: int


class Service:
    """The service of one process.

    Parameters
    ----------
    location : str or None
        Where the model is, as for `Router.load`; a reload opens the same place again.
    reloader : callable or None
        Reloads all workers together; None where there is this process only.
    policy : Policy or None
        What holds where a request states none, also after a reload; None is the model's own default.

    Attributes
    ----------
    policy : Policy or None
        As given.
    draining : bool
        Set when the process is about to stop: what is under way is finished, and nothing new is asked for.
    turn : Lock
        Held by the batch that decides, so that however many there are, other requests wait for one turn of one.
    """

    def __init__(
        self,
        location: str | None,
        limits: Limits,
        access: Access,
        log: Log,
        metrics: Metrics,
        reloader: Callable[[], Awaitable[Reloaded]] | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.policy = policy
        self.limits = limits
        self.access = access
        self.log = log
        self.metrics = metrics
        self.draining = False
        self.turn = asyncio.Lock()
        self._batches = 0
        self._location = location
        self._reloader = reloader
        self._router: Router | None = None
        self._next: Router | None = None
        self._reloading = asyncio.Lock()
        self._refusal = ""  # what was said last

    @property
    def model(self) -> Model:
        """The model that decides now.

        Raises
        ------
        Problem
            503: it is being loaded.
        """
        if self._router is None:
            raise Problem(
                "not-ready", "the model is being loaded; ask again in a second", headers={"retry-after": "1"}
            )
        return self._router.model

    def check_ready(self) -> Model:
        """Return the model, if the process wants requests.

        Raises
        ------
        Problem
            503: it is being loaded, or the process is about to stop.
        """
        if self.draining:
            raise Problem("not-ready", "the service is about to stop; ask another one")
        return self.model

    def check_batches(self) -> None:
        """Raise a Problem, 429, if there are as many batches as may be."""
        if self._batches >= self.limits.max_batches:
            raise Problem(
                "too-many-batches",
                f"{self._batches} batches are under way, the most that this service takes; ask again later",
                headers={"retry-after": "1"},
            )

    def enter_batch(self) -> None:
        """Count a batch in.

        Raises
        ------
        Problem
            429: there are too many.
        """
        self.check_batches()
        self._batches += 1

    def leave_batch(self) -> None:
        """Count a batch out."""
        self._batches -= 1

    def _open(self) -> Router:
        try:
            return Router.load(self._location, self.policy)
        except RequestError as error:  # no caller asked for it: an operator did
            detail = str(error).removeprefix("policy: ")
            raise ConfigError(f"serve: the policy of --policy does not fit the model: {detail}") from None

    async def load(self) -> None:
        """Open the model for the first time, while other requests are told that it is not ready.

        Raises
        ------
        RouterError
            There is no usable model.
        """
        router = await asyncio.to_thread(self._open)
        router.route("The first decision takes longer than others; let no client wait for it.")
        self._router = router

    async def prepare(self) -> str:
        """Open and verify the model again, and return its id; the old one goes on deciding.

        Raises
        ------
        RouterError
            It cannot be used.
        """
        self._next = await asyncio.to_thread(self._open)
        return self._next.model_id

    def commit(self) -> None:
        """Decide by the model prepared last."""
        if self._next is not None:
            self._router, self._next = self._next, None

    def forget(self) -> None:
        """Drop the model prepared last."""
        self._next = None

    async def reload(self, *, once: bool = False) -> Reloaded:
        """Replace the model in every worker, or in none.

        Parameters
        ----------
        once : bool
            Whether a refusal is logged only where it is not the same as the last.

        Raises
        ------
        Problem
            503: the new one cannot be used, and the old one serves on; or another reload is under way.
        """
        if self._reloading.locked():
            raise Problem("model-refused", "another reload is under way; ask again when it is done")
        async with self._reloading:
            previous = self.model.model_id
            try:
                if self._reloader is not None:
                    reloaded = await self._reloader()
                else:
                    model_id = await self.prepare()
                    self.commit()
                    reloaded = Reloaded(model_id, previous, 1)
            except RouterError as error:
                self.metrics.count_reload("refused")
                if not (once and self._refusal == str(error)):
                    self.log.event("reload", outcome="refused", model_id=previous, detail=str(error))
                self._refusal = str(error)
                raise Problem("model-refused", f"{error}; the old model {previous} serves on") from None
        self._refusal = ""
        outcome = "unchanged" if reloaded.model_id == previous else "changed"
        self.metrics.count_reload(outcome)
        self.log.event("reload", outcome=outcome, model_id=reloaded.model_id, previous_model_id=previous)
        return reloaded

    async def reload_quietly(self, *, once: bool = False) -> None:
        """Reload for a signal or a watch, which wait for no answer: the log has it.

        Parameters
        ----------
        once : bool
            As for `reload`.
        """
        try:
            await self.reload(once=once)
        except Problem:
            pass
        except Exception as error:  # no one waits for it who could be told
            self.log.failure("failure", error)

    def refresh_keys(self) -> None:
        """Read files of keys again if they have changed; a broken one leaves the old keys in place."""
        for what, keys in (("keys", self.access.keys), ("admin keys", self.access.admin)):
            if keys is None:
                continue
            try:
                if keys.refresh():
                    self.log.event("keys", what=what, outcome="read again")
            except RouterError as error:
                self.log.event("keys", what=what, outcome="refused", detail=str(error))
