"""From a method's name and the text of its parameters, over a channel, to its result."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final, Protocol

from google.protobuf.message import Message
from grpc.aio import AioRpcError, Channel
from msgspec import Raw

from affix.v1.attachments_pb2 import BatchError
from affix_shim.errors import Asked, Failed, method_not_found, needs_websocket, to_json_rpc
from affix_shim.jsonrpc import JsonRpcError
from affix_shim.methods import METHODS, NEED_WEBSOCKET, Method, Stubs
from affix_shim.observing import CallObserver
from affix_shim.openrpc.discovery import DISCOVER, Discovery
from affix_shim.params import open_params
from affix_shim.request_ids import REQUEST_ID, RULE, current, is_valid
from affix_shim.results import Options, Result
from affix_shim.tracing import Metadata, Spans
from affix_shim.typed import Typed
from affix_shim.violations import Violation, invalid_params

# HTTP headers that travel on as gRPC metadata of the same name; the id of the request too, if need be a new one.
_FORWARDED: Final = ("x-instance-id", "authorization")
_MAX_NAME: Final = 128
# Where the HTTP request comes from, as its connection says; a server believes it in its own process only.
_FORWARDED_FOR: Final = "x-forwarded-for"


class Caller:
    """Who calls, taken once from an HTTP request and good for a whole batch."""

    __slots__ = ("_beside", "metadata", "name", "violations")

    def __init__(self, headers: Mapping[str, str], address: str | None) -> None:
        """Read the headers; gRPC metadata holds printable ASCII only, anything else is a violation.

        `address` is the client's, None when the connection has none.
        """
        found = [(name, headers[name]) for name in _FORWARDED if name in headers]
        self.violations = [
            Violation(name, "must be printable ASCII")
            for name, value in found
            if not (value.isascii() and value.isprintable())
        ]
        instance = headers.get("x-instance-id", "")
        # As the service names callers in its log.
        self.name = f"instance/{instance}" if 0 < len(instance) <= _MAX_NAME else f"address/{address or ''}"
        if REQUEST_ID in headers and not is_valid(headers[REQUEST_ID]):
            self.violations.append(Violation(REQUEST_ID, RULE))
        if address:
            found.append((_FORWARDED_FOR, address))
        self._beside = tuple(found)
        request_id = current.get(None)
        self.metadata = self._beside if request_id is None else ((REQUEST_ID, request_id), *self._beside)

    def under(self, request_id: str) -> Caller:
        """Return the same caller for another request with the same headers, which has this id."""
        caller = object.__new__(Caller)
        caller.name, caller.violations, caller._beside = self.name, self.violations, self._beside
        caller.metadata = ((REQUEST_ID, request_id), *self._beside)
        return caller


class Printed(Protocol):
    """What a channel within a process may answer with in place of a message: the text of the result."""

    def printed(self, *, with_revision: bool) -> bytes:
        """Return it."""
        ...


class Gateway:
    """The methods, bound to a channel: to the network or into this process, it does not know which."""

    def __init__(
        self,
        channel: Channel,
        *,
        timeout_seconds: float | None,
        observer: CallObserver,
        spans: Spans | None = None,
        discovery: Discovery | None = None,
    ) -> None:
        """Bind every method; nothing is sent yet. A call may take `timeout_seconds`, None is the server's own bound.

        Without `discovery` there is no `rpc.discover`.
        """
        stubs = Stubs(channel)
        self._bound = {name: (method, _traced(name, method.rpc(stubs), spans)) for name, method in METHODS.items()}
        # A channel within this process may take what reads like a request in its place.
        self._takes_typed: bool = getattr(channel, "takes_typed", False)
        self._timeout = timeout_seconds
        self._observer = observer
        self._discovery = discovery

    async def call(self, name: str, text: Raw, caller: Caller) -> Result | Raw | bytes:
        """Carry out a call with the parameters `text` (empty when absent). Raises JsonRpcError."""
        try:
            result = await self._call(name, text, caller)
        except JsonRpcError as error:
            self._observer.failed(name, error, caller.name)
            raise
        except Exception:
            self._observer.crashed(name)
            raise
        self._observer.answered(name)
        return result

    async def _call(self, name: str, text: Raw, caller: Caller) -> Result | Raw | bytes:
        bound = self._bound.get(name)
        if bound is None:
            if name == DISCOVER and self._discovery is not None:
                return self._discovery.answer(text, caller.metadata, list(caller.violations))
            raise needs_websocket(name) if name in NEED_WEBSOCKET else method_not_found(name)
        method, rpc = bound
        typed = None if method.read is None or caller.violations else method.read(text)
        request: Typed | Message
        if typed is None:
            request, with_revision = _request(method, text, caller)
        else:
            request = typed if self._takes_typed and typed.reads_like_request else typed.message()
            with_revision = typed.with_revision
        try:
            response = await rpc(request, metadata=caller.metadata, timeout=self._timeout)
        except AioRpcError as error:
            raise to_json_rpc(Failed.of(error), Asked(name, method.failure, _names(text))) from error
        if isinstance(response, Message):
            return method.encode(response, Options(with_revision, partial(_item_error, name)))
        printed: Printed = response
        return printed.printed(with_revision=with_revision)


def _request(method: Method, text: Raw, caller: Caller) -> tuple[Message, bool]:
    """Read the parameters one by one: the request, and whether revisions are wanted. Raises JsonRpcError."""
    violations = list(caller.violations)
    params = open_params(text, violations)
    if params is None:
        raise invalid_params(violations, {})
    request = method.decode(params)
    with_revision = method.has_revisions and params.boolean("withRevision")
    params.close()
    if violations:
        raise invalid_params(violations, params.context())
    return request, with_revision


def _names(text: Raw) -> dict[str, str]:
    """Give what the parameters name, which have been read before."""
    params = open_params(text, [])
    return {} if params is None else params.context()


def _traced(name: str, rpc: Any, spans: Spans | None) -> Any:
    """Return what calls a method, within a span of its own if traces are wanted."""
    if spans is None:
        return rpc

    async def call(request: Message, *, metadata: Metadata, timeout: float | None) -> Message:  # noqa: ASYNC109 - gRPC's
        with spans.call(name) as sent_along:
            response: Message = await rpc(request, metadata=(*metadata, *sent_along), timeout=timeout)
            return response

    return call


def _item_error(method: str, error: BatchError) -> Result:
    """Print why an item of a batch failed, as the call of its own that it stands for would have."""
    failed = to_json_rpc(Failed.of_item(error), Asked(method, error.message, {}))
    return {"code": failed.code, "message": failed.message, "data": failed.data}
