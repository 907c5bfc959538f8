"""AttachmentService: decode, validate, call, encode."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from affix.v1 import attachments_pb2 as pb
from affix_server import codec
from affix_server.calls import CallContext
from affix_server.domain import Attachment, AttachmentEvent, EventKind, Ref, Watched
from affix_server.errors import AttachmentNotFoundError, TaskNotFoundError
from affix_server.services.caller import Callers
from affix_server.storage.base import AttachmentEvents, Attachments
from affix_server.validation import MAX_BATCH, MAX_LIST, Checks

_DEFAULT_LIMIT = 50
_WRITTEN = frozenset({EventKind.CREATED, EventKind.OVERWRITTEN})


class AttachmentServicer:
    """The methods of affix.v1.AttachmentService, as its proto documents them."""

    def __init__(
        self, attachments: Attachments, events: AttachmentEvents, callers: Callers, *, max_content_bytes: int
    ) -> None:
        """Serve what `attachments` stores, and what `events` tells of it."""
        self._attachments = attachments
        self._events = events
        self._callers = callers
        self._max_content_bytes = max_content_bytes

    async def CreateAttachment(  # noqa: N802 - gRPC's name
        self, request: pb.CreateAttachmentRequest, context: CallContext
    ) -> pb.CreateAttachmentResponse:
        """Store an attachment."""
        checks = Checks()
        checks.task_id(request.task_id)
        checks.key(request.key)
        content = codec.decode_content(request)
        if content is None:
            checks.fail("content", "is required: one of json, markdown, text, url, binary")
        else:
            checks.content(content, self._max_content_bytes)
        instance = self._callers.instance_id(context, checks)
        checks.done()
        assert content is not None  # noqa: S101 - done() has raised otherwise
        created = await self._attachments.create(Ref(request.task_id, request.key), content, instance)
        return codec.encode_created(created)

    async def GetAttachment(  # noqa: N802
        self, request: pb.GetAttachmentRequest, _context: CallContext
    ) -> pb.GetAttachmentResponse:
        """Read one attachment."""
        attachment = await self._attachments.get(_ref(request))
        return pb.GetAttachmentResponse(attachment=codec.encode_attachment(attachment))

    async def ListAttachments(  # noqa: N802
        self, request: pb.ListAttachmentsRequest, _context: CallContext
    ) -> pb.ListAttachmentsResponse:
        """Read a page."""
        checks = Checks()
        checks.task_id(request.task_id)
        limit = request.limit if request.HasField("limit") else _DEFAULT_LIMIT
        checks.number(limit, "limit", 1, MAX_LIST)
        checks.number(request.offset, "offset", 0, None)
        type_ = codec.decode_type(request.type)
        if type_ is None and request.type != pb.ATTACHMENT_TYPE_UNSPECIFIED:
            checks.fail("type", f"must be one of json, markdown, text, url, binary, not number {request.type}")
        checks.done()
        page = await self._attachments.list(request.task_id, type_, limit, request.offset)
        return codec.encode_page(page)

    async def DeleteAttachment(  # noqa: N802
        self, request: pb.DeleteAttachmentRequest, context: CallContext
    ) -> pb.DeleteAttachmentResponse:
        """Delete one attachment."""
        checks = Checks()
        instance = self._callers.instance_id(context, checks)
        deleted = await self._attachments.delete(_ref(request, checks), instance)
        return codec.encode_deleted(deleted)

    async def BatchGetAttachments(  # noqa: N802
        self, request: pb.BatchGetAttachmentsRequest, _context: CallContext
    ) -> pb.BatchGetAttachmentsResponse:
        """Read several attachments."""
        checks = Checks()
        checks.count(len(request.requests), "requests", MAX_BATCH)
        checks.done()
        for place, ref in enumerate(request.requests):
            checks.task_id(ref.task_id, f"requests[{place}].task_id")
            checks.key(ref.key, f"requests[{place}].key")
        checks.done()
        attachments = await self._attachments.batch_get([Ref(ref.task_id, ref.key) for ref in request.requests])
        return pb.BatchGetAttachmentsResponse(attachments=[codec.encode_attachment(found) for found in attachments])

    async def WatchAttachments(  # noqa: N802
        self, request: pb.WatchAttachmentsRequest, _context: CallContext
    ) -> AsyncGenerator[pb.WatchAttachmentsResponse]:
        """Tell of what happens to attachments."""
        checks = Checks()
        if request.HasField("task_id"):
            checks.task_id(request.task_id)
        if request.key_prefix:
            checks.key(request.key_prefix, "key_prefix")
        if request.view not in pb.AttachmentView.values():
            checks.fail("view", f"must be one of full, metadata, not number {request.view}")
        checks.done()
        watched = Watched(request.task_id if request.HasField("task_id") else None, request.key_prefix)
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


def _ref(request: pb.GetAttachmentRequest | pb.DeleteAttachmentRequest, checks: Checks | None = None) -> Ref:
    checks = checks or Checks()
    checks.task_id(request.task_id)
    checks.key(request.key)
    checks.done()
    return Ref(request.task_id, request.key)
