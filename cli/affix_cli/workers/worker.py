"""One of several server processes: `python -m affix_cli.workers.worker NUMBER FOLDER`, started by `parent.py`.

Its settings are in its environment. It says `ready` on stdout, and stops as at a signal when its stdin ends, which
is when its parent does.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import structlog

from affix_cli import foreground
from affix_cli.addresses import Addresses
from affix_cli.failures import Failure
from affix_cli.foreground import Operator, serve_until_stopped
from affix_cli.serve import both_wires, configure_log
from affix_cli.settings import load
from affix_cli.workers import READY
from affix_cli.workers.metrics import together
from affix_server.errors import StartError

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
    configure_log(settings)
    structlog.contextvars.bind_contextvars(worker=number)
    _stop_with_the_parent(operator)

    def announce(_: Addresses) -> None:
        os.write(_STDOUT, READY)

    service = both_wires(settings, together(folder, number, settings.workers))
    return await serve_until_stopped(service, operator, announce)


def _stop_with_the_parent(operator: Operator) -> None:
    loop = asyncio.get_running_loop()

    def gone() -> None:
        loop.remove_reader(_STDIN)
        operator.ask()

    loop.add_reader(_STDIN, gone)


if __name__ == "__main__":
    main()
