"""The table in which servers tell each other that they do without Redis."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from affix_server.storage.postgres.database import Database

# A server that has not renewed its row for so long is gone, and acknowledges nothing any more.
_EXPIRES_SECONDS = 3.0

_ANNOUNCE = """
INSERT INTO redis_doubts AS mine (server, since, stage, sequence, renewed_at)
VALUES ($1, $2, $3, $4, clock_timestamp())
ON CONFLICT (server) DO UPDATE
SET since = least(mine.since, excluded.since), stage = excluded.stage, sequence = excluded.sequence,
    renewed_at = excluded.renewed_at
WHERE mine.sequence < excluded.sequence
"""
_WITHDRAW = "DELETE FROM redis_doubts WHERE server = $1 AND sequence < $2"
_OTHERS = """
SELECT min(since) AS since, min(stage) AS stage, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now
FROM redis_doubts
WHERE server <> $1 AND renewed_at > clock_timestamp() - make_interval(secs => $2)
"""


class Stage(IntEnum):
    """How far a server has come that does without Redis (docs/decisions/0014-believing-together.md)."""

    AWAY = 0
    """Redis may lack what this server writes; Postgres answers here."""
    CAUGHT_UP = 1
    """Redis lacks nothing of this server; Postgres still answers here."""
    WAITING = 2
    """Nothing is answered here until all others have come as far."""


@dataclass(frozen=True, slots=True)
class Others:
    """The other servers that do without Redis: since when, and the stage of the one that has come least far."""

    since: int
    stage: Stage


class DoubtTable:
    """Who does without Redis, since when. Every method raises StorageUnavailableError and CircuitOpenError."""

    def __init__(self, database: Database, server: str) -> None:
        """Use a database, under a name no other process has."""
        self._database = database
        self._server = server
        self._sequence = 0

    async def announce(self, since: int, stage: Stage) -> None:
        """Tell, or tell again, that what was written after a revision may be missing from Redis."""
        await self._database.fetch(_ANNOUNCE, self._server, since, stage.value, self._next())

    async def withdraw(self) -> None:
        """Tell that all of it is in Redis, and that it is believed here."""
        await self._database.fetch(_WITHDRAW, self._server, self._next())

    async def others(self, *, probing: bool = False) -> Others | None:
        """Return what is known of the other servers that do without Redis; None if none does.

        `probing` asks whatever the circuit says.
        """
        (record,) = await self._database.run(
            lambda connection: connection.fetch(_OTHERS, self._server, _EXPIRES_SECONDS), probing=probing
        )
        self._database.read_clock(record["now"])
        return None if record["since"] is None else Others(record["since"], Stage(record["stage"]))

    def _next(self) -> int:
        """Count statements: one that was given up may still be executed, and must not undo a later one."""
        self._sequence += 1
        return self._sequence
