"""Every scenario with everything in place, and with each mechanism taken out that it must miss."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from contextlib import nullcontext
from dataclasses import dataclass

from tests.resilience.mutations import MUTATIONS
from tests.resilience.mutations.patching import Mutation
from tests.resilience.scenarios import (
    conditions,
    deletion,
    doubt,
    draining,
    expiry,
    forward,
    freezing,
    identity,
    lists,
    pending,
    returning,
    rights,
    task_deletion,
    task_races,
    tasks,
    watching,
)
from tests.resilience.world import Scenario, Stores, open_pair

# Far longer than any of them takes.
_PATIENCE_SECONDS = 30

_MODULES = (
    forward,
    lists,
    conditions,
    identity,
    deletion,
    pending,
    draining,
    doubt,
    returning,
    freezing,
    watching,
    tasks,
    task_deletion,
    task_races,
    expiry,
    rights,
)
SCENARIOS: tuple[Scenario, ...] = tuple(
    function
    for module in _MODULES
    for name, function in vars(module).items()
    if inspect.iscoroutinefunction(function) and function.__module__ == module.__name__
    # Scenarios are public and take a world and nothing else.
    if not name.startswith("_") and list(inspect.signature(function).parameters) == ["world"]
)


@dataclass(frozen=True)
class Case:
    """A scenario, and what is taken out when it is played, if anything."""

    scenario: Scenario
    mutation: Mutation | None = None

    @property
    def name(self) -> str:
        """What it is called among all cases."""
        scenario = self.scenario.__name__.replace("_", " ")
        return scenario if self.mutation is None else f"{self.mutation.name} / {scenario}"

    async def flaw(self, stores: Stores) -> str | None:
        """Play it on stores that nobody else uses meanwhile, and tell what was not as it should be."""
        try:
            await self._play(stores)
        except AssertionError:
            return None if self.mutation else traceback.format_exc()
        except Exception:  # noqa: BLE001 - whatever it is, it is neither a promise kept nor one seen to be broken
            return traceback.format_exc()
        return "nobody noticed" if self.mutation else None

    async def _play(self, stores: Stores) -> None:
        with self.mutation.change() if self.mutation else nullcontext():
            async with open_pair(stores) as world, asyncio.timeout(_PATIENCE_SECONDS):
                await self.scenario(world)


INVARIANTS = {case.name: case for case in map(Case, SCENARIOS)}
MUTANTS = {case.name: case for one in MUTATIONS for case in (Case(scenario, one) for scenario in one.noticed_by)}
EVERYTHING = {**INVARIANTS, **MUTANTS}
