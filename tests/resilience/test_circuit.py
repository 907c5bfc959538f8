"""The circuit breaker against a model of a few lines, on a clock that is told the time."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from affix_server.errors import CircuitOpenError
from affix_server.resilience import Circuit, CircuitState

_THRESHOLD, _OPEN_SECONDS = 3, 30.0


class CircuitMachine(RuleBasedStateMachine):
    """What a circuit is: failures in a row while it is closed, the time of the next probe, whether one is under way."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.failures = 0
        self.probe_at: float | None = None
        self.probing = False
        self.circuit = Circuit("test", threshold=_THRESHOLD, open_seconds=_OPEN_SECONDS, clock=lambda: self.now)

    @rule(seconds=st.sampled_from([0.0, 1.0, 29.0, 30.0, 31.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(times=st.integers(1, 2 * _THRESHOLD))
    def calls_fail(self, times: int) -> None:
        self.circuit.failed(times)
        if self.probe_at is None:
            self.failures += times
            if self.failures >= _THRESHOLD:
                self.probe_at = self.now + _OPEN_SECONDS

    @rule()
    def a_call_succeeds(self) -> None:
        self.circuit.succeeded()
        if self.probe_at is None:
            self.failures = 0

    @rule()
    def somebody_would_probe(self) -> None:
        due = self.probe_at is not None and not self.probing and self.now >= self.probe_at
        assert self.circuit.begin_probe() is due
        self.probing = self.probing or due

    @rule()
    def the_store_is_well(self) -> None:
        self.circuit.close()
        self.failures, self.probe_at, self.probing = 0, None, False

    @precondition(lambda self: self.probing)
    @rule()
    def the_probe_fails(self) -> None:
        self.circuit.reopen()
        self.probe_at, self.probing = self.now + _OPEN_SECONDS, False

    @invariant()
    def calls_pass_when_it_is_closed_and_only_then(self) -> None:
        assert self.circuit.is_closed is (self.probe_at is None)
        if self.probe_at is None:
            self.circuit.check()
            return
        with pytest.raises(CircuitOpenError) as refused:
            self.circuit.check()
        assert refused.value.retry_after_ms == max(int((self.probe_at - self.now) * 1000), 1)

    @invariant()
    def its_state_says_so(self) -> None:
        state = CircuitState.CLOSED if self.probe_at is None else CircuitState.OPEN
        assert self.circuit.state is (CircuitState.HALF_OPEN if self.probing else state)


CircuitMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None, database=None)
TestCircuit = CircuitMachine.TestCase
