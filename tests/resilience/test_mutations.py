"""Each mechanism is needed: without it, a promise of storage.md is broken, and a scenario notices."""

from __future__ import annotations

import pytest

from tests.resilience.cases import MUTANTS
from tests.resilience.workers import Verdicts


@pytest.mark.parametrize("case", MUTANTS)
async def test_it_is_noticed_that(case: str, verdicts: Verdicts) -> None:
    flaw = await verdicts.flaw(case)
    assert flaw is None, flaw
