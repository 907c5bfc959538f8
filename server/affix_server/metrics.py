"""Numbers that a hot path can afford: counted without locks, since the event loop's thread alone counts.

prometheus_client's own take a lock for each number, several for a histogram; here counting
costs an addition, and the work is done when somebody reads `/metrics`
(docs/decisions/0026-what-seeing-may-cost.md).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

# Bounds of what is timed, in seconds: from a hit in Redis to what no call may exceed.
BOUNDS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SHOWN = (*map(floatToGoString, BOUNDS), "+Inf")


class Timings:
    """How long something took, sorted into buckets."""

    __slots__ = ("_counts", "_seconds")

    def __init__(self) -> None:
        """Begin with nothing timed."""
        self._counts = [0] * len(_SHOWN)
        self._seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Add one."""
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self._seconds += seconds

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str] = ()) -> None:
        """Show them under these labels."""
        buckets = list(zip(_SHOWN, accumulate(self._counts), strict=True))
        family.add_metric(labels, buckets, self._seconds)


class Shown(Collector):
    """Metrics that are made when somebody reads them, in the form that prometheus_client wants."""

    def __init__(self, families: Callable[[], Iterable[Metric]]) -> None:
        """Show what this gives."""
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Give the metrics as they are now (prometheus_client.registry.Collector)."""
        return self._families()


def counter(
    name: str, help_: str, labels: Sequence[str], values: Mapping[tuple[str, ...], float]
) -> CounterMetricFamily:
    """Make a counter of these values, each under its labels; `name` without `_total`."""
    family = CounterMetricFamily(name, help_, labels=labels)
    for under, value in values.items():
        family.add_metric(under, value)
    return family


def gauge(name: str, help_: str, value: float) -> GaugeMetricFamily:
    """Make a gauge without labels."""
    return GaugeMetricFamily(name, help_, value=value)


def timings(name: str, help_: str, values: Timings) -> HistogramMetricFamily:
    """Make a histogram without labels."""
    family = HistogramMetricFamily(name, help_)
    values.add_to(family)
    return family
