"""Whoever takes traces: OTLP over HTTP on a loopback port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Span:
    """A span as it was received."""

    name: str
    kind: int
    service: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, str]
    failed: bool


@dataclass
class Receiver:
    """Keeps what it is sent; `text` is all of it, as it came."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    text: bytes = b""

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.text += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            of_process = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append(
                        Span(
                            name=span.name,
                            kind=span.kind,
                            service=of_process["service.name"],
                            trace_id=span.trace_id.hex(),
                            span_id=span.span_id.hex(),
                            parent_id=span.parent_span_id.hex(),
                            attributes={
                                one.key: one.value.string_value or str(one.value.int_value) for one in span.attributes
                            },
                            failed=span.status.code == span.status.STATUS_CODE_ERROR,
                        )
                    )
        return web.Response()

    def of(self, trace_id: str) -> list[Span]:
        return [span for span in self.spans if span.trace_id == trace_id]

    async def spans_of(self, name: str) -> None:
        """Wait until a span of this name has come."""
        async with asyncio.timeout(10):
            while all(span.name != name for span in self.spans):
                await asyncio.sleep(0.02)

    def above(self, span: Span) -> Span | None:
        """The span that is this one's parent, if it was received."""
        found = [one for one in self.spans if one.span_id == span.parent_id]
        return found[0] if found else None

    def way(self, span: Span) -> list[str]:
        """The names of the spans that lead to one, outermost first."""
        names, at = [span.name], self.above(span)
        while at is not None:
            names.insert(0, at.name)
            at = self.above(at)
        return names


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/v1/traces", receiver.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    receiver.url = f"http://{host}:{port}"
    try:
        yield receiver
    finally:
        await runner.cleanup()
