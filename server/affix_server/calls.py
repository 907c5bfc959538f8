"""What a call is made of, whether it comes over the network or from this process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import grpc


class CallContext(Protocol):
    """The part of grpc.aio.ServicerContext that servicers and interceptors use."""

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """Return what the caller sent beside the request."""
        ...

    def time_remaining(self) -> float | None:
        """Return the seconds left until the caller's deadline, None if it has none."""
        ...

    def peer(self) -> str:
        """Return where the call comes from, in gRPC's form: `ipv4:127.0.0.1:5000`."""
        ...

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        """Say what is sent behind the answer, if the call does not end with `abort`, which has its own."""
        ...

    def code(self) -> Any:
        """Return the status that the call was aborted with, as itself or its number."""
        ...

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> NoReturn:
        """End the call with an error, by raising."""
        ...


Behavior = Callable[[Any, Any], Awaitable[Any]]
# Of a method that answers with a stream.
StreamBehavior = Callable[[Any, Any], AsyncGenerator[Any]]


@dataclass(frozen=True, slots=True)
class Method:
    """A method, as its descriptor names it."""

    service: str
    name: str

    @property
    def path(self) -> str:
        """The path of the method on the wire."""
        return f"/{self.service}/{self.name}"


# Wraps a method's behaviour, once, when the server is built. Unlike grpc.aio's own interceptors these
# cost no look-up per call, and hold for calls within the process too
# (docs/decisions/0005-interceptors-wrap-behaviours.md).
Interceptor = Callable[[Method, Behavior], Behavior]
StreamInterceptor = Callable[[Method, StreamBehavior], StreamBehavior]


def serialized(answer: Any) -> bytes:
    """Return an answer as the network takes it: a message's bytes, which it may be already."""
    data: bytes = answer if isinstance(answer, bytes) else answer.SerializeToString()
    return data
