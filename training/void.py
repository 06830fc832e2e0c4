"""Makes a voided copy of an artefact: the same model, whose certificate no longer holds.

New outcomes can contradict a certificate before there is a better model. The copy scores as the original does, and sends
everything to the reference tier (`router.model`); its id is its own, for it decides otherwise.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from router import ConfigError
from router.artifact import MANIFEST_FILE, MODEL_FILE, open_artifact
from router.manifest import is_date
from training.card import render_voided
from training.package import CARD_FILE, check_target, model_id_of, seal, write_aside

__all__ = ["void"]


def void(artefact: Path, out: Path, *, why: str, date: str) -> dict[str, Any]:
    """Write a copy of an artefact with a void certificate, verify it, and publish it.

    The same artefact, reason and day give the same copy.

    Parameters
    ----------
    artefact : Path
        A folder; it stays as it is.
    out : Path
        Folder of the copy; an older artefact there is replaced.
    why : str
        What contradicts the certificate, in a sentence; people read it in the card and in `tierwise inspect`.
    date : str
        Since when, YYYY-MM-DD.

    Returns
    -------
    dict
        The copy's manifest.

    Raises
    ------
    ArtifactError
        The artefact is damaged, or of another version.
    ConfigError
        The reason is blank, the date is none, or the copy cannot be written.
    """
    why = " ".join(why.split())
    if not why:
        raise ConfigError("void: a reason is expected, in a sentence; found none")
    if not is_date(date):
        raise ConfigError(f"void: the date is one such as 2026-01-31; found {date!r}")
    check_target(out)
    open_artifact(artefact)
    original = json.loads((artefact / MANIFEST_FILE).read_bytes())
    said = {"date": date, "why": why}
    deciding = {name: digest for name, digest in original["files"].items() if name != CARD_FILE}
    of = {"of": original["model_id"], "files": deciding}
    manifest = {
        **original,
        "model_id": model_id_of((artefact / MODEL_FILE).read_bytes(), None, of, said),
        "certificate": {**original["certificate"], "void": said},
    }
    card = artefact / CARD_FILE
    text = card.read_text(encoding="utf-8") if card.is_file() else ""

    def fill(work: Path) -> dict[str, Any]:
        for name in deciding:
            shutil.copyfile(artefact / name, work / name)
        return seal(work, manifest, list(deciding), lambda written: render_voided(written, text))

    return write_aside(out, fill)
