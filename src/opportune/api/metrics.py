"""What is counted: requests, events, decisions by mode, removals by reason, latency. One registry per process.

With several workers every process counts for itself and a scrape reaches one of them; see docs/http.md.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from opportune.domain.decisions import Decision
from opportune.flows.freshness import Freshness
from opportune.flows.health import Health

_LATENCY_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The numbers of one process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = r = CollectorRegistry()
        self._requests = Counter(
            "opportune_http_requests", "Requests answered.", ("method", "path", "status"), registry=r
        )
        self._seconds = Histogram(
            "opportune_http_request_seconds",
            "Time to answer, in seconds.",
            ("method", "path"),
            registry=r,
            buckets=_LATENCY_S,
        )
        self._events = Counter("opportune_events", "Events by what became of them.", ("result",), registry=r)
        self._decisions = Counter("opportune_decisions", "Decisions by mode.", ("mode",), registry=r)
        self._degraded = Counter("opportune_decisions_degraded", "Decisions without the feature store.", registry=r)
        self._messages = Counter("opportune_messages", "Messages chosen.", ("campaign", "channel"), registry=r)
        self._removals = Counter("opportune_removals", "Candidates removed.", ("stage", "reason"), registry=r)
        self._batch = Histogram(
            "opportune_batch_size",
            "Requests that shared one commit.",
            ("kind",),
            registry=r,
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
        )
        self._waiting = Gauge("opportune_waiting", "Asks or events queued for a worker.", ("kind",), registry=r)
        self._lag = Gauge(
            "opportune_features_lag_seconds", "Age of the oldest commit a Feast view lacks.", ("view",), registry=r
        )
        self._unprojected = Gauge(
            "opportune_features_waiting", "Customers whose newest state is not in the online store.", registry=r
        )
        self._coverage = Gauge(
            "opportune_features_coverage",
            "Share of customers whose newest state is in the online store.",
            ("view",),
            registry=r,
        )
        self._skew = Gauge(
            "opportune_features_worst_mismatch_share",
            "Worst feature of the last consistency check: share of served vectors that differ offline; NaN before it.",
            registry=r,
        )
        self._skew.set(math.nan)
        self._checked = Gauge(
            "opportune_features_checked_timestamp_seconds",
            "When the last consistency check compared something, seconds since 1970; NaN before the first.",
            registry=r,
        )
        self._checked.set(math.nan)
        self._well = Gauge(
            "opportune_source_well",
            "1 while a source of events gives its signs of life, else 0.",
            ("source",),
            registry=r,
        )
        self._settled = Gauge(
            "opportune_source_settles_in_seconds",
            "How long absence triggers still wait for a source's backlog after a fault; 0: they do not.",
            ("source",),
            registry=r,
        )
        self._removal_of: dict[tuple[str, str], Counter] = {}
        self._message_of: dict[tuple[str, str], Counter] = {}
        self._mode_of: dict[str, Counter] = {}

    def watch(self, method: str, path: str) -> Callable[[int, float], None]:
        """A function that counts one answer of this endpoint: status and seconds."""
        seconds: list[Histogram] = []
        by_status: dict[int, Counter] = {}

        def count(status: int, took_s: float) -> None:
            child = by_status.get(status)
            if child is None:
                child = by_status[status] = self._requests.labels(method, path, str(status))
            child.inc()
            if not seconds:
                seconds.append(self._seconds.labels(method, path))
            seconds[0].observe(took_s)

        return count

    def events(self, n_accepted: int, n_rejected: int) -> None:
        """Count events of one request."""
        if n_accepted:
            self._events.labels("accepted").inc(n_accepted)
        if n_rejected:
            self._events.labels("rejected").inc(n_rejected)

    def decided(self, decisions: Sequence[Decision]) -> None:
        """Count decisions, what they chose and what they removed and why. Called from the worker thread only."""
        for decision in decisions:
            mode = self._mode_of.get(decision.mode)
            if mode is None:
                mode = self._mode_of[decision.mode] = self._decisions.labels(str(decision.mode))
            mode.inc()
            if decision.degraded:
                self._degraded.inc()
            for message in decision.messages:
                key = (message.campaign, message.channel)
                child = self._message_of.get(key)
                if child is None:
                    child = self._message_of[key] = self._messages.labels(*key)
                child.inc()
            for removal in decision.removed:
                key = (removal.stage, removal.reason)
                child = self._removal_of.get(key)
                if child is None:
                    child = self._removal_of[key] = self._removals.labels(str(removal.stage), str(removal.reason))
                child.inc()

    def batches(self, kind: str, waiting: Callable[[], int]) -> Callable[[int], None]:
        """A function that records the size of one shared commit of this kind; `waiting` is read at scrape time."""
        self._waiting.labels(kind).set_function(waiting)
        return self._batch.labels(kind).observe

    def fresh(self, freshness: Freshness) -> None:
        """Set what the ledger says of the derived features."""
        for view, lag_s in freshness.lag_s.items():
            self._lag.labels(view).set(lag_s)
        self._unprojected.set(freshness.n_waiting)
        self._coverage.labels("customer_state").set(freshness.coverage)
        if freshness.worst_share is not None:
            self._skew.set(freshness.worst_share)
        if freshness.checked_at is not None:
            self._checked.set(freshness.checked_at.timestamp())

    def sources(self, found: Mapping[str, Health], now: datetime) -> None:
        """Set how the sources of events are."""
        for name, one in found.items():
            self._well.labels(name).set(1 if one.is_well else 0)
            waits_s = (one.settled_at - now).total_seconds() if one.settled_at is not None else 0.0
            self._settled.labels(name).set(max(waits_s, 0.0))

    def text(self) -> bytes:
        """The Prometheus exposition format."""
        return generate_latest(self.registry)
