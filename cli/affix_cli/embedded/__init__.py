"""Real PostgreSQL and Valkey without installing either, for `affix up` and the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from affix_cli.embedded.lock import DataLock, held
from affix_cli.embedded.postgres import EmbeddedPostgres
from affix_cli.embedded.valkey import EmbeddedValkey
from affix_server.config import NO_POSTGRES

__all__ = ["REDIS_ONLY", "EmbeddedPostgres", "EmbeddedValkey", "Stores", "embedded_stores"]

REDIS_ONLY = "redis-only"


@dataclass(frozen=True, slots=True)
class Stores:
    """Where the stores listen (`none` for a Postgres that is not wanted), and the lock on their folder."""

    postgres_dsn: str
    redis_url: str
    lock: DataLock


@asynccontextmanager
async def embedded_stores(data_dir: Path, *, with_postgres: bool = True) -> AsyncIterator[Stores]:
    """Run the stores in a folder, made if need be, and stop them, and nothing else, at the end.

    Data survive. Raises Failure when the folder is in use by another process
    of Affix or a store cannot be started; nothing is left running then.
    """
    async with AsyncExitStack() as stack:
        lock = stack.enter_context(held(data_dir))
        # What Redis keeps alone is not what it keeps for a Postgres: neither may be taken for the other.
        valkey = EmbeddedValkey(data_dir if with_postgres else data_dir / REDIS_ONLY)
        postgres = EmbeddedPostgres(data_dir) if with_postgres else None
        for store in (valkey, postgres):
            if store is not None:
                await store.start()
                stack.push_async_callback(store.stop)
        yield Stores(postgres.dsn if postgres is not None else NO_POSTGRES, valkey.url, lock)
