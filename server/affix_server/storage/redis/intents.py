"""Intents: the trace that a write under way leaves, so that a crash can be mended (design/storage.md, step 1)."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from affix_server.domain import Ref
from affix_server.storage.redis import names
from affix_server.storage.redis.client import RedisClient
from affix_server.storage.redis.connection import Command
from affix_server.storage.redis.publishing import begin


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace: its member, what it is about, when it was left, and whether its write is still under way here."""

    member: bytes
    ref: Ref | None
    began_ms: int
    ours: bool


class Begun(NamedTuple):
    """A write under way: its token, the name of its trace, and what Redis held when it began.

    `pending`: Postgres has not seen that. `revision`: as Redis has it; empty if there was nothing, where a lease
    with the token is now.
    """

    token: str
    trace: str
    pending: bool
    revision: str


class Intents:
    """The intents of this process and, for the reconciler, everybody's.

    A write begins with `begin` and ends with exactly one of `end` (nothing is
    left to mend) or `abandon` (what became of it is not known, or Postgres has
    not seen it). Every write has a trace of its own.
    """

    def __init__(self, client: RedisClient) -> None:
        """Use a client, under a name no other process has."""
        self._client = client
        self.writer = secrets.token_hex(6)
        self._under_way: set[str] = set()
        self._tokens = 0

    async def begin(self, refs: Sequence[Ref]) -> list[Begun]:
        """Leave the traces of writes, and ask for leases to publish with: one round trip.

        Raises CacheUnavailableError, and none of the writes has begun then.
        """
        tokens = [self.token() for _ in refs]
        members = [names.intent(ref, token) for ref, token in zip(refs, tokens, strict=True)]
        self._under_way.update(members)
        try:
            replies = await begin(self._client, refs, members, tokens)
        except BaseException:
            self._under_way.difference_update(members)
            raise
        return [
            Begun(token, member, pending=False, revision="")
            if reply is None
            else Begun(token, member, bool(reply[0]), reply[1].decode(errors="replace"))
            for token, member, reply in zip(tokens, members, replies, strict=True)
        ]

    def token(self) -> str:
        """Make a token for a write, or for leases, that nobody else has."""
        self._tokens += 1
        return f"{self.writer}:{self._tokens}"

    def end(self, ref: Ref, token: str) -> list[Command]:
        """Return what removes a trace, to go behind the commands that make the write visible."""
        self.abandon(ref, token)
        trace = names.intent(ref, token)
        return [("ZREM", names.WRITING, trace), ("ZREM", names.INTENTS, trace)]

    def hand_over(self, trace: str) -> str:
        """Leave a trace to the publication, which removes it with the write's token; returns its name."""
        self._under_way.discard(trace)
        return trace

    def abandon(self, ref: Ref, token: str) -> None:
        """Leave a trace to the reconciler."""
        self._under_way.discard(names.intent(ref, token))

    async def give_up(self, ref: Ref, token: str) -> None:
        """Stop a write's way to Postgres and leave its trace, so that Redis can decide about it."""
        self.abandon(ref, token)
        await self._client.execute("ZREM", names.WRITING, names.intent(ref, token))

    async def traces(self, skip: int, limit: int) -> list[Trace]:
        """Return traces, oldest first."""
        reply = await self._client.execute(
            "ZRANGEBYSCORE", names.INTENTS, "-inf", "+inf", "WITHSCORES", "LIMIT", skip, limit
        )
        return [
            Trace(
                member,
                names.parse_intent(member),
                int(float(score)),
                ours=member.decode(errors="replace") in self._under_way,
            )
            for member, score in zip(reply[::2], reply[1::2], strict=True)
        ]

    async def waiting(self) -> tuple[int, int]:
        """Return how many traces there are, and when the oldest was left, in ms; 0 if there is none."""
        command: Command = ("ZRANGE", names.INTENTS, 0, 0, "WITHSCORES")
        count, oldest = await self._client.run((("ZCARD", names.INTENTS), command))
        return count, int(float(oldest[1])) if oldest else 0

    @staticmethod
    def remove(member: bytes) -> Command:
        """Return what removes one trace, as `traces` gave it."""
        return ("ZREM", names.INTENTS, member)
