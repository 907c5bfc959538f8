"""The parts of a running server that tests reach into, to make races and partitions happen on purpose."""

# ruff: noqa: SLF001 - all reaching into private parts is done in this file

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, TypeVar, cast
from unittest.mock import patch

import psutil

from affix_server.storage.postgres.database import Connection, Database, Pool, Work
from affix_server.storage.postgres.tasks import TaskTable
from affix_server.storage.redis.client import RedisClient
from affix_server.storage.redis.pending import PendingWrites
from affix_server.storage.redis.pending_tasks import PendingTasks
from affix_server.storage.redis.task_cache import TaskCache
from affix_server.storage.writing import AttachmentWriting
from affix_server.stores import Storage
from tests.storage.outages import until

V = TypeVar("V")
Hook = Callable[[], Awaitable[object]]


@contextmanager
def interposed(target: object, method: str, *, before: Hook | None = None, after: Hook | None = None) -> Iterator[None]:
    """Run something before or after the next call of an async method, once, as if the call had been slow."""
    real = getattr(target, method)
    hooks = {"before": before, "after": after}

    async def slow(*args: Any, **kwargs: Any) -> Any:
        hook_before, hook_after = hooks.pop("before", None), hooks.pop("after", None)
        if hook_before is not None:
            await hook_before()
        try:
            return await real(*args, **kwargs)
        finally:
            if hook_after is not None:
                await hook_after()

    with patch.object(target, method, slow):
        yield
    if hooks:
        raise RuntimeError(f"{method} was never called")


@contextmanager
def postgres_refused(storage: Storage) -> Iterator[None]:
    """Keep a server's circuit to Postgres open, as it is for a while after Postgres has failed it."""
    circuit = storage.postgres_circuit
    with patch.object(circuit, "begin_probe", lambda: False):
        circuit.failed(1000)
        yield


@contextmanager
def redis_unreachable(storage: Storage) -> Iterator[None]:
    """Cut one server off from Redis: its connection breaks, and there is no other."""
    client = redis_client(storage)
    address = client._address
    client._address = replace(address, path="/nonexistent/affix.sock")
    if client._connection is not None and client._connection._transport is not None:
        client._connection._transport.abort()
    try:
        yield
    finally:
        client._address = address


def attachment_writing(storage: Storage) -> AttachmentWriting:
    """Return what takes writes of attachments through all steps."""
    return storage.attachments._writing


def redis_client(storage: Storage) -> RedisClient:
    """Return the client whose connection a server uses."""
    return storage.cache._client


def database(storage: Storage) -> Database:
    """Return the pool of connections that a server uses."""
    return storage.attachment_table._database


def task_cache(storage: Storage) -> TaskCache:
    """Return the Redis half of a server's tasks."""
    return storage.tasks._cache


def pending_writes(storage: Storage) -> PendingWrites:
    """Return what keeps and settles the pending writes of a server."""
    return storage.reconciler._drainer._pending


def pending_tasks(storage: Storage) -> PendingTasks:
    """Return what keeps and settles the pending tasks of a server."""
    return storage.reconciler._drainer._pending_tasks


def task_table(storage: Storage) -> TaskTable:
    """Return the Postgres half of a server's tasks."""
    return storage.task_table


class _Freezing:
    """A connection whose backend is stopped when a certain statement is sent, which is in its hands by then."""

    def __init__(self, connection: Connection, statement: str, stopped: list[int]) -> None:
        self._connection = connection
        self._statement = statement
        self._stopped = stopped

    async def fetch(self, sql: str, *args: object) -> Any:
        if sql == self._statement and not self._stopped:
            # Once without effect, so that the statement is prepared; the next time it leaves in one go.
            undone = self._connection.transaction()
            await undone.start()
            await self._connection.fetch(sql, *args)
            await undone.rollback()
            self._stopped.append(self._connection.get_server_pid())
            os.kill(self._stopped[0], signal.SIGSTOP)
        return await self._connection.fetch(sql, *args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@asynccontextmanager
async def frozen_with(statement: str, storage: Storage) -> AsyncIterator[None]:
    """Stop the backend that gets a server's next statement of a sort; at the end of the block it does its worst."""
    stopped: list[int] = []
    real = database(storage)._run_bounded

    async def freezing(pool: Pool, work: Work[V]) -> V:
        return await real(pool, lambda connection: work(cast("Connection", _Freezing(connection, statement, stopped))))

    with patch.object(database(storage), "_run_bounded", freezing):
        try:
            yield
        finally:
            os.kill(stopped[0], signal.SIGCONT)
        await until(lambda: not psutil.pid_exists(stopped[0]))


def purge_soon(storage: Storage) -> None:
    """Make a server look for old tombstones in its next round."""
    storage.reconciler._purge_at = 0.0
