"""The ids of a text are the library's, for every character and whatever is remembered."""

# ruff: noqa: S106 - an unknown token is no password

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE, Unigram, WordLevel, WordPiece
from tokenizers.normalizers import BertNormalizer, Lowercase, Sequence
from tokenizers.pre_tokenizers import BertPreTokenizer, Whitespace

from router import wordpiece
from router.embedding import StaticEmbedding
from router.wordpiece import WordPieces

COMMITTED = Path(__file__).resolve().parents[2] / "models" / "default"

# What tokenizers treat in a way of its own, to be put together in any order, with and without spaces.
PIECES = [
    *("the", "ing", "Hello", "don't", "I.e.", "x", "Q", "42", "3.14", " ", "  ", "\n", "\t", "\r", "\x0b", "\x0c"),
    *("[PAD]", "[UNK]", "[pad]", "[UnK]", "[PAD", "PAD]", "[P\x00AD]", "[[UNK]]", "##", "##ing"),
    *("\x00", "\x1c", "\x1f", "\x7f", "\x80", "\x85", "\xa0", "\xad", "\u200b", "\u200d", "\u2028", "\u3000", "\ufeff"),
    *("\ufffd", "\ufffe", "\ud800", "\udc00", "\ud83d\ude00", "\U0010ffff", "\U000e0041", "\ue000"),
    *("İ", "ı", "ẞ", "ß", "Σ", "ς", "ΌΣΟΣ", "ﬁ", "é", "e\u0301", "\u0301", "=\u0338", "a\u0315\u0300", "\u212b", "\u0345"),
    *("한국어", "\u1100\u1161\u11a8", "世界", "北京", "\uf900", "\U0002f800", "。", "、", "？", "カタカナ", "が", "か\u3099"),
    *("сегодня", "ЁЖ", "й", "ру\u0301сский", "ж" * 40, "\u037e", "\u1fef", "\u0387", "—", "…", "“", "¿", "हिन्दी", "ไทย"),
    *("🙂", "👩‍👩‍👧", "❤\ufe0f", "\U0001f3fb", "a" * 33, "b" * 98, "z" * 101, "_", "`", "$", "^", "~", "|"),
]  # fmt: skip
SPACELESS = st.text(st.sampled_from([c for piece in PIECES for c in piece if not c.isspace()]), max_size=300)
TEXTS = st.one_of(
    st.text(st.characters()),  # every code point, lone surrogates too
    st.text(st.characters(categories=["Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp", "Mn", "Mc", "Me"])),
    st.text(st.characters(categories=["L", "M", "P", "S"]), max_size=200),
    st.lists(st.sampled_from(PIECES), max_size=40).map("".join),
    st.lists(st.sampled_from(PIECES), max_size=40).map(" ".join),
    SPACELESS,
    st.text("abcdefghijklmnopqrstuvwxyz THE 0123456789.,?!'", max_size=300),
)


@pytest.fixture(scope="module")
def toy(toy_embedding: Path) -> StaticEmbedding:
    return StaticEmbedding.load(toy_embedding)


@pytest.fixture(scope="module")
def committed() -> StaticEmbedding:
    return StaticEmbedding.load(COMMITTED)


@pytest.fixture(scope="module", params=["toy", "committed"])
def embedding(request: pytest.FixtureRequest) -> StaticEmbedding:
    found: StaticEmbedding = request.getfixturevalue(request.param)
    assert found._pieces is not None
    return found


def raw_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def is_same(embedding: StaticEmbedding, text: str) -> bool:
    """Whether a text has the library's ids, in any order."""
    return sorted(embedding.token_ids(text)) == sorted(embedding.ids(raw_of(text)).tolist())


def assert_same(embedding: StaticEmbedding, *texts: str) -> None:
    assert [] == [text for text in texts if not is_same(embedding, text)]


# The library's ids


@given(text=TEXTS)
@example(text="")
@example(text=" ".join(PIECES))
@example(text="".join(PIECES))
@example(text="\x85" * 40)
@example(text="\u3000" * 40)
@example(text="[UNK]" * 20 + "ж" * 40)
def test_ids_are_the_librarys(embedding: StaticEmbedding, text: str) -> None:
    expected, found = embedding.token_ids(text), embedding.ids(raw_of(text))
    assert (np.dtype(np.intp), 1) == (found.dtype, found.ndim)
    assert sorted(expected) == sorted(found.tolist())
    assert found.tolist() == embedding.ids(raw_of(text)).tolist()  # remembered now


