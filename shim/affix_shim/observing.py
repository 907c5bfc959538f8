"""What is seen of the requests that come in: their ids, how many, how long, how they end, and traces if wanted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import web
from grpc.aio import AioRpcError
from prometheus_client import CollectorRegistry

from affix_shim.counting import Counts, Timings
from affix_shim.errors import is_explained
from affix_shim.jsonrpc import INTERNAL_ERROR, METHOD_NOT_FOUND, JsonRpcError
from affix_shim.request_ids import REQUEST_ID, RequestIds, current
from affix_shim.tracing import Spans

# What lasts as long as it is wanted is counted when it begins to answer, and not timed.
_LASTING: Final = frozenset({"/ws", "/events"})

# Asked again and again by machines, which would fill every trace store.
_FOR_OPERATORS: Final = frozenset({"/healthz", "/readyz", "/metrics"})
# What is counted when there is no answer: a fault of ours, a client that has gone.
FAULT: Final = int(HTTPStatus.INTERNAL_SERVER_ERROR)
LEFT: Final = 499

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
        self.ids = RequestIds()
        self._requests = Counts(
            "affix_http_requests", "HTTP requests answered, by path and status", ("path", "status"), registry
        )
        self._seconds = Timings(
            "affix_http_request_seconds", "Time from an HTTP request to its answer", "path", registry
        )

    @web.middleware
    async def middleware(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Answer by `handler`, with the id of the request in the answer."""
        begun = time.perf_counter()
        request_id = self.ids.of(request.headers)
        token = current.set(request_id)
        path, status = _path(request), FAULT
        try:
            with self.span(request.method, path, request.headers) as ended:
                try:
                    response = await handler(request)
                    status = response.status
                except web.HTTPException as refusal:
                    status = refusal.status
                    refusal.headers[REQUEST_ID] = request_id
                    raise
                except asyncio.CancelledError:
                    status = LEFT
                    raise
                finally:
                    ended(status)
        finally:
            current.reset(token)
            self.count(path, status, time.perf_counter() - begun)
        if not response.prepared:
            response.headers[REQUEST_ID] = request_id
        return response

    def span(self, method: str, path: str, headers: Mapping[str, str]) -> AbstractContextManager[Callable[[int], None]]:
        """Make the span of a request, if it is to have one; call what it gives with the status."""
        if self._spans is None or path in _FOR_OPERATORS:
            return _NO_SPAN
        return self._spans.http(method, path, headers)

    def count(self, path: str, status: int, seconds: float) -> None:
        """Count and time an answer."""
        self._requests.add(path, status)
        if path not in _LASTING:
            self._seconds.observe(path, seconds)


class CallObserver:
    """Sees every JSON-RPC call: counts it by its outcome, and logs what the service does not hear of."""

    def __init__(self, registry: CollectorRegistry, *, logs: bool) -> None:
        """Put the metrics into `registry`; `logs` is whether to log calls at all."""
        self._calls = Counts(
            "affix_jsonrpc_calls",
            "JSON-RPC calls answered, by method and error code, 0 for a result",
            ("method", "code"),
            registry,
        )
        self._logs = logs

    def answered(self, method: str) -> None:
        """Count a result."""
        self._calls.add(method, 0)

    def crashed(self, method: str) -> None:
        """Count a fault of ours, which is logged with its traceback where it is answered."""
        self._calls.add(method, INTERNAL_ERROR)

    def failed(self, method: str, error: JsonRpcError, caller: str) -> None:
        """Count an error, and log it if it was not the service that said so: that has logged it itself."""
        known = method if error.code != METHOD_NOT_FOUND else "unknown"
        self._calls.add(known, error.code)
        cause = error.__cause__
        if not self._logs or (isinstance(cause, AioRpcError) and is_explained(cause)):
            return
        reason = (error.data or {}).get("reason")
        line = {"method": known, "caller": caller, "status": error.code, "reason": reason}
        if cause is None:
            _log.info("call", **line)
        else:
            _log.warning("call", **line)


def _path(request: web.Request) -> str:
    """Return the path as it was routed: there are only so many of them."""
    resource = request.match_info.route.resource
    return "other" if resource is None else resource.canonical
