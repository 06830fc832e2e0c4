"""URLs of databases and servers, as they may be shown. Pure."""

from __future__ import annotations

import re

__all__ = ["mask", "secrets_of"]

# Up to the last @: a password that was not percent-encoded may hold one, and half of it would stand as the host.
_PASSWORD = re.compile(r"(?<=://)([^:/?#]*):(.*)@", re.DOTALL)
_PARAMETER = re.compile(r"([?&;])([^=&;]*)=([^&;]*)")
_HARMLESS = (
    "charset",
    "connect_timeout",
    "dbname",
    "driver",
    "host",
    "mode",
    "port",
    "sslmode",
    "uri",
    "user",
)


def mask(url: str) -> str:
    """Return a URL with *** for its password, and for every parameter not known to be harmless. Pure.

    Not SQLAlchemy's own way of hiding one: it needs a URL that can be parsed, and shows parameters, of which `password`
    and `odbc_connect` hold secrets.
    """
    return _PARAMETER.sub(
        lambda found: found[0] if found[2].lower() in _HARMLESS else f"{found[1]}{found[2]}=***",
        _PASSWORD.sub(r"\1:***@", url),
    )


def secrets_of(url: str) -> list[str]:
    """Return what `mask` hides of a URL, longest first. Pure."""
    hidden = [found[2] for found in _PASSWORD.finditer(url)]
    hidden += [found[3] for found in _PARAMETER.finditer(url) if found[2].lower() not in _HARMLESS]
    return sorted(filter(None, hidden), key=len, reverse=True)
