"""What systemd hears of a service, over a real datagram socket."""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from tests.harness.service import ending

_SECONDS = 20.0
_CREDENTIALS = struct.calcsize("3i")


class Systemd:
    """The socket that a service is told of, and who said what on it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        self._heard: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
        asyncio.get_running_loop().add_reader(self._socket, self._listen)

    async def hear(self) -> tuple[str, int]:
        """Return the next message, and the id of the process that sent it."""
        async with asyncio.timeout(_SECONDS):
            return await self._heard.get()

    async def hear_until(self, what: str) -> list[tuple[str, int]]:
        """Return the messages up to one."""
        heard = [await self.hear()]
        async with asyncio.timeout(_SECONDS):
            while heard[-1][0] != what:
                heard.append(await self.hear())
        return heard

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _listen(self) -> None:
        text, ancillary, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS))
        self._heard.put_nowait((text.decode(), struct.unpack("3i", ancillary[0][2])[0]))


@pytest.fixture(params=["path", "abstract"])
async def systemd(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Systemd]:
    name = f"notify-{secrets.token_hex(4)}"
    heard = Systemd(f"@{name}" if request.param == "abstract" else str(folder / name))
    yield heard
    heard.close()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_systemd_hears_when_it_is_ready_lives_and_stops(
    systemd: Systemd, workers: str, stores: Mapping[str, str], folder: Path
) -> None:
    settings = {
        **stores,
        "AFFIX_WORKERS": workers,
        "NOTIFY_SOCKET": systemd.address,
        "WATCHDOG_USEC": "500000",
    }
    async with ending(settings, folder / "notify.log") as server:
        told = await systemd.hear_until("READY=1")
        for _ in range(3):
            told += await systemd.hear_until("WATCHDOG=1")
        server.command.terminate()
        told += await systemd.hear_until("STOPPING=1")
        assert {what for what, _ in told} == {"READY=1", "WATCHDOG=1", "STOPPING=1"}
        assert await server.command.wait() == 0
        assert {pid for _, pid in told} == {server.command.pid}


async def test_nobody_listening_is_no_fault(stores: Mapping[str, str], folder: Path) -> None:
    settings = {**stores, "NOTIFY_SOCKET": str(folder / "nobody"), "WATCHDOG_USEC": "100000"}
    async with ending(settings, folder / "unheard.log") as server:
        server.command.terminate()
        assert await server.command.wait() == 0
