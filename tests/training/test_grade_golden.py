"""What each kind of grader says of answers as models write them: response, reference, expected."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.grade.choices import Choice, find_choice
from training.grade.config import KINDS
from training.grade.grades import Grade, Row, Why
from training.grade.matching import Contains, Exact, Normalised, normalise
from training.grade.numeric import Number, find_number
from training.grade.options import build
from training.grade.patterns import Regex
from training.grade.shape import Language, Length
from training.grade.similarity import Similarity, rouge_l, token_f1
from training.grade.structure import Json, JsonSchema

ENGLISH = "The invoice has been paid, and the parcel leaves the warehouse on Monday morning."
GERMAN = "Die Rechnung ist bezahlt, und das Paket verlässt das Lager am Montagmorgen."


def row(response: str, reference: object = None, **cells: object) -> Row:
    return Row(0, "history.jsonl, line 1", {"reference": reference, **cells}, response)


def said(grade: Grade) -> float | Why | None:
    return grade.why if grade.score is None else grade.score


GOLDEN: list[tuple[Any, str, object, float | Why]] = [
    (Exact("g"), " Paris\n", "Paris", 1.0),
    (Exact("g"), "paris", "Paris", 0.0),
    (Exact("g"), "Paris", '["London", "Paris"]', 1.0),
    (Exact("g"), "Paris", ["London", "Paris"], 1.0),
    (Exact("g"), "[[1, 2]]", "[[1, 2]]", 1.0),
    (Exact("g"), "42", 42.0, 1.0),
    (Exact("g"), "Paris", None, Why.NO_REFERENCE),
    (Exact("g"), "Paris", "  ", Why.NO_REFERENCE),
    (Exact("g"), "Paris", "[]", Why.NO_REFERENCE),
    (Exact("g", after="Answer:"), "It lies in France.\nanswer: Paris\nAs said.", "Paris", 1.0),
    (Exact("g", after="Answer:"), "Answer:\n\n Paris", "Paris", 1.0),
    (Exact("g", after="Answer:"), "Paris", "Paris", 0.0),
    (Exact("g", strip=False), "Paris ", "Paris", 0.0),
    (Normalised("g"), "**The  Eiffel tower!**", "eiffel Tower", 1.0),
    (Normalised("g"), "Ｐａｒｉｓ", "paris", 1.0),
    (Normalised("g"), "It's state-of-the-art.", "its state of the art", 1.0),
    (Normalised("g"), "-5", "5", 0.0),
    (Normalised("g"), "−5", "-5", 1.0),
    (Normalised("g"), "1.5", "15", 0.0),
    (Normalised("g"), "1,5", "15", 0.0),
    (Normalised("g"), "50%", "50", 0.0),
    (Normalised("g"), "1/2", "12", 0.0),
    (Normalised("g"), "10:30", "1030", 0.0),
    (Normalised("g"), "C", "C#", 0.0),
    (Normalised("g"), "C++", "C", 0.0),
    (Normalised("g"), "The", "the", 1.0),
    (Normalised("g"), "?", "the", 0.0),
    (Normalised("g", articles=False), "the cat", "cat", 0.0),
    (Normalised("g"), "Paris", None, Why.NO_REFERENCE),
    (Number("g"), "The answer is 42.", "42", 1.0),
    (Number("g"), "It weighs **1,234.5** kg", "1234.5", 1.0),
    (Number("g"), "1.234,5", "1234.5", 1.0),
    (Number("g", decimal="point"), "1,5", "15", 0.0),
    (Number("g", decimal="comma"), "1.234", "1234", 1.0),
    (Number("g"), r"\boxed{\frac{3}{4}}", "0.75", 1.0),
    (Number("g"), "3/4", "0.75", 1.0),
    (Number("g"), "12%", "0.12", 1.0),
    (Number("g"), "12%", "12", 1.0),
    (Number("g", percent="strict"), "12%", "12", 0.0),
    (Number("g", percent="strict"), "12%", "0.12", 1.0),
    (Number("g"), "0.12", "12%", 1.0),
    (Number("g"), "−5 °C", "-5", 1.0),
    (Number("g"), "٤٢", "42", 1.0),
    (Number("g"), "3.1416", "3.14159", 0.0),
    (Number("g", relative=0.001), "3.1416", "3.14159", 1.0),
    (Number("g", absolute=1.0), "41", "42", 1.0),
    (Number("g", unit="km"), "It is 5 km in 20 minutes.", "5", 1.0),
    (Number("g", unit="km"), "It is 5 miles.", "5", 0.0),
    (Number("g", unit="km", off_format="null"), "It is 5 kmh.", "5", Why.OFF_FORMAT),
    (Number("g"), "no idea", "5", 0.0),
    (Number("g", off_format="null"), "no idea", "5", Why.OFF_FORMAT),
    (Number("g"), "5", "several", Why.BAD_REFERENCE),
    (Number("g"), "5", None, Why.NO_REFERENCE),
    (Number("g"), "5", float("nan"), Why.NO_REFERENCE),
    (Number("g"), "7", "[6, 7]", 1.0),
    (Choice("g"), "The answer is (B).", "B", 1.0),
    (Choice("g"), "The answer is (B).", "c", 0.0),
    (Choice("g"), "A is wrong, so B", "B", 1.0),
    (Choice("g"), "None of the above", "B", 0.0),
    (Choice("g", off_format="null"), "None of the above", "B", Why.OFF_FORMAT),
    (Choice("g"), "B", "neither", Why.BAD_REFERENCE),
    (Choice("g"), "B", None, Why.NO_REFERENCE),
    (Choice("g", letters=2), "E", "B", 0.0),
    (Regex("g", r"\d{4}-\d{2}"), "on 2026-01-31", None, 1.0),
    (Regex("g", r"\d{4}-\d{2}", fullmatch=True), "on 2026-01", None, 0.0),
    (Regex("g", r"\d{4}-\d{2}", fullmatch=True), " 2026-01\n", None, 1.0),
    (Regex("g", r"(a+)+$", timeout_s=0.05), "a" * 5000 + "b", None, Why.TIME_LIMIT),
    (Contains("g"), "It is Paris, France.", "paris", 1.0),
    (Contains("g"), "It is Paris.", "Rome", 0.0),
    (Contains("g"), "It is Paris.", None, Why.NO_REFERENCE),
    (Contains("g", all_of=("paris", "france")), "Paris", None, 0.0),
    (Contains("g", any_of=("paris", "france")), "Paris", None, 1.0),
    (Contains("g", none_of=("sorry",)), "Sorry, no.", None, 0.0),
    (Contains("g", any_of=("art",), whole_words=True), "a party", None, 0.0),
    (Contains("g", any_of=("PARIS",), ignore_case=False), "Paris", None, 0.0),
    (Json("g"), ' {"a": [1, null]} ', None, 1.0),
    (Json("g", type="object"), "[1]", None, 0.0),
    (Json("g"), '{"a": 1, "a": 2}', None, 0.0),
    (Json("g"), '{"a": NaN}', None, 0.0),
    (Json("g"), "[Infinity]", None, 0.0),
    (Json("g"), '{"a": 1} Hope this helps!', None, 0.0),
    (Json("g"), "{'a': 1}", None, 0.0),
    (Json("g"), '{"a": 1,}', None, 0.0),
    (Json("g"), '```json\n{"a": 1}\n```', None, 0.0),
    (Json("g", fenced=True), '```json\n{"a": 1}\n```', None, 1.0),
    (Json("g", fenced=True), 'Here:\n```json\n{"a": 1}\n```', None, 0.0),
    (Json("g", fenced=True), '```json\n{"a": 1}\n```\nHope this helps!', None, 0.0),
    (Json("g", fenced=True), '```json\n{"a": "~~~"}', None, 1.0),
    (Json("g"), "[" * 100_000 + "]" * 100_000, None, 0.0),
    (Json("g"), "9" * 10_000, None, 1.0),
    (Json("g"), "", None, 0.0),
    (JsonSchema("g", {"type": "object", "required": ["a"]}), '{"a": 1}', None, 1.0),
    (JsonSchema("g", {"type": "object", "required": ["a"]}), '{"b": 1}', None, 0.0),
    (JsonSchema("g", {"type": "object", "required": ["a"]}), "no", None, 0.0),
    (JsonSchema("g", {"pattern": "^(a+)+$"}), json.dumps("a" * 5000 + "b"), None, 0.0),
    (Length("g", max_words=3), "one two three", None, 1.0),
    (Length("g", max_words=2), "it's twenty-one", None, 1.0),
    (Length("g", min_sentences=2, max_sentences=2), "It costs 3.14 euros. That is all", None, 1.0),
    (Length("g", max_sentences=1), "一。二。", None, 0.0),
    (Length("g", max_sentences=1), "Dr. Smith eats fruit, e.g. apples.", None, 1.0),
    (Length("g", min_characters=3), " ab ", None, 0.0),
    (Language("g", "en"), ENGLISH, None, 1.0),
    (Language("g", "de"), ENGLISH, None, 0.0),
    (Language("g", "de"), GERMAN, None, 1.0),
    (Language("g", column="reference"), GERMAN, "de-CH", 1.0),
    (Language("g", column="reference"), GERMAN, '["fr", "de"]', 1.0),
    (Language("g", column="reference"), GERMAN, "klingon", Why.BAD_REFERENCE),
    (Language("g", column="reference"), GERMAN, None, Why.NO_REFERENCE),
    (Language("g", "en"), "42", None, Why.NOT_APPLICABLE),
    (
        Language("g", "en"),
        "```python\nprint('guten Tag, wie geht es Ihnen heute')\n```",
        None,
        Why.NOT_APPLICABLE,
    ),
    (Similarity("g"), "the cat sat", "the cat sat", 1.0),
    (Similarity("g"), "dog", "cat", 0.0),
    (Similarity("g", threshold=0.5), "the cat sat", "the cat ran", 1.0),
    (Similarity("g", measure="rouge_l"), "a b c d", "a c d e", 0.75),
    (Similarity("g", measure="cosine"), "cat", "cat ", 1.0),
    (Similarity("g"), "cat", None, Why.NO_REFERENCE),
]


@pytest.mark.parametrize(
    ("grader", "response", "reference", "expected"),
    GOLDEN,
    ids=[f"{type(each[0]).__name__}-{i}" for i, each in enumerate(GOLDEN)],
)
def test_golden(grader: Any, response: str, reference: object, expected: float | Why) -> None:
    assert expected == said(grader.grade(row(response, reference)))


CHOICES = [
    ("B", "B"),
    ("b", "B"),
    ("**B**", "B"),
    ("Ｂ", "B"),
    (r"so \boxed{\text{C}}", "C"),
    (r"The answer is $\boxed{\textbf{(D)}\ 12}$", "D"),
    ("Answer:\nD) Paris", "D"),
    ("A is wrong, B is right.", "B"),
    ("(A) is wrong; (B) is wrong; therefore (C) is right", "C"),
    ("I think the answer is A. Wait, no: the answer is B.", "B"),
    ("The answer is not A. It is B.", "B"),
    ("The answer is B and not A", "B"),
    ("It can't be A, and D is impossible. That leaves (B).", "B"),
    ("B) Paris\n\nA) is wrong because it is in Spain", "B"),
    ("A) x\nB) y\nC) z\nAnswer: C", "C"),
    ("My answer is C.\nExplanation: the answer cannot be A.", "C"),
    ("The correct option is A because it holds.", "A"),
    ("The answer is A since B fails.", "A"),
    ("The answer is A for two reasons: B and C are too small.", "A"),
    ("The answer is A large city.", None),
    ("答案是B", "B"),
    ("La réponse est B", "B"),
    ("A and B are both plausible.", None),
    ("The answer is A or B.", None),
    ("Answer: A, B", None),
    ("None of the above", None),
    ("A large city needs water.", None),
    ("The answer is a bit complicated.", None),
    ("C, not A", "C"),
    ("A, B, and D are incorrect. C.", "C"),
    ("We can rule out A and D. Between B and C, B is better.", "B"),
    ("I think the answer is A. Wait, actually it is C.", "C"),
    ("I'm torn between C and D, but I'd say D.", "D"),
    ("B\n\nExplanation: A is a distractor, and so is C. D fails.", "B"),
    ("A. x\nB. y\nC. z\n\n**B**", "B"),
    ('{"answer": "B", "confidence": 0.9}', "B"),
    ("The answer is not among A, B, C. It's D.", "D"),
    ("The answer is A. No, B.", "B"),
    ("No, A is wrong. Thus B.", "B"),
    ("(B) and (C)", None),
    ("Choose A or B", None),
    ("A/C", None),
    ("The answer is C (or D)", None),
    ("The answer is C or maybe D", None),
    ("After vitamin D and hepatitis B were checked, all was well.", None),
    ("A) x\nB) y\nC) z", None),
    ("", None),
]


@pytest.mark.parametrize(("response", "expected"), CHOICES)
def test_a_letter_out_of_prose(response: str, expected: str | None) -> None:
    assert expected == find_choice(response)


def test_an_option_given_by_its_text() -> None:
    grader, options = Choice("g", options="options"), '["Paris", "Rome", "None of the above"]'
    assert said(grader.grade(row("It is Rome.", "B", options=options))) == 1.0
    assert said(grader.grade(row("None of the above", "C", options=options))) == 1.0
    assert said(grader.grade(row("Paris, not Rome", "A", options=options))) == 0.0
    assert said(grader.grade(row("B", "Rome", options=options))) == 1.0
    assert said(grader.grade(row("D", "C", options=options))) == 0.0


NUMBERS = [
    ("1'234.50", 1234.5),
    ("1 234,5", 1234.5),
    ("1,234", 1234),
    ("1,5", 1.5),
    ("0,123", 0.123),
    ("1.234.567", 1234567),
    ("1,00,000", 100000),
    (r"\boxed{1{,}234}", 1234),
    ("-$5.20", -5.2),
    ("€1.234,50", 1234.5),
    ("1 1/2 cups", 1.5),
    ("½", 0.5),
    (r"-\frac{3}{4}", -0.75),
    (r"1.2 \times 10^{5}", 120000),
    (r"3.4 \times 10^{-1}", 0.34),
    ("1.2e3", 1200),
    ("3 million", 3e6),
    ("4２", 42),
    ("5-10", None),
    ("The answer is 10–20 km", None),
    ("The answer is between 40 and 45.", None),
    ("either 7 or 8", None),
    ("2024-01-05", None),
    ("The probability is 0.25 or 25%", 25),
    ("The area is 20 m²", 20),
    ("The area is 20 m^2.", 20),
    ("1.5 x 10³", 1500),
    ("3 * 10^-4", 0.0003),
    ("10^3", 1000),
    (r"\boxed{5^2}", 25),
    (r"with r = 1, \boxed{2\pi}", None),
    (r"\boxed{2\sqrt{3}}", None),
    ("1½ cups", 1.5),
    ("The answer is negative 5.", -5),
    ("The answer is minus 5.", -5),
    ("- 42", 42),
    ("$3M", 3e6),
    ("5 m", 5),
    ("The answer is seven.", 7),
    ("15 = 5 * 3", 15),
    ("8 = 5 + 3", 8),
    ("5 - 2", None),
    ("The answer is 16 ... wait, no, 17.", 17),
    ("The answer is 42 (see note No. 5)", 42),
    ("The total is $21 = 3 × $7", 21),
    ("The answer is 41. Actually, it's 42.", 42),
    ("Answer: 41\n\nCorrection: 42", 42),
    ("42\n\nThere are 6 boxes of 7 apples.", 42),
    ("42 (6 rows of 7)", 42),
    ("It is 42, since there are 6 boxes with 7 each.", 42),
    ("It's 42 rather than 41.", 42),
    ("It is 3.14 to 2 decimal places.", 3.14),
    ('{"answer": 42, "steps": 3}', 42),
    ("10 - 3 = 7", 7),
    ("1. add 2 and 3\n2. get 5", 5),
    ("Answer: 3 + 4 = 7 apples", 7),
    ("He has 3 apples.\n#### 1,200", 1200),
    ("The answer is 42. (See table 3.)", 42),
    ("The answer is not 3, it is 4", 4),
    (r"\boxed{42\text{ km}}", 42),
    ("version 1.2.3", None),
    ("1e999", None),
    ("3/0", None),
    ("H2O", None),
    ("", None),
]


@pytest.mark.parametrize(("response", "expected"), NUMBERS)
def test_a_number_out_of_prose(response: str, expected: float | None) -> None:
    found = find_number(response)
    assert expected == (None if found is None else found.value)


@given(st.integers(-(10**12), 10**12), st.integers(0, 99))
def test_a_number_is_read_in_every_dress(whole: int, cents: int) -> None:
    value = float(f"{whole}.{cents:02d}")
    for text in (
        f"{whole:,}.{cents:02d}",
        f"{whole:,}".replace(",", ".") + f",{cents:02d}",
        f"{whole:,}".replace(",", "\u202f") + f",{cents:02d}",
        f"**{whole}.{cents:02d}**",
        f"The answer is ${whole}.{cents:02d}$",
        rf"\boxed{{{whole}.{cents:02d}}}",
    ):
        found = find_number(text)
        assert found is not None
        assert found.value == value


@given(st.text())
def test_nothing_a_model_writes_raises(response: str) -> None:
    seen = row(response, "B", top="x")
    for grader in (
        Exact("g"),
        Normalised("g"),
        Contains("g"),
        Number("g", off_format="null"),
        Choice("g"),
        Json("g", fenced=True),
        JsonSchema("g", {"type": "array"}, fenced=True),
        Length("g", max_words=5),
        Similarity("g", measure="rouge_l"),
        Regex("g", "a"),
    ):
        grade = grader.grade(seen)
        assert (grade.score is None) is (grade.why is not None)


@given(st.text())
def test_normalising_twice_is_normalising_once(text: str) -> None:
    assert normalise(text) == normalise(normalise(text))


@given(st.lists(st.sampled_from("abc")), st.lists(st.sampled_from("abc")))
def test_similarities_are_symmetric_and_bounded(a: list[str], b: list[str]) -> None:
    for measure in (token_f1, rouge_l):
        assert measure(a, b) == measure(b, a)
        assert 0 <= measure(a, b) <= 1
        assert measure(a, a) == 1
    assert rouge_l(a, b) <= token_f1(a, b)


def test_a_longest_common_subsequence_is_that_of_the_table() -> None:
    a, b = (
        ["the", "cat", "sat", "on", "the", "mat", "today"],
        ["today", "the", "old", "cat", "lay", "on", "a", "mat"],
    )
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            table[i][j] = table[i - 1][j - 1] + 1 if x == y else max(table[i - 1][j], table[i][j - 1])
    assert rouge_l(a, b) == 2 * table[-1][-1] / (len(a) + len(b))


def test_long_answers_cost_no_more_than_their_length() -> None:
    texts = [
        "A is wrong, " * 20_000,
        "the answer is" * 20_000,
        "(A" * 50_000,
        "1/" * 50_000,
        r"\boxed{" * 20_000,
    ]
    for text in texts:  # what grew with the square would not come to an end here
        assert find_choice(text) in (None, *"ABCDEFGHIJ")
        assert find_number(text) is None or isinstance(find_number(text), tuple)


SCHEMA_CELLS: list[tuple[object, float | Why]] = [
    ('{"type": "object"}', 1.0),
    ({"type": "object"}, 1.0),
    ('{"type": "array"}', 0.0),
    (None, Why.NO_REFERENCE),
    ("no schema", Why.BAD_REFERENCE),
    ('{"type": "strin"}', Why.BAD_REFERENCE),
    ('{"$ref": "http://127.0.0.1:9/schema.json"}', Why.BAD_REFERENCE),
    ('{"$ref": "file:///etc/passwd"}', Why.BAD_REFERENCE),
    ("[1]", Why.BAD_REFERENCE),
]


@pytest.mark.parametrize(("cell", "expected"), SCHEMA_CELLS)
def test_a_schema_of_each_row(cell: object, expected: float | Why) -> None:
    grader = JsonSchema("g", column="schema")
    assert expected == said(grader.grade(row("{}", schema=cell)))


def test_the_golden_table_has_every_kind_but_those_with_tests_of_their_own() -> None:
    kinds = {KINDS[kind].partition(":")[2] for kind in KINDS} - {
        "Code",
        "Python",
        "SameAsTop",
        "Judge",
        "Pairwise",
    }
    assert kinds == {type(grader).__name__ for grader, *_ in GOLDEN}
    assert build(Number, {"name": "n", "relative": 1}, "g") == Number("n", relative=1.0)
