"""Real PostgreSQL and Valkey without installing either, for `affix up` and the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from affix_cli.embedded.lock import DataLock, held
from affix_cli.embedded.postgres import EmbeddedPostgres
from affix_cli.embedded.valkey import EmbeddedValkey

__all__ = ["EmbeddedPostgres", "EmbeddedValkey", "Stores", "embedded_stores"]


@dataclass(frozen=True, slots=True)
class Stores:
    """Where the two stores listen, and the lock on their folder."""

    postgres_dsn: str
    redis_url: str
    lock: DataLock


@asynccontextmanager
async def embedded_stores(data_dir: Path) -> AsyncIterator[Stores]:
    """Run both stores in a folder, made if need be, and stop them, and nothing else, at the end.

    Data survive. Raises Failure when the folder is in use by another process
    of Affix or a store cannot be started; nothing is left running then.
    """
    async with AsyncExitStack() as stack:
        lock = stack.enter_context(held(data_dir))
        valkey, postgres = EmbeddedValkey(data_dir), EmbeddedPostgres(data_dir)
        for store in (valkey, postgres):
            await store.start()
            stack.push_async_callback(store.stop)
        yield Stores(postgres.dsn, valkey.url, lock)
