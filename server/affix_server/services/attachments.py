"""AttachmentService: decode, validate, call, encode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from affix.v1 import attachments_pb2 as pb
from affix_server import codec
from affix_server.calls import CallContext
from affix_server.domain import ALWAYS, Condition, Content, Query, Ref, TextContent
from affix_server.services.batches import settled
from affix_server.services.caller import Callers
from affix_server.storage.base import Attachments
from affix_server.validation import MAX_BATCH, MAX_LIST, Checks

_DEFAULT_LIMIT = 50


_Named: TypeAlias = pb.AttachmentRef | pb.GetAttachmentRequest | pb.CreateAttachmentRequest | pb.DeleteAttachmentRequest
_Creation: TypeAlias = tuple[Ref, Content, Condition]
_Deletion: TypeAlias = tuple[Ref, Condition]


class AttachmentServicer:
    """The methods of affix.v1.AttachmentService, as its proto documents them."""

    def __init__(self, attachments: Attachments, callers: Callers, *, max_content_bytes: int) -> None:
        """Serve what `attachments` stores."""
        self._attachments = attachments
        self._callers = callers
        self._max_content_bytes = max_content_bytes

    async def CreateAttachment(  # noqa: N802 - gRPC's name
        self, request: pb.CreateAttachmentRequest, context: CallContext
    ) -> pb.CreateAttachmentResponse:
        """Store an attachment."""
        checks = Checks()
        creation = self._creation(request, checks)
        instance = self._callers.instance_id(context, checks)
        checks.done()
        return await self._create(creation, instance)

    async def GetAttachment(  # noqa: N802
        self, request: pb.GetAttachmentRequest, _context: CallContext
    ) -> pb.GetAttachmentResponse:
        """Read one attachment."""
        checks = Checks()
        ref = _ref(request, checks)
        checks.done()
        attachment = await self._attachments.get(ref)
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
        return codec.encode_page(page)

    async def DeleteAttachment(  # noqa: N802
        self, request: pb.DeleteAttachmentRequest, context: CallContext
    ) -> pb.DeleteAttachmentResponse:
        """Delete one attachment."""
        checks = Checks()
        deletion = _deletion(request, checks)
        instance = self._callers.instance_id(context, checks)
        checks.done()
        return await self._delete(deletion, instance)

    async def BatchGetAttachments(  # noqa: N802
        self, request: pb.BatchGetAttachmentsRequest, _context: CallContext
    ) -> pb.BatchGetAttachmentsResponse:
        """Read several attachments."""
        checks = Checks()
        checks.count(len(request.requests), "requests", MAX_BATCH)
        checks.done()
        refs = [_ref(ref, checks, f"requests[{place}].") for place, ref in enumerate(request.requests)]
        checks.done()
        found = await self._attachments.batch_get(refs, allow_missing=request.allow_missing)
        if request.allow_missing:
            entries = [codec.encode_found(ref, one) for ref, one in zip(refs, found, strict=True)]
            return pb.BatchGetAttachmentsResponse(entries=entries)
        return pb.BatchGetAttachmentsResponse(
            attachments=[codec.encode_attachment(one) for one in found if one is not None]
        )

    async def BatchCreateAttachments(  # noqa: N802
        self, request: pb.BatchCreateAttachmentsRequest, context: CallContext
    ) -> pb.BatchCreateAttachmentsResponse:
        """Store several attachments, each by itself."""
        checks = _batch_checks(request.requests)
        creations = [self._creation(one, checks, f"requests[{place}].") for place, one in enumerate(request.requests)]
        instance = self._callers.instance_id(context, checks)
        checks.done()
        done = await settled("CreateAttachment", request.requests, [self._create(one, instance) for one in creations])
        return pb.BatchCreateAttachmentsResponse(
            results=[
                pb.BatchCreateResult(error=one) if isinstance(one, pb.BatchError) else pb.BatchCreateResult(created=one)
                for one in done
            ]
        )

    async def BatchDeleteAttachments(  # noqa: N802
        self, request: pb.BatchDeleteAttachmentsRequest, context: CallContext
    ) -> pb.BatchDeleteAttachmentsResponse:
        """Delete several attachments, each by itself."""
        checks = _batch_checks(request.requests)
        deletions = [_deletion(one, checks, f"requests[{place}].") for place, one in enumerate(request.requests)]
        instance = self._callers.instance_id(context, checks)
        checks.done()
        done = await settled("DeleteAttachment", request.requests, [self._delete(one, instance) for one in deletions])
        return pb.BatchDeleteAttachmentsResponse(
            results=[
                pb.BatchDeleteResult(error=one) if isinstance(one, pb.BatchError) else pb.BatchDeleteResult(deleted=one)
                for one in done
            ]
        )

    def _creation(self, request: pb.CreateAttachmentRequest, checks: Checks, path: str = "") -> _Creation:
        ref, content = _ref(request, checks, path), codec.decode_content(request)
        if content is None:
            checks.fail(f"{path}content", "is required: one of json, markdown, text, url, binary")
            content = TextContent("")  # never stored: the call has failed
        else:
            checks.content(content, self._max_content_bytes, path)
        condition = _condition(request, checks, path)
        if request.if_absent and condition.revision is not None:
            checks.fail(f"{path}if_absent", "must not be given together with if_revision")
        return ref, content, Condition(condition.revision, request.if_absent)

    async def _create(self, creation: _Creation, instance: str) -> pb.CreateAttachmentResponse:
        ref, content, condition = creation
        return codec.encode_created(await self._attachments.create(ref, content, instance, condition))

    async def _delete(self, deletion: _Deletion, instance: str) -> pb.DeleteAttachmentResponse:
        ref, condition = deletion
        return codec.encode_deleted(await self._attachments.delete(ref, instance, condition))


def _ref(named: _Named, checks: Checks, path: str = "") -> Ref:
    checks.task_id(named.task_id, f"{path}task_id")
    checks.key(named.key, f"{path}key")
    return Ref(named.task_id, named.key)


def _deletion(request: pb.DeleteAttachmentRequest, checks: Checks, path: str = "") -> _Deletion:
    return _ref(request, checks, path), _condition(request, checks, path)


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
