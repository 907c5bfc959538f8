"""`affix migrate-metadata`, from the settings to the exit code."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import typer
from prometheus_client import CollectorRegistry

from affix_cli import logs
from affix_cli.failures import Failure
from affix_cli.foreground import FORCED, Operator
from affix_cli.metadata.moving import WAITS, Mover
from affix_cli.metadata.progress import showing
from affix_cli.metadata.report import Report
from affix_cli.metadata.walking import RedisRegistry, Registry, StorageFailedError, storage_failures, walk
from affix_cli.settings import load_with_stores
from affix_server.config import NO_POSTGRES, Settings
from affix_server.errors import StartError
from affix_server.stores import RedisOnlyStorage, Storage, open_redis_only, open_storage

SKIPPED = 3  # the exit code if something was, or would be, left where it is


async def migrate_metadata(*, apply: bool, as_json: bool, waits: Sequence[float] = WAITS) -> int:
    """Move `metadata.data` of all tasks, or say what would be moved; return the exit code.

    Stores that fail are waited for as long as `waits`, in seconds. Raises Failure when it cannot
    begin, or go on.
    """
    settings = _settings()
    # The bar would not stand what a service logs when all is well.
    logs.configure("error" if settings.log_level == "error" else "warning", settings.log_format)
    report = Report(applied=apply)
    operator = Operator()
    try:
        with operator.may_cancel():
            await _run(settings, report, waits)
        report.complete = True
    except asyncio.CancelledError:
        if not operator.asked.is_set():
            raise
    except StartError as error:
        raise Failure(str(error)) from error
    except StorageFailedError as error:
        typer.echo(report.as_json() if as_json else report.as_text())
        raise Failure(f"storage failed: {error.cause}; what was moved stays moved, run it again to go on") from error
    typer.echo(report.as_json() if as_json else report.as_text())
    if not report.complete:
        return FORCED
    return SKIPPED if report.skipped else 0


def _settings() -> Settings:
    settings = load_with_stores("affix migrate-metadata", ": the stores of the service")
    # What is only pending could be lost, and the metadata with it.
    return settings.model_copy(update={"when_postgres_down": "refuse"})


async def _run(settings: Settings, report: Report, waits: Sequence[float]) -> None:
    async with AsyncExitStack() as stack:
        registry, mover = await _open(settings, stack, waits)
        with storage_failures():
            total = await mover.patiently(registry.total)
            with showing(report, total) as tell:
                await walk(registry, mover, apply=report.applied, tell=tell)


async def _open(settings: Settings, stack: AsyncExitStack, waits: Sequence[float]) -> tuple[Registry, Mover]:
    storage: Storage | RedisOnlyStorage
    registry: Registry
    if settings.postgres_dsn == NO_POSTGRES:
        storage = await open_redis_only(settings, CollectorRegistry(), stack)
        registry = RedisRegistry(storage.tasks, storage.tasks)
    else:
        storage = await open_storage(settings, CollectorRegistry(), stack)
        registry = storage.task_table
    mover = Mover(
        storage.attachments,
        storage.tasks,
        max_content_bytes=settings.max_content_bytes,
        moved_by=settings.instance_id,
        waits=waits,
    )
    return registry, mover
