"""Numbers that every request adds to: plain additions, since the event loop's thread alone counts.

prometheus_client's own take a lock for each number, several for a histogram; here the work is done when somebody
reads `/metrics`. The service counts its calls in the same way (affix_server/metrics.py), which the shim may not import.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Counts(Collector):
    """A counter with two labels, the second of which is a number."""

    def __init__(self, name: str, help_: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        """Put the counter into `registry`; `name` without `_total`."""
        self._shown = (name, help_)
        self._labels = labels
        self._counts: dict[tuple[str, int], int] = {}
        registry.register(self)

    def add(self, name: str, number: int) -> None:
        """Count one more under these labels."""
        labels = (name, number)
        self._counts[labels] = self._counts.get(labels, 0) + 1

    def collect(self) -> Iterable[Metric]:
        """Give the counter as it is now (prometheus_client.registry.Collector)."""
        family = CounterMetricFamily(*self._shown, labels=self._labels)
        for (name, number), count in self._counts.items():
            family.add_metric((name, str(number)), count)
        return (family,)


class Timings(Collector):
    """A histogram of seconds with one label."""

    BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
    _SHOWN: Final = (*map(floatToGoString, BOUNDS), "+Inf")

    def __init__(self, name: str, help_: str, label: str, registry: CollectorRegistry) -> None:
        """Put the histogram into `registry`."""
        self._shown = (name, help_)
        self._label = label
        self._counts: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}
        registry.register(self)

    def observe(self, label: str, seconds: float) -> None:
        """Add one."""
        counts = self._counts.get(label)
        if counts is None:
            counts = self._counts[label] = [0] * len(self._SHOWN)
            self._seconds[label] = 0.0
        counts[bisect_left(self.BOUNDS, seconds)] += 1
        self._seconds[label] += seconds

    def collect(self) -> Iterable[Metric]:
        """Give the histogram as it is now (prometheus_client.registry.Collector)."""
        family = HistogramMetricFamily(*self._shown, labels=(self._label,))
        for label, counts in self._counts.items():
            buckets = list(zip(self._SHOWN, accumulate(counts), strict=True))
            family.add_metric((label,), buckets, self._seconds[label])
        return (family,)
