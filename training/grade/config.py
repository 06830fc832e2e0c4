"""The graders file: named graders, and rules that say which of them grade which rows.

The rule: what is wrong is refused before anything is graded, by a sentence that names the table, the key, what was
expected and what was found. Reads one file. The class of a kind is imported only where the file asks for the kind.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from math import isfinite
from pathlib import Path
from typing import Any

from router.errors import ConfigError
from training.grade.combine import MOST_JUDGES, Combine
from training.grade.options import build
from training.grade.references import cell_text
from training.pipeline.values import read_choice, read_text, reject_unknown, show

__all__ = ["KINDS", "Grading", "Rule", "is_judge", "read_grading"]

KINDS = {
    "exact": "training.grade.matching:Exact",
    "normalised": "training.grade.matching:Normalised",
    "choice": "training.grade.choices:Choice",
    "number": "training.grade.numeric:Number",
    "regex": "training.grade.patterns:Regex",
    "contains": "training.grade.matching:Contains",
    "json": "training.grade.structure:Json",
    "json_schema": "training.grade.structure:JsonSchema",
    "code": "training.grade.code:Code",
    "length": "training.grade.shape:Length",
    "language": "training.grade.shape:Language",
    "similarity": "training.grade.similarity:Similarity",
    "python": "training.grade.callables:Python",
    "same_as_top": "training.grade.consistency:SameAsTop",
    "judge": "training.grade.judges.config:Judge",
    "pairwise": "training.grade.judges.config:Pairwise",
}
"""The class of each kind of grader; its fields are the keys of its table."""


@dataclass(frozen=True)
class Rule:
    """Which rows some graders grade, and how their scores become one.

    Attributes
    ----------
    when : mapping of str to tuple of str
        Columns, and the values that match; a rule without any matches all rows.
    graders : tuple of str
        Names, in order.
    combine : Combine
        How.
    weights : tuple of float or None
        One for each grader, where `combine` is weighted.
    """

    when: Mapping[str, tuple[str, ...]]
    graders: tuple[str, ...]
    combine: Combine = Combine.ALL
    weights: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Grading:
    """A graders file: how errors name it, the graders that rules use by name, and the rules in order."""

    source: str
    graders: dict[str, Any]
    rules: tuple[Rule, ...]
    unused: tuple[str, ...] = ()

    def where(self, name: str) -> str:
        """Return how an error names a grader."""
        return f"{self.source}: grader {name}"


def is_judge(grader: object) -> bool:
    """Tell whether a grader asks a model."""
    return bool(getattr(grader, "judged", False))


def read_grading(path: Path) -> Grading:
    """Read a graders file.

    Raises
    ------
    ConfigError
        The file cannot be read, a key is unknown or missing, or a value is wrong; the message says where.
    """
    source = f"graders {path}"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{source}: cannot be read ({error.strerror}); check the path") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{source}: expected UTF-8, found another encoding at byte {error.start}; save it as UTF-8"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{source}: not valid TOML: {error}") from None
    reject_unknown(document, ("grader", "rule"), source)
    tables = _named(_tables(document, "grader", source), source)
    rules = tuple(
        _parse_rule(table, f"{source}: rule {i}", tables)
        for i, table in enumerate(_tables(document, "rule", source), 1)
    )
    graders = {name: _parse_grader(table, f"{source}: grader {name}") for name, table in tables.items()}
    used = {name for rule in rules for name in rule.graders}
    for i, rule in enumerate(rules, 1):
        judges = sum(is_judge(graders[name]) for name in rule.graders)
        if judges > MOST_JUDGES:
            raise ConfigError(f"{source}: rule {i}: at most {MOST_JUDGES} judges in one rule; found {judges}")
    return Grading(
        source,
        {name: grader for name, grader in graders.items() if name in used},
        rules,
        tuple(name for name in graders if name not in used),
    )


def _tables(document: Mapping[str, Any], key: str, source: str) -> list[dict[str, Any]]:
    tables = document.get(key)
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        found = "nothing" if tables is None else show(tables)
        raise ConfigError(f"{source}: expected at least one table [[{key}]]; found {found}")
    return tables


def _named(tables: Sequence[Mapping[str, Any]], source: str) -> dict[str, Mapping[str, Any]]:
    named: dict[str, Mapping[str, Any]] = {}
    for i, table in enumerate(tables, 1):
        if "name" not in table:
            raise ConfigError(f"{source}: grader {i}: name is missing; rules name graders by it")
        name = read_text(table["name"], f"{source}: grader {i}: name")
        if name in named:
            raise ConfigError(f"{source}: two graders are named {show(name)}; name each differently")
        named[name] = table
    return named


def _parse_grader(table: Mapping[str, Any], where: str) -> Any:  # noqa: ANN401 - a class of any kind
    if "kind" not in table:
        raise ConfigError(f"{where}: kind is missing; it is one of {', '.join(KINDS)}")
    kind = read_choice(table["kind"], f"{where}: kind", tuple(KINDS))
    module, _, name = KINDS[kind].partition(":")
    cls = getattr(import_module(module), name)
    return build(cls, {key: value for key, value in table.items() if key != "kind"}, where)


def _parse_rule(table: Mapping[str, Any], where: str, graders: Mapping[str, Any]) -> Rule:
    reject_unknown(table, ("when", "graders", "combine", "weights"), where)
    names = table.get("graders")
    if not isinstance(names, list) or not names:
        raise ConfigError(f"{where}: graders is a list of at least one name; found {show(names)}")
    for name in names:
        read_choice(name, f"{where}: graders", tuple(graders))
    if len(set(names)) < len(names):
        raise ConfigError(f"{where}: graders names each grader once; found {show(names)}")
    combine = Combine(read_choice(table.get("combine", "all"), f"{where}: combine", tuple(Combine)))
    weights = table.get("weights")
    if (weights is None) == (combine is Combine.WEIGHTED):
        found = "none" if weights is None else f"some with combine = {str(combine)!r}"
        raise ConfigError(f'{where}: weights go with combine = "weighted"; found {found}')
    return Rule(
        _parse_when(table.get("when", {}), f"{where}: when"),
        tuple(names),
        combine,
        None if weights is None else _parse_weights(weights, len(names), f"{where}: weights"),
    )


def _parse_when(value: object, where: str) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise ConfigError(f'{where} is a table such as {{ task = "math" }}; found {show(value)}')
    when = {}
    for column, wanted in value.items():
        values = wanted if isinstance(wanted, list) else [wanted]
        if not values or not all(isinstance(each, str | int | float) for each in values):
            raise ConfigError(f"{where}: {column} is a value or a list of values; found {show(wanted)}")
        when[column] = tuple(cell_text(each) for each in values)
    return when


def _parse_weights(value: object, n: int, where: str) -> tuple[float, ...]:
    numbers = isinstance(value, list) and all(
        isinstance(each, int | float) and not isinstance(each, bool) and isfinite(each) and each > 0
        for each in value
    )
    if not numbers or len(value) != n:  # type: ignore[arg-type]
        raise ConfigError(
            f"{where} is a list of {n} numbers above 0, one for each grader; found {show(value)}"
        )
    return tuple(map(float, value))  # type: ignore[call-overload]
