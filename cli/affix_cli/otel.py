"""Spans by OpenTelemetry, for the shim (affix_shim.tracing) and the server (affix_server.tracing).

Names are of methods, paths and commands; nothing that was sent, stored or answered gets into a span.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from affix_cli import __version__

_FLUSH_SECONDS = 5.0
# Whatever else a client puts there is its own, and as the conventions say not passed on.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_HTTP_FAULT = 500
# Statuses that say that the server is at fault, as the conventions for RPC have it.
_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
_SERVICE_NAME = "OTEL_SERVICE_NAME"

_log = structlog.get_logger()


class OtelSpans:
    """Makes spans with a tracer; the contexts of callers travel as W3C traceparent and tracestate."""

    def __init__(self, tracer: trace.Tracer) -> None:
        """Use a tracer."""
        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    # For the shim

    @contextmanager
    def http(self, method: str, route: str, headers: Mapping[str, str]) -> Iterator[Callable[[int], None]]:
        """See affix_shim.tracing.Spans."""
        method = method if method in _METHODS else "_OTHER"
        attributes = {"http.request.method": method, "http.route": route}
        with self._span(f"{method} {route}", SpanKind.SERVER, attributes, self._above(headers.items())) as span:

            def end(status: int) -> None:
                span.set_attribute("http.response.status_code", status)
                if status >= _HTTP_FAULT:
                    span.set_status(Status(StatusCode.ERROR))

            yield end

    @contextmanager
    def call(self, method: str) -> Iterator[list[tuple[str, str]]]:
        """See affix_shim.tracing.Spans."""
        with self._span(method, SpanKind.CLIENT, {"rpc.system": "grpc"}):
            yield self.sent_along()

    def sent_along(self) -> list[tuple[str, str]]:
        """See affix_shim.tracing.Spans."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return list(carrier.items())

    # For the server

    @contextmanager
    def serve(
        self, service: str, method: str, metadata: Iterable[tuple[str, str | bytes]], *, stream: bool
    ) -> Iterator[Callable[[str], None]]:
        """See affix_server.tracing.Spans."""
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
        above = self._above((name, value) for name, value in metadata if isinstance(value, str))
        with self._span(f"{service}/{method}", SpanKind.SERVER, attributes, above, current=not stream) as span:

            def end(status: str) -> None:
                span.set_attribute("rpc.grpc.status_code", status)
                if status in _FAULTS:
                    span.set_status(Status(StatusCode.ERROR))

            yield end

    @contextmanager
    def ask(self, store: str, operation: str) -> Iterator[None]:
        """See affix_server.tracing.Spans."""
        if not trace.get_current_span().get_span_context().is_valid:
            yield
            return
        attributes = {"db.system.name": store, "db.operation.name": operation}
        with self._span(f"{store} {operation}", SpanKind.CLIENT, attributes):
            yield

    @contextmanager
    def _span(
        self,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, str],
        above: Context | None = None,
        *,
        current: bool = True,
    ) -> Iterator[Span]:
        span = self._tracer.start_span(name, above, kind, attributes)
        try:
            if current:
                # Exceptions stay out of spans: their texts may hold what was sent.
                with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                    yield span
            else:
                yield span
        except Exception:
            # Of what is served, the status says whose fault it is.
            if kind is SpanKind.CLIENT:
                span.set_status(Status(StatusCode.ERROR))
            raise
        finally:
            span.end()

    def _above(self, carried: Iterable[tuple[str, str]]) -> Context:
        wanted = {name.lower(): value for name, value in carried if name.lower() in self._propagator.fields}
        return self._propagator.extract(wanted, Context())


@asynccontextmanager
async def exporting(service: str, exporter: SpanExporter | None = None) -> AsyncIterator[OtelSpans]:
    """Give spans that are sent by OTLP over HTTP, where and how OTEL_… say; at the end wait for the last ones.

    What makes spans does not wait for whoever takes them: spans that cannot be sent are dropped.
    """
    resource = Resource.create({"service.version": __version__})
    if not os.environ.get(_SERVICE_NAME) and "service.name=" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        resource = resource.merge(Resource({"service.name": service}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
    try:
        yield OtelSpans(provider.get_tracer("affix", __version__))
    finally:
        await _shut_down(provider)


async def _shut_down(provider: TracerProvider) -> None:
    """Send what is left, in a thread that may be left behind: a receiver that hangs must not hold up the end."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def shut_down() -> None:
        provider.shutdown()
        with suppress(RuntimeError):  # the loop has not waited
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=shut_down, name="otel-shutdown", daemon=True).start()
    try:
        await asyncio.wait_for(done.wait(), _FLUSH_SECONDS)
    except TimeoutError:
        _log.warning("traces_lost")
