"""All wiring of the server: storage, servicers, interceptors, the two ways in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer
from prometheus_client import CollectorRegistry

from affix.v1 import attachments_pb2, tasks_pb2
from affix_server.config import NO_POSTGRES, Settings
from affix_server.errors import StartError
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
from affix_server.stores import RedisOnlyStorage, Storage, open_redis_only, open_storage

_DRAIN_SECONDS = 10.0


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
        alone = settings.postgres_dsn == NO_POSTGRES
        storage = await (open_redis_only if alone else open_storage)(settings, registry, stack)
        health = HealthServicer()
        services = _services(settings, registry, storage) | _health_service(health)
        server, address = await _serve(settings, services, health)
        opened = Server(LocalChannel(_by_path(services)), server, health, address)
        stack.push_async_callback(opened.drain)
        yield opened


def _services(
    settings: Settings, registry: CollectorRegistry, storage: Storage | RedisOnlyStorage
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
    attachment_servicer = AttachmentServicer(storage.attachments, callers, max_content_bytes=limit)
    task_service = tasks_pb2.DESCRIPTOR.services_by_name["TaskService"]
    task_servicer = TaskServicer(storage.tasks, callers, max_content_bytes=limit)
    return {
        attachment_service.full_name: method_handlers(attachment_service, attachment_servicer, interceptors),
        task_service.full_name: method_handlers(task_service, task_servicer, interceptors),
    }


def _health_service(health: HealthServicer) -> dict[str, dict[str, Handler]]:
    service = health_pb2.DESCRIPTOR.services_by_name["Health"]
    return {service.full_name: method_handlers(service, health, ())}


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
