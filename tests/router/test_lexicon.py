"""The lexicon is one gather and one sum, says what the words member says, and refuses damaged files."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from toys import DIMENSION, draw_lexicon

from router import reference
from router.embedding import StaticEmbedding, to_unit
from router.errors import ArtifactError
from router.extractor import Extractor
from router.features import FEATURE_NAMES
from router.lexicon import LEXICON_FILE, MARGIN_LIMIT, Lexicon
from router.prompt import read_prompt

N_IDS = 6
# Squared inverse document frequency, then two tiers; tokens 0 and 5 were in no history.
TABLE = np.array(
    [[0, 0, 0], [4, 2, -6], [9, -1, 3], [16, 0, 0], [4, 2, 2], [0, 0, 0]],
    np.float32,
)


def ids_of(ids: list[int]) -> NDArray[np.intp]:
    return np.asarray(ids, np.intp)


@pytest.fixture
def lexicon() -> Lexicon:
    return Lexicon(TABLE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    np.save(tmp_path / LEXICON_FILE, TABLE)
    return tmp_path


# What it says


def test_margins_by_hand(lexicon: Lexicon) -> None:
    assert [1.0, -3.0] == lexicon.margins(ids_of([1]))  # weight over the root of 4
    assert [3 / np.sqrt(17), -9 / np.sqrt(17)] == pytest.approx(lexicon.margins(ids_of([1, 1, 2])))
    assert [0.0, 0.0] == lexicon.margins(ids_of([3]))
    assert [4 / np.sqrt(24), -4 / np.sqrt(24)] == pytest.approx(lexicon.margins(ids_of([4, 1, 3])))


@pytest.mark.parametrize("ids", [[], [0], [5, 0, 5]], ids=str)
def test_without_a_known_token_margins_are_zero(lexicon: Lexicon, ids: list[int]) -> None:
    assert ["0.0", "0.0"] == [*map(str, lexicon.margins(ids_of(ids)))]  # and not -0.0
    assert [0.0, 0.0] == reference.margins(lexicon, ids)


def test_unknown_tokens_change_nothing(lexicon: Lexicon) -> None:
    assert lexicon.margins(ids_of([1, 2])) == lexicon.margins(ids_of([0, 1, 5, 2, 5]))


@given(ids=st.lists(st.integers(0, N_IDS - 1), max_size=60), seed=st.integers(0, 9))
@example(ids=[], seed=0)
def test_margins_are_sums_over_positions_in_any_order(ids: list[int], seed: int) -> None:
    total = TABLE.astype(np.float64)[np.asarray(ids, np.intp)].sum(axis=0)
    expected = (
        np.clip(total[1:] / np.sqrt(total[0]), -MARGIN_LIMIT, MARGIN_LIMIT) if total[0] else np.zeros(2)
    )
    found = Lexicon(TABLE).margins(ids_of(ids))
    assert [float, float] == [*map(type, found)]
    np.testing.assert_allclose(expected, found, rtol=0, atol=1e-5)
    shuffled = np.random.default_rng(seed).permutation(ids_of(ids))
    np.testing.assert_allclose(found, Lexicon(TABLE).margins(shuffled), rtol=0, atol=1e-5)


@given(data=st.data(), n_tiers=st.integers(1, 5), seed=st.integers(0, 9))
def test_margins_are_those_of_the_reference(data: st.DataObject, n_tiers: int, seed: int) -> None:
    lexicon = Lexicon(draw_lexicon(200, n_tiers) * np.float32(10.0 ** (seed - 5)))
    repeats = st.tuples(st.integers(0, 199), st.sampled_from([1, 1, 1, 2, 50]))
    ids = [i for i, n in data.draw(st.lists(repeats, max_size=60)) for _ in range(n)]
    expected = reference.margins(lexicon, ids)
    np.testing.assert_allclose(expected, lexicon.margins(ids_of(ids)), rtol=0, atol=1e-5)
    assert n_tiers == len(expected)


@pytest.mark.parametrize("ids", [[1] * 100_000, [1, 2] * 50_000, list(range(N_IDS)) * 20_000])
def test_repetition_does_not_decide_by_its_number(lexicon: Lexicon, ids: list[int]) -> None:
    total = TABLE.astype(np.float64)[ids].sum(axis=0)
    assert np.abs(total[1:] / np.sqrt(total[0])).max() > 10 * MARGIN_LIMIT
    np.testing.assert_array_equal(MARGIN_LIMIT * np.sign(total[1:]), lexicon.margins(ids_of(ids)))
    assert reference.margins(lexicon, ids) == lexicon.margins(ids_of(ids))


def test_the_identity_names_its_columns(lexicon: Lexicon) -> None:
    assert (2, {"version": 1, "columns": 2}) == (lexicon.columns, lexicon.identity)


# The extractor's row


@pytest.fixture(scope="module")
def embedding(toy_embedding: Path) -> StaticEmbedding:
    return StaticEmbedding.load(toy_embedding)


PROMPTS: list[Any] = [
    "",
    "hello \ud800 please",
    "世界 🎉",
    "Prove that the sum of two odd numbers is even.",
    "word " * 3000,
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "List the planets."}],
]


@pytest.mark.parametrize("prompt", PROMPTS, ids=range(len(PROMPTS)))
def test_a_row_is_embedding_shape_and_lexicon(embedding: StaticEmbedding, prompt: Any) -> None:
    lexicon = Lexicon(draw_lexicon(embedding.n_ids))
    extractor = Extractor(embedding, lexicon)
    assert DIMENSION + len(FEATURE_NAMES) + 3 == extractor.width
    row = np.full(extractor.width, np.nan, np.float32)
    view = read_prompt(prompt)
    extractor.extract(view, row)
    to_unit(row[None, :DIMENSION])
    ids = ids_of(embedding.token_ids(view.text))
    parts = embedding.embed(view.text), reference.shape(view), lexicon.margins(ids)
    np.testing.assert_allclose(np.concatenate(parts), row, rtol=0, atol=1e-5)
    bare = Extractor(embedding)
    together = extractor.extract_many([prompt])
    np.testing.assert_array_equal(together[:, : bare.width], bare.extract_many([prompt]))
    np.testing.assert_allclose(row[None], together, rtol=0, atol=1e-5)


def test_the_identity_of_the_features_tells_whether_there_is_a_lexicon(embedding: StaticEmbedding) -> None:
    bare, worded = Extractor(embedding), Extractor(embedding, Lexicon(draw_lexicon(embedding.n_ids)))
    assert {**bare.identity, "lexicon": {"version": 1, "columns": 3}} == worded.identity
    assert bare.lexicon is None


# The file


def refuse(folder: Path, *words: str, n_ids: int = N_IDS) -> None:
    with pytest.raises(ArtifactError) as caught:
        Lexicon.load(folder, n_ids)
    assert [] == [w for w in (str(folder / LEXICON_FILE), "fit again", *words) if w not in str(caught.value)]


def test_what_is_saved_loads(folder: Path, lexicon: Lexicon) -> None:
    loaded = Lexicon.load(folder, N_IDS)
    assert lexicon.identity == loaded.identity
    assert lexicon.margins(ids_of([1, 2, 4])) == loaded.margins(ids_of([1, 2, 4]))
    assert not loaded._table.flags.writeable
    assert np.ndarray is type(loaded._table)  # a memory map's own indexing is slow


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda t: t[:-1], "(5, 3)"),
        (lambda t: np.vstack([t, t]), "(12, 3)"),
        (lambda t: t[:, :1], "(6, 1)"),
        (lambda t: t[:, 0], "(6,)"),
        (lambda t: t[:, :, None], "(6, 3, 1)"),
        (lambda t: t[0, 0], "()"),
        (lambda t: t.astype(np.float64), "float64"),
        (lambda t: t.astype(np.float16), "float16"),
        (lambda t: t.astype(np.int32), "int32"),
        (lambda t: t.astype(">f4"), ">f4"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(folder: Path, change: Any, found: str) -> None:
    np.save(folder / LEXICON_FILE, change(TABLE))
    refuse(folder, "expected float32 with 6 rows and two columns or more", found)


def test_a_table_for_other_tokens_is_refused(folder: Path) -> None:
    refuse(folder, "7 rows", n_ids=7)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    refuse(tmp_path, "cannot be read (FileNotFoundError)")
    refuse(tmp_path / "nowhere", "cannot be read (FileNotFoundError)")


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / LEXICON_FILE).mkdir()
    refuse(tmp_path, "cannot be read (IsADirectoryError)")


@pytest.mark.parametrize("content", [b"", b"\x00\xff garbage", b"{", b"null", b"\x93NUMPY"], ids=repr)
def test_garbage_is_refused(folder: Path, content: bytes) -> None:
    (folder / LEXICON_FILE).write_bytes(content)
    refuse(folder, "cannot be read")


def test_no_truncation_loads(folder: Path) -> None:
    content = (folder / LEXICON_FILE).read_bytes()
    for keep in range(len(content)):
        (folder / LEXICON_FILE).write_bytes(content[:keep])
        refuse(folder, "cannot be read")


def test_no_damage_to_the_header_escapes(folder: Path) -> None:
    """Whatever is written where the header was, the answer is a table or a sentence."""
    whole = (folder / LEXICON_FILE).read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        content = bytearray(whole)
        for place in rng.integers(0, 80, rng.integers(1, 4)):
            content[place] = rng.choice(np.frombuffer(b"\x00\xff'\"({[\\,:0\n\t#a", np.uint8))
        (folder / LEXICON_FILE).write_bytes(content)
        try:
            Lexicon.load(folder, N_IDS)
        except ArtifactError as error:
            assert "fit again" in str(error)  # noqa: PT017 - either end is fine
            refused += 1
    assert refused > 300


class _Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    (tmp_path / LEXICON_FILE).write_bytes(pickle.dumps(_Trap(sprung)))
    refuse(tmp_path)
    np.save(tmp_path / LEXICON_FILE, np.array([[_Trap(sprung)] * 3] * N_IDS, dtype=object), allow_pickle=True)
    refuse(tmp_path)
    assert not sprung.exists()


def test_an_archive_of_arrays_is_refused(folder: Path) -> None:
    with (folder / LEXICON_FILE).open("wb") as file:
        np.savez(file, TABLE)
    refuse(folder)


# What serving reads is what training learned


@pytest.fixture(scope="module")
def committed() -> StaticEmbedding:
    return StaticEmbedding.load(Path(__file__).resolve().parents[2] / "models" / "default")


def test_margins_are_those_of_the_words_member(committed: StaticEmbedding, tmp_path: Path) -> None:
    """On real text, through the file: what the member says without its bias."""
    from eval.design import Design, count_tokens
    from training.golden import GOLDEN_PROMPTS
    from training.synthetic import generate
    from training.words import Words

    drawn = generate(150, 5)["prompt"].dropna().unique().tolist()
    texts = [read_prompt(prompt).text for prompt in (*drawn, *GOLDEN_PROMPTS, *PROMPTS, "sum " * 800)]
    ids = [committed.token_ids(text) for text in texts]
    assert len(texts) > 100
    rng = np.random.default_rng(2)
    passed: NDArray[np.float32] = (rng.random((len(texts), 3)) < [0.4, 0.6, 0.8]).astype(np.float32)
    rows = Design(
        np.zeros((len(texts), 1), np.float32),
        1,
        np.array(texts, object),
        passed,
        np.zeros(len(texts), np.int8),
        count_tokens(ids, committed.n_ids),
    )
    words = Words.fit(rows, 0)
    np.save(tmp_path / LEXICON_FILE, words.lexicon)
    lexicon = Lexicon.load(tmp_path, committed.n_ids)
    found = np.stack([lexicon.margins(ids_of(row)) for row in ids])
    expected = words.margins(rows) - words.bias
    np.testing.assert_allclose(expected, found, rtol=1e-5, atol=1e-5)
    assert np.abs(expected).max() > 0.5
