"""Counts and times calls under the names that gRPC's own dashboards expect."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from affix_server.calls import Method
from affix_server.metrics import Shown, Timings

UNARY, SERVER_STREAM = "unary", "server_stream"
_LABELS = ("grpc_type", "grpc_service", "grpc_method")


class MethodCalls:
    """The calls of one method."""

    __slots__ = ("_codes", "ok", "started", "timings")

    def __init__(self) -> None:
        """Begin with none."""
        self.started = 0
        self.ok = 0
        self.timings = Timings()
        self._codes: dict[str, int] = {}

    def failed(self, code: str) -> None:
        """Count a call that ended with another status than OK."""
        self._codes[code] = self._codes.get(code, 0) + 1

    def codes(self) -> Iterable[tuple[str, int]]:
        """Tell how many calls ended with which status; OK is always there."""
        return (("OK", self.ok), *self._codes.items())


class CallMetrics:
    """The calls of all methods. A stream is not timed: it lasts as long as it is wanted."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Put the metrics into `registry`."""
        self._methods: dict[tuple[str, str, str], MethodCalls] = {}
        registry.register(Shown(self._shown))

    def of(self, method: Method, type_: str) -> MethodCalls:
        """Return where the calls of a method are counted."""
        return self._methods.setdefault((type_, method.service, method.name), MethodCalls())

    def _shown(self) -> Iterable[Metric]:
        started = CounterMetricFamily("grpc_server_started", "Calls begun, by method", labels=_LABELS)
        handled = CounterMetricFamily(
            "grpc_server_handled", "Calls completed, by method and status", labels=(*_LABELS, "grpc_code")
        )
        seconds = HistogramMetricFamily(
            "grpc_server_handling_seconds", "Time from the request to the answer", labels=_LABELS
        )
        for labels, calls in self._methods.items():
            started.add_metric(labels, calls.started)
            for code, number in calls.codes():
                handled.add_metric((*labels, code), number)
            if labels[0] == UNARY:
                calls.timings.add_to(seconds, labels)
        return (started, handled, seconds)
