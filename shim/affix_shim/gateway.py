"""From a method's name and the text of its parameters, over a channel, to its result."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from grpc.aio import AioRpcError, Channel
from msgspec import Raw

from affix.v1.attachments_pb2 import BatchError
from affix_shim.errors import Asked, Failed, method_not_found, to_json_rpc
from affix_shim.methods import METHODS, Stubs
from affix_shim.params import open_params
from affix_shim.results import Options, Result
from affix_shim.violations import Violation, invalid_params

# HTTP headers that travel on as gRPC metadata of the same name.
_FORWARDED: Final = ("x-instance-id", "x-request-id", "authorization")
# Where the HTTP request comes from, as its connection says; a server believes it in its own process only.
_FORWARDED_FOR: Final = "x-forwarded-for"


class Caller:
    """Who calls, taken once from an HTTP request and good for a whole batch."""

    __slots__ = ("metadata", "violations")

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
        if address:
            found.append((_FORWARDED_FOR, address))
        self.metadata = tuple(found)


class Gateway:
    """The methods, bound to a channel: to the network or into this process, it does not know which."""

    def __init__(self, channel: Channel, *, timeout_seconds: float | None) -> None:
        """Bind every method; nothing is sent yet. A call may take `timeout_seconds`, None is the server's own bound."""
        stubs = Stubs(channel)
        self._bound = {name: (method, method.rpc(stubs)) for name, method in METHODS.items()}
        self._timeout = timeout_seconds

    async def call(self, name: str, text: Raw, caller: Caller) -> Result:
        """Carry out a call with the parameters `text` (empty when absent). Raises JsonRpcError."""
        bound = self._bound.get(name)
        if bound is None:
            raise method_not_found(name)
        method, rpc = bound
        violations = list(caller.violations)
        params = open_params(text, violations)
        if params is None:
            raise invalid_params(violations, {})
        request = method.decode(params)
        with_revision = method.has_revisions and params.boolean("withRevision")
        params.close()
        if violations:
            raise invalid_params(violations, params.context())
        try:
            response = await rpc(request, metadata=caller.metadata, timeout=self._timeout)
        except AioRpcError as error:
            raise to_json_rpc(Failed.of(error), Asked(name, method.failure, params.context())) from error
        return method.encode(response, Options(with_revision, partial(_item_error, name)))


def _item_error(method: str, error: BatchError) -> Result:
    """Print why an item of a batch failed, as the call of its own that it stands for would have."""
    failed = to_json_rpc(Failed.of_item(error), Asked(method, error.message, {}))
    return {"code": failed.code, "message": failed.message, "data": failed.data}