@given(texts=st.lists(TEXTS, max_size=6))
@example(texts=[])
@example(texts=["", "hello", ""])
def test_many_are_one_by_one(embedding: StaticEmbedding, texts: list[str]) -> None:
    ids, lengths = embedding.ids_many([*map(raw_of, texts)])
    assert np.dtype(np.intp) == ids.dtype
    alone = [embedding.ids(raw_of(text)).tolist() for text in texts]
    assert [*map(len, alone)] == lengths
    assert [i for each in alone for i in each] == ids.tolist()


def test_every_pair_of_pieces(embedding: StaticEmbedding) -> None:
    assert_same(embedding, *(a + b for a in PIECES for b in PIECES))


def test_most_of_the_pieces_are_known_to_the_committed_one(committed: StaticEmbedding) -> None:
    """The texts above are no mere unknowns: there is something to be equal."""
    known = [piece for piece in PIECES if len(committed.ids(raw_of(piece)))]
    assert len(known) > len(PIECES) / 2


def in_words(chars: list[str]) -> str:
    """Each inside a word of ASCII, alone, and at the end of one, in a text that is mostly ASCII."""
    return " ".join(f"quite plain q{c}x {c} run{c}" for c in chars)


def after_cyrillic(chars: list[str]) -> str:
    """Each within a long word, in a text that is mostly of another script."""
    return "".join(f"{'ж' * 17}—q{c}x{c}" for c in chars)


def at_the_end_of_words(chars: list[str]) -> str:
    return " ".join(f"run{c}" for c in chars)


# Beyond these, all are private or were never assigned.
ASSIGNED = (range(0x32400), range(0xE0000, 0xE0200))
OTHERS_ALIKE = (range(0x32400, 0xE0000), range(0xE0200, 0x110000))


@pytest.mark.parametrize(
    ("put", "n", "ranges"),
    [(in_words, 32, ASSIGNED), (after_cyrillic, 8, ASSIGNED), (at_the_end_of_words, 32, OTHERS_ALIKE)],
    ids=["in words", "after Cyrillic", "the rest"],
)
def test_every_code_point(
    committed: StaticEmbedding, put: Callable[[list[str]], str], n: int, ranges: tuple[range, ...]
) -> None:
    different = []
    for start in (first for each in ranges for first in each[::n]):
        chars = [*map(chr, range(start, start + n))]
        if not is_same(committed, put(chars)):
            different += [hex(ord(c)) for c in chars if not is_same(committed, put([c]))] or [hex(start)]
    assert [] == different


@pytest.mark.parametrize(
    "letter", ["a", "ing", "ж", "é", "e\u0301", "世", "한", "🙂", "\ud800", "\u0301", "か\u3099", "İ", "9"]
)
def test_words_as_long_as_a_word_can_be(embedding: StaticEmbedding, letter: str) -> None:
    n = 100 // len(letter)
    for length in range(n - 1, n + 3):
        word = letter * length
        texts = [
            word,
            f"{word}a",
            f"a{word}",
            f"the {word} the",
            f"{word}.{word}",
            f"{word}世{word}",
            f"{word}\x85a",
        ]
        assert_same(embedding, *texts, *texts)


@pytest.mark.parametrize("n_chars", [99, 100, 101, 102])
def test_a_word_of_a_hundred_is_known_and_one_of_more_is_not(
    committed: StaticEmbedding, n_chars: int
) -> None:
    for letter in "aж":
        found = committed.ids(raw_of(letter * n_chars)).tolist()
        assert (n_chars <= 100) == bool(found)
        assert committed.token_ids(letter * n_chars) == found


