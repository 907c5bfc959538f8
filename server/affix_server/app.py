"""All wiring of the server: stores, repositories, servicers, interceptors, background jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import structlog
from affix.v1 import attachments_pb2, tasks_pb2
from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer
from prometheus_client import CollectorRegistry

from affix_server.config import Settings
from affix_server.errors import StartError, StorageUnavailableError
from affix_server.handlers import Handler, method_handlers
from affix_server.interceptors.deadline import bound_time
from affix_server.interceptors.decoding import refuse_undecodable
from affix_server.interceptors.errors import map_errors
from affix_server.interceptors.metrics import count_calls
from affix_server.local_channel import LocalChannel
from affix_server.reflection import add_reflection
from affix_server.services.attachments import AttachmentServicer
from affix_server.services.caller import Callers
from affix_server.services.tasks import TaskServicer
from affix_server.storage.base import Attachments, Tasks
from affix_server.storage.postgres.attachments import AttachmentTable
from affix_server.storage.postgres.database import Database, open_database
from affix_server.storage.postgres.migrate import missing_migrations
from affix_server.storage.postgres.tasks import TaskTable
from affix_server.storage.postgres.writer import GroupCommitWriter
from affix_server.storage.reconciler import Reconciler
from affix_server.storage.redis import cache as redis_cache
from affix_server.storage.redis import task_cache as redis_task_cache
from affix_server.storage.redis.cache import Cache
from affix_server.storage.redis.client import RedisClient
from affix_server.storage.redis.intents import Intents
from affix_server.storage.redis.task_cache import TaskCache
from affix_server.storage.repository import AttachmentRepository
from affix_server.storage.revisions import Revisions
from affix_server.storage.task_repository import TaskRepository

# A frozen Redis is found out well within an operation's time.
_REDIS_TIMEOUT_SECONDS = 1.0
_RECONCILE_EVERY_SECONDS = 5.0
_DRAIN_SECONDS = 10.0

_log = structlog.get_logger()


class Server:
    """A server that is up: on its port, and for this process through a channel."""

    def __init__(self, channel: LocalChannel, server: grpc.aio.Server, health: HealthServicer, address: str) -> None:
        """Made by `open_server`."""
        self.channel = channel
        self.grpc_address = address
        self._server = server
        self._health = health

    async def drain(self) -> None:
        """Take no more calls on the port; those under way finish, for at most ten seconds."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(_DRAIN_SECONDS)


@asynccontextmanager
async def open_server(settings: Settings, registry: CollectorRegistry) -> AsyncIterator[Server]:
    """Open the stores, serve, and close everything in reverse order at the end.

    Raises StartError, with whatever was opened closed again, when a store
    cannot be reached, its schema is behind, or the port cannot be had.
    """
    async with AsyncExitStack() as stack:
        database = await _open_postgres(settings, stack)
        client = await _open_redis(settings, stack)
        attachments, tasks = await _open_repositories(settings, registry, database, client, stack)
        health = HealthServicer()
        services = _services(settings, registry, attachments, tasks) | _health_service(health)
        server, address = await _serve(settings, services, health)
        opened = Server(LocalChannel(_by_path(services)), server, health, address)
        stack.push_async_callback(opened.drain)
        yield opened


async def _open_postgres(settings: Settings, stack: AsyncExitStack) -> Database:
    if settings.postgres_dsn is None:
        raise StartError("AFFIX_POSTGRES_DSN is not set: where is PostgreSQL?")
    database = await open_database(settings.postgres_dsn, operation_timeout=settings.operation_timeout_seconds)
    stack.push_async_callback(database.close)
    try:
        async with database.connection() as connection:
            missing = await missing_migrations(connection)
    except StorageUnavailableError as fault:
        raise StartError(f"cannot use PostgreSQL (AFFIX_POSTGRES_DSN): {fault.cause}") from None
    if missing:
        raise StartError(f"the database lacks {', '.join(missing)}: run `affix migrate`")
    return database


async def _open_redis(settings: Settings, stack: AsyncExitStack) -> RedisClient:
    if settings.redis_url is None:
        raise StartError("AFFIX_REDIS_URL is not set: where is Redis?")
    scripts = (*redis_cache.SCRIPTS, *redis_task_cache.SCRIPTS)
    client = RedisClient(settings.redis_url, reply_timeout=_REDIS_TIMEOUT_SECONDS, scripts=scripts)
    stack.push_async_callback(client.close)
    try:
        await client.connect()
    except StorageUnavailableError as fault:
        raise StartError(f"cannot reach Redis (AFFIX_REDIS_URL): {fault.cause}") from None
    return client


