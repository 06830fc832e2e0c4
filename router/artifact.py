"""The artefact: a folder on disk, found, checked and opened.

The I/O of serving is here. A load verifies what the manifest claims (hash of each file, identity of the
features, golden scores) and fails loudly: a process never starts with a model that is not the one that was
fitted.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from router.embedding import EMBEDDING_FILES, StaticEmbedding
from router.errors import ArtifactError, ConfigError
from router.extractor import Extractor
from router.lexicon import LEXICON_FILE, Lexicon
from router.manifest import Manifest, parse_manifest
from router.prompt import read_prompt
from router.registry import fetch, is_registered
from router.scorer import Scorer

__all__ = [
    "GOLDEN_FILE",
    "GOLDEN_TOLERANCE",
    "MANIFEST_FILE",
    "MODEL_FILE",
    "MODEL_VARIABLE",
    "find_artifact",
    "hold_artifact",
    "name_place",
    "open_artifact",
    "read_golden",
    "read_manifest",
    "sha256_of",
]

MANIFEST_FILE = "manifest.json"
MODEL_FILE = "model.onnx"
GOLDEN_FILE = "golden.jsonl.gz"
MODEL_VARIABLE = "TIERWISE_MODEL"

# Another CPU rounds float32 sums otherwise, by about 1e-6; another tokenizer or feature moves scores by far
# more than this.
GOLDEN_TOLERANCE = 1e-4


def find_artifact(location: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of an artefact that lies on this machine.

    Parameters
    ----------
    location : str or path, optional
        A folder. By default what $TIERWISE_MODEL names, else the packaged default.

    Raises
    ------
    ArtifactError
        There is no artefact there; the message lists the paths that were tried.
    ConfigError
        It is an address in MLflow's registry, and a folder is needed.
    """
    named = name_place(location)
    if named is not None:
        tried = [Path(named)]
        source = "" if location is not None else f" (from ${MODEL_VARIABLE})"
        if is_registered(named):
            raise ConfigError(
                f"{named}{source}: expected a folder, found an address in a registry; fetch it, and name its folder"
            )
    else:
        package = Path(__file__).resolve().parent
        # A wheel carries the default inside the package; an editable install sees the checkout's.
        tried = [package / "default", package.parent / "models" / "default"]
        source = " (the packaged default)"
    for folder in tried:
        if _holds_manifest(folder):
            return folder
    raise ArtifactError(
        f"no model{source}: expected a folder with {MANIFEST_FILE}, tried {', '.join(map(str, tried))}; "
        "fit one with `python -m training fit`, or check the path"
    )


def name_place(location: str | os.PathLike[str] | None = None) -> str | None:
    """Return the place that is meant: as given, else what $TIERWISE_MODEL names; None is the packaged default."""
    return os.fspath(location) if location is not None else os.environ.get(MODEL_VARIABLE) or None


@contextmanager
def hold_artifact(location: str | os.PathLike[str] | None = None) -> Iterator[Path]:
    """Yield the folder of an artefact, which is there until the end of the block; opened, it needs none.

    Parameters
    ----------
    location : str or path, optional
        A folder, or an MLflow model address such as "models:/tierwise@champion". By default what
        $TIERWISE_MODEL names, else the packaged default.

    Raises
    ------
    ArtifactError
        As `find_artifact`; or the registry cannot be reached, or has no such model.
    ConfigError
        An MLflow address was given and MLflow is not installed.
    """
    named = name_place(location)
    if named is not None and is_registered(named):
        with fetch(named, MANIFEST_FILE) as folder:
            try:
                yield folder
            except ArtifactError as error:  # the folder is gone when people read this
                raise ArtifactError(str(error).replace(str(folder), named)) from error
    else:
        yield find_artifact(location)


