"""`affix up`: the service with stores of its own."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import typer

from affix_cli import ready
from affix_cli.addresses import Addresses
from affix_cli.embedded import Stores, embedded_stores
from affix_cli.failures import Failure
from affix_cli.foreground import Operator
from affix_cli.serve import serve_settings
from affix_cli.settings import load
from affix_server.config import NO_POSTGRES
from affix_server.errors import StartError
from affix_server.storage.postgres.migrate import migrate


async def up() -> int:
    """Start stores, migrate, serve until a signal, stop the stores; return the exit code. Raises Failure."""
    settings = load()
    with_postgres = settings.postgres_dsn != NO_POSTGRES
    _say_what_is_ignored(settings.postgres_dsn if with_postgres else None, settings.redis_url)
    operator = Operator()
    # The stores are the outermost: they stop last, and whatever ends the service they are stopped.
    async with AsyncExitStack() as stack:
        try:
            with operator.may_cancel():
                stores: Stores = await stack.enter_async_context(
                    embedded_stores(settings.data_dir, with_postgres=with_postgres)
                )
                if with_postgres:
                    await migrate(stores.postgres_dsn)
        except StartError as error:
            raise Failure(str(error)) from error
        except asyncio.CancelledError:
            if operator.asked.is_set():
                return 0
            raise

        def announce(addresses: Addresses) -> None:
            stores.lock.announce(gRPC=addresses.grpc, HTTP=addresses.http)
            dsn = stores.postgres_dsn if with_postgres else None
            tls = settings.tls_certificate is not None
            typer.echo(
                ready.up_message(addresses.grpc, addresses.http, dsn, stores.redis_url, settings.data_dir, tls=tls)
            )

        own = {"postgres_dsn": stores.postgres_dsn, "redis_url": stores.redis_url}
        return await serve_settings(settings.model_copy(update=own), operator, announce)


def _say_what_is_ignored(postgres_dsn: str | None, redis_url: str | None) -> None:
    if postgres_dsn is not None or redis_url is not None:
        typer.echo(
            "affix: AFFIX_POSTGRES_DSN, but for `none`, and AFFIX_REDIS_URL are not used: "
            "`affix up` brings its own stores, `affix serve` uses those",
            err=True,
        )
