"""The router: an opened artefact that decides.

Holds state that does not change after load, so any number of threads may share it.
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


class Router:
    """Decides which tier is enough for a prompt.

    Get one from `Router.load`. Thread-safe; never calls a model, never sends a prompt anywhere.
    """

    __slots__ = ("_extractor", "_limited", "_resolved", "_scorer", "manifest")

    def __init__(self, manifest: Manifest, extractor: Extractor, scorer: Scorer) -> None:
        self.manifest = manifest
        self._extractor = extractor
        self._scorer = scorer
        self._limited = any(
            tier.context_window is not None or tier.capabilities is not None for tier in manifest.ladder.tiers
        )
        self._resolved: dict[Policy, tuple[float, Bounds, Reason | None]] = {}

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
        from router.artifact import find_artifact, open_artifact  # onnxruntime only when a model is loaded

        return cls(*open_artifact(find_artifact(location)))

    @property
    def model_id(self) -> str:
        """Names the model's content."""
        return self.manifest.model_id

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """The ladder, cheapest first."""
        return self.manifest.ladder.tiers

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
        _require_list(prompts)
        if not prompts:
            return np.empty((0, len(self.tiers)), np.float32)
        return self._scorer.score(self._extractor.extract_many(prompts))[0]

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
        _require_list(prompts)
        if not prompts:
            return np.empty((0, len(self.tiers)))
        views = [read_prompt(prompt) for prompt in prompts]
        answer = self._scorer.score(self._extractor.extract_views(views))[1]
        return self.manifest.costs.expected_usd_many([view.n_chars for view in views], answer)

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
        resolved = self._resolve(policy)
        view = read_prompt(prompt)
        row = np.empty((1, self._extractor.width), np.float32)
        self._extractor.extract(view, row[0])
        p_pass, answer, novelty = self._scorer.score(row)
        return self._decide(view, p_pass[0].tolist(), answer[0].tolist(), float(novelty[0]), resolved)

    def route_many(self, prompts: Sequence[Prompt], policy: Policy | None = None) -> list[Decision]:
        """Decide for many prompts at once; the decisions are those of `route`, one by one.

        Raises
        ------
        TypeError, RequestError
            As `route`; nothing is decided then.
        """
        _require_list(prompts)
        resolved = self._resolve(policy)
        if not prompts:
            return []
        views = [read_prompt(prompt) for prompt in prompts]
        outputs = (output.tolist() for output in self._scorer.score(self._extractor.extract_views(views)))
        return [
            self._decide(view, p, answer, u, resolved)
            for view, p, answer, u in zip(views, *outputs, strict=True)
        ]

    def _resolve(self, policy: Policy | None) -> tuple[float, Bounds, Reason | None]:
        """Return a policy as epsilon, bounds and the reason to escalate, if any."""
        policy = _DEFAULT_POLICY if policy is None else policy
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

    def _decide(
        self,
        view: PromptView,
        p_pass: list[float],
        answer: list[float],
        novelty: float,
        resolved: tuple[float, Bounds, Reason | None],
    ) -> Decision:
        epsilon, bounds, escalate = resolved
        if not view.n_images and not view.text.strip():
            escalate = Reason.EMPTY
        elif escalate is None and novelty > self.manifest.novelty_threshold:
            escalate = Reason.NOVEL
        obstacles = self._obstacles(view) if self._limited else ()
        index, predicted, reason = choose(p_pass, epsilon, bounds, obstacles=obstacles, escalate=escalate)
        tier = self.tiers[index]
        return Decision(
            tier.name,
            index,
            tier.model,
            tuple(p_pass),
            predicted,
            reason,
            self.manifest.costs.expected_usd(index, view.n_chars, answer[index]),
            novelty,
            self.model_id,
        )

    def _obstacles(self, view: PromptView) -> list[Reason | None]:
        needs = [name for name, n in (("tools", view.n_tool_turns), ("vision", view.n_images)) if n]
        tokens = view.n_chars / CHARS_PER_TOKEN
        obstacles: list[Reason | None] = []
        for tier in self.tiers:
            if tier.context_window is not None and tokens > tier.context_window:
                obstacles.append(Reason.CONTEXT)
            elif tier.capabilities is not None and not set(needs) <= set(tier.capabilities):
                obstacles.append(Reason.CAPABILITY)
            else:
                obstacles.append(None)
        return obstacles


def _require_list(prompts: object) -> None:
    if isinstance(prompts, str | bytes) or not isinstance(prompts, Sequence):
        raise TypeError(
            f"expected a list of prompts, each a str or a list of chat messages; found {type(prompts).__name__}"
        )


_default: Router | None = None
_default_lock = threading.Lock()


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
