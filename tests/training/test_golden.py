"""Golden prompts touch whatever a library update could change unnoticed."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from router.embedding import StaticEmbedding
from router.extractor import Extractor
from router.features import FEATURE_NAMES
from router.prompt import read_prompt
from training.golden import GOLDEN_PROMPTS


@pytest.fixture(scope="module")
def extractor(committed_embedding: Path) -> Extractor:
    return Extractor(StaticEmbedding.load(committed_embedding))


def test_there_are_thirty_or_more_and_none_twice() -> None:
    assert len(GOLDEN_PROMPTS) >= 30
    assert len({json.dumps(prompt) for prompt in GOLDEN_PROMPTS}) == len(GOLDEN_PROMPTS)


def test_they_survive_json() -> None:
    assert list(GOLDEN_PROMPTS) == json.loads(json.dumps(GOLDEN_PROMPTS))
    "".join(json.dumps(prompt, ensure_ascii=False) for prompt in GOLDEN_PROMPTS).encode("utf-8")


@pytest.mark.parametrize(
    "script", ["LATIN", "CYRILLIC", "CJK", "HIRAGANA", "KATAKANA", "HANGUL", "ARABIC", "DEVANAGARI", "THAI"]
)
def test_every_script_occurs(script: str) -> None:
    letters = {letter for prompt in GOLDEN_PROMPTS for letter in read_prompt(prompt).text}
    assert [letter for letter in letters if unicodedata.name(letter, "").startswith(script)]


def test_what_normalisation_would_change_occurs() -> None:
    text = "".join(read_prompt(prompt).text for prompt in GOLDEN_PROMPTS)
    for form in ("NFC", "NFKC", "NFD"):
        assert unicodedata.normalize(form, text) != text
    assert any(unicodedata.category(letter) == "Cf" for letter in text)  # invisible
    assert any(ord(letter) > 0xFFFF for letter in text)


@pytest.mark.parametrize("feature", FEATURE_NAMES)
def test_every_feature_is_exercised(feature: str, extractor: Extractor) -> None:
    rows = extractor.extract_many(GOLDEN_PROMPTS)
    column = rows[:, extractor.embedding.dimension + FEATURE_NAMES.index(feature)]
    assert len(np.unique(column)) > 1


def test_conversations_tools_images_and_emptiness_occur() -> None:
    views = [read_prompt(prompt) for prompt in GOLDEN_PROMPTS]
    assert any(isinstance(prompt, list) for prompt in GOLDEN_PROMPTS)
    assert any(view.n_images for view in views)
    assert any(view.n_tool_turns for view in views)
    assert any(view.n_system_chars for view in views)
    assert any(view.n_turns > 2 for view in views)
    assert "" in GOLDEN_PROMPTS
    assert max(view.n_chars for view in views) > 4000


def test_known_and_unknown_words_occur(extractor: Extractor) -> None:
    norms = np.linalg.norm(extractor.extract_many(GOLDEN_PROMPTS)[:, : extractor.embedding.dimension], axis=1)
    assert {0.0, 1.0} == set(np.round(norms, 5).tolist())
