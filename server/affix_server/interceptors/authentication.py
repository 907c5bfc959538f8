"""Asks callers who they are, before anything else is done for them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from typing import Any

from affix_server.auth.permissions import METHOD_SCOPES
from affix_server.auth.principals import AuthenticatedContext, Credentials, Principal, Scope, bearer_token
from affix_server.calls import Behavior, CallContext, Method
from affix_server.errors import PermissionDeniedError, UnauthenticatedError
from affix_server.interceptors.rate_limit import caller


class Authentication:
    """Two interceptors, for calls and for the beginning of streams; what follows finds the principal in the context.

    They raise UnauthenticatedError, and PermissionDeniedError for a scope that is too narrow.
    """

    def __init__(self, credentials: Credentials) -> None:
        """Know callers by `credentials`."""
        self._credentials = credentials

    def calls(self, method: Method, behavior: Behavior) -> Behavior:
        """Ask at each call."""
        needed = METHOD_SCOPES[method.name]

        # No coroutine of its own, which every call would pay for.
        def authenticated(request: Any, context: CallContext) -> Awaitable[Any]:
            return behavior(request, AuthenticatedContext(context, self._admit(context, needed)))

        return authenticated

    def opening(self, method: Method, behavior: Behavior) -> Behavior:
        """Ask when a stream begins, and again before each response: a token may have been revoked, or have ended."""
        needed = METHOD_SCOPES[method.name]

        async def authenticated(request: Any, context: CallContext) -> AsyncGenerator[Any]:
            principal = self._admit(context, needed)
            responses = await behavior(request, AuthenticatedContext(context, principal))
            return self._while_admitted(responses, context, principal)

        return authenticated

    async def _while_admitted(
        self, responses: AsyncGenerator[Any], context: CallContext, principal: Principal
    ) -> AsyncGenerator[Any]:
        async with aclosing(responses):
            async for response in responses:
                if self._admit(context, Scope.READ) != principal:
                    raise PermissionDeniedError("What the token permits has changed: begin again")
                yield response

    def name_of(self, context: CallContext) -> str:
        """Return the name of whoever calls; of who has no valid credentials, what rate limits know them by."""
        try:
            principal = self._credentials.principal(bearer_token(context.invocation_metadata()))
        except UnauthenticatedError:
            return caller(context)
        return caller(AuthenticatedContext(context, principal))

    def _admit(self, context: CallContext, needed: Scope) -> Principal:
        principal = self._credentials.principal(bearer_token(context.invocation_metadata()))
        if principal.scope < needed:
            raise PermissionDeniedError(f"The scope {needed.word} is needed")
        return principal