@pytest.mark.parametrize("n_bytes", [11, 12, 13, 14, 22, 24, 26, 30, 31, 32, 33, 34, 36, 39])
def test_words_as_long_as_are_remembered(embedding: StaticEmbedding, n_bytes: int) -> None:
    for filler in ("a", "ж", "世", "é", "🙂", "\ud800", "—"):
        word = filler * (n_bytes // len(raw_of(filler)))
        word += "b" * (n_bytes - len(raw_of(word)))
        assert n_bytes == len(raw_of(word))
        texts = [word, word.upper(), f"{word} {word}", f"{word}!", f"x{word}", f"{word}—{word}"]
        assert_same(embedding, *texts, *texts)


def test_marks_on_a_letter_in_any_order(committed: StaticEmbedding) -> None:
    """A normalizer may put marks that follow one another in another order; each is read by itself here."""
    marks = [c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.combining(c)]
    normalize = Tokenizer.from_file(str(COMMITTED / "tokenizer.json")).normalizer.normalize_str
    kept = [c for c in marks if normalize(f"a{c}") != "a"]  # most are accents, and removed
    assert len(marks) > 800
    assert kept
    assert_same(committed, *(f"a{b}{c}" for b in kept for c in kept[:100]))
    assert_same(committed, *(f"a{b}{c} ж{c}{b}ж" for b in marks[::37] for c in kept + marks[::41]))


@given(
    st.lists(st.characters(), min_size=2, max_size=6).map("".join),
    st.sampled_from(["a", "ж", "世", "\u1100"]),
)
def test_a_character_is_read_alike_whatever_stands_beside_it(
    committed: StaticEmbedding, text: str, letter: str
) -> None:
    assert_same(
        committed,
        *(f"{letter * 9}{text}", f"{text}{letter}", letter.join(text), "run " * 9 + letter.join(text)),
    )


@pytest.mark.parametrize(
    "text", ["[UNK]", "a [UNK] b", "[UNK][PAD]", "\u0378", "the \u0378 the", "z" * 101, "\u0378" * 99]
)
def test_unknown_tokens_are_left_out(embedding: StaticEmbedding, text: str) -> None:
    assert embedding._unknown not in embedding.ids(raw_of(text))
    assert_same(embedding, text)


def test_ids_cannot_be_written(embedding: StaticEmbedding) -> None:
    """They may be what is remembered."""
    assert not embedding.ids(b"hello the hello").flags.writeable


# What is remembered


BOUNDS = (50, 20, 30)


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> StaticEmbedding:
    """The committed embedding, which remembers fifty words, twenty parts and thirty characters."""
    monkeypatch.setattr(wordpiece, "_MOST_OTHER_BYTES", 10**6)  # so that words are read among other scripts
    for name, most in zip(("_MOST_WORDS", "_MOST_PARTS", "_MOST_CHARACTERS"), BOUNDS, strict=True):
        monkeypatch.setattr(wordpiece, name, most)
    return StaticEmbedding.load(COMMITTED)


def remembered(embedding: StaticEmbedding) -> list[int]:
    """How many words, parts and characters are."""
    assert embedding._pieces is not None
    parts = embedding._pieces._parts
    return [len(embedding._pieces._words), len(parts), len(parts._characters)]


def endless(seed: int) -> Iterator[str]:
    """Texts of ever new words: of letters, of other scripts, of parts, and long ones."""
    rng = np.random.default_rng(seed)
    alphabets = ["abcdefgh", "абвгдежз", "abéüñ", "한국어가나다", "世界北京", "かきくけこ"]
    while True:
        words = []
        for alphabet in alphabets:
            word = "".join(rng.choice([*alphabet], int(rng.integers(1, 12))))
            words += [word, "—".join([word, word[::-1], word * 3, "жж" * 9])]
        yield " ".join([*words, "the", "end.", "z" * int(rng.integers(90, 110))])


def test_what_is_remembered_stays_within_its_bounds(forgetful: StaticEmbedding) -> None:
    most, forgotten = np.zeros(3), np.zeros(3)
    for _, text in zip(range(600), endless(0), strict=False):
        before = remembered(forgetful)
        assert is_same(forgetful, text), text
        assert is_same(forgetful, "in plain words: " * 30 + text), text
        most = np.maximum(most, remembered(forgetful))
        forgotten += np.less(remembered(forgetful), before)
    assert (most <= BOUNDS).all()
    assert forgotten.min() > 10  # often, and ids stayed right


@pytest.mark.parametrize("word", ["a" * 33, "ж" * 17, "é" * 500, "🙂" * 90])
def test_long_words_are_not_remembered(forgetful: StaticEmbedding, word: str) -> None:
    before = remembered(forgetful)[:2]
    for i in range(10, 30):
        assert_same(forgetful, f"{word}{i}", f"{i}{word}")
        assert before == remembered(forgetful)[:2]


@pytest.mark.parametrize("n_threads", [2, 4])
def test_threads_that_forget_at_once_get_the_right_ids(forgetful: StaticEmbedding, n_threads: int) -> None:
    texts = [[text for _, text in zip(range(150), endless(i % 3), strict=False)] for i in range(n_threads)]
    expected = [[sorted(forgetful.token_ids(text)) for text in each] for each in texts]

    def ask(i: int) -> list[list[int]]:
        return [sorted(forgetful.ids(raw_of(text)).tolist()) for text in texts[i]]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(n_threads) as pool:
            found = [*pool.map(ask, range(n_threads))]
    finally:
        sys.setswitchinterval(interval)
    assert expected == found
    # Each may pass the check before another has learned.
    assert (np.array(remembered(forgetful)) <= np.add(BOUNDS, n_threads)).all()


# Tokenizers of another form

VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "the",
    "The",
    "a",
    "A",
    "b",
    "##b",
    "##a",
    ".",
    ",",
    "é",
    "世",
    "##ing",
    "ж",
    "##ж",
]


