"""Watching through the storage half of a server, and writing down what is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

from affix_server.domain import AttachmentEvent, EventKind, Watched
from affix_server.errors import AffixError
from affix_server.stores import Storage
from tests.resilience.world import eventually


@dataclass
class Told:
    """What a watcher was told, and the name of the error that ended it, if one did."""

    events: list[AttachmentEvent] = field(default_factory=list)
    token: str = ""
    ended: str | None = None

    @property
    def kinds(self) -> list[str]:
        """What happened, in order."""
        return [event.kind.value for event in self.events]

    @property
    def revisions(self) -> list[int]:
        """Which revisions, in order."""
        return [event.revision for event in self.events]

    async def so_many(self, count: int) -> None:
        """Wait until it has been told of so many events, or has been ended."""

        async def enough() -> bool:
            return len(self.events) >= count or self.ended is not None

        await eventually(enough)

    async def the_end(self) -> None:
        """Wait until it has been ended with an error."""

        async def over() -> bool:
            return self.ended is not None

        await eventually(over, 15)


@asynccontextmanager
async def watched(storage: Storage, task_id: str | None = None, token: str | None = None) -> AsyncIterator[Told]:
    """Watch until the end of the block."""
    told, begun = Told(), asyncio.Event()

    async def record() -> None:
        try:
            async with aclosing(storage.watching.watch(Watched(task_id), token)) as batches:
                async for events in batches:
                    for event in events:
                        told.token = event.resume_token
                        if event.kind not in {EventKind.STARTED, EventKind.PROGRESS}:
                            told.events.append(event)
                    begun.set()
        except AffixError as fault:
            told.ended = type(fault).__name__
            begun.set()

    recorder = asyncio.create_task(record())
    await begun.wait()
    try:
        yield told
    finally:
        recorder.cancel()
        await asyncio.wait((recorder,))
