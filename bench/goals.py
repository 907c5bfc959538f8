"""The goals, and which of them a run meets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.comparing import Spread, ratio
from bench.generators import Sample

# case -> subject -> runs
Samples = Mapping[str, Mapping[str, Sequence[Sample]]]


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as fast one subject of a case is as another."""

    case: str
    ours: str
    other: str

    def of(self, samples: Samples) -> Spread | None:
        """Compute it; None if it was not measured."""
        case = samples.get(self.case, {})
        if self.ours not in case or self.other not in case:
            return None
        return ratio(case[self.ours], case[self.other])


@dataclass(frozen=True, slots=True)
class P99:
    """The 99th percentile of a subject, in ms."""

    case: str
    subject: str

    def of(self, samples: Samples) -> Spread | None:
        """Compute it; None if it was not measured."""
        runs = samples.get(self.case, {}).get(self.subject)
        return None if runs is None else Spread.of([run.p99_ms for run in runs])


@dataclass(frozen=True, slots=True)
class Growth:
    """By which part memory grew over the second half of a million operations; `make bench-costs` measures it."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure that has to be at least, or at most, so much."""

    what: str
    wording: str
    figure: Ratio | P99 | Growth
    least: float | None = None
    most: float | None = None

    def met_by(self, value: float) -> bool:
        """Tell whether a figure is good enough."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A goal with what was measured; None where nothing was."""

    goal: Goal
    figure: Spread | None

    @property
    def verdict(self) -> str:
        """Say it in words."""
        if self.figure is None:
            return "not measured"
        return "met" if self.goal.met_by(self.figure.median) else "NOT MET"


_HTTP, _GRPC = "get-300-http", "get-300-grpc"
_1MB = "1 MB markdown get"
_P99 = "p99, 64 callers, half the peak"

GOALS = (
    Goal("gRPC get, hot", ">= 0.80 of echo-grpc", Ratio(_GRPC, "affix", "echo-grpc"), least=0.80),
    Goal("JSON-RPC get, hot, in process", ">= 0.60 of echo-http", Ratio(_HTTP, "affix", "echo-http"), least=0.60),
    Goal("JSON-RPC get, hot, in process", ">= 2.5 x relay", Ratio("hop", "affix", "relay"), least=2.5),
    Goal("JSON-RPC get, hot, in process", ">= 1.8 x plain", Ratio(_HTTP, "affix", "plain"), least=1.8),
    Goal("JSON-RPC get, separate shim", ">= 0.80 of relay", Ratio("hop", "shim", "relay"), least=0.80),
    Goal("create, 64 callers, JSON-RPC", ">= 2 x plain", Ratio("create-300-http", "affix", "plain"), least=2.0),
    Goal("create, JSON-RPC", ">= 0.35 of our get", Ratio("create-300-http", "affix", "affix-get"), least=0.35),
    Goal("create, gRPC", ">= 0.35 of our get", Ratio("create-300-grpc", "affix", "affix-get"), least=0.35),
    Goal("list 50 of 100,000", "<= 1.15 x time of 50 of 50", Ratio("list", "affix", "affix-of-100000"), most=1.15),
    Goal("list 50", ">= 2 x plain", Ratio("list", "affix", "plain"), least=2.0),
    Goal("batch of 10", ">= 3 x plain", Ratio("batch", "affix-10", "plain-10"), least=3.0),
    Goal("batch of 100", ">= 3 x plain", Ratio("batch", "affix-100", "plain-100"), least=3.0),
    Goal("batch of 100", "<= 4 x time of 10", Ratio("batch", "affix-10", "affix-100"), most=4.0),
    Goal(f"{_P99}, get, JSON-RPC", "<= 10 ms", P99("half-load", "get-http"), most=10.0),
    Goal(f"{_P99}, get, gRPC", "<= 10 ms", P99("half-load", "get-grpc"), most=10.0),
    Goal(f"{_P99}, create, JSON-RPC", "<= 25 ms", P99("half-load", "create-http"), most=25.0),
    Goal(f"{_P99}, create, gRPC", "<= 25 ms", P99("half-load", "create-grpc"), most=25.0),
    Goal(f"{_1MB}, JSON-RPC", ">= 0.5 of echo-http", Ratio("get-1000000-http", "affix", "echo-http"), least=0.5),
    Goal(f"{_1MB}, gRPC", ">= 0.5 of echo-grpc", Ratio("get-1000000-grpc", "affix", "echo-grpc"), least=0.5),
    Goal("memory over the second half of 1,000,000", "no growth (<= 1 %)", Growth(), most=0.01),
)


def outcomes(samples: Samples, growth: Spread | None) -> list[Outcome]:
    """Compare every goal with what was measured; `growth` is None where that was not."""
    return [Outcome(goal, growth if isinstance(goal.figure, Growth) else goal.figure.of(samples)) for goal in GOALS]
