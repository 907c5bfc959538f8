"""Connections to Postgres that end in the middle of something."""

from __future__ import annotations

import pytest

from affix_server.errors import StorageUnavailableError
from affix_server.storage.postgres.database import Connection
from affix_server.stores import Storage
from tests.resilience.inside import database


async def test_a_connection_that_is_gone_is_a_fault_of_the_store(storage: Storage) -> None:
    async def work(connection: Connection) -> None:
        connection.terminate()
        # As asyncpg does when the connection ends while it prepares a statement.
        raise AttributeError("'NoneType' object has no attribute '_get_timeout'")

    with pytest.raises(StorageUnavailableError):
        await database(storage).run(work)


async def test_a_fault_of_ours_is_not_one_of_the_store(storage: Storage) -> None:
    async def work(_: Connection) -> None:
        raise AttributeError("of ours")

    with pytest.raises(AttributeError):
        await database(storage).run(work)
