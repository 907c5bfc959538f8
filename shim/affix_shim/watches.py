"""Watching attachments, for the WebSocket and for Server-Sent Events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final

from grpc.aio import AioRpcError, Channel
from msgspec import Raw

from affix.v1 import attachments_pb2 as attachments
from affix.v1.attachments_pb2_grpc import AttachmentServiceStub
from affix_shim import requests, results
from affix_shim.errors import Asked, Failed, shutting_down, to_json_rpc
from affix_shim.gateway import Caller
from affix_shim.jsonrpc import JsonRpcError
from affix_shim.methods import SUBSCRIBE
from affix_shim.observing import CallObserver
from affix_shim.params import open_params
from affix_shim.results import Result
from affix_shim.tracing import Spans
from affix_shim.violations import invalid_params

_FAILURE: Final = "Failed to watch attachments"


class Watch:
    """A watch that has begun. `token` is the one to resume from, as far as events have been taken."""

    def __init__(self, responses: AsyncGenerator[attachments.WatchAttachmentsResponse], started: str) -> None:
        """Made by `Watches.begin`."""
        self._responses = responses
        self.token = started

    async def events(self) -> AsyncIterator[Result]:
        """Yield events as they come, in the form of the JSON wires. Raises JsonRpcError when it is ended."""
        async for response in self._responses:
            self.token = response.resume_token
            yield results.watch_attachments(response)
        raise shutting_down()

    async def close(self) -> None:
        """End it."""
        await self._responses.aclose()


class Watches:
    """Begins watches over a channel: to the network or into this process."""

    def __init__(self, channel: Channel, *, observer: CallObserver, spans: Spans | None = None) -> None:
        """Bind the method; nothing is sent yet."""
        self._observer = observer
        self._spans = spans
        # The generated stub is typed for those who do not await.
        stub: Any = AttachmentServiceStub(channel)
        self._rpc = stub.WatchAttachments

    async def begin(self, text: Raw, caller: Caller) -> Watch:
        """Begin with the parameters `text` (empty when absent); no event is lost from now on. Raises JsonRpcError."""
        try:
            watch = await self._begin(text, caller)
        except JsonRpcError as error:
            self._observer.failed(SUBSCRIBE, error, caller.name)
            raise
        self._observer.answered(SUBSCRIBE)
        return watch

    async def _begin(self, text: Raw, caller: Caller) -> Watch:
        violations = list(caller.violations)
        params = open_params(text, violations)
        if params is None:
            raise invalid_params(violations, {})
        request = requests.watch_attachments(params)
        params.close()
        if violations:
            raise invalid_params(violations, params.context())
        responses = self._responses(request, caller, Asked(SUBSCRIBE, _FAILURE, params.context()))
        try:
            started = await anext(responses)
        except StopAsyncIteration:
            raise shutting_down() from None
        return Watch(responses, started.resume_token)

    async def _responses(
        self, request: attachments.WatchAttachmentsRequest, caller: Caller, asked: Asked
    ) -> AsyncGenerator[attachments.WatchAttachmentsResponse]:
        sent_along = () if self._spans is None else self._spans.sent_along()
        call = self._rpc(request, metadata=(*caller.metadata, *sent_along))
        try:
            async for response in call:
                yield response
        except AioRpcError as error:
            raise to_json_rpc(Failed.of(error), asked) from error
        finally:
            call.cancel()
