"""The processes that take part, and what of the processor each uses, from /proc."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
AFFIX = Path(sys.executable).parent / "affix"
_READY_SECONDS = 60.0
_STOP_SECONDS = 20.0
_GRACE_SECONDS = 30.0
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class StartError(Exception):
    """A process did not start, or ended by itself; the message holds what it printed."""


class ProgramError(Exception):
    """A program that was run to its end failed, or did not end."""


@asynccontextmanager
async def running(
    name: str, *command: str | Path, ready: re.Pattern[str], log: Path, settings: Mapping[str, str] = {}
) -> AsyncIterator[tuple[int, re.Match[str]]]:
    """Run a program until the end of the block; gives its pid and what of its output says that it is ready."""
    kept = {key: text for key, text in os.environ.items() if not key.startswith("AFFIX_")}
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=ROOT,
            env={**kept, **settings},
        )
    try:
        yield process.pid, await _ready(name, process, ready, log)
        if process.returncode is not None:
            raise StartError(f"{name} ended by itself ({process.returncode}):\n{log.read_text()}")
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(_STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def _ready(name: str, process: asyncio.subprocess.Process, ready: re.Pattern[str], log: Path) -> re.Match[str]:
    try:
        async with asyncio.timeout(_READY_SECONDS):
            while (found := ready.search(log.read_text(errors="replace"))) is None:
                if process.returncode is not None:
                    raise StartError(f"{name} ended with {process.returncode}:\n{log.read_text()}")
                await asyncio.sleep(0.01)
            return found
    except TimeoutError:
        raise StartError(f"{name} was not ready in {_READY_SECONDS:.0f} s:\n{log.read_text()}") from None


async def output_of(*command: str | Path, seconds: float = 0.0) -> str:
    """Run a program that takes so long and return what it printed. Raises ProgramError unless it ends well in time."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(seconds + _GRACE_SECONDS):
            out, err = await process.communicate()
    except TimeoutError:
        raise ProgramError(f"{command[0]} did not end in time") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise ProgramError(f"{command[0]} ended with {process.returncode}: {err.decode()}")
    return out.decode()


def cpu_seconds(pid: int) -> float:
    """Return what a process and all below it have used of the processor so far; 0 if it is gone."""
    return sum(_own_cpu(each) for each in family(pid))


def resident_bytes(pid: int) -> int:
    """Return the memory that a process and all below it hold (resident, shared pages counted in each)."""
    return sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) * _PAGE for each in family(pid))


def family(pid: int) -> list[int]:
    """List a process and all processes below it."""
    below: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (fields := _stat(int(folder.name))):
            below.setdefault(int(fields[1]), []).append(int(folder.name))
    found, unseen = [], [pid]
    while unseen:
        each = unseen.pop()
        found.append(each)
        unseen += below.get(each, [])
    return found


def _own_cpu(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS if fields else 0.0


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/{pid}/stat behind the name, which may hold anything; none if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
