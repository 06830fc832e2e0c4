"""`tierwise serve`: options in, a service running."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import fields

from router.artifact import find_artifact, name_place
from router.errors import ConfigError
from router.policy import read_policy
from router.registry import is_registered
from router.serving.limits import Limits
from router.serving.process import serve
from router.serving.settings import Settings, bind, read_access
from router.serving.workers import serve_with_workers

__all__ = ["run"]

_MLFLOW = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # of 7, which take minutes to say that a registry cannot be reached
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # the log is for machines
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_DISABLE_TELEMETRY": "true",  # a service tells no one what it does
}
"""What a service wants of MLflow where its environment says nothing."""


def run(options: argparse.Namespace) -> None:
    """Serve until a signal says to stop.

    Raises
    ------
    RouterError
        An option, a file of keys or the model is wrong, or the address is taken.
    """
    if os.name == "nt":  # no SIGHUP, and no event loop that takes signals
        raise ConfigError("serve runs on Linux and macOS; on Windows, run it in WSL or in a container")
    _open_standard_streams()
    log = options.log
    if log == "auto":
        log = "text" if sys.stderr is not None and sys.stderr.isatty() else "json"
    settings = Settings(
        model=options.model,
        policy=None if options.policy is None else read_policy(options.policy),
        host=options.host,
        port=options.port,
        workers=options.workers,
        keys_file=options.keys,
        admin_keys_file=options.admin_keys,
        without_keys=options.without_keys,
        limits=Limits(**{field.name: getattr(options, field.name) for field in fields(Limits)}),
        drain_seconds=options.drain_seconds,
        drain_delay=options.drain_delay,
        log=log,
        log_prompts=options.log_prompts,
        origins=tuple(options.cors_origin),
        watch=options.watch,
    )
    read_access(settings)
    if is_registered(name_place(options.model)):
        for name, value in _MLFLOW.items():
            os.environ.setdefault(name, value)
    else:
        find_artifact(options.model)  # a typo in a path is told before anything starts
    with bind(settings) as listener:
        if settings.workers > 1:
            serve_with_workers(settings, listener)
        else:
            serve(settings, listener)


def _open_standard_streams() -> None:
    """Open the standard streams that the caller has closed: a socket in their place would be written to, or worse."""
    for stream in range(3):
        try:
            os.fstat(stream)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
