"""The one stream that watchers read: places in it, and what its entries say."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from affix_server.domain import AttachmentEvent, AttachmentType, EventKind
from affix_server.storage.redis import names
from affix_server.storage.redis.client import RedisClient, Script, accept, is_wrong_type
from affix_server.storage.redis.connection import Command, Reply

WATCHED = Script("watched")
SCRIPTS = (WATCHED,)

# How long one question for more may stand; what was lost in an idle stream is found out as soon.
BLOCK_SECONDS = 1.0
_AT_ONCE = 500
# Says how the rest of a token is to be read.
_VERSION = b"1:"
_PLACE = re.compile(rb"([0-9]{1,20})-([0-9]{1,20})")
_GAP = b"gap"
_KINDS = {kind.value.encode(): kind for kind in EventKind}


class LostPlaceError(Exception):
    """A place is not in the stream any more, so nobody can tell what came behind it."""


@dataclass(frozen=True, slots=True)
class Line:
    """One entry: its place, and the event; None for an entry of another kind.

    At a gap there is no event for the key, or with the empty key for all of the task, that there should be.
    """

    place: bytes
    event: AttachmentEvent | None
    task_id: str = ""
    key: str = ""
    is_gap: bool = False


def resume_token(place: bytes) -> str:
    """Return the token to resume behind a place."""
    return base64.urlsafe_b64encode(_VERSION + place).decode().rstrip("=")


def parse_token(token: str) -> bytes:
    """Return the place of a token. Raises ValueError for what is none."""
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64url") from None
    place = text.removeprefix(_VERSION)
    if place == text or _PLACE.fullmatch(place) is None or resume_token(place) != token:
        raise ValueError("not a place")
    return place


def order(place: bytes) -> tuple[int, int]:
    """Return what places are compared by."""
    ms, _, number = place.partition(b"-")
    return int(ms), int(number)


class EventStream:
    """Reads the stream over a connection that waits. Every method raises CacheUnavailableError."""

    def __init__(self, client: RedisClient) -> None:
        """Use a client whose replies may take longer than BLOCK_SECONDS."""
        self._client = client

    async def end(self) -> bytes:
        """Return the place of the last entry; there is one from now on."""
        place: bytes = (await self._client.run((WATCHED([names.WATCHED]),)))[0]
        return place

    async def after(self, place: bytes) -> Sequence[Line]:
        """Wait for what comes behind a place, for a second at most. Raises LostPlaceError."""
        block = int(BLOCK_SECONDS * 1000)
        more: Command = ("XREAD", "COUNT", _AT_ONCE, "BLOCK", block, "STREAMS", names.WATCHED, place)
        # Looked for afterwards: what was read is without a gap only if the place was still there.
        found, still_there = await self._client.pipeline((more, _entry(place)))
        if not _accept(still_there):
            raise LostPlaceError
        return [_parse(*entry) for entry in found[0][1]] if _accept(found) else []

    async def between(self, place: bytes, until: bytes) -> Sequence[Line]:
        """Read what comes behind a place, some of it, up to another. Raises LostPlaceError."""
        command: Command = ("XRANGE", names.WATCHED, place, until, "COUNT", _AT_ONCE + 1)
        entries = _accept((await self._client.pipeline((command,)))[0])
        if not entries or entries[0][0] != place:
            raise LostPlaceError
        return [_parse(*entry) for entry in entries[1:]]

    async def close(self) -> None:
        """Let go of the connection; the next use makes another."""
        await self._client.close()


def _entry(place: bytes) -> Command:
    return ("XRANGE", names.WATCHED, place, place)


def _accept(reply: Reply) -> Reply:
    if is_wrong_type(reply):
        raise LostPlaceError
    return accept(reply)


def _parse(place: bytes, fields: Sequence[bytes]) -> Line:
    found = dict(zip(fields[::2], fields[1::2], strict=True))
    task_id, key = (found.get(name, b"").decode(errors="replace") for name in (b"taskId", b"key"))
    kind = _KINDS.get(found.get(b"kind", b""))
    if kind is None:
        return Line(place, None, task_id, key, is_gap=found.get(b"kind") == _GAP)
    type_ = found[b"type"].decode()
    event = AttachmentEvent(
        kind=kind,
        resume_token=resume_token(place),
        task_id=task_id,
        key=key,
        id=found[b"id"].decode(),
        type=AttachmentType(type_) if type_ else None,
        by=found[b"by"].decode(),
        at=int(found[b"at"]),
        revision=int(found[b"revision"]),
    )
    return Line(place, event, task_id, key)
