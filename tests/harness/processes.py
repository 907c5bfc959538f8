"""Start, await and stop the project's own commands as real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.harness.secrecy import judge_log

READY_SECONDS = 30.0
STOP_SECONDS = 15.0
AFFIX = Path(sys.executable).parent / "affix"


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without any AFFIX_ of its own, and the settings given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AFFIX_")}
    return {**kept, **settings}


class Command:
    """An `affix` command running as a process; what it prints goes to a file."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    @classmethod
    async def start(cls, *arguments: str, settings: Mapping[str, str], log: Path) -> Command:
        """Start `affix {arguments}` with these settings and no others."""
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                AFFIX,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=environment(settings),
                cwd=log.parent,
            )
        return cls(process, log)

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    async def wait(self, seconds: float = READY_SECONDS) -> int:
        """Wait for the end of a command that ends by itself and return its exit code."""
        async with asyncio.timeout(seconds):
            return await self._process.wait()

    async def ready(self, needle: str) -> None:
        """Wait until the output holds `needle`. Fails, showing it, when the process ends first."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                while needle not in self.output:
                    assert self.running, f"ended with {self._process.returncode}:\n{self.output}"
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"no {needle!r} within {READY_SECONDS} s:\n{self.output}") from None

    def interrupt(self) -> None:
        """What Ctrl-C sends."""
        self._process.send_signal(signal.SIGINT)

    def terminate(self) -> None:
        """Ask it to end (SIGTERM), and do not wait."""
        self._process.terminate()

    async def kill(self) -> None:
        """End it without warning (SIGKILL), if it still runs."""
        if self.running:
            self._process.kill()
        await self._process.wait()
        judge_log(self.output)

    async def stop(self) -> int:
        """Ask it to end (SIGTERM) and return its exit code. Fails, showing the output, when it does not end."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                code = await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
            raise AssertionError(f"still running {STOP_SECONDS} s after SIGTERM:\n{self.output}") from None
        judge_log(self.output)
        return code


async def output_of(tool: str, *arguments: str) -> str:
    """Run a tool of this environment (grpcurl, buf) and return what it printed. Fails unless its exit code is 0."""
    process = await asyncio.create_subprocess_exec(
        AFFIX.parent / tool, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(READY_SECONDS):
        out, err = await process.communicate()
    assert process.returncode == 0, f"{tool} ended with {process.returncode}:\n{err.decode()}"
    return out.decode()
