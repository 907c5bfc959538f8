"""Principals: who a caller has proved to be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NoReturn, Protocol

import grpc

from affix_server.calls import CallContext
from affix_server.errors import UnauthenticatedError

AUTHORIZATION = "authorization"


class Scope(IntEnum):
    """What a principal may do at most; each includes those before it."""

    NONE = 0
    READ = 1
    WRITE = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        """Its name as it is written in tokens and settings."""
        return self.name.lower()


# The scopes that can be given, by their words.
SCOPES = {scope.word: scope for scope in Scope if scope is not Scope.NONE}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: an instance by its name, its scope, and what the ids of its tasks begin with, "" for all tasks."""

    name: str
    scope: Scope
    task_prefix: str = ""


class Credentials(Protocol):
    """Knows principals by what they show."""

    def principal(self, token: str) -> Principal:
        """Tell whose a token is. Raises UnauthenticatedError, and nothing else, whatever is shown."""
        ...


class AuthenticatedContext:
    """The context of a call, and who calls."""

    __slots__ = ("_context", "principal")

    def __init__(self, context: CallContext, principal: Principal) -> None:
        """Add a principal to a context."""
        self._context = context
        self.principal = principal

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """See CallContext."""
        return self._context.invocation_metadata()

    def time_remaining(self) -> float | None:
        """See CallContext."""
        return self._context.time_remaining()

    def peer(self) -> str:
        """See CallContext."""
        return self._context.peer()

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        """See CallContext."""
        self._context.set_trailing_metadata(trailing_metadata)

    def code(self) -> Any:
        """See CallContext."""
        return self._context.code()

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: object = ()) -> NoReturn:
        """See CallContext."""
        await self._context.abort(code, details, trailing_metadata)


def principal_of(context: CallContext) -> Principal | None:
    """Return who calls; None where nobody is asked."""
    return context.principal if isinstance(context, AuthenticatedContext) else None


def is_known(credentials: Credentials, headers: Iterable[tuple[str, str | bytes]]) -> bool:
    """Tell whether headers or metadata show a principal."""
    try:
        credentials.principal(bearer_token(headers))
    except UnauthenticatedError:
        return False
    return True


def bearer_token(metadata: Iterable[tuple[str, str | bytes]] | None) -> str:
    """Return the one bearer token among metadata or headers. Raises UnauthenticatedError."""
    found = [value for name, value in metadata or () if name.lower() == AUTHORIZATION]
    if not found:
        raise UnauthenticatedError("Credentials are required: authorization: Bearer and a token")
    if len(found) == 1 and isinstance(found[0], str):
        scheme, _, token = found[0].partition(" ")
        if scheme.lower() == "bearer" and token:
            return token
    raise UnauthenticatedError("authorization must be given once, as Bearer and a token")
