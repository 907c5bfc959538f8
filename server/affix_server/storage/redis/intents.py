"""Intents: the trace that a write under way leaves, so that a crash can be mended (design/storage.md, step 1)."""

from __future__ import annotations

import secrets

from affix_server.domain import Ref
from affix_server.storage.redis import names
from affix_server.storage.redis.client import RedisClient
from affix_server.storage.redis.connection import Command
from affix_server.times import now_ms


class Intents:
    """The intents of this process and, for the reconciler, everybody's.

    A write begins with `begin` and ends with exactly one of `end` (nothing is
    left to mend) or `abandon` (what became of it is not known). Writes on the
    same key share one trace, which goes with the last of them.
    """

    def __init__(self, client: RedisClient) -> None:
        """Use a client, under a name no other process has."""
        self._client = client
        self._writer = secrets.token_hex(6)
        self._writing: dict[Ref, int] = {}

    async def begin(self, ref: Ref) -> None:
        """Leave a trace. Raises StorageUnavailableError, and the write has not begun then."""
        self._writing[ref] = self._writing.get(ref, 0) + 1
        try:
            await self._client.execute("ZADD", names.INTENTS, now_ms(), names.intent(ref, self._writer))
        except BaseException:
            self.abandon(ref)
            raise

    def end(self, ref: Ref) -> list[Command]:
        """Return what removes the trace, to go behind the commands that make the write visible."""
        return [("ZREM", names.INTENTS, names.intent(ref, self._writer))] if self.abandon(ref) else []

    def abandon(self, ref: Ref) -> bool:
        """Count a write as over and leave its trace to the reconciler; True if it was the key's last here."""
        left = self._writing.get(ref, 0) - 1
        if left > 0:
            self._writing[ref] = left
            return False
        return self._writing.pop(ref, None) is not None

    async def stale(self, before_ms: int, limit: int) -> list[tuple[bytes, Ref | None]]:
        """Return traces left before a time, oldest first: each as its member, and what it is about.

        Traces of writes that are still under way in this process are not among them.
        """
        members = await self._client.execute("ZRANGEBYSCORE", names.INTENTS, "-inf", before_ms, "LIMIT", 0, limit)
        traces = [(member, names.parse_intent(member)) for member in members]
        return [trace for trace in traces if not self._is_ours_and_under_way(*trace)]

    def _is_ours_and_under_way(self, member: bytes, ref: Ref | None) -> bool:
        return ref in self._writing and member == names.intent(ref, self._writer).encode()

    @staticmethod
    def remove(member: bytes) -> Command:
        """Return what removes one trace, as `stale` gave it."""
        return ("ZREM", names.INTENTS, member)
