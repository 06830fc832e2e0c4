"""URLs of databases and servers, as they may be shown: alone, or in an error's words. Pure."""

from __future__ import annotations

import re

__all__ = ["mask", "mask_within", "secrets_of"]

# Up to the last @: a password that was not percent-encoded may hold one, and half of it would stand as the host.
_PASSWORD = re.compile(r"(?<=://)([^:/?#]*):(.*)@", re.DOTALL)
_PARAMETER = re.compile(r"([?&;])([^=&;]*)=([^&;]*)")
_PARAMETER_WITHIN = re.compile(r"([?&;])([^=&;\s]*)=([^&;\s]*)")
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
    return _hide(url, _PARAMETER)


def mask_within(text: str) -> str:
    """Return a text with the URLs in it masked. Pure.

    As `mask`, but a parameter ends at a space: else what follows the URL, such as why a server was not reached, would be
    hidden with it. A password ends at the last @ even so: rather too much is hidden than half of one shown.
    """
    return _hide(text, _PARAMETER_WITHIN)


def secrets_of(url: str) -> list[str]:
    """Return what `mask` hides of a URL, longest first. Pure."""
    hidden = [url[start:end] for start, end in _spans(url, _PARAMETER)]
    return sorted(filter(None, hidden), key=len, reverse=True)


def _hide(text: str, parameter: re.Pattern[str]) -> str:
    shown, done = [], 0
    for start, end in _spans(text, parameter):
        if start >= done:
            shown += [text[done:start], "***"]
        done = max(done, end)  # what looks like a password may end within a parameter: both are hidden
    return "".join([*shown, text[done:]])


def _spans(text: str, parameter: re.Pattern[str]) -> list[tuple[int, int]]:
    """Return where passwords and parameters' values are, in order."""
    spans = [found.span(2) for found in _PASSWORD.finditer(text)]
    spans += [found.span(3) for found in parameter.finditer(text) if found[2].lower() not in _HARMLESS]
    return sorted(spans)
