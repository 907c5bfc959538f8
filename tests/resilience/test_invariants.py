"""What storage.md promises, with everything in place: test_mutations.py plays the same with a part of it missing."""

from __future__ import annotations

import pytest

from tests.resilience.cases import INVARIANTS
from tests.resilience.workers import Verdicts


@pytest.mark.parametrize("case", INVARIANTS)
async def test_that(case: str, verdicts: Verdicts) -> None:
    flaw = await verdicts.flaw(case)
    assert flaw is None, flaw
