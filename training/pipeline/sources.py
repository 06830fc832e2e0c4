"""Where a run's history comes from: files, globs and databases become files with digests.

Reads files, and asks databases; writes only what a query returned.
"""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path

from router.errors import ConfigError
from training.pipeline.database import export_rows
from training.pipeline.settings import Files, Source
from training.provenance import describe_files

__all__ = ["QUERIED_FILE", "Loaded", "require_unchanged", "resolve"]

QUERIED_FILE = "history.parquet"


@dataclass(frozen=True)
class Loaded:
    """A history as files.

    Attributes
    ----------
    files : list of Path
        In an order that does not depend on the file system.
    described : list of dict
        Name, bytes and sha256 of each, as `training.provenance.describe_files` gives them.
    """

    files: list[Path]
    described: list[dict[str, str | int]]


def resolve(source: Source, work: Path) -> Loaded:
    """Find a history's files, or fetch it from its database into `work`, and take their digests.

    Call `require_unchanged` once they have been read.

    Raises
    ------
    ConfigError
        Nothing is found, a file cannot be read or is being written to, or the database refuses.
    RouterError
        What was fetched cannot be written.
    """
    if isinstance(source, Files):
        files = _expand(source)
    else:
        files = [work / QUERIED_FILE]
        export_rows(source, files[0])
    return Loaded(files, [_describe(path) for path in files])


def require_unchanged(loaded: Loaded) -> None:
    """Refuse a history of which a file has changed since `resolve`: what was read may be half of each.

    Raises
    ------
    ConfigError
        One has changed, or is gone.
    """
    for path, before in zip(loaded.files, loaded.described, strict=True):
        if _describe(path) != before:
            raise _changing(path)


def _expand(source: Files) -> list[Path]:
    found: dict[Path, Path] = {}  # by what it is: two patterns may name the same file
    for pattern in source.patterns:
        if Path(pattern).is_dir():
            raise ConfigError(
                f"history {pattern}: is a folder; name the files in it, such as {pattern}/*.parquet"
            )
        if Path(pattern).exists() or not glob.has_magic(pattern):  # a bracket may be part of a name
            paths = [pattern]
        else:
            paths = [path for path in glob.glob(pattern, recursive=True) if Path(path).is_file()]  # noqa: PTH207 - Path's refuses whole paths
        if not paths:
            raise ConfigError(
                f"history {pattern}: matches no file; check the path, and that something is logged"
            )
        for path in map(Path, paths):
            found.setdefault(path.resolve(), path)
    return sorted(found.values())


def _describe(path: Path) -> dict[str, str | int]:
    try:
        before = path.stat()
        described = describe_files([path])[0]
        after = path.stat()
    except OSError as error:
        raise ConfigError(f"history {path}: cannot be read ({error.strerror}); check the path") from None
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise _changing(path)
    return described


def _changing(path: Path) -> ConfigError:
    return ConfigError(
        f"history {path}: expected a finished file, and it changed while it was read; let its writer write aside and "
        "rename, and run it again"
    )
