"""What a caller may ask for: one schema for Python, HTTP, the command line and TOML.

Pure, except that `read_policy` reads one TOML file. What each field means is said once, at the field; the commands' help
and the OpenAPI document take it from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from math import isfinite
from numbers import Real
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from router.errors import ConfigError, RequestError

__all__ = [
    "ASKS",
    "OBJECTIVES",
    "PRESETS",
    "Asked",
    "Bounds",
    "Policy",
    "read_policy",
    "resolve_bounds",
]

PRESETS: Mapping[str, float] = MappingProxyType({"safe": 0.02, "balanced": 0.05, "saver": 0.10})
"""Names of promises: each is a `max_regret`, so what it means is what the certificate proves."""

OBJECTIVES = ("max_regret", "min_quality", "budget", "preset", "epsilon")
"""What a policy optimises for; it has one of these at most."""

_LONGEST_SHOWN = 60


class Asked(NamedTuple):
    """What a field of a policy is.

    Attributes
    ----------
    text : str
        What it asks for, one line without a full stop.
    form : {"number", "name", "names"}
        What its value is.
    unit : str
        What stands for the value in a command's help.
    least, above, most : float or None
        Bounds of a number: at least, more than, at most.
    """

    text: str
    form: Literal["number", "name", "names"]
    unit: str
    least: float | None = None
    above: float | None = None
    most: float | None = None

    @property
    def expected(self) -> str:
        """What a value of a number is, in words."""
        if self.most is not None:
            return f"a number from {self.least:g} to {self.most:g}"
        if self.above is not None:
            return f"a number of {self.unit} above {self.above:g}"
        return f"a finite number, {self.least:g} or more"


def _asks(*args: Any, default: Any = None, **kwargs: Any) -> Any:  # noqa: ANN401 - as dataclasses.field
    return field(default=default, metadata={"asked": Asked(*args, **kwargs)})


@dataclass(frozen=True, slots=True)
class Policy:
    """What a caller asks for. Every field is optional; together they narrow the choice.

    At most one of `max_regret`, `min_quality`, `budget`, `preset` and `epsilon`; with none of them, the model's own default
    holds. Promises are held against the reference tier: the history's best, which is the dearest unless a cheaper one is
    better beyond chance. What is not certified goes to that tier. Lists are any iterables of names, and become tuples.

    Raises
    ------
    RequestError
        A value is of another form or out of range, or fields do not go together; its `field` names one at fault.
    """

    max_regret: float | None = _asks(
        "certified: at most this share of prompts may fail where the reference tier passes",
        "number", "SHARE", least=0.0, most=1.0,
    )  # fmt: skip
    epsilon: float | None = _asks(
        "uncertified: the expected loss accepted for saving one average call of the reference tier",
        "number", "LOSS", least=0.0,
    )  # fmt: skip
    floor: str | None = _asks("the cheapest tier that may be chosen", "name", "TIER")
    ceiling: str | None = _asks("the dearest tier that may be chosen", "name", "TIER")
    allow: tuple[str, ...] | None = _asks("the tiers that may be chosen", "names", "TIER")
    max_cost_usd: float | None = _asks(
        "tiers that are expected to cost more USD for this prompt are passed over",
        "number", "USD", above=0.0,
    )  # fmt: skip
    min_quality: float | None = _asks(
        "certified: at least this share of the reference tier's quality is kept",
        "number", "SHARE", least=0.0, most=1.0,
    )  # fmt: skip
    budget: float | None = _asks(
        "mean USD per request, met on traffic like the history's; no limit for a single request",
        "number", "USD", above=0.0,
    )  # fmt: skip
    preset: str | None = _asks(
        f"certified: a max_regret by its name: {', '.join(f'{name} ({share:g})' for name, share in PRESETS.items())}",
        "name", "NAME",
    )  # fmt: skip
    slice: str | None = _asks(
        "the slice of prompts that max_regret or preset is promised for, such as task=math", "name", "SLICE"
    )
    needs: tuple[str, ...] = _asks(
        "what the tier must be able to do, such as json; added to what the call itself needs",
        "names", "CAPABILITY", default=(),
    )  # fmt: skip

    def __post_init__(self) -> None:
        # A service makes one per request, so what is not set costs next to nothing.
        for name, value in zip(_NUMBERS, _numbers(self), strict=True):
            if value is not None:
                object.__setattr__(self, name, _read_number(name, value))
        if self.preset is not None:
            _check_preset(self.preset)
        if (self.max_regret, self.min_quality, self.budget, self.preset, self.epsilon).count(None) < 4:
            asked = [name for name in OBJECTIVES if getattr(self, name) is not None]
            raise RequestError(
                f"policy: expected at most one of {', '.join(OBJECTIVES[:-1])} and {OBJECTIVES[-1]}, "
                f"found {' and '.join(asked)}; keep one",
                asked[-1],
            )
        for name, value in (("floor", self.floor), ("ceiling", self.ceiling)):
            if value is not None and not isinstance(value, str):
                raise RequestError(f"policy: {name} is the name of a tier; found {_show(value)}", name)
        if self.allow is not None:
            object.__setattr__(self, "allow", _read_names("allow", self.allow))
        if type(self.needs) is not tuple or self.needs:
            object.__setattr__(self, "needs", () if self.needs is None else _read_names("needs", self.needs))
        if self.slice is not None:
            _check_slice(self.slice)
            if self.regret is None:
                raise RequestError(
                    "policy: slice says what max_regret or preset is promised for; ask for one of them"
                    + "".join(
                        f" in place of {name}" for name in OBJECTIVES if getattr(self, name) is not None
                    ),
                    "slice",
                )

    @property
    def regret(self) -> float | None:
        """The regret promise asked for, by number or by name."""
        return self.max_regret if self.preset is None else PRESETS[self.preset]

    @classmethod
    def from_mapping(cls, document: Mapping[str, Any], source: str = "policy") -> Policy:
        """Check a parsed document, such as a TOML file or a JSON object, and return the policy. Pure.

        Parameters
        ----------
        document : mapping
            Field name to value; None is a field that is not there.
        source : str
            How error messages name the document.

        Raises
        ------
        RequestError
            A field is unknown, or its value is wrong.
        """
        if not isinstance(document, Mapping):
            raise RequestError(f"{source}: expected fields such as max_regret, found {_show(document)}")
        for key in document:
            if key not in ASKS:
                close = get_close_matches(key, ASKS, n=1) if isinstance(key, str) else ()
                hint = f" (did you mean {close[0]}?)" if close else ""
                raise RequestError(
                    f"{source}: unknown field {_show(key)}{hint}; known fields: {', '.join(ASKS)}",
                    key if isinstance(key, str) else None,
                )
        try:
            return cls(**document)
        except RequestError as error:
            raise RequestError(f"{source}: {str(error).removeprefix('policy: ')}", error.field) from None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are set, ready for JSON, in the form that `from_mapping` reads. Pure."""
        found = ((name, getattr(self, name)) for name in ASKS)
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in found
            if value is not None and value != ()
        }


