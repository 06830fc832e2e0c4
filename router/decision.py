"""The answer: which tier, and why. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

__all__ = ["Decision", "Reason"]


class Reason(StrEnum):
    """Why a decision names the tier it names. Closed: every decision carries exactly one.

    The first two are the ordinary case; the next four are the policy's doing; the rest escalate, because
    the router is not entitled to be sure.
    """

    SUFFICIENT = "sufficient"
    """A tier cheaper than the reference tier saves more than its expected loss is worth."""
    NEEDED = "needed"
    """No cheaper tier does."""
    FLOOR = "floor"
    """The tier chosen by the model lies below the policy's floor."""
    CEILING = "ceiling"
    """The tier chosen by the model, or the best one, lies above the policy's ceiling."""
    ALLOW = "allow"
    """The tier chosen by the model, or the best one, is not on the policy's list."""
    COST = "cost"
    """The tier that would have been chosen is expected to cost more than the policy allows, or every tier does."""
    CONTEXT = "context"
    """The prompt is too long for the context window of the tier that would have been chosen."""
    CAPABILITY = "capability"
    """The tier that would have been chosen lacks what the prompt needs, such as tools or vision."""
    NOVEL = "novel"
    """The prompt is unlike what the model was fitted on."""
    UNCERTIFIED = "uncertified"
    """What was asked for is no promise that the model's certificate holds, or the certificate is void."""
    EMPTY = "empty"
    """There is nothing to read."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a prompt should go.

    Attributes
    ----------
    tier : str
        Name of the tier.
    index : int
        Its position on the ladder, 0 cheapest.
    model : str
        The tier's first model.
    p_pass : tuple of float
        Calibrated probability per tier that its answer passes, cheapest first.
    predicted : int
        The tier that the probabilities alone would choose, before policy and escalation.
    reason : Reason
        What decided.
    expected_cost_usd : float
        USD for this prompt on this tier, from its length and the answer that the model expects.
    novelty : float
        0 is like the training data, 1 is unlike any of it.
    model_id : str
        Which artefact decided.
    tier_cost_usd : tuple of float
        The same expectation for each tier, cheapest first.
    """

    tier: str
    index: int
    model: str
    p_pass: tuple[float, ...]
    predicted: int
    reason: Reason
    expected_cost_usd: float
    novelty: float
    model_id: str
    tier_cost_usd: tuple[float, ...]

    @property
    def saving_usd(self) -> float:
        """What the choice is expected to save against the top tier, USD; below 0 where it is expected to cost more."""
        return self.tier_cost_usd[-1] - self.expected_cost_usd

    def to_dict(self) -> dict[str, Any]:
        """Return the decision as plain data, ready for JSON."""
        # By hand: dataclasses.asdict copies deeply, and takes as long as a third of a decision.
        return {
            "tier": self.tier,
            "index": self.index,
            "model": self.model,
            "p_pass": list(self.p_pass),
            "predicted": self.predicted,
            "reason": self.reason.value,
            "expected_cost_usd": self.expected_cost_usd,
            "novelty": self.novelty,
            "model_id": self.model_id,
            "tier_cost_usd": list(self.tier_cost_usd),
            "saving_usd": self.saving_usd,
        }
