"""What a fit learns, as one value: it can be saved, and opened again by a run that was interrupted.

`learn` is pure but for its progress bar, given a seed; `save` and `open_learned` do the I/O. The graph is the model as it
will serve, so nothing fitted has to be kept beside it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.design import Design, describe
from eval.ladder import best_tier
from eval.progress import Progress
from router.extractor import Extractor
from router.lexicon import Lexicon
from training.answers import Answers
from training.blend import (
    FOLDS,
    CrossValidation,
    build_model,
    cross_fit,
    cross_validate,
    fit_blend,
    judge,
    members_for,
    select,
)  # fmt: skip
from training.material import Material
from training.members import FITTERS
from training.novelty import Novelty, threshold
from training.stack import sigmoid

__all__ = ["Learned", "learn", "open_learned"]

_GRAPH, _ARRAYS, _FACTS = "model.onnx", "learned.npz", "learned.json"


@dataclass(frozen=True, eq=False)
class Learned:
    """A model that is neither certified nor measured yet.

    Attributes
    ----------
    graph : bytes
        Its ONNX graph.
    lexicon : float32 (V, 1 + k) or None
        Token weights, where it has any.
    answer_usd : float64 (k,)
        The mean of a tier's answers, at the tier's own price.
    out_of_fold : float64 (n_train, k)
        Pass probabilities of the training rows, by fits that did not see them.
    length_alone : float64 (n_test, k)
        What prompt length alone says of the test rows: the baseline.
    reference : int
        Position of the reference tier.
    novel_above : float
        Novelty from which a prompt escalates.
    members, weights, candidates
        What was chosen, and from what, as a manifest has it.
    """

    graph: bytes
    lexicon: NDArray[np.float32] | None
    answer_usd: NDArray[np.float64]
    out_of_fold: NDArray[np.float64]
    length_alone: NDArray[np.float64]
    reference: int
    novel_above: float
    members: tuple[str, ...]
    weights: dict[str, float]
    candidates: list[dict[str, Any]]

    def serving_extractor(self, extractor: Extractor) -> Extractor:
        """Return the extractor with the token weights that serving adds."""
        return _with_lexicon(extractor, self.lexicon)

    def save(self, folder: Path) -> None:
        """Write the value into an existing folder."""
        arrays = {name: getattr(self, name) for name in ("answer_usd", "out_of_fold", "length_alone")}
        if self.lexicon is not None:
            arrays["lexicon"] = self.lexicon
        np.savez(folder / _ARRAYS, allow_pickle=False, **arrays)
        (folder / _GRAPH).write_bytes(self.graph)
        facts = {
            "reference": self.reference,
            "novel_above": self.novel_above,
            "members": list(self.members),
            "weights": self.weights,
            "candidates": self.candidates,
        }
        (folder / _FACTS).write_text(json.dumps(facts, allow_nan=False), encoding="utf-8")


def open_learned(folder: Path) -> Learned:
    """Open what `Learned.save` wrote; the caller has checked that the files are those."""
    facts = json.loads((folder / _FACTS).read_bytes())
    with np.load(folder / _ARRAYS, allow_pickle=False) as arrays:
        return Learned(
            graph=(folder / _GRAPH).read_bytes(),
            lexicon=arrays.get("lexicon"),
            **{name: arrays[name] for name in ("answer_usd", "out_of_fold", "length_alone")},
            **facts | {"members": tuple(facts["members"])},
        )


def learn(material: Material, X: NDArray[np.float32], extractor: Extractor, progress: Progress) -> Learned:
    """Cross-validate, select, fit and write the graph.

    Parameters
    ----------
    X : float32 (n, width)
        What the extractor, without a lexicon, gives for all prompts of the material.
    """
    outcomes, split, seed = material.outcomes, material.split, material.seed
    design = describe(outcomes, X, extractor)
    learned, train = design.take(split.train), material.train

    names = members_for(learned)
    progress.step(f"cross-validating {len(names)} members on {len(train):,} prompts")
    validation = _cross_validate(learned, names, seed, progress)
    selection = select(validation.margins, train.passed, train.cost_usd, learned.weight)
    out_of_fold = cross_fit(validation, train.passed, train.cost_usd, names, learned.weight)

    reference = best_tier(train)
    progress.step(f"fitting {' + '.join(selection.members)}")
    blend, novelty = fit_blend(learned, selection, seed), Novelty.fit(learned, seed)
    answers = Answers.fit(learned)
    serving = _with_lexicon(extractor, blend.lexicon)
    graph = build_model(blend, answers, novelty, reference, serving.width, design.dimension)
    return Learned(
        graph=graph.SerializeToString(deterministic=True),
        lexicon=blend.lexicon,
        answer_usd=answers.usd,
        out_of_fold=out_of_fold,
        length_alone=sigmoid(FITTERS["length"](learned, seed).margins(design.take(split.test))),
        reference=reference,
        novel_above=threshold(learned, seed),
        members=selection.members,
        weights=selection.weights,
        candidates=judge(validation, train.passed, train.score, train.cost_usd, learned.weight),
    )


def _with_lexicon(extractor: Extractor, lexicon: NDArray[np.float32] | None) -> Extractor:
    return Extractor(extractor.embedding, None if lexicon is None else Lexicon(lexicon))


def _cross_validate(design: Design, names: tuple[str, ...], seed: int, progress: Progress) -> CrossValidation:
    with progress.bar(FOLDS * len(names), "fit") as bar:

        def tick(done: str) -> None:
            bar.set_description(done)
            bar.update()

        return cross_validate(design, seed, tick)
