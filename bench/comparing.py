"""Medians of runs, and ratios of neighbouring runs."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.generators import Sample


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with the least and the most it is a median of."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def text(self, form: Callable[[float], str]) -> str:
        """Print as `median (least-most)`."""
        return f"{form(self.median)} ({form(self.least)}-{form(self.most)})"


def rates(samples: Sequence[Sample]) -> Spread:
    """Summarise requests per second."""
    return Spread.of([sample.rate for sample in samples])


def ratio(ours: Sequence[Sample], others: Sequence[Sample]) -> Spread:
    """Compare rates pair by pair: each run of ours with the other's of the same round, which saw the same machine."""
    return Spread.of([mine.rate / other.rate for mine, other in zip(ours, others, strict=True)])