async def _open_repositories(
    settings: Settings, registry: CollectorRegistry, database: Database, client: RedisClient, stack: AsyncExitStack
) -> tuple[AttachmentRepository, TaskRepository]:
    revisions, intents = Revisions(), Intents(client)
    cache = Cache(client, revisions, ttl_seconds=settings.cache_ttl_seconds, registry=registry)
    task_cache = TaskCache(client, ttl_seconds=settings.cache_ttl_seconds)
    table, task_table = AttachmentTable(database, revisions), TaskTable(database, revisions)
    writer = GroupCommitWriter(table)
    attachments = AttachmentRepository(
        cache=cache,
        task_cache=task_cache,
        intents=intents,
        table=table,
        writer=writer,
        max_message_bytes=settings.max_message_bytes,
        registry=registry,
    )
    tasks = TaskRepository(cache=task_cache, intents=intents, table=task_table)
    reconciler = Reconciler(
        cache=cache, task_cache=task_cache, intents=intents, attachments=table, tasks=task_table, registry=registry
    )
    _background(stack, "group_commit", writer.run())
    _background(stack, "reconciler", reconciler.run(_RECONCILE_EVERY_SECONDS))
    stack.push_async_callback(tasks.close)
    stack.push_async_callback(attachments.close)
    return attachments, tasks


def _services(
    settings: Settings, registry: CollectorRegistry, attachments: Attachments, tasks: Tasks
) -> dict[str, dict[str, Handler]]:
    """Build the handlers of our services, by service and method: what both wires call."""
    callers, limit = Callers(settings.instance_id), settings.max_content_bytes
    interceptors = (
        map_errors,
        count_calls(registry),
        bound_time(settings.operation_timeout_seconds),
        refuse_undecodable,
    )
    attachment_service = attachments_pb2.DESCRIPTOR.services_by_name["AttachmentService"]
    attachment_servicer = AttachmentServicer(attachments, callers, max_content_bytes=limit)
    task_service = tasks_pb2.DESCRIPTOR.services_by_name["TaskService"]
    task_servicer = TaskServicer(tasks, callers, max_content_bytes=limit)
    return {
        attachment_service.full_name: method_handlers(attachment_service, attachment_servicer, interceptors),
        task_service.full_name: method_handlers(task_service, task_servicer, interceptors),
    }


def _health_service(health: HealthServicer) -> dict[str, dict[str, Handler]]:
    service = health_pb2.DESCRIPTOR.services_by_name["Health"]
    return {service.full_name: method_handlers(service, health, ())}


def _background(stack: AsyncExitStack, name: str, work: Coroutine[Any, Any, None]) -> None:
    """Run a job until the stack unwinds; one that ends by itself is a fault, and said so."""
    task = asyncio.create_task(work, name=name)

    def ended(done: asyncio.Task[None]) -> None:
        if not done.cancelled():
            _log.critical("background_job_ended", job=name, exc_info=done.exception())

    async def stop() -> None:
        task.cancel()
        await asyncio.wait((task,))

    task.add_done_callback(ended)
    stack.push_async_callback(stop)


async def _serve(
    settings: Settings, services: Mapping[str, dict[str, Handler]], health: HealthServicer
) -> tuple[grpc.aio.Server, str]:
    server = grpc.aio.server(
        options=(
            ("grpc.max_receive_message_length", settings.max_message_bytes),
            ("grpc.max_send_message_length", settings.max_message_bytes),
            # Two servers on one port would share its connections at random.
            ("grpc.so_reuseport", 0),
        )
    )
    for name, handlers in services.items():
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
        await health.set(name, health_pb2.HealthCheckResponse.SERVING)
    add_reflection(server, tuple(services))
    try:
        port = server.add_insecure_port(settings.grpc_listen)
    except RuntimeError:
        raise StartError(f"cannot listen on {settings.grpc_listen} (AFFIX_GRPC_LISTEN): is the port in use?") from None
    await server.start()
    await health.set("", health_pb2.HealthCheckResponse.SERVING)
    return server, f"{settings.grpc_listen.rpartition(':')[0]}:{port}"


def _by_path(services: Mapping[str, dict[str, Handler]]) -> dict[str, Handler]:
    return {
        f"/{service}/{name}": handler for service, handlers in services.items() for name, handler in handlers.items()
    }