ASKS: Mapping[str, Asked] = MappingProxyType({item.name: item.metadata["asked"] for item in fields(Policy)})
"""The fields of a policy, in their order."""

_NUMBERS = tuple(name for name, asked in ASKS.items() if asked.form == "number")
_numbers = attrgetter(*_NUMBERS)


def read_policy(path: str | Path) -> Policy:
    """Read a policy from a TOML file, which has its fields at the top level.

    Raises
    ------
    ConfigError
        The file is missing, is not TOML, or is no policy; the message says where.
    """
    import tomllib

    source = f"policy file {path}"
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{source}: expected UTF-8, found another encoding at byte {error.start}; save it as UTF-8"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise ConfigError(f"{source}: cannot be read ({reason}); check the path") from None
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{source}: not valid TOML: {error}") from None
    try:
        return Policy.from_mapping(document, source)
    except RequestError as error:  # a file that an operator wrote, not what a caller asked
        raise ConfigError(str(error)) from None


def _read_number(name: str, value: Any) -> float:  # noqa: ANN401 - checked here
    asked = ASKS[name]
    try:
        # What is a float already is told apart for speed: an abstract class takes its time to say so.
        number = (
            value
            if type(value) is float
            else float(value)
            if isinstance(value, Real) and not isinstance(value, bool)
            else None
        )
    except OverflowError:
        number = None
    if (
        number is None
        or not isfinite(number)
        or (asked.least is not None and number < asked.least)
        or (asked.above is not None and number <= asked.above)
        or (asked.most is not None and number > asked.most)
    ):
        raise RequestError(f"policy: {name} is {asked.expected}; found {_show(value)}", name)
    return number


