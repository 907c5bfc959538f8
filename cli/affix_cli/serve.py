"""`affix serve`, and the part of it that `affix up` shares: both wires, in one process or in several."""

from __future__ import annotations

from functools import partial

import typer

from affix_cli import logs, metrics, ready
from affix_cli.failures import Failure
from affix_cli.foreground import Announce, Operator, serve_until_stopped
from affix_cli.settings import load
from affix_cli.wires import Addresses, both_wires
from affix_cli.workers.parent import workers_at
from affix_server.config import Settings
from affix_server.errors import StartError


async def serve(workers: int | None) -> int:
    """Serve with the stores of the settings until a signal; return the exit code. Raises Failure."""
    settings = load()
    missing = [
        name
        for name, value in (("AFFIX_POSTGRES_DSN", settings.postgres_dsn), ("AFFIX_REDIS_URL", settings.redis_url))
        if value is None
    ]
    if missing:
        raise Failure(f"affix serve needs {' and '.join(missing)} (`affix up` brings its own stores)")
    if workers is not None:
        settings = settings.model_copy(update={"workers": workers})

    def announce(addresses: Addresses) -> None:
        typer.echo(ready.serve_message(addresses.grpc, addresses.http))

    return await serve_settings(settings, Operator(), announce)


async def serve_settings(settings: Settings, operator: Operator, announce: Announce[Addresses]) -> int:
    """Serve until the operator stops it; return the exit code. Raises Failure when it cannot start."""
    logs.configure(settings.log_level)
    try:
        if settings.workers > 1:
            return await serve_until_stopped(workers_at(settings), operator, announce)
        registry = metrics.process_registry()
        return await serve_until_stopped(
            both_wires(settings, registry, partial(metrics.text, registry)), operator, announce
        )
    except StartError as error:
        raise Failure(str(error)) from error
