"""End to end: what a router answers for a prompt is what the fitted blend says in numpy, on the worst prompts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.design import Design, describe
from eval.history import read_history
from eval.outcomes import Outcomes, tabulate
from eval.split import split_rows
from router import Router
from router.artifact import open_artifact, read_golden, read_manifest
from router.embedding import StaticEmbedding
from router.extractor import Extractor
from router.lexicon import Lexicon
from router.prompt import read_prompt
from router.scorer import Scorer
from router.tiers import read_tiers
from training.answers import Answers
from training.blend import Blend, Selection, build_model, cross_validate, fit_blend, select
from training.golden import GOLDEN_PROMPTS
from training.members import FITTERS
from training.novelty import Novelty
from training.package import write_artifact
from training.synthetic import generate

FRESH: list[Any] = [
    "",
    " ",
    "\n\t\n",
    "\x00",
    "🎉",
    "Prove it 🎉 👩‍👩‍👧 please",
    "\ud800",
    "Sum \udc80 the list \ud83d now",
    "世界" * 3000,
    "word " * 20_000,
    "a" * 50_000,
    "the the the the",
    "1 2 3 4 5 6 7 8 9 0 " * 400,
    "def f(x):\n    return x\n" * 300,
    [{"role": "user", "content": ""}],
    [{"role": "system", "content": "Be brief. " * 900}, {"role": "user", "content": "Why?"}],
    [
        {"role": "user", "content": "Hello \ud800"},
        {"role": "assistant", "content": "Hi 🎉"},
        {"role": "user", "content": [{"type": "text", "text": "And now?"}]},
    ],
    *GOLDEN_PROMPTS,
    *generate(60, 99)["prompt"].dropna().unique(),
]


@pytest.fixture(scope="module")
def outcomes(history_files: tuple[Path, Path]) -> Outcomes:
    history, tiers = history_files
    logged, ladder = read_history(history), read_tiers(tiers)
    return tabulate(logged, ladder, split_rows(tabulate(logged, ladder), 0).train)


MIX = 0.7 * np.eye(3) + 0.1  # as shrunk differences have it


def design_of(outcomes: Outcomes, extractor: Extractor) -> Design:
    return describe(outcomes, extractor.extract_many(outcomes.prompts), extractor)


def unseen(outcomes: Outcomes, extractor: Extractor, prompts: list[Any]) -> Design:
    """Prompts as rows; what else is known of the history's rows is passed on, and must not matter."""
    some = outcomes.take(np.arange(len(prompts)) % len(outcomes))
    return design_of(replace(some, prompts=prompts), extractor)


@pytest.fixture(scope="module")
def extractor(committed_embedding: Path) -> Extractor:
    return Extractor(StaticEmbedding.load(committed_embedding))


def test_a_fitted_router_answers_as_its_blend(
    artefact: Path, outcomes: Outcomes, extractor: Extractor
) -> None:
    """The blend is fitted again, step by step, from the same history and seed."""
    train = design_of(outcomes, extractor).take(split_rows(outcomes, 0).train)
    assert train.cost_usd is not None
    selection = select(cross_validate(train, 0).margins, train.passed, train.cost_usd)
    assert json.loads((artefact / "manifest.json").read_bytes())["model"]["weights"] == selection.weights
    blend = fit_blend(train, selection, 0)
    found = Router.load(artefact).score(FRESH)
    expected = blend.p_pass(unseen(outcomes, extractor, FRESH))
    np.testing.assert_allclose(expected, found, rtol=0, atol=1e-5)
    assert (np.ptp(found, axis=0) > 0.1).all()


BLENDS = {
    "all": tuple(FITTERS),
    "words": ("words",),
    "tasks": ("tasks",),
    "words and tasks": ("words", "tasks"),
    "neither": tuple(name for name in FITTERS if name not in ("words", "tasks")),
}


@pytest.fixture(scope="module")
def learned(outcomes: Outcomes, extractor: Extractor) -> Blend:
    """Every member, fitted on the whole history."""
    return fit_blend(
        design_of(outcomes, extractor),
        Selection(dict.fromkeys(FITTERS, 1 / 6), {}, np.eye(3), np.zeros(3), {}),
        0,
    )


@pytest.mark.parametrize("kind", BLENDS)
def test_whatever_the_members_the_written_router_answers_as_the_blend(
    kind: str,
    learned: Blend,
    outcomes: Outcomes,
    extractor: Extractor,
    artefact: Path,
    committed_embedding: Path,
    tmp_path: Path,
) -> None:
    names = BLENDS[kind]
    scale = {name: np.array([0.7, 1.0, 1.4]) / len(names) for name in names}
    own = {name: (np.array([0.7, 1.0, 1.4]), np.array([0.1, 0.0, -0.1])) for name in names}
    blend = Blend(
        {name: learned.members[name] for name in names},
        Selection(dict.fromkeys(names, 1 / len(names)), scale, MIX, np.array([-0.2, 0.0, 0.3]), own),
    )
    assert ("words" in names) == (blend.lexicon is not None)
    serving = Extractor(
        extractor.embedding, None if blend.lexicon is None else Lexicon(np.asarray(blend.lexicon))
    )
    design = design_of(outcomes, extractor)
    model = build_model(
        blend, Answers.fit(design), Novelty.fit(design, 0), 2, serving.width, design.dimension
    ).SerializeToString(deterministic=True)
    golden = Scorer(model, serving.width, 3).score(serving.extract_many(GOLDEN_PROMPTS)).p_pass
    write_artifact(
        tmp_path / "model",
        model=model,
        embedding=committed_embedding,
        lexicon=blend.lexicon,
        golden=list(zip(GOLDEN_PROMPTS, golden, strict=True)),
        manifest={**read_manifest(artefact).document, "features": serving.identity},
        card=lambda _: "",
    )
    _, opened, _ = open_artifact(tmp_path / "model")
    assert serving.identity == opened.identity
    assert len(GOLDEN_PROMPTS) == len(read_golden(tmp_path / "model"))
    router = Router.load(tmp_path / "model")
    found = router.score(FRESH)
    rows = unseen(outcomes, extractor, FRESH)
    expected = blend.p_pass(rows)
    np.testing.assert_allclose(expected, found, rtol=0, atol=1e-5)
    spread = np.array([router.model.read_one(read_prompt(prompt))[3:6] for prompt in FRESH])
    np.testing.assert_allclose(blend.selection.spread(blend.margins(rows), 2), spread, rtol=0, atol=1e-5)
    alone = np.stack([router.route(prompt).p_pass for prompt in FRESH])
    np.testing.assert_allclose(expected, alone, rtol=0, atol=1e-5)
