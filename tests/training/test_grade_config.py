"""A graders file is right, or refused by a sentence that says where, what was expected and what was found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from router.errors import ConfigError
from training.grade.combine import Combine
from training.grade.config import read_grading
from training.grade.numeric import Number

GRADER = '[[grader]]\nname = "answer"\nkind = "number"\n'
RULE = '[[rule]]\ngraders = ["answer"]\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "graders.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_becomes_graders_and_rules(tmp_path: Path) -> None:
    spare = GRADER.replace("answer", "spare")
    rule = '[[rule]]\nwhen = { task = ["math", "sums"], level = 3 }\ngraders = ["answer"]\ncombine = "any"\n'
    grading = read_grading(write(tmp_path, GRADER + "relative = 0.01\n" + spare + rule + RULE))
    assert grading.graders == {"answer": Number("answer", relative=0.01)}
    assert grading.unused == ("spare",)
    assert grading.rules[0].when == {"task": ("math", "sums"), "level": ("3",)}
    assert [rule.combine for rule in grading.rules] == [Combine.ANY, Combine.ALL]


WRONG = [
    ("", "expected at least one table [[grader]]; found nothing"),
    (GRADER, "expected at least one table [[rule]]; found nothing"),
    (RULE, "expected at least one table [[grader]]"),
    ("x = [", "not valid TOML"),
    ("[grader]\nname = 1\n" + RULE, "at least one table [[grader]]"),
    (GRADER + RULE + "[[grader2]]\n", "unknown key 'grader2' (did you mean grader?)"),
    ('[[grader]]\nkind = "number"\n' + RULE, "grader 1: name is missing"),
    (GRADER.replace("number", "numbr") + RULE, "kind is one of exact,"),
    (GRADER.replace("number", "numbr") + RULE, "'numbr' (did you mean number?)"),
    ('[[grader]]\nname = "answer"\n' + RULE, "grader answer: kind is missing"),
    (GRADER + GRADER + RULE, "two graders are named 'answer'"),
    (GRADER + "relativ = 1\n" + RULE, "unknown key 'relativ' (did you mean relative?)"),
    (GRADER + 'relative = "1"\n' + RULE, "grader answer: relative is a number; found '1'"),
    (GRADER + "relative = true\n" + RULE, "relative is a number; found True"),
    (GRADER + "relative = nan\n" + RULE, "relative is a number; found nan"),
    (GRADER + "relative = -1\n" + RULE, "relative and absolute are 0 or more; found -1"),
    (GRADER + 'off_format = "nul"\n' + RULE, "'nul' (did you mean null?)"),
    (GRADER + "reference = 3\n" + RULE, "reference is text; found 3"),
    (GRADER + "[[rule]]\n", "rule 1: graders is a list of at least one name; found None"),
    (GRADER + '[[rule]]\ngraders = ["anwser"]\n', "'anwser' (did you mean answer?)"),
    (GRADER + '[[rule]]\ngraders = ["answer", "answer"]\n', "names each grader once"),
    (GRADER + RULE + 'combine = "al"\n', "combine is one of all, any, mean, weighted, first, majority"),
    (GRADER + RULE + 'combine = "weighted"\n', "weights go with combine"),
    (GRADER + RULE + "weights = [1]\n", "weights go with combine"),
    (GRADER + RULE + 'combine = "weighted"\nweights = [1, 2]\n', "a list of 1 numbers above 0"),
    (GRADER + RULE + 'combine = "weighted"\nweights = [0]\n', "a list of 1 numbers above 0"),
    (GRADER + RULE + "when = 3\n", "when is a table"),
    (GRADER + RULE + "when = { task = [] }\n", "task is a value or a list of values"),
    (GRADER + RULE + "wen = { }\n", "unknown key 'wen' (did you mean when?)"),
    ('[[grader]]\nname = "answer"\nkind = "regex"\n' + RULE, "pattern is missing"),
    (
        '[[grader]]\nname = "answer"\nkind = "regex"\npattern = "(a"\n' + RULE,
        "pattern is no regular expression",
    ),
    ('[[grader]]\nname = "answer"\nkind = "length"\n' + RULE, "expected at least one of min_characters"),
    (
        '[[grader]]\nname = "answer"\nkind = "length"\nmin_words = 5\nmax_words = 2\n' + RULE,
        "max_words is 5 or more",
    ),
    (
        '[[grader]]\nname = "answer"\nkind = "json_schema"\n' + RULE,
        "expected one of schema and column; found none",
    ),
    (
        '[[grader]]\nname = "answer"\nkind = "json_schema"\nschema = { "$ref" = "http://127.0.0.1:9/x" }\n'
        + RULE,
        "references stay within it",
    ),
    (
        '[[grader]]\nname = "answer"\nkind = "json_schema"\nschema = { type = "strin" }\n' + RULE,
        "schema cannot be used",
    ),
    ('[[grader]]\nname = "answer"\nkind = "language"\nlanguage = "xx"\n' + RULE, "language is one of"),
    (
        '[[grader]]\nname = "answer"\nkind = "python"\nfunction = "json:dmups"\n' + RULE,
        "that can be imported",
    ),
    (
        '[[grader]]\nname = "answer"\nkind = "python"\nfunction = "no_such_module:f"\n' + RULE,
        "ModuleNotFoundError",
    ),
    (
        '[[grader]]\nname = "answer"\nkind = "python"\nfunction = "json:__doc__"\n' + RULE,
        "function is a function; found a str",
    ),
    (
        '[[grader]]\nname = "answer"\nkind = "similarity"\nthreshold = 2\n' + RULE,
        "threshold is above 0 and at most 1",
    ),
    ('[[grader]]\nname = "answer"\nkind = "code"\ncpu_s = 0\n' + RULE, "cpu_s is above 0"),
    ('[[grader]]\nname = "answer"\nkind = "choice"\nletters = 11\n' + RULE, "letters is from 2 to 10"),
    ('[[grader]]\nname = "answer"\nkind = "same_as_top"\n' + RULE, "by is missing"),
    (
        '[[grader]]\nname = "answer"\nkind = "contains"\nany_of = []\n' + RULE,
        "any_of is a list of at least one",
    ),
]


@pytest.mark.parametrize(("text", "expected"), WRONG)
def test_what_is_wrong_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=re.escape(expected)) as caught:
        read_grading(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_not_utf8(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_grading(tmp_path / "none.toml")
    path = tmp_path / "latin.toml"
    path.write_bytes('[[grader]]\nname = "é"\n'.encode("latin-1"))
    with pytest.raises(ConfigError, match="expected UTF-8"):
        read_grading(path)
