"""Servers are replaced one by one under load, and no caller notices."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.harness.service import Service, serving
from tests.running.balancer import Balancer, balancing
from tests.running.load import calling

# Long enough for the balancer to ask, for every caller to make a call, and for connections to reach half of it.
PAUSE = {"AFFIX_DRAIN_PAUSE_SECONDS": "2"}


class Turns:
    """Servers that take turns behind a balancer."""

    def __init__(self, balancer: Balancer, settings: Mapping[str, str], folder: Path) -> None:
        self._balancer = balancer
        self._settings = settings
        self._folder = folder
        self._serving: list[tuple[Service, AsyncExitStack]] = []

    async def begin(self) -> None:
        """Add a server."""
        stack = AsyncExitStack()
        log = self._folder / f"turn-{secrets.token_hex(4)}.log"
        server = await stack.enter_async_context(serving(self._settings, log))
        self._serving.append((server, stack))
        await self._balancer.add(server)

    async def end(self) -> None:
        """Stop the oldest server as an operator would (SIGTERM), and see it end well."""
        server, stack = self._serving.pop(0)
        await stack.aclose()
        await self._balancer.gone(server)

    async def end_all(self) -> None:
        while self._serving:
            await self.end()


@pytest.mark.parametrize(("workers", "rounds"), [("1", 2), ("2", 1)])
async def test_no_call_fails_while_servers_are_replaced(
    workers: str, rounds: int, stores: Mapping[str, str], folder: Path, task: str
) -> None:
    settings = {**stores, **PAUSE, "AFFIX_WORKERS": workers}
    async with balancing() as balancer:
        turns = Turns(balancer, settings, folder)
        try:
            await turns.begin()
            async with calling(balancer.grpc, balancer.url, task) as load:
                await load.more(50)
                for _ in range(rounds):
                    await turns.begin()
                    await load.more(50)
                    await turns.end()
                    await load.more(50)
                assert load.failures == []
        finally:
            await turns.end_all()
