"""What Prometheus reads. Every label has few values: tiers of the ladder, reasons, endpoints, types of problems."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Iterable
from itertools import count

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from router.decision import Decision

__all__ = ["MULTIPROCESS_VARIABLE", "Metrics", "forget_process"]

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""The library's own: a folder through which workers add up what they count."""

# Seconds: a decision takes 50 microseconds, an answer 150; the rest is queues and long bodies.
_SECONDS = (1e-4, 1.5e-4, 2e-4, 3e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 1.0, 5.0)
disable_created_metrics()  # type: ignore[no-untyped-call] # half the lines, which nothing reads
_MOST_ATTEMPTS, _PAUSE = 20, 0.01  # seconds
_NOVELTY = tuple(i / 10 for i in range(1, 11))


class Metrics:
    """What one process counts, and the sum over all workers when it is read."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        here = self._registry
        self._decisions = Counter("tierwise_decisions", "Decisions", ("tier", "reason"), registry=here)
        self._seconds = Histogram(
            "tierwise_request_seconds",
            "From reading a request's head to having answered it",
            ("endpoint",),
            buckets=_SECONDS,
            registry=here,
        )
        self._novelty = Histogram(
            "tierwise_novelty", "0 is like the training data, 1 is unlike", buckets=_NOVELTY, registry=here
        )
        self._errors = Counter(
            "tierwise_errors", "Problems answered, of items of batches too", ("type",), registry=here
        )
        self._reloads = Counter("tierwise_reloads", "Reloads of the model", ("outcome",), registry=here)
        self._in_flight = Gauge(
            "tierwise_in_flight",
            "Requests read and not yet answered",
            registry=here,
            multiprocess_mode="livesum",
        )
        self._connections = Gauge(
            "tierwise_connections", "Open connections", registry=here, multiprocess_mode="livesum"
        )
        self._by_decision: dict[tuple[str, str], Counter] = {}
        self._by_endpoint: dict[str, Histogram] = {}

    def count_decision(self, decision: Decision) -> None:
        """Count a decision, and how novel its prompt was."""
        which = decision.tier, decision.reason.value
        counter = self._by_decision.get(which)
        if counter is None:
            counter = self._by_decision[which] = self._decisions.labels(*which)
        counter.inc()
        self._novelty.observe(decision.novelty)

    def count_request(self, endpoint: str, seconds: float) -> None:
        """Count an answer."""
        histogram = self._by_endpoint.get(endpoint)
        if histogram is None:
            histogram = self._by_endpoint[endpoint] = self._seconds.labels(endpoint)
        histogram.observe(seconds)

    def count_problem(self, name: str, n: int = 1) -> None:
        """Count problems of a type."""
        self._errors.labels(name).inc(n)

    def count_reload(self, outcome: str) -> None:
        """Count a reload: "changed", "unchanged" or "refused"."""
        self._reloads.labels(outcome).inc()

    def set_load(self, in_flight: int, connections: int) -> None:
        """Say how busy this process is."""
        self._in_flight.set(in_flight)
        self._connections.set(connections)

    async def render(self, model_id: str) -> bytes:
        """Return all that is counted, in Prometheus's text format."""
        model = CollectorRegistry()
        model.register(_ModelInfo(model_id))
        return await self._render_counts() + generate_latest(model)

    async def _render_counts(self) -> bytes:
        if MULTIPROCESS_VARIABLE not in os.environ:
            return generate_latest(self._registry)
        for attempt in count():
            try:
                shown = CollectorRegistry()
                MultiProcessCollector(shown)  # type: ignore[no-untyped-call] # the library leaves it untyped
                return generate_latest(shown)
            except (OSError, struct.error):  # a file that a worker is about to begin, or that goes with one
                if attempt == _MOST_ATTEMPTS:
                    raise
                await asyncio.sleep(_PAUSE)
        raise AssertionError("counting has no end")


def forget_process(pid: int) -> None:
    """Drop the gauges of a worker that has ended; what it counted stays."""
    mark_process_dead(pid)  # type: ignore[no-untyped-call] # the library leaves it untyped


class _ModelInfo:
    """Which model serves: told as it is, so that one that was replaced leaves no label behind."""

    def __init__(self, model_id: str) -> None:
        self._model_id = model_id

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily("tierwise_model_info", "The model that decides", labels=("model_id",))
        family.add_metric((self._model_id,), 1.0)
        yield family
