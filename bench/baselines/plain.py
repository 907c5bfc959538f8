"""Baseline `plain`: what a good engineer would write in a day without Affix: aiohttp, redis-py and asyncpg.

    python -m bench.baselines.plain DSN REDIS_URL

JSON-RPC for get, create, list and batch with the semantics of Affix where both stores are there: PostgreSQL decides,
Redis answers, a miss is filled in, tasks must exist, events go out. Each request makes its own round trips; several
keys of one request share a pipeline, as redis-py's users would have it. Nothing is gathered across requests.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec
from aiohttp import web
from redis.asyncio import BlockingConnectionPool, Redis

from bench.baselines import listening
from bench.baselines.plain_store import NotFoundError, Store

_MAX_BODY_BYTES = 64 * 1024 * 1024
_CONNECTIONS = 32
_HEADERS = {"Content-Type": "application/json"}

Params = dict[str, Any]


class InvalidParamsError(Exception):
    """A parameter is missing or not what it has to be."""


class _Methods:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._methods: dict[str, Callable[[Params], Awaitable[object]]] = {
            "task.create": self._create_task,
            "task.create_attachment": self._create,
            "task.get_attachment": self._get,
            "task.list_attachments": self._list,
            "task.get_attachments_batch": self._batch,
        }

    async def handle(self, request: web.Request) -> web.Response:
        call = msgspec.json.decode(await request.read())
        try:
            method = self._methods[call["method"]]
            answer = {"jsonrpc": "2.0", "result": await method(call.get("params", {})), "id": call.get("id")}
        except (InvalidParamsError, NotFoundError) as error:
            answer = {"jsonrpc": "2.0", "error": {"code": -32602, "message": str(error)}, "id": call.get("id")}
        return web.Response(body=msgspec.json.encode(answer), headers=_HEADERS)

    async def _create_task(self, params: Params) -> object:
        await self._store.create_task(_text(params, "id", 128), _text(params, "text", 500))
        return {"id": params["id"]}

    async def _create(self, params: Params) -> object:
        type_ = _text(params, "type", 10)
        member = "value" if type_ == "json" else "content"
        if member not in params or type_ not in {"json", "markdown", "text"}:
            raise InvalidParamsError(f"{member} is required")
        content = params[member]
        if member == "value":
            content = msgspec.json.encode(content).decode()
        elif not isinstance(content, str):
            raise InvalidParamsError("content must be a string")
        return await self._store.create(_text(params, "taskId", 128), _text(params, "key", 100), type_, content)

    async def _get(self, params: Params) -> object:
        return await self._store.get(_text(params, "taskId", 128), _text(params, "key", 100))

    async def _list(self, params: Params) -> object:
        limit, offset = params.get("limit", 50), params.get("offset", 0)
        if not (isinstance(limit, int) and 1 <= limit <= 100 and isinstance(offset, int) and offset >= 0):  # noqa: PLR2004
            raise InvalidParamsError("limit must be 1 to 100, offset 0 or more")
        return await self._store.page(_text(params, "taskId", 128), limit, offset)

    async def _batch(self, params: Params) -> object:
        requests = params.get("requests")
        if not isinstance(requests, list) or not 1 <= len(requests) <= 100:  # noqa: PLR2004
            raise InvalidParamsError("requests must be a list of 1 to 100")
        return await self._store.batch([(_text(one, "taskId", 128), _text(one, "key", 100)) for one in requests])


def _text(params: Params, name: str, most: int) -> str:
    value = params.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= most:
        raise InvalidParamsError(f"{name} must be a string of 1 to {most} characters")
    return value


@asynccontextmanager
async def _open() -> AsyncIterator[str]:
    dsn, url = sys.argv[1:]
    connections = BlockingConnectionPool.from_url(url, max_connections=_CONNECTIONS, decode_responses=True)
    async with (
        asyncpg.create_pool(dsn, min_size=_CONNECTIONS, max_size=_CONNECTIONS) as pool,
        Redis.from_pool(connections) as redis,
    ):
        store = Store(pool, redis)
        await store.prepare()
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.router.add_post("/rpc", _Methods(store).handle)
        async with listening.http(app) as address:
            yield address


if __name__ == "__main__":
    listening.run(_open)
