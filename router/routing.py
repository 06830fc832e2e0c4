"""The router: prompts in, decisions out, by a model that can be replaced while it decides."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from router.decision import Decision
from router.demand import read_demand
from router.model import Model
from router.policy import Policy
from router.prompt import Prompt, PromptView, read_prompt
from router.tiers import Tier

if TYPE_CHECKING:
    from router.extractor import Extractor
    from router.manifest import Manifest
    from router.scorer import Scorer

__all__ = ["Router", "route"]


class Router:
    """Decides which tier is enough for a prompt.

    Get one from `Router.load`. Thread-safe; never calls a model, never sends a prompt anywhere. A decision takes
    microseconds and waits for nothing, so asynchronous code calls it as it is.
    """

    __slots__ = ("_model", "_policy")

    def __init__(
        self, manifest: Manifest, extractor: Extractor, scorer: Scorer, policy: Policy | None = None
    ) -> None:
        self._policy = policy
        self._model = Model(manifest, extractor, scorer, policy)

    @classmethod
    def load(cls, location: str | os.PathLike[str] | None = None, policy: Policy | None = None) -> Router:
        """Open an artefact and verify it.

        Parameters
        ----------
        location : str or path, optional
            A folder that `python -m training fit` wrote, or an MLflow address such as
            "models:/tierwise@champion". By default what $TIERWISE_MODEL names, else the packaged default.
        policy : Policy, optional
            What holds where a call states none, also after a `reload`; by default the model's own.

        Raises
        ------
        ArtifactError
            The folder is missing, damaged, or of another version.
        ConfigError
            The address needs an extra that is not installed.
        RequestError
            The policy names a tier that the model does not have.
        """
        return cls(*_open(location), policy)

    def reload(self, location: str | os.PathLike[str] | None = None) -> None:
        """Open another artefact, verify it, and decide by it from then on.

        Calls that are under way finish on the model that they began with; until then both are in memory. If the
        artefact cannot be used, the router keeps the one it has.

        Parameters
        ----------
        location : str or path, optional
            As for `load`.

        Raises
        ------
        ArtifactError, ConfigError, RequestError
            As `load`; nothing has changed then.
        """
        self._model = Model(*_open(location), self._policy)  # one assignment: no call sees half of a model

    @property
    def model(self) -> Model:
        """The model that decides now; it stays what it is when the router is given another."""
        return self._model

    @property
    def manifest(self) -> Manifest:
        """What the artefact says of itself."""
        return self._model.manifest

    @property
    def model_id(self) -> str:
        """Names the model's content."""
        return self._model.manifest.model_id

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """The ladder, cheapest first."""
        return self._model.manifest.ladder.tiers

    def score(self, prompts: Sequence[Prompt]) -> NDArray[np.float32]:
        """Return the calibrated probability that each tier's answer passes.

        Parameters
        ----------
        prompts : list of (str or list of chat messages)

        Returns
        -------
        float32 (n, n_tiers)
            Tier 0 is the cheapest.

        Raises
        ------
        TypeError
            `prompts` is not a list of prompts.
        """
        model = self._model
        return model.score(_read_prompts(prompts)).p_pass

    def expected_cost(self, prompts: Sequence[Prompt]) -> NDArray[np.float64]:
        """Return what each tier's call is expected to cost.

        Parameters
        ----------
        prompts : list of (str or list of chat messages)

        Returns
        -------
        float64 (n, n_tiers)
            USD: the prompt's length at the tier's price, and the answer that the model expects.

        Raises
        ------
        TypeError
            `prompts` is not a list of prompts.
        """
        model, views = self._model, _read_prompts(prompts)
        answer = model.score(views).answer
        return model.manifest.costs.expected_usd_many([view.n_chars for view in views], answer)

    def route(
        self,
        prompt: Prompt,
        policy: Policy | None = None,
        *,
        needs: Iterable[str] = (),
        tools: Sequence[Mapping[str, Any]] = (),
        context_tokens: int | None = None,
        cached_tokens: int | None = None,
    ) -> Decision:
        """Decide which tier a prompt goes to.

        Never raises on any string: an empty, huge, garbled or novel one gets a decision, with a reason.

        Parameters
        ----------
        prompt : str or list of chat messages
        policy : Policy, optional
            What the caller asks for.
        needs : iterable of str
            Capabilities that the tier must have, such as "json", beyond "tools" and "vision" where messages show them.
        tools : list of mappings
            Definitions of tools that go to the model with the prompt: they need "tools", and cost their length.
        context_tokens : int, optional
            Tokens of the whole input, where the caller has counted them; by default four characters are a token.
        cached_tokens : int, optional
            How many of them the provider has in its prompt cache: they cost the tier's price for cached input.

        Raises
        ------
        TypeError
            The prompt is neither a string nor a list of chat messages, or the policy is no Policy.
        RequestError
            The policy names an unknown tier or leaves none, or another argument is of the wrong form.
        """
        model = self._model
        resolved = model.resolve(policy)
        view = read_prompt(prompt)
        demand = read_demand(view, needs, tools, context_tokens, cached_tokens)
        return model.decide(view, model.read_one(view), resolved, demand)

    def route_many(self, prompts: Sequence[Prompt], policy: Policy | None = None) -> list[Decision]:
        """Decide for many prompts at once, in less time for each.

        The decisions are those of `route`, but for the rounding of float32: a prompt whose expected loss is epsilon
        to six digits may get the tier beside.

        Raises
        ------
        TypeError, RequestError
            As `route`; nothing is decided then.
        """
        model = self._model
        resolved = model.resolve(policy)
        views = _read_prompts(prompts)
        outputs = model.read_many(views)
        return [model.decide(view, o, resolved) for view, o in zip(views, outputs, strict=True)]


def _read_prompts(prompts: Sequence[Prompt]) -> list[PromptView]:
    if isinstance(prompts, str | bytes) or not isinstance(prompts, Sequence):
        raise TypeError(
            f"expected a list of prompts, each a str or a list of chat messages; found {type(prompts).__name__}"
        )
    return [read_prompt(prompt) for prompt in prompts]


def _open(location: str | os.PathLike[str] | None) -> tuple[Manifest, Extractor, Scorer]:
    from router.artifact import hold_artifact, open_artifact  # onnxruntime only when a model is loaded

    with hold_artifact(location) as folder:
        return open_artifact(folder)


_default: Router | None = None
_default_lock = threading.Lock()


def _renew_lock() -> None:
    """Forget who holds the lock: after a fork, that thread is not there to release it."""
    global _default_lock
    _default_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def route(
    prompt: Prompt,
    policy: Policy | None = None,
    *,
    needs: Iterable[str] = (),
    tools: Sequence[Mapping[str, Any]] = (),
    context_tokens: int | None = None,
    cached_tokens: int | None = None,
) -> Decision:
    """Decide with the default model: what $TIERWISE_MODEL names, else the packaged one.

    The model is loaded once, at the first call; thread-safe. Parameters are those of `Router.route`.

    Raises
    ------
    TypeError, RequestError
        As `Router.route`.
    ArtifactError
        At the first call, if there is no usable model.
    """
    global _default
    router = _default
    if router is None:
        with _default_lock:
            if _default is None:
                _default = Router.load()
            router = _default
    return router.route(
        prompt, policy, needs=needs, tools=tools, context_tokens=context_tokens, cached_tokens=cached_tokens
    )
