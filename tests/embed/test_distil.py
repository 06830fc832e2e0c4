"""Distils a tiny encoder made on the spot, offline, and reads the result back as serving does."""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from router.embedding import EMBEDDING_FILES, StaticEmbedding
from router.errors import ArtifactError, ConfigError
from training import distil as distilling
from training.distil import add_arguments, distil, quantise, run

pytestmark = pytest.mark.embed

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
HIDDEN = 32
DIMENSION = 16
WORDS = [f"{a}{b}{c}" for a in "bdfklm" for b in "aeiou" for c in "nrst"]  # 120
LETTERS = list("abcdefghijklmnopqrstuvwxyz")
# Unused tokens between the others: model2vec drops them, so ids move and a wrong row would show.
VOCABULARY = [
    "[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused2]",
    *LETTERS, "[unused3]", *(f"##{letter}" for letter in LETTERS), "[unused4]", *WORDS,
]  # fmt: skip
TEXTS = [
    "ban",
    "Ban der kis",
    "ban, kissing 42!",
    "mus lot",
    "a b c",
    "zzz ban [SEP] [CLS] fat",
    "ban " * 700,
]

READ_BARE = """
import json, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "transformers", "model2vec", "sentence_transformers", "router"}:
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocked())
try:
    import torch
except ImportError:
    pass
else:
    raise SystemExit("the block does not work")
import numpy as np
from tokenizers import Tokenizer
folder, texts = sys.argv[1], json.loads(sys.argv[2])
table = np.load(f"{folder}/embedding.int8.npy", mmap_mode="r", allow_pickle=False)
scale = np.load(f"{folder}/embedding.scale.npy", allow_pickle=False)
tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
unknown = tokenizer.token_to_id("[UNK]")
vectors = []
for text in texts:
    ids = [i for i in tokenizer.encode(text, add_special_tokens=False).ids if i != unknown]
    mean = (table[ids] * scale[ids, None]).mean(axis=0)
    vectors.append((mean / np.linalg.norm(mean)).tolist())
print(json.dumps(vectors))
"""


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # the variable is read once, at import


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence-transformers model: one random layer, a tokenizer saved with truncation and padding."""
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    ids = {token: i for i, token in enumerate(VOCABULARY)}
    backend = Tokenizer(models.WordPiece(ids, unk_token=VOCABULARY[3]))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(token, ids[token]) for token in ("[CLS]", "[SEP]")]
    )
    backend.add_special_tokens(list(SPECIAL))
    backend.enable_truncation(8)
    backend.enable_padding(length=8, pad_id=ids["[PAD]"])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        **{f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")},
    )
    torch.manual_seed(5)
    model = BertModel(
        BertConfig(
            vocab_size=len(VOCABULARY),
            hidden_size=HIDDEN,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=32,
            initializer_range=0.5,
            pad_token_id=ids["[PAD]"],
        )
    )
    root = tmp_path_factory.mktemp("teacher")
    model.save_pretrained(root / "bert")
    tokenizer.save_pretrained(root / "bert")
    SentenceTransformer(str(root / "bert"), device="cpu").save(
        str(root / "tiny-encoder")
    )  # adds mean pooling
    return root / "tiny-encoder"


@pytest.fixture(scope="module")
def distilled(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("distilled") / "embedding"
    return out, distil(teacher, out, DIMENSION)


@pytest.fixture
def folder(distilled: tuple[Path, dict[str, Any]]) -> Path:
    return distilled[0]


def read(folder: Path) -> tuple[np.ndarray, np.ndarray, Tokenizer, dict[str, Any]]:
    return (
        np.load(folder / "embedding.int8.npy", mmap_mode="r", allow_pickle=False),
        np.load(folder / "embedding.scale.npy", allow_pickle=False),
        Tokenizer.from_file(str(folder / "tokenizer.json")),
        json.loads((folder / "embedding.json").read_text(encoding="utf-8")),
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def float_rows(teacher: Path, dimension: int) -> np.ndarray:
    """What model2vec gives by itself, before any rounding."""
    from model2vec.distill import distill

    return np.asarray(
        distill(str(teacher), device="cpu", pca_dims=dimension, quantize_to="float32").embedding
    )


def test_the_folder_is_the_four_files_in_the_stated_form(distilled: tuple[Path, dict[str, Any]]) -> None:
    folder, report = distilled
    table, scale, tokenizer, identity = read(folder)
    kept = [token for token in VOCABULARY if not token.startswith("[unused")]
    expected = {token for token in kept if token not in {"[CLS]", "[SEP]", "[MASK]"}}
    assert {path.name for path in folder.iterdir()} == set(EMBEDDING_FILES)
    assert set(tokenizer.get_vocab(with_added_tokens=True)) == expected
    assert (table.dtype, table.shape) == (np.int8, (len(expected), DIMENSION))
    assert (scale.dtype, scale.shape) == (np.float32, (len(expected),))
    assert isinstance(table, np.memmap)
    assert table.flags.c_contiguous
    assert (report["vocabulary"], report["dimension"]) == table.shape
    assert report["bytes"] == {name: len(data) for name, data in contents(folder).items()}
    assert report["cosine"]["texts"] > 1000
    assert 0.99 < report["cosine"]["min"] <= report["cosine"]["mean"] <= 1.0
    assert list(identity) == [
        "format", "teacher", "method", "method_version", "dimension", "vocabulary", "licence", "sha256",
    ]  # fmt: skip


def test_the_identity_names_content_and_no_machine(folder: Path, teacher: Path) -> None:
    import model2vec

    identity = read(folder)[3]
    assert identity == {
        "format": 1,
        "teacher": "tiny-encoder",
        "method": "model2vec",
        "method_version": model2vec.__version__,
        "dimension": DIMENSION,
        "vocabulary": len(read(folder)[0]),
        "licence": "unknown",
        "sha256": {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in EMBEDDING_FILES[:3]
        },
    }
    for data in contents(folder).values():
        assert str(teacher.parent).encode() not in data


def test_rows_are_the_float_rows(folder: Path, teacher: Path) -> None:
    table, scale, *_ = read(folder)
    exact = float_rows(teacher, DIMENSION)
    close = table * scale[:, None]
    norms = np.linalg.norm(exact, axis=1) * np.linalg.norm(close, axis=1)
    assert np.all((exact * close).sum(axis=1) / norms > 0.999)
    assert np.all(np.abs(exact - close) <= 0.501 * scale[:, None])  # rounding is at most half a step off


def test_a_row_is_what_the_teacher_says_of_its_token(teacher: Path, tmp_path: Path) -> None:
    """With all dimensions kept, PCA only moves and turns: distances between rows are the teacher's.

    Row i carries a SIF weight, a / (a + p_i) with p_i by rank, which is divided out again.
    """
    import torch
    from transformers import BertModel

    distil(teacher, tmp_path / "whole", HIDDEN)
    table, scale, tokenizer, _ = read(tmp_path / "whole")
    proba = 1 / np.arange(2, len(table) + 2)
    proba /= proba.sum()
    rows = table * scale[:, None] / (1e-4 / (1e-4 + proba))[:, None]
    tokens = [tokenizer.id_to_token(i) for i in range(len(rows))]
    cls, sep = VOCABULARY.index("[CLS]"), VOCABULARY.index("[SEP]")
    model = BertModel.from_pretrained(teacher, local_files_only=True).eval()
    with torch.inference_mode():
        inputs = torch.tensor([[cls, VOCABULARY.index(token), sep] for token in tokens])
        said = model(inputs).last_hidden_state.mean(dim=1).numpy()

    def distances(x: np.ndarray) -> np.ndarray:
        return np.linalg.norm(x[:, None] - x[None], axis=2)

    expected = distances(said)
    step = float(np.abs(rows).max() / 127)
    np.testing.assert_allclose(distances(rows), expected, atol=step * np.sqrt(HIDDEN))
    shifted = distances(np.roll(rows, 1, axis=0))  # the same test fails on rows one place off
    assert np.abs(shifted - expected).max() > 5 * step * np.sqrt(HIDDEN)


def test_the_tokenizer_neither_truncates_nor_pads_nor_adds(folder: Path, teacher: Path) -> None:
    saved = Tokenizer.from_file(str(teacher / "tokenizer.json"))
    assert saved.truncation is not None  # the teacher's file carries it, so the test can fail
    tokenizer = read(folder)[2]
    assert tokenizer.truncation is None
    assert tokenizer.padding is None
    ids = tokenizer.encode("ban " * 1000, add_special_tokens=False).ids
    assert ids == [tokenizer.token_to_id("ban")] * 1000
    assert tokenizer.encode("ban", add_special_tokens=True).tokens == ["ban"]
    assert [e.tokens for e in tokenizer.encode_batch(["ban", "der kis"])] == [["ban"], ["der", "kis"]]


def test_serving_and_bare_numpy_agree(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", READ_BARE, str(folder), json.dumps(TEXTS)],
        capture_output=True,
        text=True,
        check=False,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )
    assert done.returncode == 0, done.stderr
    served = StaticEmbedding.load(folder).embed_many(TEXTS)
    np.testing.assert_allclose(served, json.loads(done.stdout), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(served, axis=1), 1, atol=1e-5)


def test_unknown_and_empty_texts_are_the_zero_vector(folder: Path) -> None:
    embedding = StaticEmbedding.load(folder)
    for text in ("", " ", "42 !?", "漢字", "[UNK]"):
        assert not embedding.embed(text).any()


def test_a_second_run_gives_the_same_bytes_and_replaces_the_first(teacher: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "embedding"
    distil(teacher, out, DIMENSION)
    first = contents(out)
    inode = out.stat().st_ino
    distil(teacher, out, DIMENSION)
    assert contents(out) == first
    assert out.stat().st_ino != inode
    assert list(out.parent.iterdir()) == [out]
    distil(teacher, out, DIMENSION - 1, name="owner/other", licence="MIT")
    table, _, _, identity = read(out)
    assert table.shape[1] == DIMENSION - 1
    assert (identity["teacher"], identity["licence"]) == ("owner/other", "MIT")


def test_the_command_is_the_function(teacher: Path, folder: Path, tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    out = tmp_path / "embedding"
    report = run(
        parser.parse_args(["--teacher", str(teacher), "--out", str(out), "--dimension", str(DIMENSION)])
    )
    assert json.loads(json.dumps(report)) == report
    assert contents(out) == contents(folder)
    assert parser.parse_args(["--out", "x"]).teacher == "sentence-transformers/all-MiniLM-L6-v2"


@pytest.mark.parametrize(
    "names", [["notes.txt"], ["tokenizer.json"], [*EMBEDDING_FILES, "manifest.json"]], ids=lambda n: n[-1]
)
def test_a_folder_with_something_else_is_refused(names: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in names:
        (out / name).write_text("mine")
    before = contents(out)
    with pytest.raises(ConfigError, match="not an embedding folder"):
        distil("never/loaded", out)
    assert contents(out) == before
    assert list(tmp_path.iterdir()) == [out]


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ConfigError, match="not an embedding folder"):
        distil("never/loaded", tmp_path / "out")
    with pytest.raises(ConfigError, match="parent cannot be written"):
        distil("never/loaded", tmp_path / "out" / "below")
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("name", ["no-such-encoder", "owner/no-such-encoder", "./no/such", "/no/such"])
def test_an_unknown_teacher_says_what_was_tried(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        distil(name, tmp_path / "out")
    message = str(caught.value)
    assert message.startswith(f"teacher {name}: ")
    assert f"tried the folder {Path(name).resolve()}" in message
    assert ("HF_HUB_OFFLINE" in message) == (not name.startswith((".", "/")))
    assert "\n" not in message
    assert not list(tmp_path.iterdir())


def test_a_folder_without_a_model_or_with_half_a_model_is_refused(teacher: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="tried the folder"):
        distil(tmp_path / "empty", tmp_path / "out")
    half = tmp_path / "half"
    half.mkdir()
    for name, data in ((p.name, p.read_bytes()) for p in teacher.iterdir() if p.is_file()):
        (half / name).write_bytes(data)
    tensors = load_file(half / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if "attention" not in name}
    assert len(kept) < len(tensors)
    save_file(kept, half / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match="the weights lack"):
        distil(half, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("dimension", "message"), [(0, "1 or more"), (HIDDEN + 1, f"at most {HIDDEN}")])
def test_an_impossible_dimension_is_refused(
    dimension: int, message: str, teacher: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        distil(teacher, tmp_path / "out", dimension)
    assert not list(tmp_path.iterdir())


def test_a_failed_check_replaces_nothing_and_leaves_nothing(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    distil(teacher, out, DIMENSION)
    before = contents(out)
    monkeypatch.setattr(distilling, "LEAST_COSINE", 1.1)
    with pytest.raises(ArtifactError, match="nothing was replaced"):
        distil(teacher, out, DIMENSION - 1)
    assert contents(out) == before
    assert list(tmp_path.iterdir()) == [out]


def test_a_failed_rename_puts_the_old_folder_back(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "embedding.json").write_text("old")
    with pytest.raises(FileNotFoundError):
        distilling._publish(tmp_path / "never-written", out, tmp_path / "old")
    assert contents(out) == {"embedding.json": b"old"}
    assert list(tmp_path.iterdir()) == [out]


def test_a_missing_extra_names_the_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "model2vec", None)
    with pytest.raises(ConfigError, match=r"pip install 'tierwise\[embed\]'"):
        distil("never/loaded", tmp_path / "out")


def test_quantise_survives_zero_and_tiny_rows() -> None:
    rows = np.array([[0, 0, 0], [1, -2, 0.5], [1e-44, 0, -1e-44], [3e38, -3e38, 0]], np.float32)
    table, scale = quantise(rows)
    np.testing.assert_array_equal(table[:2], [[0, 0, 0], [64, -127, 32]])
    assert np.all(np.abs(table.astype(int)) <= 127)
    assert scale[0] == 1
    assert np.all(scale > 0)
    np.testing.assert_allclose(table[[1, 3]] * scale[[1, 3], None], rows[[1, 3]], rtol=0.02)