def _holds_manifest(folder: Path) -> bool:
    try:
        return (folder / MANIFEST_FILE).is_file()
    except OSError:  # before Python 3.14: a name too long, or a folder that may not be read
        return False


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of an artefact.

    Raises
    ------
    ArtifactError
        It is missing, not JSON, or not a manifest.
    """
    path = folder / MANIFEST_FILE
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise ArtifactError(
            f"{path}: cannot be read ({error.strerror}); fit again, or check the path"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{path}: not valid JSON ({error}); fit again, or copy the folder again"
        ) from error
    return parse_manifest(document, str(path))


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_artifact(folder: Path) -> tuple[Manifest, Extractor, Scorer]:
    """Open an artefact and verify it.

    Raises
    ------
    ArtifactError
        A file is missing or changed, the features are another version's, or the golden scores do not come
        out.
    """
    manifest = read_manifest(folder)
    for name, digest in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise ArtifactError(f"{folder}: {name} is missing; copy the folder again, or fit again")
        if sha256_of(path) != digest:
            raise ArtifactError(
                f"{folder}: {name} is not the file that the manifest describes (its sha256 differs); "
                "copy the folder again, or fit again"
            )
    for name in (MODEL_FILE, *EMBEDDING_FILES, GOLDEN_FILE):  # what decides is never unverified
        if name not in manifest.files:
            raise ArtifactError(f"{folder}: the manifest lists no {name}; fit again")
    embedding = StaticEmbedding.load(folder)
    has_lexicon = LEXICON_FILE in manifest.files  # a model without word weights has none
    lexicon = Lexicon.load(folder, embedding.n_ids) if has_lexicon else None
    extractor = Extractor(embedding, lexicon)
    if manifest.features != extractor.identity:
        raise ArtifactError(
            f"{folder}: fitted on other features than this version of tierwise extracts "
            f"({_first_difference(manifest.features, extractor.identity)}); fit again, or install the version "
            "that wrote it"
        )
    scorer = Scorer(
        (folder / MODEL_FILE).read_bytes(), extractor.width, len(manifest.ladder), source=str(folder)
    )
    _check_golden(folder, extractor, scorer)
    return manifest, extractor, scorer


def read_golden(folder: Path) -> list[dict[str, Any]]:
    """Return the golden inputs of an artefact: each a `prompt` (text or messages) and its `p_pass`.

    Raises
    ------
    ArtifactError
        The file cannot be read.
    """
    path = folder / GOLDEN_FILE
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]
    except (OSError, EOFError, ValueError, RecursionError, zlib.error) as error:
        raise ArtifactError(f"{path}: cannot be read ({type(error).__name__}); fit again") from error


def _check_golden(folder: Path, extractor: Extractor, scorer: Scorer) -> None:
    golden = read_golden(folder)
    try:
        prompts = [case["prompt"] for case in golden]
        expected = np.array([case["p_pass"] for case in golden], dtype=np.float32)
        scores = scorer.score(extractor.extract_many(prompts))
        alone = np.array([scorer.score_one(extractor, read_prompt(prompt)) for prompt in prompts])
        gaps = scores.p_pass - expected, alone - np.column_stack(scores)
        gap = max(float(np.abs(each).max()) for each in gaps) if len(golden) else float("inf")
    except Exception as error:  # ONNX Runtime's errors share no narrower base
        raise ArtifactError(f"{folder}: {GOLDEN_FILE} does not fit the model ({error}); fit again") from error
    if not gap <= GOLDEN_TOLERANCE:
        raise ArtifactError(
            f"{folder}: golden scores do not come out: expected within {GOLDEN_TOLERANCE:g}, off by {gap:.3g} over "
            f"{len(golden)} prompts; an installed library differs from the one it was fitted with, or another version wrote it"
        )


def _first_difference(expected: object, found: object, path: str = "features") -> str:
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted(set(expected) | set(found)):
            if expected.get(key) != found.get(key):
                return _first_difference(expected.get(key), found.get(key), f"{path}.{key}")
    return f"{path} differs"
