"""Refuses the calls of a caller that has used up the limit of a method.

Every call that arrives is counted, before it is decoded and validated and whatever comes of it; only a call that is
refused here is not. The items of a batch of writes are counted one by one. What the shim itself refuses never arrives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from limits import RateLimitItem

from affix_server.auth.principals import principal_of
from affix_server.calls import Behavior, CallContext, Interceptor, Method
from affix_server.rate_limits import RateLimits
from affix_server.services.caller import INSTANCE_ID
from affix_server.validation import MAX_BATCH, MAX_NAME

# The items of these count as calls of the method that does the same for one.
_ITEMS = {"BatchCreateAttachments": "CreateAttachment", "BatchDeleteAttachments": "DeleteAttachment"}


def limit_rate(limits: Mapping[str, RateLimitItem], windows: RateLimits) -> Interceptor:
    """Make the interceptor, which raises RateLimitedError; methods without a limit in `limits` are left as they are."""

    def intercept(method: Method, behavior: Behavior) -> Behavior:
        counted = _ITEMS.get(method.name, method.name)
        limit = limits.get(counted)
        if limit is None:
            return behavior

        async def limited(request: Any, context: CallContext) -> Any:
            calls = _items(request) if method.name in _ITEMS else 1
            await windows.count(limit, calls, counted, caller(context))
            return await behavior(request, context)

        return limited

    return intercept


def _items(request: Any) -> int:
    """Return how many calls a batch stands for: one, if it is none that will be done."""
    items = getattr(request, "requests", ())
    return len(items) if 0 < len(items) <= MAX_BATCH else 1


def caller(context: CallContext) -> str:
    """Name who calls: `principal/` and its name if it was asked who it is.

    Else `instance/` and its `x-instance-id`, else `address/` and where it calls from. An id that cannot be valid names
    nobody, or it would be kept in Redis however long it is.
    """
    principal = principal_of(context)
    if principal is not None:
        return f"principal/{principal.name}"
    for name, value in context.invocation_metadata() or ():
        if name == INSTANCE_ID and isinstance(value, str) and 0 < len(value) <= MAX_NAME:
            return f"instance/{value}"
    return f"address/{_address(context.peer())}"


def _address(peer: str) -> str:
    """Return the address in a peer of gRPC's form, the same whichever wire it calls over, and without its port."""
    kind, _, place = peer.partition(":")
    if kind in {"ipv4", "ipv6"}:
        return unquote(place).rpartition(":")[0].strip("[]")
    return place if kind == "http" else peer
