"""Baseline `relay`: bare aiohttp that passes bytes on to `echo-grpc` over loopback and its answer back.

    python -m bench.baselines.relay TARGET

`POST /{name}` is passed on to `/echo/{name}` as it is: what the hop between a shim and a server costs, nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from aiohttp import web

from bench.baselines import listening
from bench.baselines.echo_grpc import OPTIONS

_HEADERS = {"Content-Type": "application/json"}
_MAX_BODY_BYTES = 64 * 1024 * 1024


class _Relay:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._calls: dict[str, grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = {}

    async def handle(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        call = self._calls.get(name)
        if call is None:
            call = self._calls[name] = self._channel.unary_unary(f"/echo/{name}")
        return web.Response(body=await call(await request.read()), headers=_HEADERS)


@asynccontextmanager
async def _open() -> AsyncIterator[str]:
    async with grpc.aio.insecure_channel(sys.argv[1], options=OPTIONS) as channel:
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.router.add_post("/{name}", _Relay(channel).handle)
        async with listening.http(app) as address:
            yield address


if __name__ == "__main__":
    listening.run(_open)
