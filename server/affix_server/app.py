"""All wiring of the server: storage, servicers, interceptors, the two ways in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from functools import partial
from typing import TypeAlias

import grpc
from grpc_health.v1 import health_pb2
from prometheus_client import CollectorRegistry

from affix.v1 import attachments_pb2, tasks_pb2
from affix_server.auth.credentials import open_credentials
from affix_server.auth.permissions import OpenAccess, PrincipalAccess
from affix_server.auth.principals import Credentials, is_known
from affix_server.calls import Interceptor
from affix_server.config import NO_POSTGRES, Settings
from affix_server.errors import StartError, StorageUnavailableError
from affix_server.grpc_options import grpc_options
from affix_server.handlers import Handler, Interceptors, method_handlers
from affix_server.health import HealthServicer, Usable
from affix_server.interceptors.authentication import Authentication
from affix_server.interceptors.bounds import Bounds
from affix_server.interceptors.caps import CallCap, UnsentCap, WatcherCap
from affix_server.interceptors.deadline import Deadlines, bound_stream
from affix_server.interceptors.decoding import refuse_undecodable
from affix_server.interceptors.metrics import CallMetrics
from affix_server.interceptors.outcomes import Outcomes
from affix_server.interceptors.rate_limit import caller, limit_rate
from affix_server.interceptors.request_log import RequestLog
from affix_server.interceptors.tracing import traced
from affix_server.local_channel import LocalChannel
from affix_server.rate_limits import RateLimits, connection_pool, limits_of
from affix_server.reflection import add_reflection
from affix_server.services.answers import Answers, Messages, Serialized, Texts
from affix_server.services.attachments import AttachmentServicer
from affix_server.services.caller import Callers
from affix_server.services.tasks import TaskServicer
from affix_server.storage.counts import CountedAttachments, CountedTasks
from affix_server.storage.redis.client import Address, RedisClient
from affix_server.storage.watching import Watching
from affix_server.stores import RedisOnlyStorage, Storage, open_redis_only, open_storage
from affix_server.tracing import Spans

# Of an operation's time, for asking Redis whether its caller may call; the stores need the rest.
_LIMITS_SHARE, _LIMITS_LONGEST_SECONDS = 0.1, 0.5
_PROBE_SECONDS = 1.0


class Server:
    """A server that is up: on its port, and for this process through a channel."""

    def __init__(
        self,
        channel: LocalChannel,
        printing_channel: LocalChannel,
        server: grpc.aio.Server,
        health: HealthServicer,
        watching: Watching,
        address: str,
        drain_seconds: float,
        credentials: Credentials | None,
    ) -> None:
        """Made by `open_server`. `credentials` is what callers are known by, None if they are not asked.

        `channel` answers with messages, `printing_channel` where it can with what prints itself (printing.py).
        """
        self.channel = channel
        self.printing_channel = printing_channel
        self._credentials = credentials
        self.grpc_address = address
        self._server = server
        self._health = health
        self._watching = watching
        self._drain_seconds = drain_seconds

    def unready(self) -> None:
        """Say from now on that nothing is served, though all still is, so that callers are sent elsewhere."""
        self._health.drain()

    def knows(self, headers: Iterable[tuple[str, str]]) -> bool:
        """Tell whether the headers of an HTTP request show who sends it."""
        return self._credentials is not None and is_known(self._credentials, headers)

    async def drain(self) -> None:
        """Take no more calls on the port; those under way have AFFIX_DRAIN_SECONDS. Watches end at once."""
        self.unready()
        # The port is closed first: watches that are told to go on elsewhere would come back otherwise.
        stopping = asyncio.create_task(self._server.stop(self._drain_seconds))
        await asyncio.sleep(0)
        await self._watching.close()
        await stopping


@asynccontextmanager
async def open_server(
    settings: Settings,
    registry: CollectorRegistry,
    spans: Spans | None = None,
    *,
    tls: grpc.ServerCredentials | None = None,
) -> AsyncIterator[Server]:
    """Open the stores, serve, and close everything in reverse order at the end.

    With `spans`, calls are traced; with `tls`, the port speaks nothing else.

    Raises StartError, with whatever was opened closed again, when a store
    cannot be reached, its schema is behind, the port cannot be had, or the
    credentials cannot be read.
    """
    if settings.tls_certificate is not None and tls is None:
        raise StartError("AFFIX_TLS_CERTIFICATE is set, and whoever starts this server has not read it")
    credentials = open_credentials(settings)
    async with AsyncExitStack() as stack:
        alone = settings.postgres_dsn == NO_POSTGRES
        storage = await (open_redis_only if alone else open_storage)(settings, registry, stack, spans)
        services, local, printing = _services(
            settings, registry, storage, _rate_limit(settings, stack), spans, credentials
        )
        health = HealthServicer(tuple(services), _stores(storage))
        checking = _health_service(health)
        server, address = await _serve(settings, services | checking, credentials, tls)
        channels = (LocalChannel(_by_path(local | checking)), LocalChannel(_by_path(printing | checking)))
        opened = Server(*channels, server, health, storage.watching, address, settings.drain_seconds, credentials)
        stack.push_async_callback(opened.drain)
        yield opened


_Services: TypeAlias = dict[str, dict[str, Handler]]


def _services(
    settings: Settings,
    registry: CollectorRegistry,
    storage: Storage | RedisOnlyStorage,
    rate_limit: Interceptor,
    spans: Spans | None,
    credentials: Credentials | None,
) -> tuple[_Services, _Services, _Services]:
    """Build the handlers of our services, by service and method, behind the same interceptors.

    Once with answers as the network takes them, once with messages, once with what prints itself.
    """
    callers, limit = Callers(settings.instance_id), settings.max_content_bytes
    authentication = None if credentials is None else Authentication(credentials)
    name_of = caller if authentication is None else authentication.name_of
    access = OpenAccess() if credentials is None else PrincipalAccess(storage.tasks)
    log = RequestLog(settings.log_calls, settings.log_slow_seconds, name_of=name_of)
    outcomes = Outcomes(CallMetrics(registry), log)
    bounds = Bounds(
        CallCap(settings.max_concurrent_calls),
        Deadlines(settings.operation_timeout_seconds),
        UnsentCap(settings.max_unsent_bytes, settings.send_timeout_seconds),
    )
    watchers = WatcherCap(settings.max_watchers, settings.max_watchers_per_caller, name_of=name_of)
    interceptors = Interceptors(
        calls=(
            outcomes.calls,
            bounds.calls,
            *(() if authentication is None else (authentication.calls,)),
            rate_limit,
            refuse_undecodable,
        ),
        streams=(outcomes.streams, watchers.cap, bound_stream),
        opening=(*(() if authentication is None else (authentication.opening,)), rate_limit, refuse_undecodable),
    )
    if spans is not None:
        interceptors = traced(interceptors, spans)
    attachment_service = attachments_pb2.DESCRIPTOR.services_by_name["AttachmentService"]
    attachments = CountedAttachments(storage.attachments, storage.counts)
    parts = (attachments, storage.watching, callers, access)
    task_service = tasks_pb2.DESCRIPTOR.services_by_name["TaskService"]
    task_servicer = TaskServicer(CountedTasks(storage.tasks, storage.counts), callers, access, max_content_bytes=limit)
    tasks = {task_service.full_name: method_handlers(task_service, task_servicer, interceptors)}

    def with_answers(answers: Answers) -> dict[str, dict[str, Handler]]:
        servicer = AttachmentServicer(*parts, answers, max_content_bytes=limit)
        return {attachment_service.full_name: method_handlers(attachment_service, servicer, interceptors), **tasks}

    return with_answers(Serialized()), with_answers(Messages()), with_answers(Texts())


def _rate_limit(settings: Settings, stack: AsyncExitStack) -> Interceptor:
    """Build the rate limits, on connections of their own to the Redis of storage."""
    seconds = min(settings.operation_timeout_seconds * _LIMITS_SHARE, _LIMITS_LONGEST_SECONDS)
    pool = connection_pool(asdict(Address.parse(settings.redis_url or "")), longest_seconds=seconds)
    stack.push_async_callback(pool.disconnect)
    return limit_rate(limits_of(settings), RateLimits(pool, longest_seconds=seconds))


def _stores(storage: Storage | RedisOnlyStorage) -> dict[str, Usable]:
    """Tell whether each store can be used, for whoever asks about the service's health."""
    if isinstance(storage, RedisOnlyStorage):
        return {"redis": partial(_answers, storage.client)}

    async def postgres() -> bool:
        return storage.postgres_circuit.is_closed

    async def redis() -> bool:
        return storage.redis_circuit.is_closed and storage.trust.believed

    return {"postgres": postgres, "redis": redis}


