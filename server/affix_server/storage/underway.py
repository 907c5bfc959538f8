"""Counting what is under way, for whoever must not go on before it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Underway:
    """A count of blocks, or whatever else has an end, that are being run."""

    def __init__(self) -> None:
        """Begin with none."""
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count the block."""
        self.begin()
        try:
            yield
        finally:
            self.end()

    def begin(self) -> None:
        """Count what is no block; its `end` has to come, once."""
        self._count += 1
        self._none.clear()

    def end(self) -> None:
        """Take note that it is over."""
        self._count -= 1
        if not self._count:
            self._none.set()

    async def over(self) -> None:
        """Wait until none is being run."""
        await self._none.wait()
