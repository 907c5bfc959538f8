"""A primary and its synchronous standby, to be failed over between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg

from affix_cli.embedded import EmbeddedPostgres
from affix_cli.embedded.child import Child
from affix_cli.embedded.folders import account_for_postgres, let_traverse, make_private
from affix_cli.embedded.postgres import NAME, PORT, SOCKET, _environment, _programs

_TOOL_SECONDS = 30.0


class Replicated:
    """Two servers on unix sockets, reached by one DSN that asks for the one that can be written to."""

    def __init__(self, folder: Path) -> None:
        """Keep the primary in `folder/one` and the standby in `folder/two`."""
        options = {"fsync": "off"}
        self.primary = EmbeddedPostgres(folder / "one", options=options)
        self.standby = EmbeddedPostgres(folder / "two", options=options)
        self._folder = folder

    @property
    def dsn(self) -> str:
        """Where both are."""
        hosts = ",".join(parse_qs(urlsplit(each.dsn).query)["host"][0] for each in (self.primary, self.standby))
        return f"postgresql://{NAME}@/{NAME}?host={hosts}&port={PORT}&target_session_attrs=read-write"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the primary until the end of the block; `follow` adds the standby."""
        await self.primary.start()
        try:
            yield
        finally:
            await self.standby.stop()
            await self.primary.stop()

    async def follow(self) -> None:
        """Copy the primary as it is, start the standby, and let every commit wait for it."""
        host = parse_qs(urlsplit(self.primary.dsn).query)["host"][0]
        data = self._folder / "two" / "postgres"
        await self._run("pg_basebackup", "-h", host, "-p", PORT, "-U", NAME, "-D", str(data), "-R", "-c", "fast")
        (data / SOCKET).unlink()  # the primary's, in its data folder, came along
        await self.standby.start()
        sql = await asyncpg.connect(self.primary.dsn)
        await sql.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        await sql.execute("SELECT pg_reload_conf()")
        while await sql.fetchval("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == 0:
            await sql.execute("SELECT pg_sleep(0.05)")
        await sql.close()

    async def promote(self) -> None:
        """Make the standby the primary."""
        await self._run("pg_ctl", "promote", "-D", str(self._folder / "two" / "postgres"), "-w")

    async def _run(self, tool: str, *arguments: str) -> None:
        account, folder = account_for_postgres(), self._folder / "two"
        make_private(folder, account)
        if account is not None:
            let_traverse(account, folder / "postgres")
        child = Child(tool, folder / f"{tool}.log")
        child.spawn([str(_programs() / tool), *arguments], cwd=folder, account=account, env=_environment())
        await child.finish(_TOOL_SECONDS)
