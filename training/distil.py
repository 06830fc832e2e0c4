"""Makes the static embedding: a sentence encoder, distilled to one row per token and quantised.

Needed once per encoder; a fit reuses the folder and needs no torch. The distillation is model2vec's, with its
defaults (mean pooling, PCA, SIF weights folded into the rows). Everything is written to a temporary folder
beside the target, checked there by the loader that serving uses, and then renamed into place.

The heavy libraries are imported inside the functions: `python -m training` imports this module.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from router.artifact import sha256_of
from router.embedding import EMBEDDING_FILES, StaticEmbedding
from router.errors import ArtifactError, ConfigError

__all__ = ["DIMENSION", "TEACHER", "add_arguments", "distil", "quantise", "run"]

TEACHER = "sentence-transformers/all-MiniLM-L6-v2"
"""The default encoder, on the Hugging Face hub."""
TEACHER_LICENCE = "Apache-2.0"
DIMENSION = 256
FORMAT = 1
"""Version of the folder's form, in embedding.json."""

TABLE_FILE, SCALE_FILE, TOKENIZER_FILE, IDENTITY_FILE = EMBEDDING_FILES

CHECK_TEXTS = 2000
LONGEST_CHECK = 16
"""Tokens drawn for a check text: 1 to this many. One is the hardest, averaging rounds errors away."""
LEAST_COSINE = 0.99
"""A check text whose int8 vector is further than this from the float one means a broken table: rounding
alone keeps a 256-wide row above 0.999."""


def distil(
    teacher: str | Path = TEACHER,
    out: str | Path = "embedding",
    dimension: int = DIMENSION,
    *,
    name: str | None = None,
    licence: str | None = None,
) -> dict[str, Any]:
    """Distil a sentence encoder and write the embedding folder; an older embedding there is replaced.

    The same encoder, libraries and processor give the same bytes: one thread, no dates, no paths.

    Parameters
    ----------
    teacher : str or Path
        A folder with a Hugging Face model, or the name of one on the hub.
    out : str or Path
        The folder to write.
    dimension : int
        Columns of the table; at most the encoder's own.
    name : str, optional
        What embedding.json calls the teacher. By default the hub name, or the folder's name.
    licence : str, optional
        SPDX identifier of the teacher's licence; by default known for `TEACHER`, else "unknown".

    Returns
    -------
    dict
        `out`, `teacher`, `vocabulary`, `dimension`, `bytes` per file, `cosine` of int8 to float vectors over
        generated texts (`texts`, `mean`, `min`), and `seconds`.

    Raises
    ------
    ConfigError
        The extra is missing, there is no such teacher, the dimension does not fit, or `out` holds something
        else.
    ArtifactError
        The finished table failed its check; nothing was replaced.
    """
    start = time.monotonic()
    out = Path(out).resolve()
    _check_target(out)
    if dimension < 1:
        raise ConfigError(f"dimension: expected 1 or more, found {dimension}")
    rows, tokenizer, method_version = _distil_rows(teacher, dimension)
    if name is None:
        name = Path(teacher).resolve().name if Path(teacher).is_dir() else str(teacher)
    if licence is None:
        licence = TEACHER_LICENCE if name == TEACHER else "unknown"

    table, scale = quantise(rows)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as work:
        folder = Path(work, "new")  # not the temporary folder itself, which only its owner can read
        folder.mkdir()
        np.save(folder / TABLE_FILE, table)
        np.save(folder / SCALE_FILE, scale)
        tokenizer.save(str(folder / TOKENIZER_FILE), pretty=False)
        identity = {
            "format": FORMAT,
            "teacher": name,
            "method": "model2vec",
            "method_version": method_version,
            "dimension": table.shape[1],
            "vocabulary": table.shape[0],
            "licence": licence,
            "sha256": {file: sha256_of(folder / file) for file in (TABLE_FILE, SCALE_FILE, TOKENIZER_FILE)},
        }
        (folder / IDENTITY_FILE).write_bytes((json.dumps(identity, indent=2) + "\n").encode())
        _say(f"checking int8 against float on {CHECK_TEXTS} texts")
        cosine = _check_folder(folder, rows)
        sizes = {file: (folder / file).stat().st_size for file in EMBEDDING_FILES}
        _publish(folder, out, Path(work, "old"))

    _say(f"wrote {out}: {len(table)} tokens x {dimension}, cosine {cosine['mean']:.6f} on average")
    return {
        "out": str(out),
        "teacher": name,
        "vocabulary": len(table),
        "dimension": dimension,
        "bytes": sizes,
        "cosine": cosine,
        "seconds": round(time.monotonic() - start, 1),
    }


