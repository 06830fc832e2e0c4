"""What a judge is told: the keys of its table in the graders file.

Pure. A judge has to be measured: it names a file of human grades, or says outright that it goes without one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from router.tiers import Tier
from training.calls.endpoints import Endpoint, check_base_url, check_key_env

__all__ = ["Asking", "Judge", "Pairwise"]

_ABSOLUTE_RUBRIC = """\
5: right and complete, and does all that was asked.
4: right in all that matters; a small omission or slip of form.
3: partly right: something that matters is missing or doubtful.
2: mostly wrong, or misses what was asked.
1: wrong, empty, harmful or beside the point."""
_PAIRWISE_RUBRIC = """\
The better response is right, complete and does what was asked, and the other is not, or less so.
They tie where both are right and complete, or where both are wrong to the same degree."""


@dataclass(frozen=True, kw_only=True)
class Asking:
    """What both kinds of judge have in common.

    Attributes
    ----------
    name : str
        What rules and the column `grades` call it.
    model : str
        Who is asked.
    input_usd_per_mtok, output_usd_per_mtok, cached_input_usd_per_mtok : float
        USD per million tokens: no call is made of which the price is not known.
    reference : str or None
        Column with an answer that is right; rows without one are then not judged.
    human : str or None
        Human-graded file: `prompt_id`, `model`, and `passed` or `score`. A relative path starts where the command is run.
    floor : float
        Least kappa of the judge with the human.
    unmeasured : bool
        Go without a human-graded file: verdicts are taken as they are, and their error is not known.
    base_url, api_key_env, max_output_tokens, output_limit_field, timeout_s, requests_per_minute, tokens_per_minute,
    max_attempts, params
        As in an endpoints file (`training.calls.endpoints.Endpoint`).
    """

    name: str
    model: str
    input_usd_per_mtok: float
    output_usd_per_mtok: float
    cached_input_usd_per_mtok: float | None = None
    reference: str | None = None
    human: str | None = None
    floor: float = 0.4  # from here on agreement is "moderate": Landis and Koch, Biometrics 33, 1977
    unmeasured: bool = False
    base_url: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    max_output_tokens: int = 512
    output_limit_field: Literal["max_tokens", "max_completion_tokens", "max_output_tokens"] = "max_tokens"
    timeout_s: float = 120.0
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_attempts: int = 6
    params: dict[str, Any] = field(default_factory=lambda: {"temperature": 0.0})

    judged: ClassVar[bool] = True
    kind: ClassVar[str] = ""

    def __post_init__(self) -> None:
        if (self.human is None) != self.unmeasured:
            found = "neither" if self.human is None else "both"
            raise ValueError(
                "expected one of human, a file of human grades to measure the judge by, and unmeasured = true, which "
                f"takes its verdicts as they are; found {found}"
            )
        for name in ("input_usd_per_mtok", "output_usd_per_mtok", "cached_input_usd_per_mtok"):
            if (price := getattr(self, name)) is not None and price < 0.0:
                raise ValueError(f"{name} is 0 or more; found {price}")
        for name in ("timeout_s", "requests_per_minute", "tokens_per_minute"):
            if (limit := getattr(self, name)) is not None and not limit > 0.0:
                raise ValueError(f"{name} is above 0; found {limit}")
        for name in ("max_output_tokens", "max_attempts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is 1 or more; found {getattr(self, name)}")
        if not 0.0 < self.floor <= 1.0:
            raise ValueError(f"floor is a kappa above 0, at most 1; found {self.floor}")

    def columns(self) -> tuple[str, ...]:
        """Return the columns that it reads, beside prompt and response."""
        return () if self.reference is None else (self.reference,)

    def endpoint(self, base_url: str | None) -> Endpoint:
        """Return whom to ask, under the judge's name; a base_url of the command line goes before its own.

        Raises
        ------
        ConfigError
            The address is none, or the variable's name looks like a key.
        """
        where = f"grader {self.name}"
        if base_url is None and self.base_url is not None:
            base_url = check_base_url(self.base_url, f"{where}: base_url")
        tier = Tier(
            self.name,
            (self.model,),
            self.input_usd_per_mtok,
            self.output_usd_per_mtok,
            self.cached_input_usd_per_mtok,
        )
        return Endpoint(
            name=self.name,
            tier=tier,
            base_url=base_url,
            api_key_env=check_key_env(self.api_key_env, f"{where}: api_key_env"),
            max_output_tokens=self.max_output_tokens,
            output_limit_field=self.output_limit_field,
            timeout_s=self.timeout_s,
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            max_attempts=self.max_attempts,
            params=dict(self.params),
        )


@dataclass(frozen=True, kw_only=True)
class Judge(Asking):
    """A judge that grades an answer from 1 to 5.

    Attributes
    ----------
    rubric : str
        What each grade stands for.
    pass_at : int
        The grade from which an answer passes.
    """

    rubric: str = _ABSOLUTE_RUBRIC
    pass_at: int = 4

    kind: ClassVar[str] = "judge"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.pass_at <= 5:
            raise ValueError(f"pass_at is a grade from 2 to 5; found {self.pass_at}")


@dataclass(frozen=True, kw_only=True)
class Pairwise(Asking):
    """A judge that sets an answer against the top tier's, in both orders.

    A win is worth 1, a tie .5 and a loss 0; an answer's worth is the mean of both orders.

    Attributes
    ----------
    rubric : str
        What makes a response the better one.
    pass_at : float
        The worth from which an answer passes; .5 is as good as the top tier's.
    """

    rubric: str = _PAIRWISE_RUBRIC
    pass_at: float = 0.5

    kind: ClassVar[str] = "pairwise"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.pass_at <= 1.0:
            raise ValueError(f"pass_at is above 0, at most 1; found {self.pass_at}")
