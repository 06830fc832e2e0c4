"""A learned router for LLM requests: the cheapest model tier that is enough, decided in-process."""

from router.decision import Decision, Reason
from router.errors import ArtifactError, ConfigError, RequestError, RouterError
from router.policy import Policy, read_policy
from router.routing import Router, route

__version__ = "0.1.0"
__all__ = [
    "ArtifactError",
    "ConfigError",
    "Decision",
    "Policy",
    "Reason",
    "RequestError",
    "Router",
    "RouterError",
    "read_policy",
    "route",
]
