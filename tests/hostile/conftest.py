"""A server that is attacked, and somebody who uses it meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

import pytest

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from tests.harness.service import Service, serving
from tests.hostile.bystanders import Target, unharmed

# A client that stands still is let go of after so long: longer than one that is attacked beside us, on a busy
# machine, is likely to take for a request.
RECEIVE_SECONDS = 5.0


class Unharmed(Protocol):
    """Begins to look after the target while it is attacked."""

    def __call__(self) -> AbstractAsyncContextManager[None]: ...


@pytest.fixture(scope="session")
def stores(server: Service, postgres_store: EmbeddedPostgres, valkey_store: EmbeddedValkey) -> dict[str, str]:
    """The settings that name the suite's stores, migrated."""
    assert server.command.running
    return {"AFFIX_POSTGRES_DSN": postgres_store.dsn, "AFFIX_REDIS_URL": valkey_store.url}


@pytest.fixture(scope="package")
async def target(folder: Path, stores: dict[str, str]) -> AsyncIterator[Target]:
    settings = stores | {"AFFIX_RECEIVE_TIMEOUT_SECONDS": str(RECEIVE_SECONDS)}
    async with serving(settings, folder / "attacked.log") as service:
        yield Target.of(service)


@pytest.fixture
def attack(target: Target) -> Unharmed:
    """While inside, others are served on both wires; afterwards the process lives, and is no larger than it should."""
    return lambda: unharmed(target)
