"""One of several server processes: `python -m affix_cli.workers.worker NUMBER FOLDER`, started by `parent.py`.

Its settings are in its environment. It says `ready` on stdout, and stops as at a signal when its stdin ends, which
is when its parent does.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import structlog

from affix_cli import foreground, logs
from affix_cli.failures import Failure
from affix_cli.foreground import Operator, serve_until_stopped
from affix_cli.metrics import process_registry
from affix_cli.settings import load
from affix_cli.wires import Addresses, both_wires
from affix_cli.workers import metrics
from affix_server.config import Settings
from affix_server.errors import StartError

READY = b"ready\n"
_STDIN, _STDOUT = 0, 1


def main() -> None:
    """Serve until stopped; exit codes as those of `affix serve`."""
    number, folder = int(sys.argv[1]), Path(sys.argv[2])
    try:
        code = foreground.run(_serve(number, folder))
    except (Failure, StartError) as failure:
        sys.stderr.writelines(f"affix: {line}\n" for line in str(failure).splitlines())
        code = 2
    sys.exit(code)


async def _serve(number: int, folder: Path) -> int:
    settings, operator = load(), Operator()
    logs.configure(settings.log_level)
    structlog.contextvars.bind_contextvars(worker=number)
    _stop_with_the_parent(operator)

    def announce(_: Addresses) -> None:
        os.write(_STDOUT, READY)

    return await serve_until_stopped(_worker(settings, number, folder), operator, announce)


@asynccontextmanager
async def _worker(settings: Settings, number: int, folder: Path) -> AsyncIterator[Addresses]:
    registry = process_registry()
    async with (
        metrics.told(folder, number, registry),
        both_wires(settings, registry, partial(metrics.of_all, folder, settings.workers)) as addresses,
    ):
        yield addresses


def _stop_with_the_parent(operator: Operator) -> None:
    loop = asyncio.get_running_loop()

    def gone() -> None:
        loop.remove_reader(_STDIN)
        operator.ask()

    loop.add_reader(_STDIN, gone)


if __name__ == "__main__":
    main()
