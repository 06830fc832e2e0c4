"""Errors, divided by whose fault they are.

Pure: no I/O, no imports. A message says what was expected, what was found and what to do. It may name
files, columns, row numbers and identifiers; it never contains prompt text.
"""

from __future__ import annotations

__all__ = ["ArtifactError", "ConfigError", "RequestError", "RouterError"]


class RouterError(Exception):
    """Any error that tierwise raises on purpose.

    Attributes
    ----------
    http_status : int
        What an HTTP front end answers.
    exit_code : int
        What a command exits with.
    """

    http_status = 500
    exit_code = 1


class RequestError(RouterError):
    """The caller asked for something impossible, such as an unknown tier.

    Attributes
    ----------
    field : str or None
        Which argument is at fault, such as "floor".
    """

    http_status = 422
    exit_code = 2

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class ConfigError(RouterError):
    """A file the operator wrote is wrong: tiers, history, recipe, or a missing extra."""

    http_status = 500
    exit_code = 3


class ArtifactError(RouterError):
    """The model folder is missing, damaged, or from another version."""

    http_status = 503
    exit_code = 1
