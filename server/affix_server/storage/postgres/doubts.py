"""The table in which servers tell each other that they do without Redis."""

from __future__ import annotations

from affix_server.storage.postgres.database import Database

# A server that has not renewed its row for so long is gone, and acknowledges nothing any more.
_EXPIRES_SECONDS = 3.0

_ANNOUNCE = """
INSERT INTO redis_doubts (server, since, renewed_at) VALUES ($1, $2, clock_timestamp())
ON CONFLICT (server) DO UPDATE SET since = least(redis_doubts.since, excluded.since), renewed_at = excluded.renewed_at
"""
_WITHDRAW = "DELETE FROM redis_doubts WHERE server = $1"
_OTHERS = """
SELECT min(since) AS since FROM redis_doubts
WHERE server <> $1 AND renewed_at > clock_timestamp() - make_interval(secs => $2)
"""


class DoubtTable:
    """Who does without Redis, since when. Every method raises StorageUnavailableError and CircuitOpenError."""

    def __init__(self, database: Database, server: str) -> None:
        """Use a database, under a name no other process has."""
        self._database = database
        self._server = server

    async def announce(self, since: int) -> None:
        """Tell, or tell again, that what was written after a revision may be missing from Redis."""
        await self._database.fetch(_ANNOUNCE, self._server, since)

    async def withdraw(self) -> None:
        """Tell that all of it is in Redis again."""
        await self._database.fetch(_WITHDRAW, self._server)

    async def others_since(self, *, probing: bool = False) -> int | None:
        """Return the earliest revision since which any other server does without Redis; None if none does.

        `probing` asks whatever the circuit says.
        """
        (record,) = await self._database.run(
            lambda connection: connection.fetch(_OTHERS, self._server, _EXPIRES_SECONDS), probing=probing
        )
        since: int | None = record["since"]
        return since
