"""Attachments in the neutral form and in protobuf."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.rpc import status_pb2

from affix.v1 import attachments_pb2 as a
from tests.harness.grpc_errors import item_error
from tests.harness.grpc_mapping import Mapping, durability, fill, json, named, time, word
from tests.harness.wire import Params, RawJson, Result

_REF = {"taskId": "task_id", "key": "key"}
_LIST = {"taskId": "task_id", "limit": "limit", "offset": "offset", "keyPrefix": "key_prefix"}
_DELETE = {**_REF, "ifRevision": "if_revision"}


def _create_request(params: Params) -> a.CreateAttachmentRequest:
    names = {**_REF, "ifRevision": "if_revision", "ifAbsent": "if_absent", "ttlSeconds": "ttl_seconds"}
    request = fill(a.CreateAttachmentRequest(), params, names)
    if "expiresAt" in params:
        request.expires_at.FromJsonString(params["expiresAt"])
    match params.get("type"):
        case "json":
            request.json.CopyFrom(json(params["value"]))
        case "markdown":
            request.markdown.CopyFrom(a.MarkdownContent(content=params["content"]))
        case "text":
            request.text.CopyFrom(a.TextContent(content=params["content"]))
        case "url":
            request.url.CopyFrom(fill(a.UrlContent(), params, {"url": "url"}))
        case "binary":
            request.binary.CopyFrom(fill(a.BinaryContent(), params, {"mimeType": "mime_type", "size": "size"}))
    return request


def _list_request(params: Params) -> a.ListAttachmentsRequest:
    request = fill(a.ListAttachmentsRequest(), params, _LIST)
    if "type" in params:
        request.type = a.AttachmentType.Value(f"ATTACHMENT_TYPE_{params['type'].upper()}")
    if "view" in params:
        request.view = a.AttachmentView.Value(f"ATTACHMENT_VIEW_{params['view'].upper()}")
    if "order" in params:
        request.order = a.SortOrder.Value(f"SORT_ORDER_{params['order'].upper()}")
    return request


def _batch_request(params: Params) -> a.BatchGetAttachmentsRequest:
    refs = [fill(a.AttachmentRef(), ref, _REF) for ref in params["requests"]]
    return fill(a.BatchGetAttachmentsRequest(requests=refs), params, {"allowMissing": "allow_missing"})


def _content(attachment: a.Attachment) -> Result:
    match attachment.WhichOneof("content"):
        case "json":
            return {"value": RawJson(attachment.json.value)}
        case "markdown":
            return {"content": attachment.markdown.content}
        case "text":
            return {"content": attachment.text.content}
        case "url":
            return {"url": attachment.url.url}
        case "binary":
            size = {"size": attachment.binary.size} if attachment.binary.HasField("size") else {}
            return {**size, "mimeType": attachment.binary.mime_type}
    assert attachment.HasField("content_bytes"), f"no content: {attachment}"
    return {}


def _revision(revision: int, params: Params) -> Result:
    assert revision > 0
    return {"revision": revision} if params.get("withRevision") else {}


def _expiry(stored: a.Attachment | a.CreateAttachmentResponse) -> Result:
    return {"expiresAt": time(stored.expires_at)} if stored.HasField("expires_at") else {}


def _attachment(attachment: a.Attachment, params: Params) -> Result:
    type_ = word(a.AttachmentType, attachment.type, "ATTACHMENT_TYPE_")
    assert attachment.WhichOneof("content") in {type_, None}
    bytes_ = {"contentBytes": attachment.content_bytes} if attachment.HasField("content_bytes") else {}
    return {
        "id": attachment.id,
        "taskId": attachment.task_id,
        "key": attachment.key,
        "type": type_,
        **_content(attachment),
        **bytes_,
        "createdBy": attachment.created_by,
        "createdAt": time(attachment.created_at),
        "updatedAt": time(attachment.updated_at),
        **_expiry(attachment),
        **_revision(attachment.revision, params),
    }


def _created(response: a.CreateAttachmentResponse, params: Params) -> Result:
    return {
        "id": response.id,
        "taskId": response.task_id,
        "key": response.key,
        "type": word(a.AttachmentType, response.type, "ATTACHMENT_TYPE_"),
        "createdAt": time(response.created_at),
        **_expiry(response),
        **_revision(response.revision, params),
        **durability(response),
    }


def _page(response: a.ListAttachmentsResponse, params: Params) -> Result:
    return {
        "attachments": [_attachment(attachment, params) for attachment in response.attachments],
        "totalCount": response.total_count,
        "hasMore": response.has_more,
        **({"degraded": True} if response.degraded else {}),
    }


def _deleted(response: a.DeleteAttachmentResponse, params: Params) -> Result:
    return {
        "id": response.id,
        "taskId": response.task_id,
        "key": response.key,
        "deleted": True,
        "deletedAt": time(response.deleted_at),
        **_revision(response.revision, params),
        **durability(response),
    }


def _found(response: a.BatchGetAttachmentsResponse, params: Params) -> Result:
    if not params.get("allowMissing"):
        assert not response.entries
        return {"attachments": [_attachment(attachment, params) for attachment in response.attachments]}
    assert not response.attachments
    found: list[Result | None] = []
    for entry, ref in zip(response.entries, params["requests"], strict=True):
        if entry.WhichOneof("result") == "not_found":
            assert (entry.not_found.task_id, entry.not_found.key) == (ref["taskId"], ref["key"])
            found.append(None)
        else:
            found.append(_attachment(entry.attachment, params))
    return {"attachments": found}


def _each(field: str, one: Callable[[Any, Params], Result]) -> Callable[[Any, Params], Result]:
    def results(response: Any, params: Params) -> Result:
        return {
            "results": [
                {"error": _item_error(each.error)} if each.HasField("error") else one(getattr(each, field), params)
                for each in response.results
            ]
        }

    return results


def _item_error(error: a.BatchError) -> Result:
    status = status_pb2.Status(code=error.code, message=error.message, details=error.details)
    failed = item_error(status)
    return {"code": failed.code, "message": failed.message, "data": failed.data}


_A = "affix.v1.AttachmentService"
_delete_request = named(a.DeleteAttachmentRequest, _DELETE)

ATTACHMENT_METHODS: dict[str, Mapping] = {
    "task.create_attachment": Mapping(_A, "CreateAttachment", _create_request, _created),
    "task.get_attachment": Mapping(
        _A,
        "GetAttachment",
        named(a.GetAttachmentRequest, _REF),
        lambda response, params: _attachment(response.attachment, params),
    ),
    "task.list_attachments": Mapping(_A, "ListAttachments", _list_request, _page),
    "task.delete_attachment": Mapping(_A, "DeleteAttachment", _delete_request, _deleted),
    "task.get_attachments_batch": Mapping(_A, "BatchGetAttachments", _batch_request, _found),
    "task.create_attachments_batch": Mapping(
        _A,
        "BatchCreateAttachments",
        lambda params: a.BatchCreateAttachmentsRequest(requests=map(_create_request, params["requests"])),
        _each("created", _created),
    ),
    "task.delete_attachments_batch": Mapping(
        _A,
        "BatchDeleteAttachments",
        lambda params: a.BatchDeleteAttachmentsRequest(requests=map(_delete_request, params["requests"])),
        _each("deleted", _deleted),
    ),
}