def bert(change: Callable[[Tokenizer], object] = lambda _: None, **options: Any) -> Tokenizer:
    """A BERT tokenizer, with other options of its normalizer, then changed."""
    vocabulary = {token: i for i, token in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(**{"lowercase": True} | options)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]"])
    change(tokenizer)
    return tokenizer


def parted(model: Any) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = Whitespace()
    return tokenizer


def set_normalizer(value: Any) -> Callable[[Tokenizer], object]:
    return lambda tokenizer: setattr(tokenizer, "normalizer", value)


OTHERS: dict[str, Callable[[], Tokenizer]] = {
    "WordLevel": lambda: parted(WordLevel({"[UNK]": 0, "a": 1, "The": 2, "the": 3}, unk_token="[UNK]")),
    "BPE": lambda: parted(BPE({"a": 0, "b": 1, "ab": 2, "?": 3}, [("a", "b")], unk_token="?")),
    "Unigram": lambda: parted(Unigram([("?", 0.0), ("a", -1.0), ("b", -1.0), ("ab", -1.5)], unk_id=0)),
    "cased": lambda: bert(lowercase=False),
    "accents": lambda: bert(strip_accents=False),
    "controls": lambda: bert(clean_text=False),
    "ideographs": lambda: bert(handle_chinese_chars=False),
    "no normalizer": lambda: bert(set_normalizer(Sequence([]))),
    "lower letters alone": lambda: bert(set_normalizer(Lowercase())),
    "two normalizers": lambda: bert(set_normalizer(Sequence([BertNormalizer(lowercase=True), Lowercase()]))),
    "other words": lambda: bert(lambda t: setattr(t, "pre_tokenizer", Whitespace())),
    "truncation": lambda: bert(lambda t: t.enable_truncation(3)),
    "padding": lambda: bert(lambda t: t.enable_padding(length=12)),
    **{
        f"a token with {option}": lambda option=option: bert(  # type: ignore[misc]
            lambda t: t.add_special_tokens([AddedToken("<a>", **{option: True})])
        )
        for option in ("lstrip", "rstrip", "single_word", "normalized")
    },
    "a token of the vocabulary": lambda: bert(lambda t: t.add_tokens(["bab"])),  # normalised unless it says otherwise
}  # fmt: skip
OTHER_TEXTS = ["", "the a", "The A ab, aab.", "a" * 101, "é A\u0301 世a", "\x00a\x00b", "<A> <a>  a<a>b", "bab BAB xbabx", "\ud800a", "a [UNK] [PAD]"]  # fmt: skip


def embedding_of(tokenizer: Tokenizer) -> StaticEmbedding:
    n = 1 + max(tokenizer.get_vocab(with_added_tokens=True).values())
    return StaticEmbedding(np.ones((n, 2), np.int8), np.ones(n, np.float32), tokenizer, {})


