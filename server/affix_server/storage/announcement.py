"""Telling every other process that this one does without Redis, and knowing when all have heard."""

from __future__ import annotations

import asyncio

from affix_server.errors import CircuitOpenError, StorageUnavailableError
from affix_server.storage.postgres.doubts import DoubtTable, Stage

# How long a look at the others' doubts holds (trust.py). An announcement is waited out for longer.
LOOK_HOLDS_SECONDS = 1.0
HEARD_AFTER_SECONDS = 1.2
# An announcement expires after three seconds; one that is older than this was not renewed in time.
_HOLDS_SECONDS = 2.0
_RENEW_SECONDS = 0.7


class Announcement:
    """The row of this process among the doubts: made, renewed, withdrawn, and waited out."""

    def __init__(self, doubts: DoubtTable) -> None:
        """Begin with nothing to tell."""
        self._doubts = doubts
        self._loop = asyncio.get_running_loop()
        self._heard = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._made = 0.0
        self._told: tuple[int, Stage] | None = None

    @property
    def has_been_heard(self) -> bool:
        """Whether all others know of it, and it has not expired since."""
        return self._heard.is_set() and self._loop.time() - self._made < _HOLDS_SECONDS

    def void(self) -> None:
        """Begin anew: whatever was announced before is not about this doubt."""
        self._stop_waiting()
        self._heard.clear()
        self._told = None

    async def make(self, since: int, stage: Stage) -> bool:
        """Announce; False if Postgres is away. What is announced already is renewed only when it is time."""
        began = self._loop.time()
        if self._told == (since, stage) and began - self._made < _RENEW_SECONDS:
            return True
        self._told = told = (since, stage)
        try:
            await self._doubts.announce(since, stage)
        except (StorageUnavailableError, CircuitOpenError):
            self._told = None
            return False
        if self._told is not told:
            return True  # voided meanwhile: this was not about the new doubt
        if began - self._made > _HOLDS_SECONDS:
            self._stop_waiting()
            self._heard.clear()
        self._made = began
        if self._timer is None and not self._heard.is_set():
            self._timer = self._loop.call_later(HEARD_AFTER_SECONDS, self._all_have_heard)
        return True

    async def withdraw(self) -> None:
        """Take it back: Redis is believed again. Raises StorageUnavailableError, CircuitOpenError."""
        self._told = None
        self._made = 0.0
        await self._doubts.withdraw()

    def end(self) -> None:
        """Release all who wait: nobody needs to hear of it any more."""
        self._stop_waiting()
        self._heard.set()

    async def wait(self) -> None:
        """Wait until it has been heard, or has come to its end; look again which."""
        self._heard.clear()
        await self._heard.wait()

    def _all_have_heard(self) -> None:
        self._timer = None
        self._heard.set()

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