def _read_names(name: str, value: Any) -> tuple[str, ...]:  # noqa: ANN401 - checked here
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else None
    if names is None or not all(isinstance(item, str) and (item or name == "allow") for item in names):
        what = "tier names" if name == "allow" else "capabilities"
        raise RequestError(f"policy: {name} is a list of {what}; found {_show(value)}", name)
    if name == "allow" and not names:
        raise RequestError(
            "policy: allow is a list of tier names, at least one; leave it out to allow all", "allow"
        )
    return names


def _check_preset(name: object) -> None:
    if not isinstance(name, str) or name not in PRESETS:
        close = get_close_matches(name, PRESETS, n=1) if isinstance(name, str) else ()
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise RequestError(
            f"policy: preset is one of {', '.join(PRESETS)}; found {_show(name)}{hint}", "preset"
        )


def _check_slice(name: object) -> None:
    kind, _, value = name.partition("=") if isinstance(name, str) else ("", "", "")
    if not kind or not value:
        raise RequestError(
            f"policy: slice is a kind and a name, such as task=math; found {_show(name)}", "slice"
        )


def _show(value: object) -> str:
    """Return a value as far as a sentence has room for it."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        return "a number out of range"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


@dataclass(frozen=True, slots=True)
class Bounds:
    """A policy's tiers as positions on a ladder.

    Attributes
    ----------
    permitted : tuple of int
        Positions that may be chosen, ascending, never empty.
    floor, ceiling : int
        Lowest and highest position that floor and ceiling leave.
    """

    permitted: tuple[int, ...]
    floor: int
    ceiling: int


def resolve_bounds(policy: Policy, names: Sequence[str]) -> Bounds:
    """Place a policy's tier names on a ladder. Pure.

    Raises
    ------
    RequestError
        A name is not on the ladder, or the bounds leave no tier.
    """
    floor = 0 if policy.floor is None else _position(policy.floor, "floor", names)
    ceiling = len(names) - 1 if policy.ceiling is None else _position(policy.ceiling, "ceiling", names)
    if floor > ceiling:
        raise RequestError(
            f"policy: floor {policy.floor} is dearer than ceiling {policy.ceiling}; "
            f"tiers from cheapest to dearest: {', '.join(names)}",
            "floor",
        )
    permitted = range(floor, ceiling + 1)
    if policy.allow is None:
        return Bounds(tuple(permitted), floor, ceiling)
    allowed = {_position(name, "allow", names) for name in policy.allow}
    kept = tuple(k for k in permitted if k in allowed)
    if not kept:
        raise RequestError(
            f"policy: no tier is left: allow is {', '.join(policy.allow)}, floor {names[floor]}, "
            f"ceiling {names[ceiling]}",
            "allow",
        )
    return Bounds(kept, floor, ceiling)


def _position(name: str, field: str, names: Sequence[str]) -> int:
    try:
        return names.index(name)
    except ValueError:
        close = get_close_matches(name, names, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise RequestError(
            f"policy: {field} names an unknown tier {name!r}{hint}; known tiers: {', '.join(names)}",
            field,
        ) from None
