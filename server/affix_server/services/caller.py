"""Who calls."""

from __future__ import annotations

from affix_server.auth.principals import principal_of
from affix_server.calls import CallContext
from affix_server.validation import Checks

INSTANCE_ID = "x-instance-id"


class Callers:
    """Tells callers apart by what they send beside their requests."""

    def __init__(self, default_instance_id: str) -> None:
        """Name callers that do not name themselves."""
        self._default = default_instance_id

    def instance_id(self, context: CallContext, checks: Checks) -> str:
        """Return the principal's name, if callers are asked who they are; what they say beside it counts for nothing.

        Else the caller's `x-instance-id`, else ours; a bad one is noted in `checks`.
        """
        principal = principal_of(context)
        if principal is not None:
            return principal.name
        for name, value in context.invocation_metadata() or ():
            if name == INSTANCE_ID and isinstance(value, str):
                checks.name(value, INSTANCE_ID)
                return value
        return self._default
