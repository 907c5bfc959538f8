"""What systemd hears of a service, over a real datagram socket."""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
from collections.abc import Iterator, Mapping
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

    async def hear(self) -> tuple[str, int]:
        """Return the next message, and the id of the process that sent it."""
        async with asyncio.timeout(_SECONDS):
            while True:
                try:
                    text, ancillary, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS))
                except BlockingIOError:
                    await asyncio.sleep(0.01)
                    continue
                return text.decode(), struct.unpack("3i", ancillary[0][2])[0]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, folder: Path) -> Iterator[Systemd]:
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
        "WATCHDOG_USEC": "200000",
    }
    async with ending(settings, folder / "notify.log") as server:
        told = [await systemd.hear()]
        while told[-1][0] != "READY=1":
            told.append(await systemd.hear())
        for _ in range(3):
            told.append(await systemd.hear())
            assert told[-1][0] == "WATCHDOG=1"
        server.command.terminate()
        while told[-1][0] != "STOPPING=1":
            told.append(await systemd.hear())
        assert await server.command.wait() == 0
        assert {pid for _, pid in told} == {server.command.pid}


async def test_nobody_listening_is_no_fault(stores: Mapping[str, str], folder: Path) -> None:
    settings = {**stores, "NOTIFY_SOCKET": str(folder / "nobody"), "WATCHDOG_USEC": "100000"}
    async with ending(settings, folder / "unheard.log") as server:
        server.command.terminate()
        assert await server.command.wait() == 0
