"""Clients of both wires over TLS, each with a connection of its own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import grpc

from tests.harness.grpc_wire import GrpcWire
from tests.harness.jsonrpc_wire import JsonRpcWire
from tests.harness.wire import Wire
from tests.tls.authority import Authority, Pair


@asynccontextmanager
async def over_grpc(address: str, authority: Authority, pair: Pair | None = None) -> AsyncIterator[Wire]:
    roots = authority.certificate.read_bytes()
    key, chain = (None, None) if pair is None else (pair.key.read_bytes(), pair.certificate.read_bytes())
    credentials = grpc.ssl_channel_credentials(roots, key, chain)
    # A pool of its own, or gRPC would use the connection of another channel that looks the same.
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.secure_channel(address, credentials, options=options) as channel:
        yield GrpcWire(channel)


@asynccontextmanager
async def over_http(url: str, authority: Authority, pair: Pair | None = None) -> AsyncIterator[Wire]:
    connector = aiohttp.TCPConnector(ssl=authority.context(pair))
    async with aiohttp.ClientSession(connector=connector) as session:
        yield JsonRpcWire("jsonrpc", url, session)


async def shown(address: str, authority: Authority, pair: Pair | None = None) -> bytes:
    """The certificate that a new connection is shown, in DER. Raises ssl.SSLError, ConnectionError."""
    host, _, port = address.rpartition(":")
    context = authority.context(pair)
    context.set_alpn_protocols(["h2", "http/1.1"])  # gRPC takes no connection without
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    try:
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        # Under TLS 1.3 a client hears that it was refused only once it reads.
        writer.write(b"GET /healthz HTTP/1.0\r\n\r\n" if "h2" not in _protocol(writer) else b"PRI")
        if not await reader.read(1):
            raise ConnectionResetError("closed without a word")
    finally:
        writer.close()
    der: bytes = certificate
    return der


def _protocol(writer: asyncio.StreamWriter) -> str:
    return writer.get_extra_info("ssl_object").selected_alpn_protocol() or ""


def der(pair: Pair) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pair.certificate.read_text())
