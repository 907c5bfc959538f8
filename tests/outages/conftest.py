"""A service on stores of this folder's own, which are taken away, and its three wires in place of the suite's."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import grpc
import pytest

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from tests.conftest import JSONRPC_WIRES
from tests.harness.grpc_wire import OPTIONS, GrpcWire
from tests.harness.jsonrpc_wire import JsonRpcWire
from tests.harness.openrpc import DescribedWire
from tests.harness.service import Service, migrate, serving, shimming
from tests.harness.wire import Wire

_FAULTS = {"AFFIX_OPERATION_TIMEOUT_SECONDS": "2", "AFFIX_CIRCUIT_THRESHOLD": "3", "AFFIX_CIRCUIT_OPEN_SECONDS": "0.3"}


@dataclass(frozen=True)
class Site:
    """A service that accepts writes without PostgreSQL, and one that refuses them, on the same stores."""

    postgres: EmbeddedPostgres
    accepting: Service
    refusing: Service


@pytest.fixture(scope="package")
async def site() -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="affix-")))
        postgres, valkey = EmbeddedPostgres(folder, options={"fsync": "off"}), EmbeddedValkey(folder)
        for store in (postgres, valkey):
            await store.start()
            stack.push_async_callback(store.stop)
        settings = {**_FAULTS, "AFFIX_POSTGRES_DSN": postgres.dsn, "AFFIX_REDIS_URL": valkey.url}
        await migrate(settings, folder / "migrate.log")
        accepting = await stack.enter_async_context(serving(settings, folder / "accepting.log"))
        settings["AFFIX_WHEN_POSTGRES_DOWN"] = "refuse"
        refusing = await stack.enter_async_context(serving(settings, folder / "refusing.log"))
        yield Site(postgres, accepting, refusing)


@pytest.fixture(scope="package")
async def wires(site: Site, http: aiohttp.ClientSession) -> AsyncIterator[dict[str, Wire]]:
    """All three lead to the service that accepts."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="affix-")))
        channel = grpc.aio.insecure_channel(site.accepting.grpc_address, options=OPTIONS)
        await stack.enter_async_context(channel)
        shim_url = await stack.enter_async_context(shimming(site.accepting.grpc_address, folder / "shim.log"))
        urls = dict(zip(JSONRPC_WIRES, (site.accepting.url, shim_url), strict=True))
        yield {"grpc": GrpcWire(channel), **{name: DescribedWire(name, url, http) for name, url in urls.items()}}


@pytest.fixture
def refused(site: Site, http: aiohttp.ClientSession) -> JsonRpcWire:
    """The way to the service that refuses."""
    return JsonRpcWire("jsonrpc", site.refusing.url, http)
