"""`GET /readyz` and grpc.health.v1 while real stores die and return."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import grpc
from grpc_health.v1 import health_pb2

from tests.harness.service import serving
from tests.limits.site import FAULTS, Site

SERVICES = ("", "affix.v1.AttachmentService", "affix.v1.TaskService")
STORES = ("postgres", "redis")
UP, DOWN = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
_SECONDS = 15.0


async def ready(http: aiohttp.ClientSession, url: str) -> tuple[int, Any]:
    async with http.get(f"{url}/readyz") as answer:
        return answer.status, await answer.json()


async def statuses(channel: grpc.aio.Channel) -> list[int]:
    """Ask for the health of the services, then of the stores."""
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    names = (*SERVICES, *STORES)
    return [(await check(health_pb2.HealthCheckRequest(service=name), timeout=5)).status for name in names]


async def becomes(http: aiohttp.ClientSession, site: Site, **stores: bool) -> None:
    """Wait until the shim in process, the shim elsewhere and gRPC all say which stores are up."""
    serving = any(stores.values())
    words = {name: "up" if up else "down" for name, up in stores.items()}
    body = {"status": "ready" if serving else "not ready", "stores": words}
    expected = (
        (200 if serving else 503, body),
        (200 if serving else 503, body),
        [UP if serving else DOWN] * len(SERVICES) + [UP if stores[name] else DOWN for name in STORES],
    )
    end = asyncio.get_running_loop().time() + _SECONDS
    while True:
        urls = (site.urls[0], site.shim_url)
        found = (*[await ready(http, url) for url in urls], await statuses(site.channels[0]))
        if found == expected:
            return
        assert asyncio.get_running_loop().time() < end, found
        await asyncio.sleep(0.1)


async def test_it_says_which_store_is_out_and_is_ready_while_one_is_not(
    site: Site, http: aiohttp.ClientSession
) -> None:
    await becomes(http, site, postgres=True, redis=True)
    site.valkey.kill()
    await becomes(http, site, postgres=True, redis=False)
    await site.valkey.start()
    await becomes(http, site, postgres=True, redis=True)
    site.postgres.kill()
    await becomes(http, site, postgres=False, redis=True)
    site.valkey.kill()
    await becomes(http, site, postgres=False, redis=False)
    await site.valkey.start()
    await becomes(http, site, postgres=False, redis=True)
    await site.postgres.start()
    await becomes(http, site, postgres=True, redis=True)


async def test_without_postgres_redis_is_all_there_is(site: Site, http: aiohttp.ClientSession) -> None:
    settings = {**FAULTS, **site.stores, "AFFIX_POSTGRES_DSN": "none"}
    async with serving(settings, site.folder / "serve-alone.log") as alone:
        assert await ready(http, alone.url) == (200, {"status": "ready", "stores": {"redis": "up"}})
        site.valkey.kill()
        assert await ready(http, alone.url) == (503, {"status": "not ready", "stores": {"redis": "down"}})
        await site.valkey.start()
        assert await ready(http, alone.url) == (200, {"status": "ready", "stores": {"redis": "up"}})
    await becomes(http, site, postgres=True, redis=True)
