"""The router: an opened artefact that decides.

An opened artefact does not change, so any number of threads may share it; `Router.reload` puts another one in its
place.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from router.decision import Decision, Reason
from router.policy import Bounds, Policy, choose, resolve_bounds
from router.prompt import Prompt, PromptView, read_prompt
from router.tiers import CHARS_PER_TOKEN, Tier

if TYPE_CHECKING:
    from router.extractor import Extractor
    from router.manifest import Manifest
    from router.scorer import Scorer

__all__ = ["Router", "route"]

_DEFAULT_POLICY = Policy()
_MAX_RESOLVED = 1024
_AT_ONCE = 256  # prompts; more are no faster, and take memory


class Router:
    """Decides which tier is enough for a prompt.

    Get one from `Router.load`. Thread-safe; never calls a model, never sends a prompt anywhere. A decision takes
    microseconds and waits for nothing, so asynchronous code calls it as it is.
    """

    __slots__ = ("_model",)

    def __init__(self, manifest: Manifest, extractor: Extractor, scorer: Scorer) -> None:
        self._model = _Model(manifest, extractor, scorer)

    @classmethod
    def load(cls, location: str | os.PathLike[str] | None = None) -> Router:
        """Open an artefact and verify it.

        Parameters
        ----------
        location : str or path, optional
            A folder that `python -m training fit` wrote, or an MLflow address such as
            "models:/tierwise@champion". By default what $TIERWISE_MODEL names, else the packaged default.

        Raises
        ------
        ArtifactError
            The folder is missing, damaged, or of another version.
        ConfigError
            The address needs an extra that is not installed.
        """
        return cls(*_open(location))

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
        ArtifactError, ConfigError
            As `load`; nothing has changed then.
        """
        self._model = _Model(*_open(location))  # one assignment: no call sees half of a model

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
        return model.score(_read_prompts(prompts))[0]

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
        answer = model.score(views)[1]
        return model.manifest.costs.expected_usd_many([view.n_chars for view in views], answer)

    def route(self, prompt: Prompt, policy: Policy | None = None) -> Decision:
        """Decide which tier a prompt goes to.

        Never raises on any string: an empty, huge, garbled or novel one gets a decision, with a reason.

        Raises
        ------
        TypeError
            The prompt is neither a string nor a list of chat messages, or the policy is no Policy.
        RequestError
            The policy names an unknown tier or leaves none.
        """
        model = self._model
        resolved = model.default if policy is None else model.resolve(policy)
        view = read_prompt(prompt)
        return model.decide(view, model.scorer.score_one(model.extractor, view), resolved)

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
        resolved = model.default if policy is None else model.resolve(policy)
        views = _read_prompts(prompts)
        p_pass, answer, novelty = model.score(views)
        outputs = np.column_stack((p_pass, answer, novelty)).tolist()
        return [model.decide(view, tuple(o), resolved) for view, o in zip(views, outputs, strict=True)]


_Resolved = tuple[float, Bounds, Reason | None]
"""A policy as epsilon, bounds and the reason to escalate, if any."""


