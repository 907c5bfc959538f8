"""`affix serve` in processes of their own that may kill themselves, and stubs to call them."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from affix.v1.attachments_pb2_grpc import AttachmentServiceStub
from tests.harness.processes import Command, environment
from tests.resilience.world import Stores

_ADDRESS = re.compile(r"^  gRPC +(\S+)$", re.MULTILINE)


class Server(Command):
    """A running tests.resilience.crashing_server."""

    @classmethod
    async def serving(cls, point: str, stores: Stores, log: Path) -> Server:
        """Start one that dies at a point, and return when it is ready."""
        settings = {
            "AFFIX_POSTGRES_DSN": stores[0].dsn,
            "AFFIX_REDIS_URL": stores[1].url,
            "AFFIX_GRPC_LISTEN": "127.0.0.1:0",
            "AFFIX_HTTP_LISTEN": "127.0.0.1:0",
        }
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "tests.resilience.crashing_server", point),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=environment(settings),
                cwd=Path(__file__).parents[2],
            )
        server = cls(process, log)
        await server.ready("is ready.")
        return server

    @asynccontextmanager
    async def stub(self) -> AsyncIterator[Any]:
        """Connect to it; a stub's methods are typed for those who do not await them."""
        found = _ADDRESS.search(self.output)
        assert found, self.output
        async with grpc.aio.insecure_channel(found[1]) as channel:
            yield AttachmentServiceStub(channel)
