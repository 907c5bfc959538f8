"""`GET /events` beyond what every way to watch has in common."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from affix_server.storage.redis.event_stream import resume_token
from affix_shim import server_sent_events
from tests.harness.grpc_wire import GrpcWire
from tests.harness.jsonrpc_wire import JsonRpcWire
from tests.harness.samples import create
from tests.harness.service import Service
from tests.shim.conftest import serve

_PATIENCE_SECONDS = 10.0


@pytest.mark.parametrize(
    ("query", "last", "status", "code"),
    [
        ("?taskId=no/slash", None, 400, -32602),
        ("?view=half", None, 400, -32602),
        ("?task=t", None, 400, -32602),
        ("?taskId=a&taskId=b", None, 400, -32602),
        ("?taskId=%ff", None, 400, -32602),
        ("", "nonsense", 400, -32602),
        ("", resume_token(b"1-1"), 410, -32005),
    ],
)
async def test_what_cannot_begin_is_an_http_error(
    jsonrpc: JsonRpcWire, http: aiohttp.ClientSession, query: str, last: str | None, status: int, code: int
) -> None:
    headers = {} if last is None else {"Last-Event-ID": last}
    async with http.get(f"{jsonrpc.url}/events{query}", headers=headers) as response:
        assert (response.status, response.content_type) == (status, "application/json")
        assert (await response.json())["error"]["code"] == code


async def test_the_header_goes_before_the_query(
    jsonrpc: JsonRpcWire, http: aiohttp.ClientSession, grpc_wire: GrpcWire, task: str, redis: Redis
) -> None:
    """A browser that comes back sends the query of the beginning and the id of the end."""
    await create(grpc_wire, task, "k")
    newest: Any = await redis.xrevrange("cb:stream:attachments", count=1)
    last = resume_token(newest[0][0].encode())
    params = {"taskId": task, "resumeToken": resume_token(b"1-1")}
    async with http.get(f"{jsonrpc.url}/events", params=params, headers={"Last-Event-ID": last}) as response:
        assert response.status == 200
        assert response.headers["Cache-Control"] == "no-store"
        assert (await response.content.readline()).decode() == f"id: {last}\n"


async def test_an_idle_stream_shows_that_it_lives(
    server: Service, absent_task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_sent_events, "KEEPALIVE_SECONDS", 0.05)
    async for shim in serve(server.grpc_address):
        async with (
            asyncio.timeout(_PATIENCE_SECONDS),
            shim.session.get(f"{shim.url}/events", params={"taskId": absent_task}) as response,
        ):
            lines = [(await response.content.readline()).decode() for _ in range(8)]
            assert lines[1:3] == ["event: started\n", 'data: {"type":"started"}\n']
            assert lines[4:] == [":\n", "\n", ":\n", "\n"]
