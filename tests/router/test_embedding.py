"""The embedding is the tokenizer's ids without unknowns, a unit vector or zero, and refuses damaged files."""

# ruff: noqa: S106 - an unknown token is no password

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import BPE, Unigram, WordLevel
from tokenizers.pre_tokenizers import Whitespace

from router.embedding import EMBEDDING_FILES, StaticEmbedding
from router.errors import ArtifactError

TABLE, SCALE, TOKENIZER, IDENTITY = EMBEDDING_FILES
KNOWN = st.text("abcdefghijklmnop THE 0123456789.,?!", max_size=200)
TEXTS = st.one_of(st.text(st.characters(exclude_categories=["Cs"])), KNOWN)


@pytest.fixture(scope="module")
def embedding(toy_embedding: Path) -> StaticEmbedding:
    return StaticEmbedding.load(toy_embedding)


@pytest.fixture(scope="module")
def tokenizer(toy_embedding: Path) -> Tokenizer:
    return Tokenizer.from_file(str(toy_embedding / TOKENIZER))


@pytest.fixture
def damaged(toy_embedding: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_embedding, tmp_path / "damaged"))


@given(text=TEXTS)
@example(text="[UNK] hello [PAD]")
def test_ids_are_the_tokenizers_without_unknowns(
    embedding: StaticEmbedding, tokenizer: Tokenizer, text: str
) -> None:
    unknown = tokenizer.token_to_id("[UNK]")
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert [i for i in ids if i != unknown] == embedding.token_ids(text)


@given(text=TEXTS)
def test_vectors_are_the_normalised_mean(embedding: StaticEmbedding, toy_embedding: Path, text: str) -> None:
    ids = embedding.token_ids(text)
    rows = np.load(toy_embedding / TABLE)[ids] * np.load(toy_embedding / SCALE).astype(np.float64)[ids, None]
    mean = rows.mean(axis=0) if ids else np.zeros(embedding.dimension)
    norm = np.linalg.norm(mean)
    np.testing.assert_allclose(embedding.embed(text), mean / norm if norm else mean, atol=1e-5)


@given(text=st.one_of(st.text(st.characters()), KNOWN))
@example(text="")
@example(text="\x00")
@example(text="世界")
@example(text="\ud800")
def test_the_norm_is_one_or_zero(embedding: StaticEmbedding, text: str) -> None:
    vector = embedding.embed(text)
    assert (np.float32, (8,)) == (vector.dtype, vector.shape)
    expected = 1.0 if embedding.token_ids(text) else 0.0
    assert expected == pytest.approx(float(np.linalg.norm(vector)), abs=1e-5)


@pytest.mark.parametrize("text", ["", " \n\t", "世界", "[UNK]", "\x00\x01"])
def test_nothing_known_is_zero(embedding: StaticEmbedding, text: str) -> None:
    assert [] == embedding.token_ids(text)
    assert np.zeros(8, np.float32).tobytes() == embedding.embed(text).tobytes()


@given(text=st.text(st.characters(categories=["Cs", "Ll", "Po"]), max_size=60))
@example(text="hello \ud800 please")
@example(text="\udc80\ud800")
def test_a_lone_surrogate_reads_as_a_question_mark(embedding: StaticEmbedding, text: str) -> None:
    clean = "".join("?" if 0xD800 <= ord(char) <= 0xDFFF else char for char in text)
    assert embedding.token_ids(clean) == embedding.token_ids(text)


def test_many_are_one_by_one(embedding: StaticEmbedding) -> None:
    texts = ["hello", "", "Write code, please.", "\ud800", "a b c " * 500]
    found = embedding.embed_many(texts)
    assert np.stack([embedding.embed(text) for text in texts]).tobytes() == found.tobytes()
    assert (0, 8) == embedding.embed_many([]).shape


def test_the_table_cannot_be_written(embedding: StaticEmbedding) -> None:
    assert not embedding._table.flags.writeable


