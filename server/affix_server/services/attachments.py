"""AttachmentService: decode, validate, call, encode."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, TypeAlias

from affix.v1 import attachments_pb2 as pb
from affix_server import codec
from affix_server.auth.permissions import Access
from affix_server.calls import CallContext
from affix_server.domain import (
    ALWAYS,
    Attachment,
    AttachmentEvent,
    Condition,
    Creation,
    Deletion,
    EventKind,
    Query,
    Ref,
    TextContent,
    Watched,
)
from affix_server.errors import AttachmentNotFoundError, TaskNotFoundError
from affix_server.services.answers import Answers
from affix_server.services.batches import each_permitted, results
from affix_server.services.caller import Callers
from affix_server.storage.base import AttachmentEvents, Attachments
from affix_server.validation import MAX_BATCH, MAX_LIST, MAX_TTL_SECONDS, Checks, are_plain, is_plain

_DEFAULT_LIMIT = 50
# Without a call of Python's for each.
_named: Callable[[tuple[str, str]], Ref] = partial(tuple.__new__, Ref)
_WRITTEN = frozenset({EventKind.CREATED, EventKind.OVERWRITTEN})


_Named: TypeAlias = pb.AttachmentRef | pb.GetAttachmentRequest | pb.CreateAttachmentRequest | pb.DeleteAttachmentRequest


class AttachmentServicer:
    """The methods of affix.v1.AttachmentService, as its proto documents them."""

    def __init__(
        self,
        attachments: Attachments,
        events: AttachmentEvents,
        callers: Callers,
        access: Access,
        answers: Answers,
        *,
        max_content_bytes: int,
    ) -> None:
        """Serve what `attachments` stores, and what `events` tells of it, to those whom `access` lets.

        `answers` makes what reads are answered with.
        """
        self._attachments = attachments
        self._events = events
        self._callers = callers
        self._access = access
        self._answers = answers
        self._max_content_bytes = max_content_bytes

    async def CreateAttachment(  # noqa: N802 - gRPC's name
        self, request: pb.CreateAttachmentRequest, context: CallContext
    ) -> Any:
        """Store an attachment."""
        checks = Checks()
        creation = self._creation(request, checks)
        instance = self._callers.instance_id(context, checks)
        checks.done()
        await self._access.write(context, request.task_id)
        where, expires_at = (creation.ref, creation.content), creation.expires_at
        created = await self._attachments.create(*where, instance, creation.condition, expires_at)
        return self._answers.created(created)

    async def GetAttachment(  # noqa: N802
        self, request: pb.GetAttachmentRequest, context: CallContext
    ) -> Any:
        """Read one attachment."""
        ref = _ref_of(request)
        self._access.read(context, (ref.task_id,))
        return self._answers.got(await self._attachments.get(ref))

    async def ListAttachments(  # noqa: N802
        self, request: pb.ListAttachmentsRequest, context: CallContext
    ) -> Any:
        """Read a page."""
        checks = Checks()
        checks.task_id(request.task_id)
        limit = request.limit if request.HasField("limit") else _DEFAULT_LIMIT
        checks.number(limit, "limit", 1, MAX_LIST)
        checks.number(request.offset, "offset", 0, None)
        checks.prefix(request.key_prefix, "key_prefix")
        type_ = codec.decode_type(request.type)
        if type_ is None and request.type != pb.ATTACHMENT_TYPE_UNSPECIFIED:
            checks.fail("type", f"must be one of json, markdown, text, url, binary, not number {request.type}")
        order = codec.decode_order(request.order, pb.SORT_ORDER_ASC)
        if order is None:
            checks.fail("order", f"must be asc or desc, not number {request.order}")
        if request.view not in pb.AttachmentView.values():
            checks.fail("view", f"must be full or metadata, not number {request.view}")
        checks.done()
        self._access.read(context, (request.task_id,))
        page = await self._attachments.list(
            Query(
                task_id=request.task_id,
                type=type_,
                key_prefix=request.key_prefix,
                limit=limit,
                offset=request.offset,
                descending=order == pb.SORT_ORDER_DESC,
                summaries=request.view == pb.ATTACHMENT_VIEW_METADATA,
            )
        )
        return self._answers.page(page)

    async def DeleteAttachment(  # noqa: N802
        self, request: pb.DeleteAttachmentRequest, context: CallContext
    ) -> pb.DeleteAttachmentResponse:
        """Delete one attachment."""
        checks = Checks()
        deletion = _deletion(request, checks)
        instance = self._callers.instance_id(context, checks)
        checks.done()
        await self._access.write(context, request.task_id)
        return codec.encode_deleted(await self._attachments.delete(deletion.ref, instance, deletion.condition))

    async def BatchGetAttachments(  # noqa: N802
        self, request: pb.BatchGetAttachmentsRequest, context: CallContext
    ) -> Any:
        """Read several attachments."""
        checks = Checks()
        checks.count(len(request.requests), "requests", MAX_BATCH)
        checks.done()
        refs = _refs_of(request.requests)
        self._access.read(context, (ref.task_id for ref in refs))
        found = await self._attachments.batch_get(refs, allow_missing=request.allow_missing)
        return self._answers.batch(refs, found, allow_missing=request.allow_missing)

    async def BatchCreateAttachments(  # noqa: N802
        self, request: pb.BatchCreateAttachmentsRequest, context: CallContext
    ) -> pb.BatchCreateAttachmentsResponse:
        """Store several attachments, each by itself."""
        checks = _batch_checks(request.requests)
        creations = [self._creation(one, checks, f"requests[{place}].") for place, one in enumerate(request.requests)]
        instance = self._callers.instance_id(context, checks)
        checks.done()
        refusals = await self._access.write_each(context, [one.ref.task_id for one in creations])
        stored = await each_permitted(
            creations, refusals, lambda permitted: self._attachments.batch_create(permitted, instance)
        )
        return pb.BatchCreateAttachmentsResponse(
            results=results(
                "CreateAttachment",
                request.requests,
                stored,
                encode=lambda one: pb.BatchCreateResult(created=codec.encode_created(one)),
                fail=lambda error: pb.BatchCreateResult(error=error),
            )
        )

    async def BatchDeleteAttachments(  # noqa: N802
        self, request: pb.BatchDeleteAttachmentsRequest, context: CallContext
    ) -> pb.BatchDeleteAttachmentsResponse:
        """Delete several attachments, each by itself."""
        checks = _batch_checks(request.requests)
        deletions = [_deletion(one, checks, f"requests[{place}].") for place, one in enumerate(request.requests)]
        instance = self._callers.instance_id(context, checks)
        checks.done()
        refusals = await self._access.write_each(context, [one.ref.task_id for one in deletions])
        deleted = await each_permitted(
            deletions, refusals, lambda permitted: self._attachments.batch_delete(permitted, instance)
        )
        return pb.BatchDeleteAttachmentsResponse(
            results=results(
                "DeleteAttachment",
                request.requests,
                deleted,
                encode=lambda one: pb.BatchDeleteResult(deleted=codec.encode_deleted(one)),
                fail=lambda error: pb.BatchDeleteResult(error=error),
            )
        )

    def _creation(self, request: pb.CreateAttachmentRequest, checks: Checks, path: str = "") -> Creation:
        ref, content = _ref(request, checks, path), codec.decode_content(request)
        if content is None:
            checks.fail(f"{path}content", "is required: one of json, markdown, text, url, binary")
            content = TextContent("")  # never stored: the call has failed
        else:
            checks.content(content, self._max_content_bytes, path)
        condition = _condition(request, checks, path)
        if request.if_absent and condition.revision is not None:
            checks.fail(f"{path}if_absent", "must not be given together with if_revision")
        expires_at = self._expiry(request, checks, path)
        return Creation(ref, content, Condition(condition.revision, request.if_absent), expires_at)

    def _expiry(self, request: pb.CreateAttachmentRequest, checks: Checks, path: str) -> int | None:
        match request.WhichOneof("expiry"):
            case "expires_at":
                checks.moment(request.expires_at, f"{path}expires_at", later_than_ms=self._attachments.now_ms())
                return codec.decode_time(request.expires_at)
            case "ttl_seconds":
                checks.number(request.ttl_seconds, f"{path}ttl_seconds", 1, MAX_TTL_SECONDS)
                return self._attachments.now_ms() + request.ttl_seconds * 1000
            case _:
                return None

    async def WatchAttachments(  # noqa: N802
        self, request: pb.WatchAttachmentsRequest, context: CallContext
    ) -> AsyncGenerator[pb.WatchAttachmentsResponse]:
        """Tell of what happens to attachments."""
        checks = Checks()
        if request.HasField("task_id"):
            checks.task_id(request.task_id)
        checks.prefix(request.key_prefix, "key_prefix")
        if request.view not in pb.AttachmentView.values():
            checks.fail("view", f"must be one of full, metadata, not number {request.view}")
        checks.done()
        task_id = request.task_id if request.HasField("task_id") else None
        self._access.read(context, () if task_id is None else (task_id,))
        watched = Watched(task_id, request.key_prefix, self._access.prefix(context))
        token = request.resume_token if request.HasField("resume_token") else None
        whole = request.view != pb.ATTACHMENT_VIEW_METADATA
        async with aclosing(self._events.watch(watched, token)) as batches:
            async for events in batches:
                found = await asyncio.gather(*(self._current(event, whole=whole) for event in events))
                for event, attachment in zip(events, found, strict=True):
                    yield codec.encode_event(event, attachment)

    async def _current(self, event: AttachmentEvent, *, whole: bool) -> Attachment | None:
        """Read what an event tells of, if it is to be sent along and is still what is there."""
        if not whole or event.kind not in _WRITTEN:
            return None
        try:
            attachment = await self._attachments.get(Ref(event.task_id, event.key))
        except (AttachmentNotFoundError, TaskNotFoundError):
            return None
        return attachment if attachment.revision == event.revision else None


def _ref(named: _Named, checks: Checks, path: str = "") -> Ref:
    task_id, key = named.task_id, named.key
    if not is_plain(task_id, key):
        checks.task_id(task_id, f"{path}task_id")
        checks.key(key, f"{path}key")
    return Ref(task_id, key)


def _ref_of(named: pb.GetAttachmentRequest) -> Ref:
    """Return what is asked for. Raises InvalidParamsError."""
    checks = Checks()
    ref = _ref(named, checks)
    checks.done()
    return ref


def _refs_of(requests: Sequence[pb.AttachmentRef]) -> list[Ref]:
    """Return what is asked for, in order. Raises InvalidParamsError."""
    task_ids, keys = [one.task_id for one in requests], [one.key for one in requests]
    if are_plain(task_ids, keys):
        return list(map(_named, zip(task_ids, keys, strict=True)))
    checks = Checks()
    refs = [_ref(ref, checks, f"requests[{place}].") for place, ref in enumerate(requests)]
    checks.done()
    return refs


def _deletion(request: pb.DeleteAttachmentRequest, checks: Checks, path: str = "") -> Deletion:
    return Deletion(_ref(request, checks, path), _condition(request, checks, path))


def _condition(
    request: pb.CreateAttachmentRequest | pb.DeleteAttachmentRequest, checks: Checks, path: str
) -> Condition:
    if not request.HasField("if_revision"):
        return ALWAYS
    checks.number(request.if_revision, f"{path}if_revision", 1, None)
    return Condition(request.if_revision)


def _batch_checks(requests: Sequence[_Named]) -> Checks:
    """Begin to check the requests of a batch: how many, and no key twice. Raises InvalidParamsError at once."""
    checks = Checks()
    checks.count(len(requests), "requests", MAX_BATCH)
    first: dict[Ref, int] = {}
    for place, one in enumerate(requests):
        ref = Ref(one.task_id, one.key)
        if first.setdefault(ref, place) != place:
            checks.fail(f"requests[{place}]", f"must not name the same attachment as requests[{first[ref]}]")
    checks.done()
    return checks
