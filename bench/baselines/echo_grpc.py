"""Baseline `echo-grpc`: a bare grpc.aio servicer that answers with bytes it was given at the start.

    python -m bench.baselines.echo_grpc FOLDER

`/echo/{name}` answers with the bytes of `FOLDER/{name}`, and neither decodes nor encodes: the most that grpc.aio can
do in one process.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc

from bench.baselines import listening

OPTIONS = (
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.max_send_message_length", 64 * 1024 * 1024),
)


def _handler(answer: bytes) -> grpc.RpcMethodHandler[bytes, bytes]:
    async def echo(_request: bytes, _context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        return answer

    return grpc.unary_unary_rpc_method_handler(echo)


@asynccontextmanager
async def _open() -> AsyncIterator[str]:
    server = grpc.aio.server(options=OPTIONS)
    methods = {file.name: _handler(file.read_bytes()) for file in sorted(Path(sys.argv[1]).iterdir())}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


if __name__ == "__main__":
    listening.run(_open)
