"""What is seen of the requests that come in: their ids, how many, how long, how they end, and traces if wanted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import web
from grpc.aio import AioRpcError
from prometheus_client import CollectorRegistry, Counter, Histogram

from affix_shim.errors import is_explained
from affix_shim.jsonrpc import INTERNAL_ERROR, METHOD_NOT_FOUND, JsonRpcError
from affix_shim.request_ids import REQUEST_ID, RequestIds, current
from affix_shim.tracing import Spans

_BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# What lasts as long as it is wanted is counted when it begins to answer, and not timed.
_LASTING: Final = frozenset({"/ws", "/events"})

# Asked again and again by machines, which would fill every trace store.
_FOR_OPERATORS: Final = frozenset({"/healthz", "/readyz", "/metrics"})
# What is counted when there is no answer: a fault of ours, a client that has gone.
_FAULT: Final = int(HTTPStatus.INTERNAL_SERVER_ERROR)
_LEFT: Final = 499

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = structlog.get_logger()


def _ignore(_status: int) -> None:
    """Stand in for what tells a span of the status."""


_NO_SPAN: Final[AbstractContextManager[Callable[[int], None]]] = nullcontext(_ignore)


class HttpObserver:
    """Sees every HTTP request, as the outermost middleware: gives it its id, counts, times and traces it."""

    def __init__(self, registry: CollectorRegistry, spans: Spans | None) -> None:
        """Put the metrics into `registry`; without `spans` nothing is traced."""
        self._spans = spans
        self._ids = RequestIds()
        self._requests = Counter(
            "affix_http_requests", "HTTP requests answered, by path and status", ["path", "status"], registry=registry
        )
        self._seconds = Histogram(
            "affix_http_request_seconds",
            "Time from an HTTP request to its answer",
            ["path"],
            buckets=_BOUNDS,
            registry=registry,
        )
        # Asking prometheus_client for a metric by its labels costs more than counting.
        self._answered: dict[tuple[str, int], Counter] = {}
        self._timers: dict[str, Histogram] = {}

    @web.middleware
    async def middleware(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Answer by `handler`, with the id of the request in the answer."""
        begun = time.perf_counter()
        request_id = self._ids.of(request.headers)
        token = current.set(request_id)
        path, status = _path(request), _FAULT
        span = _NO_SPAN
        if self._spans is not None and path not in _FOR_OPERATORS:
            span = self._spans.http(request.method, path, request.headers)
        try:
            with span as ended:
                try:
                    response = await handler(request)
                    status = response.status
                except web.HTTPException as refusal:
                    status = refusal.status
                    refusal.headers[REQUEST_ID] = request_id
                    raise
                except asyncio.CancelledError:
                    status = _LEFT
                    raise
                finally:
                    ended(status)
        finally:
            current.reset(token)
            self._count(path, status, time.perf_counter() - begun)
        if not response.prepared:
            response.headers[REQUEST_ID] = request_id
        return response

    def _count(self, path: str, status: int, seconds: float) -> None:
        answered = self._answered.get((path, status))
        if answered is None:
            answered = self._answered[path, status] = self._requests.labels(path, str(status))
        answered.inc()
        if path not in _LASTING:
            timer = self._timers.get(path)
            if timer is None:
                timer = self._timers[path] = self._seconds.labels(path)
            timer.observe(seconds)


class CallObserver:
    """Sees every JSON-RPC call: counts it by its outcome, and logs what the service does not hear of."""

    def __init__(self, registry: CollectorRegistry, *, logs: bool) -> None:
        """Put the metrics into `registry`; `logs` is whether to log calls at all."""
        self._calls = Counter(
            "affix_jsonrpc_calls",
            "JSON-RPC calls answered, by method and error code, 0 for a result",
            ["method", "code"],
            registry=registry,
        )
        self._logs = logs
        self._answered: dict[tuple[str, int], Counter] = {}

    def answered(self, method: str) -> None:
        """Count a result."""
        self._count(method, 0)

    def crashed(self, method: str) -> None:
        """Count a fault of ours, which is logged with its traceback where it is answered."""
        self._count(method, INTERNAL_ERROR)

    def failed(self, method: str, error: JsonRpcError, caller: str) -> None:
        """Count an error, and log it if it was not the service that said so: that has logged it itself."""
        known = method if error.code != METHOD_NOT_FOUND else "unknown"
        self._count(known, error.code)
        cause = error.__cause__
        if not self._logs or (isinstance(cause, AioRpcError) and is_explained(cause)):
            return
        reason = (error.data or {}).get("reason")
        line = {"method": known, "caller": caller, "status": error.code, "reason": reason}
        if cause is None:
            _log.info("call", **line)
        else:
            _log.warning("call", **line)

    def _count(self, method: str, code: int) -> None:
        answered = self._answered.get((method, code))
        if answered is None:
            answered = self._answered[method, code] = self._calls.labels(method, str(code))
        answered.inc()


def _path(request: web.Request) -> str:
    """Return the path as it was routed: there are only so many of them."""
    resource = request.match_info.route.resource
    return "other" if resource is None else resource.canonical