def quantise(rows: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return an int8 (V, d) table and a float32 (V,) scale whose product is close to the rows. Pure.

    Symmetric per row: the largest magnitude becomes 127. A row of zeros has scale 1.
    """
    scale = (np.abs(rows).max(axis=1) / 127).astype(np.float32)
    scale[scale == 0] = 1
    table = np.clip(np.rint(rows / scale[:, None]), -127, 127).astype(np.int8)
    return np.ascontiguousarray(table), scale


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m training distil`."""
    parser.add_argument(
        "--teacher",
        default=TEACHER,
        metavar="NAME_OR_DIR",
        help="sentence encoder: a name on the Hugging Face hub, or a folder (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="DIR",
        help="folder of the embedding; an older embedding there is replaced",
    )
    parser.add_argument(
        "--dimension", type=int, default=DIMENSION, help="columns of the table (default: %(default)s)"
    )
    parser.add_argument(
        "--name", help="what the embedding calls its teacher (default: its hub or folder name)"
    )
    parser.add_argument(
        "--licence",
        metavar="SPDX",
        help=f"the teacher's licence (default: {TEACHER_LICENCE} for {TEACHER}, else unknown)",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Distil, and return what was written, ready for JSON."""
    return distil(args.teacher, args.out, args.dimension, name=args.name, licence=args.licence)


def _distil_rows(teacher: str | Path, dimension: int) -> tuple[NDArray[np.float32], Tokenizer, str]:
    """Return the float32 (V, d) rows, the tokenizer whose ids they follow, and model2vec's version."""
    try:
        import model2vec
        import torch
        from model2vec.distill import distill_from_model
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise ConfigError(
            f"distilling needs a library that is not installed ({error}): pip install 'tierwise[embed]'"
        ) from error

    _say(f"loading {teacher}")
    model, teacher_tokenizer = _load_teacher(teacher)
    width = getattr(model.config, "hidden_size", dimension)
    if dimension > width:
        raise ConfigError(
            f"dimension: {dimension} is more than the {width} that {teacher} has; ask for at most {width}"
        )
    _say("encoding the vocabulary, a minute or two")
    # Sums depend on how many threads share them. On a busy machine one thread is also the faster choice.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            static = distill_from_model(
                model, teacher_tokenizer, device="cpu", pca_dims=dimension, quantize_to="float32"
            )
    finally:
        torch.set_num_threads(threads)

    tokenizer = Tokenizer.from_str(static.tokenizer.to_str())
    tokenizer.no_truncation()  # model2vec sets 512 tokens, and the teacher's own file carries less
    tokenizer.no_padding()
    rows = np.asarray(static.embedding, dtype=np.float32)
    ids = sorted(tokenizer.get_vocab(with_added_tokens=True).values())
    if ids != list(range(len(rows))):
        raise ArtifactError(
            f"distilling {teacher}: expected a row for each token id, found {len(rows)} rows and {len(ids)} tokens; "
            f"model2vec {model2vec.__version__} cannot distil this tokenizer"
        )
    if rows.shape[1] != dimension:
        raise ConfigError(
            f"dimension: {dimension} needs a vocabulary of more than {dimension} tokens, {teacher} has {len(rows)}"
        )
    if not np.isfinite(rows).all():
        raise ArtifactError(f"distilling {teacher}: the table holds values that are not finite")
    return rows, tokenizer, str(model2vec.__version__)


def _load_teacher(teacher: str | Path) -> tuple[Any, Any]:
    from huggingface_hub import constants
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    # Annotated, so that checking is the same with and without these libraries.
    auto_model: Any = AutoModel
    auto_tokenizer: Any = AutoTokenizer
    logging: Any = transformers_logging
    offline: bool = constants.HF_HUB_OFFLINE

    folder = Path(teacher)
    is_local = folder.is_dir()
    if not is_local and _must_be_path(teacher):
        raise ConfigError(
            f"teacher {teacher}: expected a folder with a Hugging Face model, or a name on the hub such as {TEACHER}; "
            f"tried the folder {folder.resolve()}, which does not exist"
        )
    source = str(folder.resolve()) if is_local else str(teacher)
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # what its load report warns of is an error or harmless, see `absent`
    try:
        model, report = auto_model.from_pretrained(
            source, local_files_only=is_local, output_loading_info=True
        )
        tokenizer = auto_tokenizer.from_pretrained(source, local_files_only=is_local)
    except Exception as error:  # OSError, ValueError, ImportError or safetensors' own, by what is wrong
        if is_local:
            tried = f"tried the folder {source}"
        else:
            hub = "the hub's cache (HF_HUB_OFFLINE is set)" if offline else "the hub"
            tried = f"tried the folder {folder.resolve()}, which does not exist, and {hub}"
        said = (str(error).splitlines() or [""])[0]
        raise ConfigError(
            f"teacher {teacher}: expected a folder with a Hugging Face model, or a name on the hub such as {TEACHER}; "
            f"{tried} ({type(error).__name__}: {said})"
        ) from error
    finally:
        logging.set_verbosity(verbosity)
    # transformers fills absent weights with noise and goes on. Mean pooling does not use the pooler.
    absent = sorted(key for key in report["missing_keys"] if "pooler" not in key)
    if absent:
        raise ConfigError(
            f"teacher {teacher}: the weights lack {len(absent)} of the model's tensors (first: {absent[0]}); "
            "name a complete encoder"
        )
    return model.float(), tokenizer


def _must_be_path(teacher: str | Path) -> bool:
    """Tell whether a teacher cannot be a hub name, which is NAME or OWNER/NAME. Pure."""
    text = str(teacher)
    return (
        isinstance(teacher, Path) or text.startswith((".", "/", "~")) or "\\" in text or text.count("/") > 1
    )


def _check_target(out: Path) -> None:
    """Refuse a target that could not be replaced, before any work is done."""
    if out.exists():
        found = {path.name for path in out.iterdir()} if out.is_dir() else {out.name}
        # The folder of a whole artefact has an embedding too, but its manifest pins that one.
        others = sorted(found - set(EMBEDDING_FILES))
        if not out.is_dir() or others or (found and IDENTITY_FILE not in found):
            raise ConfigError(
                f"{out}: exists and is not an embedding folder (found {(others or sorted(found))[0]}); "
                "name a new folder, or one that holds an embedding and nothing else"
            )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise ConfigError(f"{out}: its parent cannot be written ({error.strerror}); name another") from error


def _check_folder(folder: Path, rows: NDArray[np.float32]) -> dict[str, Any]:
    """Compare what serving gives for generated texts with the mean of float rows."""
    embedding = StaticEmbedding.load(folder)
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    random = np.random.default_rng(0)
    texts = [
        tokenizer.decode(random.integers(len(rows), size=1 + i % LONGEST_CHECK).tolist())
        for i in range(CHECK_TEXTS)
    ]
    cosines = []
    for text in texts:
        ids = embedding.token_ids(text)
        exact = rows[ids].sum(axis=0, dtype=np.float64)
        norm = float(np.sqrt(exact @ exact))
        if norm > 0.0:  # else only special or unknown tokens were drawn
            cosines.append(float(embedding.embed(text) @ exact) / norm)
    least = min(cosines, default=0.0)
    if not least >= LEAST_COSINE:
        raise ArtifactError(
            f"distilled table: int8 vectors should be within cosine {LEAST_COSINE} of float ones, the worst of "
            f"{len(cosines)} texts is {least:.4f}; nothing was replaced"
        )
    return {"texts": len(cosines), "mean": round(float(np.mean(cosines)), 7), "min": round(least, 7)}


def _publish(folder: Path, out: Path, old: Path) -> None:
    """Rename a folder into place; what was there moves to `old`, and back if that fails."""
    try:
        if out.exists():
            out.rename(old)
        folder.rename(out)
    except BaseException:  # an interrupt too: cleaning up would delete the only copy
        if old.exists() and not out.exists():
            old.rename(out)
        raise


def _say(text: str) -> None:
    sys.stderr.write(f"distil: {text}\n")
