"""`affix migrate`: the database brought up to date."""

from __future__ import annotations

import asyncio

import typer

from affix_cli.failures import Failure
from affix_cli.settings import load
from affix_server.config import NO_POSTGRES
from affix_server.errors import StartError
from affix_server.storage.postgres.migrate import migrate as apply


def migrate() -> None:
    """Apply what is missing and print it. Raises Failure when the database cannot be brought up to date."""
    dsn = load().postgres_dsn
    if dsn is None:
        raise Failure("affix migrate needs AFFIX_POSTGRES_DSN (`affix up` migrates its own database)")
    if dsn == NO_POSTGRES:
        typer.echo("there is no database to migrate (AFFIX_POSTGRES_DSN=none)")
        return
    try:
        applied = asyncio.run(apply(dsn))
    except StartError as error:
        raise Failure(str(error)) from error
    for name in applied:
        typer.echo(f"applied {name}")
    if not applied:
        typer.echo("the database is up to date")
