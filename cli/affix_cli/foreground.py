"""A service in the foreground: from its start to the signal that ends it."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from typing import Any, TypeAlias, TypeVar

import uvloop

from affix_cli import notify, tracebacks

T = TypeVar("T")
# Called with what a service gives when it is up.
Announce: TypeAlias = Callable[[T], None]

FORCED = 130  # the exit code of a second Ctrl-C
ABANDON_SECONDS = 1.0


class Operator:
    """Who stops the service: the first SIGINT, SIGTERM or SIGHUP asks for it, a second one insists."""

    def __init__(self) -> None:
        """Listen to the signals; needs the running loop."""
        self.asked = asyncio.Event()
        self.insisted = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # nohup means its SIGHUP; a shell that starts a job in the background does not mean its SIGINT.
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self._on_signal)

    @contextmanager
    def may_cancel(self) -> Iterator[None]:
        """Let the first signal cancel the current task while inside: for a start, which nobody waits for."""
        task = asyncio.current_task()
        watch = asyncio.create_task(self.asked.wait())

        def cancel(watched: asyncio.Task[Any]) -> None:
            if task is not None and not watched.cancelled():
                task.cancel()

        watch.add_done_callback(cancel)
        try:
            yield
        finally:
            watch.remove_done_callback(cancel)
            watch.cancel()

    def ask(self) -> None:
        """Ask as the first signal does; once more is not insisting."""
        self.asked.set()

    def _on_signal(self) -> None:
        (self.insisted if self.asked.is_set() else self.asked).set()


async def serve_until_stopped(service: AbstractAsyncContextManager[T], operator: Operator, ready: Announce[T]) -> int:
    """Open the service, call `ready` with what it gives, and close it when the operator asks; return the exit code.

    While it starts, being asked cancels it. While it closes, insisting
    abandons it: FORCED is returned a second later at most, and the process
    should end. Raises what opening raises.
    """
    serving = asyncio.create_task(_serve(service, operator, ready))
    insisting = asyncio.create_task(operator.insisted.wait())
    try:
        await asyncio.wait({serving, insisting}, return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            serving.cancel()
            await asyncio.wait({serving}, timeout=ABANDON_SECONDS)
            return FORCED
    finally:
        insisting.cancel()
    if not (serving.cancelled() and operator.asked.is_set()):
        serving.result()
    return 0


async def _serve(service: AbstractAsyncContextManager[T], operator: Operator, ready: Announce[T]) -> None:
    # One task opens and closes it, since task groups and timeouts in it belong to a task.
    async with AsyncExitStack() as stack:
        starter = stack.enter_context(notify.starter())
        with operator.may_cancel():
            opened = await stack.enter_async_context(service)
        ready(opened)
        starter.say(notify.READY)
        await operator.asked.wait()
        starter.say(notify.STOPPING)


def _allow_many_files() -> None:
    """Take all the open files that the system allows us: each connection is one, and the usual 1024 are few."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def run(command: Coroutine[object, object, int]) -> int:
    """Run a command under uvloop and return its exit code; FORCED ends the process at once."""
    _allow_many_files()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.get_loop().set_exception_handler(tracebacks.report)
        code = runner.run(command)
        if code == FORCED:
            # What was abandoned may hold on to the loop or to a thread.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return code
