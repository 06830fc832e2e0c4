"""An opened artefact that decides: it does not change, so any number of threads may share it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from router.decision import Decision, Reason
from router.demand import Demand
from router.policy import Bounds, Policy, resolve_bounds
from router.prompt import PromptView
from router.rule import Loss, choose, expected_loss
from router.tiers import CHARS_PER_TOKEN

if TYPE_CHECKING:
    from router.extractor import Extractor
    from router.manifest import Manifest
    from router.scorer import Scorer, Scores

__all__ = ["Model", "Outputs", "Resolved"]

_DEFAULT_POLICY = Policy()
_MAX_RESOLVED = 1024
_AT_ONCE = 256  # prompts; more are no faster, and take memory

Outputs = tuple[float, ...]
"""What the graph says of a prompt: p_pass, spread and answer per tier, and novelty."""

_FRUGAL = 1e9
"""An epsilon at which only cost counts."""


class Resolved(NamedTuple):
    """What a policy means on a model's ladder.

    Attributes
    ----------
    loss : Loss
        What is weighed against cost.
    price : float
        Loss accepted per USD saved.
    bounds : Bounds
        The tiers permitted.
    max_cost_usd : float or None
        Tiers whose expected cost is above it are passed over.
    needs : frozenset of str
        Capabilities that a tier must have, whatever the call needs.
    escalate : Reason or None
        Why the router is not entitled to be sure, whatever the prompt.
    overspent : bool
        The budget asked for cannot be kept, so the cheapest tier is all that can be done.
    """

    loss: Loss
    price: float
    bounds: Bounds
    max_cost_usd: float | None
    needs: frozenset[str]
    escalate: Reason | None
    overspent: bool


class Model:
    """An opened artefact, with what decisions look up worked out.

    Attributes
    ----------
    manifest : Manifest
        What the artefact says of itself.
    model_id : str
        Names the model's content.
    names : tuple of str
        Names of the tiers, cheapest first.
    default : Resolved
        What it means to ask for nothing.

    Raises
    ------
    RequestError
        The policy names a tier that the ladder does not have.
    """

    __slots__ = (
        "_limits", "_n_tiers", "_novelty_threshold", "_reference", "_resolved", "_tiers", "_usd", "default", "extractor",
        "manifest", "model_id", "names", "scorer",
    )  # fmt: skip

    def __init__(
        self, manifest: Manifest, extractor: Extractor, scorer: Scorer, policy: Policy | None = None
    ) -> None:
        self.manifest = manifest
        self.extractor = extractor
        self.scorer = scorer
        tiers = manifest.ladder.tiers
        # Attributes of attributes cost 20 ns each, and a decision has the time of a thousand.
        self.model_id = manifest.model_id
        self.names = manifest.ladder.names
        self._n_tiers = len(tiers)
        self._tiers = tuple((tier.name, tier.model) for tier in tiers)
        self._usd = manifest.costs.expected_usd_per_tier
        self._novelty_threshold = manifest.defaults.novelty_threshold
        self._reference = manifest.defaults.reference
        self._limits = tuple(
            (tier.context_window, None if tier.capabilities is None else frozenset(tier.capabilities))
            for tier in tiers
        )
        if all(limit == (None, None) for limit in self._limits):
            self._limits = ()
        self._resolved: dict[Policy, Resolved] = {}
        self.default = self.resolve(_DEFAULT_POLICY if policy is None else policy)

    def resolve(self, policy: Policy | None) -> Resolved:
        """Return what a policy means on this model's ladder, by its certificate; None is the model's own default.

        Raises
        ------
        TypeError
            The policy is no Policy.
        RequestError
            It names an unknown tier or leaves none.
        """
        if policy is None:
            return self.default
        if not isinstance(policy, Policy):
            raise TypeError(f"a policy is a router.Policy; found {type(policy).__name__}")
        resolved = self._resolved.get(policy)
        if resolved is None:
            resolved = self._resolve(policy)
            if len(self._resolved) >= _MAX_RESOLVED:  # callers may make a policy per request
                self._resolved.clear()
            self._resolved[policy] = resolved
        return resolved

    def _resolve(self, policy: Policy) -> Resolved:
        defaults, certificate = self.manifest.defaults, self.manifest.certificate
        bounds = resolve_bounds(policy, self.names)
        regret = policy.regret
        loss, epsilon = Loss.REGRET, policy.epsilon
        if regret is not None:
            epsilon = certificate.epsilon_for_regret(regret, policy.slice)
        elif policy.min_quality is not None:
            loss, epsilon = Loss.QUALITY, certificate.epsilon_for_quality(policy.min_quality)
        elif policy.budget is not None:
            loss, epsilon = Loss.QUALITY, defaults.epsilon_for_budget(policy.budget)
        elif epsilon is None:
            loss, epsilon = defaults.loss, defaults.epsilon
        is_void = certificate.void is not None  # then nothing is known of what a choice would lose
        overspent = epsilon is None and policy.budget is not None and not is_void
        return Resolved(
            loss,
            min(_FRUGAL if overspent else epsilon or 0.0, _FRUGAL) / defaults.unit_usd,
            bounds,
            policy.max_cost_usd,
            frozenset(policy.needs),
            Reason.UNCERTIFIED if is_void or (epsilon is None and not overspent) else None,
            overspent,
        )

    def read_one(self, view: PromptView) -> Outputs:
        """Return what the graph says of one prompt."""
        return self.scorer.score_one(self.extractor, view)

    def read_many(self, views: Sequence[PromptView]) -> list[Outputs]:
        """Return the same for many, in less time for each; it differs by the rounding of float32."""
        return [tuple(row) for row in np.column_stack(self.score(views)).tolist()]

    def score(self, views: Sequence[PromptView]) -> Scores:
        """Return what the graph says of many prompts."""
        from router.scorer import Scores  # onnxruntime only when a model is loaded

        if not views:
            none = np.empty((0, self._n_tiers), np.float32)
            return Scores(none, none, none, np.empty(0, np.float32))
        # In blocks: ONNX Runtime keeps the memory of the largest call for good.
        blocks = [views[i : i + _AT_ONCE] for i in range(0, len(views), _AT_ONCE)]
        outputs = [self.scorer.score(self.extractor.extract_views(block)) for block in blocks]
        return Scores(*map(np.concatenate, zip(*outputs, strict=True)))

    def decide(
        self, view: PromptView, outputs: Outputs, resolved: Resolved, demand: Demand | None = None
    ) -> Decision:
        """Choose a tier, given what the graph says.

        Parameters
        ----------
        demand : Demand or None
            What the call needs beyond what its prompt shows.
        """
        n = self._n_tiers
        p_pass, novelty = outputs[:n], outputs[-1]
        n_chars, cached = (view.n_chars, 0) if demand is None else (demand.n_chars, demand.cached_tokens)
        usd = self._usd(n_chars, outputs[2 * n : 3 * n], cached)
        escalate = resolved.escalate
        if not view.n_images and (not view.text or view.text.isspace()):
            escalate = Reason.EMPTY
        elif escalate is None and not novelty <= self._novelty_threshold:  # a NaN escalates, too
            escalate = Reason.NOVEL
        obstacles = self._obstacles(view, n_chars, demand, resolved.needs) if self._limits else ()
        if resolved.max_cost_usd is not None:
            obstacles = _with_costs(obstacles, usd, resolved.max_cost_usd)
        reference = self._reference
        index, predicted, reason = choose(
            expected_loss(p_pass, outputs[n : 2 * n], reference, resolved.loss),
            usd, resolved.price, resolved.bounds, reference, obstacles, escalate,
        )  # fmt: skip
        if resolved.overspent and escalate is None:
            reason = Reason.COST
        name, model = self._tiers[index]
        return Decision(
            name, index, model, p_pass, predicted, reason, usd[index], novelty, self.model_id, usd
        )

    def _obstacles(
        self, view: PromptView, n_chars: float, demand: Demand | None, asked: frozenset[str]
    ) -> Sequence[Reason | None]:
        needs = {name for name, n in (("tools", view.n_tool_turns), ("vision", view.n_images)) if n} | asked
        if demand is not None:
            needs |= demand.needs
        tokens = n_chars / CHARS_PER_TOKEN
        obstacles: list[Reason | None] = []
        for context_window, capabilities in self._limits:
            if context_window is not None and tokens > context_window:
                obstacles.append(Reason.CONTEXT)
            elif capabilities is not None and not needs <= capabilities:
                obstacles.append(Reason.CAPABILITY)
            else:
                obstacles.append(None)
        return obstacles


def _with_costs(
    obstacles: Sequence[Reason | None], usd: Sequence[float], max_cost_usd: float
) -> Sequence[Reason | None]:
    able = obstacles or (None,) * len(usd)
    # The comparison is such that a cost of NaN is never affordable.
    return [o or (None if cost <= max_cost_usd else Reason.COST) for o, cost in zip(able, usd, strict=True)]
