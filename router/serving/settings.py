"""What an operator asks for, checked before anything starts."""

from __future__ import annotations

import ipaddress
import os
import socket
from dataclasses import dataclass, field

from router.errors import ConfigError
from router.policy import Policy
from router.serving.keys import ADMIN_VARIABLE, KEYS_VARIABLE, Keys
from router.serving.limits import Limits
from router.serving.service import Access

__all__ = ["Settings", "bind", "read_access"]

_BACKLOG = 2048


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of `tierwise serve`.

    Attributes
    ----------
    model : str or None
        Where the model is, as for `Router.load`.
    policy : Policy or None
        What holds where a request states no policy; None is the model's own default.
    host, port : str, int
        Where to listen; port 0 is any free one.
    workers : int
        Processes that serve.
    keys_file, admin_keys_file : str or None
        Files of keys; else the environment may have some.
    without_keys : bool
        Whether to serve other machines without keys.
    drain_seconds, drain_delay : float
        How long requests under way may take after a signal to stop, and how long before that the process still serves
        but says that it is not ready.
    log : str
        "json", "text" or "off".
    log_prompts : bool
        Whether the log holds prompts.
    origins : tuple of str
        Sites whose pages may ask (CORS).
    watch : float or None
        Seconds between looks at whether the model's place has another one; None never looks.
    """

    model: str | None = None
    policy: Policy | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    keys_file: str | None = None
    admin_keys_file: str | None = None
    without_keys: bool = False
    limits: Limits = field(default_factory=Limits)
    drain_seconds: float = 30.0
    drain_delay: float = 0.0
    log: str = "json"
    log_prompts: bool = False
    origins: tuple[str, ...] = ()
    watch: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= 256:
            raise ConfigError(f"serve: --workers is a number from 1 to 256; found {self.workers}")
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"serve: --port is a number from 0 to 65535; found {self.port}")
        for flag, value in (("--drain-seconds", self.drain_seconds), ("--drain-delay", self.drain_delay)):
            if not 0 <= value < 1e9:
                raise ConfigError(f"serve: {flag} is a number of seconds, 0 or more; found {value}")
        if self.watch is not None and not 0 < self.watch < 1e6:
            raise ConfigError(f"serve: --watch is a number of seconds above 0; found {self.watch}")
        for origin in self.origins:
            scheme, separator, rest = origin.partition("://")
            if scheme not in ("http", "https") or not separator or not rest or "/" in rest or "*" in rest:
                raise ConfigError(
                    f"serve: --cors-origin is a site such as https://tools.example, without a path; found {origin!r}"
                )


def read_access(settings: Settings) -> Access:
    """Read the keys, and say who may ask.

    Raises
    ------
    ConfigError
        A file of keys is wrong, or other machines would be served without keys.
    """
    keys = Keys.read(settings.keys_file, KEYS_VARIABLE)
    admin = Keys.read(settings.admin_keys_file, ADMIN_VARIABLE)
    loopback = is_loopback(settings.host)
    if keys is None and not loopback and not settings.without_keys:
        raise ConfigError(
            f"serve: listening on {settings.host} lets other machines in, and there are no API keys; give --keys FILE or "
            f"${KEYS_VARIABLE}, listen on 127.0.0.1, or say --without-keys if something in front checks who asks"
        )
    loopback_only = loopback and not settings.without_keys
    return Access(keys, admin, loopback_only, frozenset(settings.origins))


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", None, type=socket.SOCK_STREAM)  # noqa: S104 - asked about, not bound
    except (OSError, UnicodeError):  # the latter where it cannot be a name at all
        return False  # binding will say what is wrong
    return all(ipaddress.ip_address(address[4][0]).is_loopback for address in found)


def bind(settings: Settings) -> socket.socket:
    """Return the socket to listen on.

    Raises
    ------
    ConfigError
        The address is taken, forbidden, or not of this machine.
    """
    host, port = settings.host, settings.port
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = "not a host name" if isinstance(error, UnicodeError) else _reason(error)
        raise ConfigError(
            f"serve: cannot listen on {host} port {port} ({reason}); choose others with --host and --port"
        ) from None
    listener.setblocking(False)
    return listener


def _reason(error: OSError) -> str:
    """Return the system's own words; the library adds the address to them, which the sentence has already."""
    if error.errno is None or isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    return os.strerror(error.errno)
