"""What a principal may do: the one place where it is decided.

The scope that a method needs is checked before anything else is done for a call (interceptors/authentication.py). Which
tasks it may touch is checked by the servicers, once they know that the request is valid, by an `Access`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from affix_server.auth.principals import Principal, Scope, principal_of
from affix_server.calls import CallContext
from affix_server.errors import AffixError, PermissionDeniedError, UnauthenticatedError
from affix_server.storage.base import Tasks

# What each method needs at least. One that is not here cannot be served where callers are asked who they are.
METHOD_SCOPES: Final = {
    "CreateAttachment": Scope.WRITE,
    "GetAttachment": Scope.READ,
    "ListAttachments": Scope.READ,
    "DeleteAttachment": Scope.WRITE,
    "BatchGetAttachments": Scope.READ,
    "BatchCreateAttachments": Scope.WRITE,
    "BatchDeleteAttachments": Scope.WRITE,
    "WatchAttachments": Scope.READ,
    "CreateTask": Scope.WRITE,
    "GetTask": Scope.READ,
    "UpdateTask": Scope.WRITE,
    "ListTasks": Scope.READ,
    "CompleteTask": Scope.WRITE,
    "DeleteTask": Scope.WRITE,
}


class Access(Protocol):
    """Lets a call touch tasks, or raises PermissionDeniedError: the same, in the same steps, whether a task exists."""

    def prefix(self, context: CallContext) -> str:
        """Return what the ids of all tasks begin with that the caller may know of; "" for any."""
        ...

    def read(self, context: CallContext, task_ids: Iterable[str]) -> None:
        """Require that the caller may know of tasks; this asks no store."""
        ...

    def register(self, context: CallContext, task_id: str | None) -> None:
        """Require that the caller may register a task under an id, or under one that is made for it."""
        ...

    async def write(self, context: CallContext, task_id: str) -> None:
        """Require that the caller may change a task and its attachments: its owner, a writer, an admin.

        Raises TaskNotFoundError too, StorageUnavailableError when nobody can tell.
        """
        ...

    async def write_each(self, context: CallContext, task_ids: Sequence[str]) -> list[AffixError | None]:
        """Return for each task what `write` would raise, or None."""
        ...

    async def own(self, context: CallContext, task_id: str) -> None:
        """Require that the caller may decide about a task: its owner, an admin. Raises as `write`."""
        ...


class OpenAccess:
    """Lets every call touch every task: callers are not asked who they are."""

    def prefix(self, _context: CallContext) -> str:
        """See Access."""
        return ""

    def read(self, _context: CallContext, _task_ids: Iterable[str]) -> None:
        """See Access."""

    def register(self, _context: CallContext, _task_id: str | None) -> None:
        """See Access."""

    async def write(self, _context: CallContext, _task_id: str) -> None:
        """See Access."""

    async def write_each(self, _context: CallContext, task_ids: Sequence[str]) -> list[AffixError | None]:
        """See Access."""
        return [None] * len(task_ids)

    async def own(self, _context: CallContext, _task_id: str) -> None:
        """See Access."""


class PrincipalAccess:
    """Decides by who calls. A call of nobody is refused: that it got so far would be our fault."""

    def __init__(self, tasks: Tasks) -> None:
        """Ask `tasks` who may change what."""
        self._tasks = tasks

    def prefix(self, context: CallContext) -> str:
        """See Access."""
        return _caller(context).task_prefix

    def read(self, context: CallContext, task_ids: Iterable[str]) -> None:
        """See Access."""
        principal = _caller(context)
        for task_id in task_ids:
            _require_within(principal, task_id, "read")

    def register(self, context: CallContext, task_id: str | None) -> None:
        """See Access."""
        principal = _caller(context)
        if task_id is not None:
            _require_within(principal, task_id, "register")

    async def write(self, context: CallContext, task_id: str) -> None:
        """See Access."""
        principal = _caller(context)
        _require_within(principal, task_id, "modify")
        if principal.scope < Scope.ADMIN:
            rights = await self._tasks.rights(task_id)
            if principal.name != rights.owner and principal.name not in rights.writers:
                raise _denied(task_id, "modify")

    async def write_each(self, context: CallContext, task_ids: Sequence[str]) -> list[AffixError | None]:
        """See Access."""
        distinct = list(dict.fromkeys(task_ids))
        found = dict(
            zip(distinct, await asyncio.gather(*(self._refusal(context, one) for one in distinct)), strict=True)
        )
        return [found[task_id] for task_id in task_ids]

    async def _refusal(self, context: CallContext, task_id: str) -> AffixError | None:
        try:
            await self.write(context, task_id)
        except AffixError as refused:
            return refused
        return None

    async def own(self, context: CallContext, task_id: str) -> None:
        """See Access."""
        principal = _caller(context)
        _require_within(principal, task_id, "modify")
        if principal.scope < Scope.ADMIN and principal.name != (await self._tasks.rights(task_id)).owner:
            raise _denied(task_id, "modify")


def _caller(context: CallContext) -> Principal:
    principal = principal_of(context)
    if principal is None:
        raise UnauthenticatedError("Credentials are required")
    return principal


def _require_within(principal: Principal, task_id: str, what: str) -> None:
    if not task_id.startswith(principal.task_prefix):
        raise _denied(task_id, what)


def _denied(task_id: str, what: str) -> PermissionDeniedError:
    return PermissionDeniedError(f"Permission to {what} task {task_id} is missing")
