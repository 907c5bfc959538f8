"""Stores left running by a process that was killed: found by their folder, stopped before it is used again."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from affix_cli.embedded.child import POLL_SECONDS
from affix_cli.failures import Failure


def pid_in(pid_file: Path) -> int | None:
    """Read the first line of a pid file; None when there is no such file or no number in it."""
    try:
        return int(pid_file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def running_in(folder: Path, executable: str) -> list[psutil.Process]:
    """List the processes of this name whose working directory is the folder.

    PostgreSQL and Valkey both work in their data folder, and no other program
    of that name does, so nothing else is ever taken for one of ours.
    """
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.name() == executable and process.cwd() == str(folder) and _alive(process):
                found.append(process)
    return found


async def stop_orphan(
    pid_file: Path, *, folder: Path, executable: str, steps: Sequence[tuple[signal.Signals, float]]
) -> None:
    """Stop the store that an earlier run left in its folder, and remove its stale pid file.

    The caller holds the folder: nobody else may be starting or using a store
    in it. Raises Failure when a process of the store is still there afterwards.
    """
    pid = pid_in(pid_file)
    for number, seconds in steps:
        main = [process for process in running_in(folder, executable) if process.pid == pid]
        if not main:
            break
        main[0].send_signal(number)
        await _ended(folder, executable, seconds)
    # A killed postmaster's backends end by themselves, a moment later; frozen ones do not.
    for process in await _ended(folder, executable, 10):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    if left := await _ended(folder, executable, 5):
        raise Failure(f"{executable} (pid {left[0].pid}) of an earlier run still uses {folder} and does not stop")
    # After a reboot the number in it may belong to an innocent process, which PostgreSQL would mistake for its own.
    pid_file.unlink(missing_ok=True)  # noqa: ASYNC240 - one system call, and nothing is being served yet


async def _ended(folder: Path, executable: str, seconds: float) -> list[psutil.Process]:
    end = time.monotonic() + seconds
    # No event tells of the end of a process that is not our child.
    while (left := running_in(folder, executable)) and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(POLL_SECONDS)
    return left


def _alive(process: psutil.Process) -> bool:
    # Where nothing reaps orphans (a container without init) an ended one stays as a zombie.
    return bool(process.status() != psutil.STATUS_ZOMBIE)