@pytest.mark.parametrize("name", OTHERS)
def test_a_tokenizer_of_another_form_is_left_to_the_library(name: str) -> None:
    tokenizer = OTHERS[name]()
    embedding = embedding_of(tokenizer)
    assert WordPieces.of(tokenizer, embedding._unknown, embedding.token_ids) is None
    assert embedding._pieces is None
    expected = [embedding.token_ids(text) for text in OTHER_TEXTS]
    found = [embedding.ids(raw_of(text)) for text in OTHER_TEXTS]
    assert expected == [ids.tolist() for ids in found]
    assert {np.dtype(np.intp)} == {ids.dtype for ids in found}
    ids, lengths = embedding.ids_many([*map(raw_of, OTHER_TEXTS)])
    assert ([i for each in expected for i in each], [*map(len, expected)]) == (ids.tolist(), lengths)
    assert sum(lengths) > 3
    assert (0, []) == (len(embedding.ids_many([])[0]), embedding.ids_many([])[1])


ALIKE: dict[str, Callable[[], Tokenizer]] = {
    "plain": bert,
    "accents said": lambda: bert(strip_accents=True),
    "tokens found anywhere": lambda: bert(lambda t: t.add_special_tokens(["<|end|>", "a.b", "世界", "\u00e9", "a b"])),
    "no token anywhere": lambda: Tokenizer.from_str(json.dumps(json.loads(bert().to_str()) | {"added_tokens": []})),
}  # fmt: skip


@pytest.mark.parametrize("name", ALIKE)
def test_a_tokenizer_of_this_form_is_remembered(name: str) -> None:
    embedding = embedding_of(ALIKE[name]())
    assert embedding._pieces is not None
    texts = [
        "<|end|>",
        "a<|end|>b",
        "<|END|>",
        "xa.by",
        "a.B",
        "a b",
        "a  b",
        "世界",
        "世 界",
        "éa",
        "e\u0301a",
        "ab\x00ab",
    ]
    assert_same(embedding, *OTHER_TEXTS, *texts, " ".join(OTHER_TEXTS + texts), "".join(OTHER_TEXTS + texts))


def test_how_long_a_word_may_be_is_the_tokenizers_to_say() -> None:
    for most in (1, 2, 5, 31, 32, 33, 200):
        form = json.loads(bert().to_str())
        form["model"]["max_input_chars_per_word"] = most
        embedding = embedding_of(Tokenizer.from_str(json.dumps(form)))
        for n in (most - 1, most, most + 1):
            assert_same(embedding, "a" * n, "ж" * n, f"{'ж' * n}—{'a' * n} {'é' * n}", "the " + "ab" * n)


def test_a_tokenizer_whose_vocabulary_has_no_unknown() -> None:
    """All that it is asked must be known, then; the library refuses the rest."""
    from string import ascii_lowercase, punctuation

    pieces = [*punctuation, *ascii_lowercase, *(f"##{c}" for c in ascii_lowercase), "é", "世"]
    tokenizer = Tokenizer(WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(lowercase=True), BertPreTokenizer()
    embedding = embedding_of(tokenizer)
    assert (None, True) == (embedding._unknown, embedding._pieces is not None)
    assert_same(embedding, "", "Hello, world!", "a" * 100, "世a世", "[UNK]", "a-b_c")
    assert 5 == len(embedding.ids(b"[UNK]"))


@pytest.mark.parametrize(
    ("pieces", "added", "unknown", "text"),
    [
        (["unk", "u", "##n", "##k", "##i"], [], "unk", "unki"),  # an unknown token that is a word
        (
            ["[UNK]", "a", "<", "?", ">"],
            ["<?>"],
            "[UNK]",
            "a<\ud800>",
        ),  # a surrogate completes an added token
        (
            ["[UNK]", "a", "##\U0001d165\u302e", "##\u302e"],
            [],
            "[UNK]",
            "a\u302e\U0001d165",
        ),  # marks change places
    ],
)
def test_odd_vocabularies(pieces: list[str], added: list[str], unknown: str, text: str) -> None:
    tokenizer = Tokenizer(WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token=unknown))
    tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(lowercase=True), BertPreTokenizer()
    tokenizer.add_special_tokens(added)
    assert_same(embedding_of(tokenizer), text)


def test_special_tokens_among_words_of_any_script(committed: StaticEmbedding) -> None:
    words = ["the", "ж" * 100, "世界", "x" * 120, "[PAD", "한국어", "“quoted”"]
    assert_same(committed, *(f"[UNK]{a}[PAD] {b}[UNK][UNK]{a}" for a in words for b in words))