class _Model:
    """An opened artefact, with what decisions look up worked out."""

    __slots__ = (
        "_limits", "_n_tiers", "_novelty_threshold", "_resolved", "_tiers", "_usd", "default", "extractor", "manifest", "model_id",
        "scorer",
    )  # fmt: skip

    def __init__(self, manifest: Manifest, extractor: Extractor, scorer: Scorer) -> None:
        self.manifest = manifest
        self.extractor = extractor
        self.scorer = scorer
        tiers = manifest.ladder.tiers
        # Attributes of attributes cost 20 ns each, and a decision has the time of a thousand.
        self.model_id = manifest.model_id
        self._n_tiers = len(tiers)
        self._tiers = tuple((tier.name, tier.model) for tier in tiers)
        self._usd = manifest.costs.expected_usd
        self._novelty_threshold = manifest.novelty_threshold
        self._limits = tuple(
            (tier.context_window, None if tier.capabilities is None else frozenset(tier.capabilities))
            for tier in tiers
        )
        if all(limit == (None, None) for limit in self._limits):
            self._limits = ()
        self._resolved: dict[Policy, _Resolved] = {}
        self.default = self.resolve(_DEFAULT_POLICY)

    def score(
        self, views: Sequence[PromptView]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return p_pass and answer, float32 (n, k), and novelty float32 (n,)."""
        if not views:
            none = np.empty((0, self._n_tiers), np.float32)
            return none, none, np.empty(0, np.float32)
        # In blocks: ONNX Runtime keeps the memory of the largest call for good.
        blocks = [views[i : i + _AT_ONCE] for i in range(0, len(views), _AT_ONCE)]
        outputs = [self.scorer.score(self.extractor.extract_views(block)) for block in blocks]
        p_pass, answer, novelty = map(np.concatenate, zip(*outputs, strict=True))
        return p_pass, answer, novelty

    def resolve(self, policy: Policy) -> _Resolved:
        """Return what a policy means on this model's ladder, by its certificate."""
        if not isinstance(policy, Policy):
            raise TypeError(f"a policy is a router.Policy; found {type(policy).__name__}")
        resolved = self._resolved.get(policy)
        if resolved is None:
            escalate = None
            epsilon = policy.epsilon
            if policy.max_regret is not None:
                epsilon = self.manifest.certificate.epsilon_for(policy.max_regret)
                if epsilon is None:
                    escalate, epsilon = Reason.UNCERTIFIED, 0.0
            elif epsilon is None:
                epsilon = self.manifest.default_epsilon
            resolved = (epsilon, resolve_bounds(policy, self.manifest.ladder.names), escalate)
            if len(self._resolved) >= _MAX_RESOLVED:  # callers may make a policy per request
                self._resolved.clear()
            self._resolved[policy] = resolved
        return resolved

    def decide(self, view: PromptView, outputs: tuple[float, ...], resolved: _Resolved) -> Decision:
        """Choose a tier, given what the graph says: p_pass per tier, answer per tier, and novelty."""
        n_tiers = self._n_tiers
        p_pass, novelty = outputs[:n_tiers], outputs[-1]
        epsilon, bounds, escalate = resolved
        if not view.n_images and (not view.text or view.text.isspace()):
            escalate = Reason.EMPTY
        elif escalate is None and not novelty <= self._novelty_threshold:  # a NaN escalates, too
            escalate = Reason.NOVEL
        obstacles = self._obstacles(view) if self._limits else ()
        index, predicted, reason = choose(p_pass, epsilon, bounds, obstacles, escalate)
        name, model = self._tiers[index]
        usd = self._usd(index, view.n_chars, outputs[n_tiers + index])
        return Decision(name, index, model, p_pass, predicted, reason, usd, novelty, self.model_id)

    def _obstacles(self, view: PromptView) -> list[Reason | None]:
        needs = {name for name, n in (("tools", view.n_tool_turns), ("vision", view.n_images)) if n}
        tokens = view.n_chars / CHARS_PER_TOKEN
        obstacles: list[Reason | None] = []
        for context_window, capabilities in self._limits:
            if context_window is not None and tokens > context_window:
                obstacles.append(Reason.CONTEXT)
            elif capabilities is not None and not needs <= capabilities:
                obstacles.append(Reason.CAPABILITY)
            else:
                obstacles.append(None)
        return obstacles


def _read_prompts(prompts: Sequence[Prompt]) -> list[PromptView]:
    if isinstance(prompts, str | bytes) or not isinstance(prompts, Sequence):
        raise TypeError(
            f"expected a list of prompts, each a str or a list of chat messages; found {type(prompts).__name__}"
        )
    return [read_prompt(prompt) for prompt in prompts]


def _open(location: str | os.PathLike[str] | None) -> tuple[Manifest, Extractor, Scorer]:
    from router.artifact import find_artifact, open_artifact  # onnxruntime only when a model is loaded

    return open_artifact(find_artifact(location))


_default: Router | None = None
_default_lock = threading.Lock()


def _renew_lock() -> None:
    """Forget who holds the lock: after a fork, that thread is not there to release it."""
    global _default_lock
    _default_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def route(prompt: Prompt, policy: Policy | None = None) -> Decision:
    """Decide with the default model: what $TIERWISE_MODEL names, else the packaged one.

    The model is loaded once, at the first call; thread-safe.

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
    return router.route(prompt, policy)
