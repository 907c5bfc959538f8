"""What systemd is told of a service (`Type=notify`, sd_notify(3)), over the socket that it names in NOTIFY_SOCKET."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
WATCHDOG: Final = "WATCHDOG=1"
_MICROSECONDS: Final = 1_000_000
# For a listener whose queue is full.
_PATIENCE_SECONDS: Final = 0.5


class Starter:
    """Whoever started this process and waits to hear of it."""

    def __init__(self, address: str | None) -> None:
        """Speak to a unix datagram socket (`@` begins an abstract one), or to nobody."""
        self._address = None if address is None else address.replace("@", "\0", 1) if address[:1] == "@" else address

    def say(self, *what: str) -> None:
        """Send lines such as READY, in one message. Who does not listen is not waited for, or for half a second."""
        if self._address is None:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, suppress(OSError):
            sender.settimeout(_PATIENCE_SECONDS)
            sender.sendto("\n".join(what).encode(), self._address)


@contextmanager
def starter() -> Iterator[Starter]:
    """Give whom the environment names, and tell them twice in each of their watchdog's times that the loop turns.

    The variables are taken out of the environment: they are not for processes that this one starts.
    """
    spoken_to = Starter(os.environ.pop("NOTIFY_SOCKET", None))
    seconds = _watchdog_seconds()
    alive = asyncio.create_task(_keep_saying(spoken_to, seconds / 2)) if seconds else None
    try:
        yield spoken_to
    finally:
        if alive is not None:
            alive.cancel()


def _watchdog_seconds() -> float:
    microseconds = os.environ.pop("WATCHDOG_USEC", "0")
    pid = os.environ.pop("WATCHDOG_PID", None)
    return int(microseconds) / _MICROSECONDS if pid in {None, str(os.getpid())} else 0.0


async def _keep_saying(spoken_to: Starter, seconds: float) -> None:
    while True:
        spoken_to.say(WATCHDOG)
        await asyncio.sleep(seconds)
