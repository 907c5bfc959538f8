"""What the answers to reads are made of: messages, their bytes, text for a JSON-RPC side in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from affix.v1 import attachments_pb2 as pb
from affix_server import codec
from affix_server.domain import Attachment, Created, KeptAttachment, Page, Ref, are_all
from affix_server.printing import PrintedAttachment, PrintedBatch, PrintedCreated, PrintedPage


class Answers(Protocol):
    """Makes the answers to what is asked most of attachments."""

    def created(self, created: Created) -> Any:
        """Answer a create."""
        ...

    def got(self, attachment: Attachment) -> Any:
        """Answer a get."""
        ...

    def page(self, page: Page) -> Any:
        """Answer a list."""
        ...

    def batch(self, refs: Sequence[Ref], found: Sequence[Attachment | None], *, allow_missing: bool) -> Any:
        """Answer a batch, in its order; None is missing, and may be."""
        ...


class Messages:
    """Answers with protobuf messages."""

    def created(self, created: Created) -> pb.CreateAttachmentResponse:
        """See Answers."""
        return codec.encode_created(created)

    def got(self, attachment: Attachment) -> pb.GetAttachmentResponse:
        """See Answers."""
        return codec.encode_got(attachment)

    def page(self, page: Page) -> pb.ListAttachmentsResponse:
        """See Answers."""
        return codec.encode_page(page)

    def batch(
        self, refs: Sequence[Ref], found: Sequence[Attachment | None], *, allow_missing: bool
    ) -> pb.BatchGetAttachmentsResponse:
        """See Answers."""
        if allow_missing:
            entries = [codec.encode_found(ref, one) for ref, one in zip(refs, found, strict=True)]
            return pb.BatchGetAttachmentsResponse(entries=entries)
        return codec.encode_batch(one for one in found if one is not None)


class Serialized(Messages):
    """Answers with messages, or the bytes of one: of attachments that are kept they have been made before."""

    def got(self, attachment: Attachment) -> Any:
        """See Answers."""
        return attachment.encoded_by(_as_got) if isinstance(attachment, KeptAttachment) else super().got(attachment)

    def batch(self, refs: Sequence[Ref], found: Sequence[Attachment | None], *, allow_missing: bool) -> Any:
        """See Answers."""
        if allow_missing or not are_all(found, KeptAttachment):
            return super().batch(refs, found, allow_missing=allow_missing)
        # The one field of the answer to a get has the number that the attachments of a batch have; messages one behind
        # the other are one with the fields of all (https://protobuf.dev/programming-guides/encoding/#last-one-wins).
        return b"".join([one.encoded_by(_as_got) for one in found])


def _as_got(attachment: Attachment) -> bytes:
    return codec.encode_got(attachment).SerializeToString()


class Texts:
    """Answers with what prints itself as the text of a JSON-RPC result."""

    def created(self, created: Created) -> PrintedCreated:
        """See Answers."""
        return PrintedCreated(created)

    def got(self, attachment: Attachment) -> PrintedAttachment:
        """See Answers."""
        return PrintedAttachment(attachment)

    def page(self, page: Page) -> PrintedPage:
        """See Answers."""
        return PrintedPage(page)

    def batch(
        self,
        refs: Sequence[Ref],  # noqa: ARG002 - what is missing has no name in JSON-RPC
        found: Sequence[Attachment | None],
        *,
        allow_missing: bool,  # noqa: ARG002 - else nothing is
    ) -> PrintedBatch:
        """See Answers."""
        return PrintedBatch(found)
