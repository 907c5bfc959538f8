"""A grpc.aio channel that calls the servicers of this process directly, through the same interceptors.

The network hop between shim and server costs more than everything else
together (design/facts.md, "Speed"); with this channel there is none, and the
shim does not know. Messages are passed on as they are, never serialized.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
from typing import Any, NoReturn, Self, cast

import grpc
from grpc.aio import AioRpcError, Metadata

from affix_server.calls import Behavior, StreamBehavior
from affix_server.handlers import Handler

# The address of whom a caller in this process calls for: the shim sends its HTTP client's. Believed here alone;
# over the network anybody could send it, and the connection itself says where it comes from.
FORWARDED_FOR = "x-forwarded-for"


class LocalContext:
    """A call's context, as calls.CallContext promises it."""

    __slots__ = ("_code", "_deadline", "_metadata")

    def __init__(self, metadata: Any, timeout: float | None) -> None:
        """Begin a call with `timeout` seconds to run, None for as long as it takes."""
        self._metadata = metadata
        self._code = grpc.StatusCode.OK
        self._deadline = None if timeout is None else time.monotonic() + timeout

    def invocation_metadata(self) -> Any:
        """Return what the caller sent beside the request."""
        return self._metadata

    def time_remaining(self) -> float | None:
        """Return the seconds left until the caller's deadline, None if it has none."""
        return None if self._deadline is None else max(self._deadline - time.monotonic(), 0.0)

    def peer(self) -> str:
        """Return `http:` and the address that the call is forwarded for; `inproc:` for this process' own calls."""
        for name, value in self._metadata:
            if name == FORWARDED_FOR:
                return f"http:{value}"
        return "inproc:"

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        """Do nothing: a caller in this process says the id of its request itself."""

    def code(self) -> grpc.StatusCode:
        """Return how the call was ended."""
        return self._code

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> NoReturn:
        """End the call with the error that a client across the network would see."""
        self._code = code
        raise AioRpcError(code, Metadata(), Metadata(*trailing_metadata), details=details)


class _LocalUnaryUnary:
    """A method of this process, in the shape of grpc.aio.UnaryUnaryMultiCallable."""

    __slots__ = ("_behavior",)

    def __init__(self, handler: Handler | None) -> None:
        behavior: Behavior | None = handler.unary_unary if handler is not None else None
        self._behavior = behavior or _unimplemented

    def __call__(
        self, request: Any, *, timeout: float | None = None, metadata: Any = None, **_options: Any
    ) -> Awaitable[Any]:
        return self._behavior(request, LocalContext(metadata or (), timeout))


async def _unimplemented(_request: Any, context: Any) -> NoReturn:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
    raise AssertionError("abort raises")


def _refuse_stream(*_args: Any, **_options: Any) -> NoReturn:
    raise AioRpcError(grpc.StatusCode.UNIMPLEMENTED, Metadata(), Metadata(), details="Requests cannot be streamed here")


class _LocalStream:
    """What a multi-callable of a stream returns: something to iterate over, once, and to cancel."""

    __slots__ = ("_ending", "_responses")

    def __init__(self, responses: AsyncGenerator[Any], ending: set[asyncio.Task[None]]) -> None:
        self._responses = responses
        self._ending = ending

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._responses

    def cancel(self) -> bool:
        """End the stream, which nobody is waiting for a response of."""
        task = asyncio.get_running_loop().create_task(self._end())
        self._ending.add(task)  # a task that nobody holds may be lost before its end
        task.add_done_callback(self._ending.discard)
        return True

    async def _end(self) -> None:
        await self._responses.aclose()


class _LocalUnaryStream:
    """A streaming method of this process, in the shape of grpc.aio.UnaryStreamMultiCallable."""

    __slots__ = ("_behavior", "_ending")

    def __init__(self, handler: Handler | None) -> None:
        # The stubs type handlers for servers that are not asyncio's.
        behavior = cast("StreamBehavior | None", handler.unary_stream if handler is not None else None)
        self._behavior = behavior or _unimplemented_stream
        self._ending: set[asyncio.Task[None]] = set()

    def __call__(self, request: Any, *, timeout: float | None = None, metadata: Any = None, **_options: Any) -> Any:
        return _LocalStream(self._behavior(request, LocalContext(metadata or (), timeout)), self._ending)


async def _unimplemented_stream(request: Any, context: Any) -> AsyncGenerator[Any]:
    yield await _unimplemented(request, context)


class LocalChannel(grpc.aio.Channel):
    """Reaches the methods of this process by their paths. It is always ready, and closing it does nothing.

    A stream from here ends when whoever waits for its next response is cancelled, or by `cancel`.
    """

    # Requests are only read: what has the attributes of one will do.
    takes_typed = True

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        """Serve handlers by path, `/package.Service/Method`."""
        self._handlers = handlers

    def unary_unary(self, method: str, *_args: Any, **_options: Any) -> Any:
        """Return what calls a method (grpc.aio.Channel.unary_unary)."""
        return _LocalUnaryUnary(self._handlers.get(method))

    def unary_stream(self, method: str, *_args: Any, **_options: Any) -> Any:
        """Return what calls a method that answers with a stream (grpc.aio.Channel.unary_stream)."""
        return _LocalUnaryStream(self._handlers.get(method))

    def stream_unary(self, *_args: Any, **_options: Any) -> Any:
        """Return what refuses to be called: generated stubs ask for all methods of a service."""
        return _refuse_stream

    stream_stream = stream_unary

    async def close(self, grace: float | None = None) -> None:
        """Do nothing: the handlers belong to the server."""

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: ARG002, FBT001, FBT002 - gRPC's
        """Return READY."""
        return grpc.ChannelConnectivity.READY

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Return once the state differs from READY, which it never does."""
        if last_observed_state is grpc.ChannelConnectivity.READY:
            await asyncio.get_running_loop().create_future()

    async def channel_ready(self) -> None:
        """Return at once."""

    async def __aenter__(self) -> Self:
        """Return the channel."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Do nothing, as `close`."""