def test_each_tokenizer_names_its_unknown_in_its_own_way() -> None:
    table, scale = np.ones((3, 2), np.int8), np.ones(3, np.float32)
    models = [
        (WordLevel({"?": 0, "a": 1, "b": 2}, unk_token="?"), [1, 2]),
        (Unigram([("?", 0.0), ("a", -1.0), ("b", -1.0)], unk_id=0), [1, 2]),
        (Unigram([("a", -1.0), ("b", -1.0), ("c", -1.0)]), [0, 1]),
        (BPE({"a": 0, "b": 1, "?": 2}, [], unk_token="?"), [0, 1]),
        (BPE({"a": 0, "b": 1, "c": 2}, []), [0, 1]),
    ]
    for model, expected in models:
        tokenizer = Tokenizer(model)
        tokenizer.pre_tokenizer = Whitespace()
        text = "a b" if model.__class__ is Unigram and expected == [0, 1] else "a zz b"
        found = StaticEmbedding(table, scale, tokenizer, {}).token_ids(text)
        assert expected == found, model


def test_the_toy_loads(toy_embedding: Path, embedding: StaticEmbedding) -> None:
    assert json.loads((toy_embedding / IDENTITY).read_text()) == embedding.identity
    assert 8 == embedding.dimension


def refuse(folder: Path, *words: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        StaticEmbedding.load(folder)
    message = str(caught.value)
    for word in (str(folder), "distil or copy it again", *words):
        assert word in message


@pytest.mark.parametrize("name", EMBEDDING_FILES)
def test_a_missing_file_is_named(damaged: Path, name: str) -> None:
    (damaged / name).unlink()
    refuse(damaged, name, "not found")


def test_a_missing_folder_names_every_file(tmp_path: Path) -> None:
    refuse(tmp_path / "nowhere", *EMBEDDING_FILES)


@pytest.mark.parametrize("name", EMBEDDING_FILES)
@pytest.mark.parametrize("content", [b"", b"\x00\xff garbage", b"{", b"null"], ids=repr)
def test_garbage_is_refused(damaged: Path, name: str, content: bytes) -> None:
    (damaged / name).write_bytes(content)
    refuse(damaged)


@pytest.mark.parametrize("name", EMBEDDING_FILES)
@pytest.mark.parametrize("keep", [0.25, 0.9])
def test_a_truncated_file_is_refused(damaged: Path, name: str, keep: float) -> None:
    whole = (damaged / name).read_bytes()
    (damaged / name).write_bytes(whole[: int(len(whole) * keep)])
    refuse(damaged)


@pytest.mark.parametrize("name", [TABLE, SCALE])
def test_a_pickle_is_never_opened(damaged: Path, name: str, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    (damaged / name).write_bytes(pickle.dumps(Trap()))
    refuse(damaged)
    np.save(damaged / name, np.array([Trap()], dtype=object), allow_pickle=True)
    refuse(damaged)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", [TABLE, SCALE])
def test_an_archive_of_arrays_is_refused(damaged: Path, name: str) -> None:
    with (damaged / name).open("wb") as file:
        np.savez(file, np.zeros(3))
    refuse(damaged)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (TABLE, lambda table: table.astype(np.int16)),
        (TABLE, lambda table: table.astype(np.float32)),
        (TABLE, lambda table: table[:-1]),
        (TABLE, lambda table: table[0]),
        (TABLE, lambda table: table[:, :, None]),
        (TABLE, lambda table: np.concatenate([table, table])),
        (SCALE, lambda scale: scale.astype(np.float64)),
        (SCALE, lambda scale: scale[:-1]),
        (SCALE, lambda scale: scale[:, None]),
    ],
)
def test_arrays_that_do_not_fit_are_refused(damaged: Path, name: str, change: Any) -> None:
    np.save(damaged / name, change(np.load(damaged / name)))
    refuse(damaged, "expected an int8 table", "found")


def test_a_table_with_fewer_rows_than_tokens_is_refused(damaged: Path) -> None:
    for name in (TABLE, SCALE):
        np.save(damaged / name, np.load(damaged / name)[:-1])
    refuse(damaged, "a row for each token")


def test_a_token_beyond_the_table_is_refused(damaged: Path) -> None:
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0, "far": 9999}, unk_token="[UNK]"))
    tokenizer.save(str(damaged / TOKENIZER))
    refuse(damaged, "10000 token ids")


@pytest.mark.parametrize("content", ["[]", '"name"', "3"])
def test_an_identity_that_is_no_object_is_refused(damaged: Path, content: str) -> None:
    (damaged / IDENTITY).write_text(content)
    refuse(damaged, "JSON object")
