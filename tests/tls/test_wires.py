"""TLS on both wires: who may connect, and certificates that change under a running server."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import grpc
import pytest

from tests.harness.grpc_wire import GrpcWire
from tests.harness.service import Service, serving
from tests.harness.wire import Wire
from tests.tls.authority import Authority, Pair
from tests.tls.clients import der, over_grpc, over_http, shown

PORTS = ("grpc", "http")
NOBODY = {"id": "t-nobody"}
REFUSED = (ssl.SSLError, ConnectionError)


def address(service: Service, port: str) -> str:
    return service.grpc_address if port == "grpc" else urlsplit(service.url).netloc


def client(service: Service, port: str) -> Callable[[Authority, Pair | None], AbstractAsyncContextManager[Wire]]:
    if port == "grpc":
        return lambda authority, pair: over_grpc(service.grpc_address, authority, pair)
    return lambda authority, pair: over_http(service.url, authority, pair)


async def answers(wire: Wire) -> bool:
    created = await wire.call("task.create", {"text": "over TLS"})
    got = await wire.call("task.get", {"id": created["id"]})
    return bool(got["text"] == "over TLS")


async def test_both_wires_answer_over_tls_and_nothing_else(
    folder: Path, tls: dict[str, str], authority: Authority
) -> None:
    async with serving(tls, folder / "tls.log") as service:
        assert service.url.startswith("https://")
        for port in PORTS:
            async with client(service, port)(authority, None) as wire:
                assert await answers(wire)
        async with grpc.aio.insecure_channel(service.grpc_address) as plain:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await GrpcWire(plain).raw("/affix.v1.TaskService/GetTask", b"")
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientError):
                await session.get(service.url.replace("https", "http") + "/healthz")
        async with over_grpc(service.grpc_address, authority) as wire:
            assert await answers(wire)


@pytest.mark.parametrize("port", PORTS)
async def test_a_certificate_is_exchanged_under_a_running_server(
    folder: Path, tls: dict[str, str], authority: Authority, pair: Pair, port: str
) -> None:
    async with serving(tls, folder / "exchanged.log") as service:
        place = address(service, port)
        before = der(pair)
        assert await shown(place, authority) == before
        async with client(service, port)(authority, None) as wire:
            assert await answers(wire)
            pair.replace(authority.issue())
            assert der(pair) != before
            assert await shown(place, authority) == der(pair)
            assert await answers(wire)  # a connection that is there goes on


@pytest.mark.parametrize("port", PORTS)
async def test_a_pair_that_does_not_fit_is_told_and_the_old_one_stays(
    folder: Path, tls: dict[str, str], authority: Authority, pair: Pair, port: str
) -> None:
    async with serving(tls, folder / "unfit.log") as service:
        place, before = address(service, port), der(pair)
        assert await shown(place, authority) == before
        key = pair.key.read_bytes()
        pair.key.write_bytes(authority.issue().key.read_bytes())
        for _ in range(3):
            assert await shown(place, authority) == before
        assert service.command.output.count("certificates_refused") == 1
        assert f"{pair.key} (AFFIX_TLS_KEY) is not the key of" in service.command.output
        pair.key.unlink()
        assert await shown(place, authority) == before
        pair.key.write_bytes(key)
        pair.replace(authority.issue())
        assert await shown(place, authority) == der(pair) != before


@pytest.mark.parametrize("port", PORTS)
async def test_a_client_needs_a_certificate_where_one_is_asked_for(
    folder: Path, tls: dict[str, str], authority: Authority, stranger: Authority, port: str
) -> None:
    clients = Authority(folder)
    trusted = folder / f"clients-{port}.pem"
    trusted.write_bytes(clients.certificate.read_bytes())
    known, forged = clients.issue("client.example"), stranger.issue("client.example")
    settings = {**tls, "AFFIX_TLS_CLIENT_CA": str(trusted)}
    async with serving(settings, folder / "mutual.log") as service:
        place = address(service, port)
        async with client(service, port)(authority, known) as wire:
            assert await answers(wire)
            for pair in (None, forged):
                with pytest.raises(REFUSED):
                    await shown(place, authority, pair)
            assert await answers(wire)
        # A CA that is replaced is not trusted any more.
        trusted.write_bytes(stranger.certificate.read_bytes())
        with pytest.raises(REFUSED):
            await shown(place, authority, known)
        async with client(service, port)(authority, forged) as wire:
            assert await answers(wire)
