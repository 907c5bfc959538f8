"""`GET /events`: watching attachments as Server-Sent Events.

(https://html.spec.whatwg.org/multipage/server-sent-events.html)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from http import HTTPStatus
from typing import Final

from aiohttp import web
from msgspec import Raw
from msgspec.json import encode

from affix_shim.errors import (
    CIRCUIT_OPEN,
    NOT_ALLOWED,
    RATE_LIMITED,
    STORAGE,
    TOKEN_EXPIRED,
    WATCH_ENDED,
    shutting_down,
)
from affix_shim.gateway import Caller
from affix_shim.jsonrpc import INVALID_PARAMS, JsonRpcError, error_answer, error_object
from affix_shim.request_ids import REQUEST_ID, current
from affix_shim.results import PROGRESS, Result
from affix_shim.violations import Violation, invalid_params
from affix_shim.watches import Watch, Watches

# A line now and then keeps what is between from closing the connection, and finds out when the client has gone.
KEEPALIVE_SECONDS: Final = 15.0
_HEADERS: Final = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_LAST_EVENT_ID: Final = "Last-Event-ID"
_STATUSES: Final = {
    INVALID_PARAMS: HTTPStatus.BAD_REQUEST,
    NOT_ALLOWED: HTTPStatus.FORBIDDEN,
    # An EventSource gives up at anything but 200, which is right: its token will not get better.
    TOKEN_EXPIRED: HTTPStatus.GONE,
    RATE_LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
    WATCH_ENDED: HTTPStatus.SERVICE_UNAVAILABLE,
    STORAGE: HTTPStatus.SERVICE_UNAVAILABLE,
    CIRCUIT_OPEN: HTTPStatus.SERVICE_UNAVAILABLE,
}


class ServerSentEvents:
    """GET /events."""

    def __init__(self, watches: Watches) -> None:
        """Tell of watches."""
        self._watches = watches
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End all streams, with an error event; none begins any more."""
        self._closing.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Stream until the client or this process ends; an error before the first event is an HTTP error."""
        try:
            watch = await self._watches.begin(_params(request), Caller(request.headers, request.remote))
        except JsonRpcError as error:
            return _refused(error)
        response = web.StreamResponse(headers=_HEADERS)
        if (request_id := current.get(None)) is not None:
            response.headers[REQUEST_ID] = request_id
        try:
            await response.prepare(request)
            await response.write(_event("started", {"type": "started"}, watch.token))
            with suppress(ConnectionError):
                await self._stream(watch, response)
        finally:
            await watch.close()
        return response

    async def _stream(self, watch: Watch, response: web.StreamResponse) -> None:
        closing = asyncio.create_task(self._closing.wait())
        events = watch.events()
        following: asyncio.Task[Result] | None = None
        try:
            while True:
                following = following or asyncio.create_task(_next(events))
                await asyncio.wait((following, closing), timeout=KEEPALIVE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if following.done():
                    event, following = following.result(), None
                    await response.write(_event(str(event["type"]), event, watch.token))
                elif closing.done():
                    raise shutting_down()
                else:
                    await response.write(b":\n\n")
        except JsonRpcError as error:
            await response.write(_event("error", error_object(error), watch.token))
        finally:
            for task in (closing, following):
                if task is not None:
                    task.cancel()
                    await asyncio.wait((task,))


def _refused(error: JsonRpcError) -> web.Response:
    status, headers = _STATUSES.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR), {}
    if error.data is not None and error.data.get("reason") == "UNAUTHENTICATED":
        status, headers = HTTPStatus.UNAUTHORIZED, {"WWW-Authenticate": "Bearer"}
    return web.Response(status=status, body=error_answer(error), content_type="application/json", headers=headers)


async def _next(events: AsyncIterator[Result]) -> Result:
    return await anext(events)


def _params(request: web.Request) -> Raw:
    """Return the query as the parameters of a subscription, with the token of a client that comes back."""
    given = dict(request.query)
    if len(given) != len(request.query):
        raise invalid_params([Violation("query", "must have each parameter once")], {})
    if _LAST_EVENT_ID in request.headers:
        given["resumeToken"] = request.headers[_LAST_EVENT_ID]
    return Raw(encode(given))


def _event(name: str, data: Result, token: str) -> bytes:
    if name == PROGRESS:
        return f"id: {token}\n\n".encode()  # moves the token, and is no event for the client
    return f"id: {token}\nevent: {name}\ndata: ".encode() + encode(data) + b"\n\n"