async def _answers(client: RedisClient) -> bool:
    """Ask Redis itself: without Postgres there is nothing else to do, and so nobody who watches over it."""
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            await client.execute("PING")
    except (TimeoutError, StorageUnavailableError):
        return False
    return True


def _health_service(health: HealthServicer) -> dict[str, dict[str, Handler]]:
    service = health_pb2.DESCRIPTOR.services_by_name["Health"]
    return {service.full_name: method_handlers(service, health, Interceptors())}


async def _serve(
    settings: Settings,
    services: Mapping[str, dict[str, Handler]],
    credentials: Credentials | None,
    tls: grpc.ServerCredentials | None,
) -> tuple[grpc.aio.Server, str]:
    server = grpc.aio.server(options=grpc_options(settings))
    for name, handlers in services.items():
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
    if settings.reflection_access != "off":
        add_reflection(server, tuple(services), credentials if settings.reflection_access == "authenticated" else None)
    try:
        if tls is None:
            port = server.add_insecure_port(settings.grpc_listen)
        else:
            port = server.add_secure_port(settings.grpc_listen, tls)
    except RuntimeError:
        raise StartError(f"cannot listen on {settings.grpc_listen} (AFFIX_GRPC_LISTEN): is the port in use?") from None
    await server.start()
    return server, f"{settings.grpc_listen.rpartition(':')[0]}:{port}"


def _by_path(services: Mapping[str, dict[str, Handler]]) -> dict[str, Handler]:
    return {
        f"/{service}/{name}": handler for service, handlers in services.items() for name, handler in handlers.items()
    }
