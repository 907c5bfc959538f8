"""Stores of this folder's own, to be taken away and given back; workers with theirs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.resilience.workers import Verdicts, working
from tests.resilience.world import Pair, Stores, open_pair, open_stores


@pytest.fixture(scope="package")
async def stores() -> AsyncIterator[Stores]:
    async with open_stores() as opened:
        yield opened


@pytest.fixture
async def world(stores: Stores) -> AsyncIterator[Pair]:
    async with open_pair(stores) as pair:
        yield pair


@pytest.fixture(scope="package")
async def verdicts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Verdicts]:
    """Have all cases played that were asked for."""
    calls = [
        item.callspec
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
    ]
    names = [str(call.params["case"]) for call in calls if "case" in call.params]
    async with working(names, tmp_path_factory.mktemp("workers")) as playing:
        yield playing
