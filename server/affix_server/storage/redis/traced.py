"""The Redis client with a span around each round trip; used only where traces are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from affix_server.storage.redis.client import RedisClient, Script
from affix_server.storage.redis.connection import Command, Reply
from affix_server.tracing import Spans


class TracedRedisClient(RedisClient):
    """Tells of each round trip by its first command: a script by its name, never with keys or values."""

    def __init__(self, url: str, *, scripts: Sequence[Script], spans: Spans, **options: Any) -> None:
        """Make a client as RedisClient does."""
        super().__init__(url, scripts=scripts, **options)
        self._spans = spans
        self._names = {script.sha: script.name for script in scripts}

    async def pipeline(self, commands: Sequence[Command]) -> list[Reply]:
        """See RedisClient."""
        if not commands:
            return []
        with self._spans.ask("redis", self._operation(commands[0])):
            return await super().pipeline(commands)

    async def ask(self, command: Command, weight: int = 0) -> Reply:
        """See RedisClient."""
        with self._spans.ask("redis", self._operation(command)):
            return await super().ask(command, weight)

    async def ask_whether(self, question: bytes, answer: bytes, count: int = 1) -> list[Reply] | None:
        """See RedisClient."""
        # The first command: a length before each of its parts.
        _, _, name, _, first, *_ = question.split(b"\r\n", 5)
        with self._spans.ask("redis", self._operation((name.decode(), first.decode(errors="replace")))):
            return await super().ask_whether(question, answer, count)

    def _operation(self, command: Command) -> str:
        name = str(command[0])
        return f"{name} {self._names.get(str(command[1]), 'script')}" if name == "EVALSHA" else name
