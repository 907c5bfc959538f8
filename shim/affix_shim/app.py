"""The HTTP side: `POST /rpc`, `/ws`, `/events`, and what operators and their probes ask for.

(design/contract.md, "Wires" and "JSON-RPC 2.0, the corners")
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Final

from aiohttp import web
from grpc.aio import AioRpcError, Channel
from grpc_health.v1 import health_pb2
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry

from affix_shim.gateway import Caller, Gateway
from affix_shim.jsonrpc import INVALID_REQUEST, MAX_BATCH, PARSE_ERROR, JsonRpcError, error_answer
from affix_shim.observing import CallObserver, HttpObserver
from affix_shim.openrpc.discovery import Discovery
from affix_shim.posts import Posts, is_json
from affix_shim.server_sent_events import ServerSentEvents
from affix_shim.tracing import Spans
from affix_shim.watches import Watches
from affix_shim.websocket import WebSockets

_JSON: Final = {"Content-Type": "application/json"}
_MAX_BODY_BYTES: Final = 64 * 1024 * 1024
_READY_TIMEOUT_SECONDS: Final = 2.0
# What the service calls its stores, for its health.
_STORES: Final = ("postgres", "redis")
# Set by whoever serves the application and is about to stop: it is not ready any more.
LEAVING: Final = web.AppKey("LEAVING", asyncio.Event)
# For whoever reads what is posted to /rpc from the wire without aiohttp.
POSTS: Final = web.AppKey("POSTS", Posts)


def make_app(
    channel: Channel,
    *,
    metrics: Callable[[], Awaitable[bytes]],
    max_body_bytes: int = _MAX_BODY_BYTES,
    max_batch: int = MAX_BATCH,
    timeout_seconds: float | None = None,
    registry: CollectorRegistry | None = None,
    log_calls: bool = True,
    spans: Spans | None = None,
    discovery: Discovery | None = None,
) -> web.Application:
    """Make the application; the channel stays the caller's to close.

    POST /rpc takes bodies of up to `max_body_bytes` and batches of up to `max_batch`, and so does GET /ws. GET /events
    streams. GET /healthz answers while the process lives, GET /readyz when the service behind the channel says it is
    serving, until `LEAVING` is set, GET /metrics with what `metrics` gives, Prometheus text. `timeout_seconds`
    bounds each call over the channel; None leaves that to the server. Requests are counted in `registry`, and those
    that the service does not hear of are logged, if `log_calls`; with `spans`, all are traced. `discovery` answers
    `rpc.discover`, which there is none of without. Whoever stops serving
    calls the application's `shutdown` first: conversations and streams would not end by themselves.
    """
    registry = registry or CollectorRegistry()
    http = HttpObserver(registry, spans)
    app = web.Application(client_max_size=max_body_bytes, middlewares=[http.middleware])
    app[LEAVING] = asyncio.Event()
    observer = CallObserver(registry, logs=log_calls)
    gateway = Gateway(channel, timeout_seconds=timeout_seconds, observer=observer, spans=spans, discovery=discovery)
    app[POSTS] = posts = Posts(gateway, http, max_body_bytes, max_batch)
    watches = Watches(channel, observer=observer, spans=spans)
    sockets, streams = WebSockets(gateway, watches, max_body_bytes, max_batch), ServerSentEvents(watches)

    async def end_watches(_app: web.Application) -> None:
        streams.close()
        await sockets.close()

    app.on_shutdown.append(end_watches)
    app.router.add_route("*", "/rpc", _Rpc(posts, max_body_bytes).handle)
    app.router.add_get("/ws", sockets.handle)
    app.router.add_get("/events", streams.handle, allow_head=False)
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/readyz", _Readiness(channel).handle)
    app.router.add_get("/metrics", partial(_metrics, metrics))
    return app


class _Rpc:
    """POST /rpc."""

    def __init__(self, posts: Posts, max_body_bytes: int) -> None:
        self._posts = posts
        self._max_body_bytes = max_body_bytes

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one HTTP request: 200 with JSON, 204 without a body, or 405, 413, 415."""
        if request.method != "POST":
            return _refuse(HTTPStatus.METHOD_NOT_ALLOWED, "only POST is allowed here", Allow="POST")
        if not is_json(request.headers.get("Content-Type")):
            return _refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json")
        length = request.content_length
        if length is not None and length > self._max_body_bytes:
            return self._too_large(f"{length} bytes")
        try:
            body = await self._read(request)
        except web.RequestPayloadError:
            unread = JsonRpcError(PARSE_ERROR, "Parse error: the body ends early or is not encoded as its headers say")
            return web.Response(body=error_answer(unread), headers=_JSON)
        if body is None:
            return self._too_large("more")
        answered = await self._posts.answer(body, Caller(request.headers, request.remote))
        if answered is None:
            return web.Response(status=HTTPStatus.NO_CONTENT)
        return web.Response(body=answered, headers=_JSON)

    async def _read(self, request: web.Request) -> bytes | None:
        """Read the body; None when it is too large. What is unpacked, of which there may be no end, lets others in."""
        packed = "Content-Encoding" in request.headers
        body = bytearray()
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > self._max_body_bytes:
                return None
            if packed:
                await asyncio.sleep(0)
        return bytes(body)

    def _too_large(self, actual: str) -> web.Response:
        limit = f"the body must be at most {self._max_body_bytes} bytes, not {actual}"
        return _refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, limit)


def _refuse(status: HTTPStatus, what: str, **headers: str) -> web.Response:
    error = JsonRpcError(INVALID_REQUEST, f"Invalid Request: {what}")
    return web.Response(status=status, body=error_answer(error), headers={**_JSON, **headers})


async def _healthz(_request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def _metrics(metrics: Callable[[], Awaitable[bytes]], _request: web.Request) -> web.Response:
    return web.Response(body=await metrics(), headers={"Content-Type": CONTENT_TYPE_LATEST})


class _Readiness:
    """GET /readyz."""

    def __init__(self, channel: Channel) -> None:
        # The generated health stub ships without types; this is the one line it holds.
        self._check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )

    async def handle(self, request: web.Request) -> web.Response:
        """Answer 200 while the service can answer, 503 when it cannot or does not say; name the stores it tells of."""
        ready, *stores = await asyncio.gather(*(self._serves(name) for name in ("", *_STORES)))
        told = {name: "up" if up else "down" for name, up in zip(_STORES, stores, strict=True) if up is not None}
        if ready and not request.app[LEAVING].is_set():
            return web.json_response({"status": "ready", "stores": told})
        return web.json_response({"status": "not ready", "stores": told}, status=HTTPStatus.SERVICE_UNAVAILABLE)

    async def _serves(self, name: str) -> bool | None:
        """Ask for the health of the service, or of one of its stores; None when it does not say."""
        try:
            health = await self._check(health_pb2.HealthCheckRequest(service=name), timeout=_READY_TIMEOUT_SECONDS)
        except AioRpcError:
            return None
        return bool(health.status == health_pb2.HealthCheckResponse.SERVING)
