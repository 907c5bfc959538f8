"""Baseline `echo-http`: bare aiohttp that answers with bytes it was given at the start.

    python -m bench.baselines.echo_http FOLDER

`POST /{name}` reads the request and answers with the bytes of `FOLDER/{name}`: the most that aiohttp can do in one
process.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from bench.baselines import listening

_HEADERS = {"Content-Type": "application/json"}
_MAX_BODY_BYTES = 64 * 1024 * 1024


class _Echo:
    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    async def handle(self, request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=self._answer, headers=_HEADERS)


@asynccontextmanager
async def _open() -> AsyncIterator[str]:
    app = web.Application(client_max_size=_MAX_BODY_BYTES)
    for file in sorted(Path(sys.argv[1]).iterdir()):
        app.router.add_post(f"/{file.name}", _Echo(file.read_bytes()).handle)
    async with listening.http(app) as address:
        yield address


if __name__ == "__main__":
    listening.run(_open)
