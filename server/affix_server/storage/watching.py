"""Watching attachments: what has happened since a token, then what happens."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence

from affix_server.domain import AttachmentEvent, EventKind, Watched
from affix_server.errors import InvalidParamsError, ResumeTokenExpiredError, Violation
from affix_server.storage.feed import Feed, Watcher
from affix_server.storage.redis.event_stream import EventStream, Line, LostPlaceError, order, parse_token, resume_token

# So many events are handed over together, at most.
_AT_ONCE = 8
# When nothing that is watched has happened for so long, the token moves on alone.
PROGRESS_SECONDS = 15.0
# Of so many keys it is known which revision was passed on last.
_KEYS_KNOWN = 1000


class Watching:
    """Implements storage.base.AttachmentEvents on one feed; `replay` reads what is past, without waiting for more."""

    def __init__(self, feed: Feed, replay: EventStream) -> None:
        """Use the feed of this process, and a connection beside it."""
        self._feed = feed
        self._replay = replay

    async def close(self) -> None:
        """End all watches."""
        await self._feed.close()
        await self._replay.close()

    async def watch(self, watched: Watched, resume_token: str | None) -> AsyncGenerator[Sequence[AttachmentEvent]]:
        """See storage.base.AttachmentEvents."""
        place = None if resume_token is None else _place(resume_token)
        watcher, passed_on = Watcher(watched), _PassedOn()
        self._feed.join(watcher)
        try:
            start = await watcher.begun()
            place = place or start
            async for events in self._past(watcher, place, start, passed_on):
                yield events
            async for events in self._present(watcher, max(place, start, key=order), passed_on):
                yield events
        finally:
            await self._feed.leave(watcher)

    async def _past(
        self, watcher: Watcher, place: bytes, start: bytes, passed_on: _PassedOn
    ) -> AsyncGenerator[Sequence[AttachmentEvent]]:
        """Begin, and tell of what is behind a place up to where the feed begins for this watcher."""
        try:
            # A token of another server may be ahead of where this one has come.
            lines = await self._replay.between(place, max(place, start, key=order))
            yield [AttachmentEvent(EventKind.STARTED, resume_token(place))]
            while lines:
                for line in lines:
                    if line.is_gap and watcher.watched.includes(line.task_id, line.key):
                        raise ResumeTokenExpiredError
                wanted = [line for line in lines if watcher.watched.includes(line.task_id, line.key)]
                for first in range(0, len(wanted), _AT_ONCE):
                    watcher.check()
                    yield passed_on.new(wanted[first : first + _AT_ONCE])
                place = lines[-1].place
                lines = await self._replay.between(place, start) if place != start else ()
        except LostPlaceError:
            raise ResumeTokenExpiredError from None

    async def _present(
        self, watcher: Watcher, told: bytes, passed_on: _PassedOn
    ) -> AsyncGenerator[Sequence[AttachmentEvent]]:
        """Tell of what the feed hands out, behind what has been told of."""
        begin = order(told)
        while True:
            lines = await watcher.take(_AT_ONCE, PROGRESS_SECONDS)
            place = self._feed.place
            if lines:
                told = lines[-1].place
                yield passed_on.new([line for line in lines if order(line.place) > begin])
            elif place is not None and order(place) > order(told):
                # Nothing waits, so all up to the feed's place has been told of.
                told = place
                yield [AttachmentEvent(EventKind.PROGRESS, resume_token(told))]


class _PassedOn:
    """The last revision of each key that a watcher was told of: an event that is there twice is passed on once."""

    __slots__ = ("_revisions",)

    def __init__(self) -> None:
        self._revisions: OrderedDict[tuple[str, str], int] = OrderedDict()

    def new(self, lines: Sequence[Line]) -> list[AttachmentEvent]:
        return [line.event for line in lines if line.event is not None and self._is_new(line.event)]

    def _is_new(self, event: AttachmentEvent) -> bool:
        key = (event.task_id, event.key)
        if self._revisions.get(key, 0) >= event.revision:
            return False
        self._revisions[key] = event.revision
        self._revisions.move_to_end(key)
        if len(self._revisions) > _KEYS_KNOWN:
            self._revisions.popitem(last=False)
        return True


def _place(token: str) -> bytes:
    try:
        return parse_token(token)
    except ValueError:
        raise InvalidParamsError(Violation("resume_token", "is not a token that watching has given")) from None
