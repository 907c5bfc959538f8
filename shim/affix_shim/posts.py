"""What is posted to `/rpc`, whoever reads it from the wire: aiohttp, or what is before it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, NamedTuple

from msgspec import Raw

from affix_shim.gateway import Caller, Gateway
from affix_shim.jsonrpc import answer
from affix_shim.observing import FAULT, LEFT, HttpObserver
from affix_shim.request_ids import current
from affix_shim.results import Result

PATH: Final = "/rpc"
_ACCEPTED: Final = frozenset({"application/json", "application/json-rpc"})
_OK, _NO_CONTENT = int(HTTPStatus.OK), int(HTTPStatus.NO_CONTENT)


def is_json(content_type: str | None) -> bool:
    """Whether a body may be read as JSON; without a Content-Type it may. Parameters do not matter (RFC 8259)."""
    return content_type is None or content_type.partition(";")[0].strip().lower() in _ACCEPTED


class Response(NamedTuple):
    """An HTTP response: 200 with JSON, or 204 without a body."""

    status: int
    request_id: str
    body: bytes


class Posts:
    """Answers bodies of up to `max_body_bytes`, each a request or a batch."""

    def __init__(self, gateway: Gateway, observer: HttpObserver, max_body_bytes: int, max_batch: int) -> None:
        """Answer by the gateway; the observer is told of what does not pass by it as a middleware."""
        self.max_body_bytes = max_body_bytes
        self._gateway = gateway
        self._observer = observer
        self._max_batch = max_batch

    async def answer(self, body: bytes, caller: Caller) -> bytes | None:
        """Answer a body; None when there is nothing to say."""

        async def handle(method: str, params: Raw) -> Result | Raw | bytes:
            return await self._gateway.call(method, params, caller)

        return await answer(body, handle, self._max_batch)

    async def respond(self, body: bytes, headers: Mapping[str, str], caller: Caller) -> Response:
        """Answer a request that nobody else looks at: with an id of its own, counted, timed and traced.

        `headers` has names in lower case, `caller` is who they say. Runs in a task of its own, or the id stays set.
        """
        begun, status = time.perf_counter(), FAULT
        request_id = self._observer.ids.of(headers)
        current.set(request_id)
        try:
            with self._observer.span("POST", PATH, headers) as ended:
                try:
                    answered = await self.answer(body, caller.under(request_id))
                    status = _OK if answered is not None else _NO_CONTENT
                except asyncio.CancelledError:
                    status = LEFT
                    raise
                finally:
                    ended(status)
        finally:
            self._observer.count(PATH, status, time.perf_counter() - begun)
        return Response(status, request_id, answered or b"")
