"""The shim over HTTP on a loopback port, before a recording gRPC service on another."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc
import pytest
from aiohttp import web
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from affix_shim.app import make_app
from tests.shim.recording import Recorder

MAX_BODY_BYTES = 100_000
METRICS = b"# HELP up Whether it is.\nup 1\n"


@dataclass(frozen=True)
class Answered:
    """An HTTP response, read."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Shim:
    """A running shim."""

    url: str
    session: aiohttp.ClientSession

    async def send(
        self, body: bytes = b"", verb: str = "POST", path: str = "/rpc", headers: dict[str, str] | None = None
    ) -> Answered:
        headers = {"Content-Type": "application/json"} if headers is None else headers
        async with self.session.request(
            verb, self.url + path, data=body or None, headers=headers, skip_auto_headers=["Content-Type"]
        ) as response:
            return Answered(response.status, dict(response.headers), await response.read())

    async def call(self, method: str, params: str = "{}", headers: dict[str, str] | None = None) -> Any:
        """Call with the JSON text `params`; give the answer."""
        body = f'{{"jsonrpc":"2.0","method":"{method}","params":{params},"id":1}}'
        all_headers = {"Content-Type": "application/json", **(headers or {})}
        answered = await self.send(body.encode(), headers=all_headers)
        assert answered.status == 200
        assert answered.headers["Content-Type"] == "application/json"
        return answered.json


@dataclass(frozen=True)
class Backend:
    """The recording service and its health."""

    address: str
    recorder: Recorder
    health: Any

    async def say(self, *, serving: bool, of: str = "") -> None:
        statuses = health_pb2.HealthCheckResponse
        await self.health.set(of, statuses.SERVING if serving else statuses.NOT_SERVING)


@pytest.fixture(scope="session")
async def started_backend() -> AsyncIterator[Backend]:
    recorder = Recorder()
    checks = health.aio.HealthServicer()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(recorder.handlers())
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield Backend(f"127.0.0.1:{port}", recorder, checks)
    await server.stop(grace=1)


@pytest.fixture
def backend(started_backend: Backend) -> Backend:
    """The service, with nothing written down and nothing to answer yet."""
    started_backend.recorder.reset()
    return started_backend


@pytest.fixture
def recorder(backend: Backend) -> Recorder:
    return backend.recorder


async def _metrics() -> bytes:
    return METRICS


async def serve(target: str, **options: Any) -> AsyncIterator[Shim]:
    async with grpc.aio.insecure_channel(target) as channel, aiohttp.ClientSession() as session:
        app = make_app(channel, metrics=_metrics, max_body_bytes=MAX_BODY_BYTES, **options)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        yield Shim(f"http://{host}:{port}", session)
        await runner.cleanup()


@pytest.fixture(scope="session")
async def shim(started_backend: Backend) -> AsyncIterator[Shim]:
    async for running in serve(started_backend.address):
        yield running


@pytest.fixture
async def lonely_shim() -> AsyncIterator[Shim]:
    """A shim whose service is not there: nothing listens on port 1."""
    async for running in serve("127.0.0.1:1", timeout_seconds=20.0):
        yield running
