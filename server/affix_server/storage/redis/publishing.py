"""The commands that make writes visible in Redis and tell of them (design/storage.md, step 3)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from affix_server.domain import Ref
from affix_server.storage.entries import Entry, TaskEntry, TaskTombstone, Tombstone
from affix_server.storage.events import Change, Event
from affix_server.storage.redis import names
from affix_server.storage.redis.client import RedisClient, Script
from affix_server.storage.redis.connection import Command
from affix_server.storage.redis.hashes import entry_fields, task_fields

BEGIN, LEASE = Script("begin"), Script("lease")
PUT, PEND = Script("_events", "_indexes", "put"), Script("_events", "_indexes", "pend")
TASK_PUT, DROP, RELEASE, EXPUNGE = Script("_events", "task_put"), Script("drop"), Script("release"), Script("expunge")

# Longer than any request lives, so that no late fill or publish finds the place empty.
TOMBSTONE_TTL_SECONDS = 60
LEASE_TTL_SECONDS = 30
# From the intent to the commit or its failure: a wait behind one batch, and a time-out.
WRITE_LASTS_MS = 5_000
STREAM_LENGTH = 100_000
# The keys that put.lua and pend.lua take: entry, task, pending keys, writes under way, then the indexes.
_INDEXES_AT = 5
# The place of each type's index among all indexes of a task, counted from 1 as in Lua; 0 is none of them.
TYPE_PLACE = {type_: 2 + number for number, type_ in enumerate(names.TYPES)}
# For scripts: when something expires that does not.
NEVER = ""
# No token is empty, so this one has no lease: for what is put in only over something older.
NO_LEASE = ""
Parts = tuple[str | bytes | int, ...]

# What put.lua answers when the write before is still on its way.
_TOO_EARLY = -2
# A publication waits so long at most for that of the write before it, and asks so often.
PATIENCE_SECONDS = 0.1
_TURN_SECONDS = 0.005


class Telling(NamedTuple):
    """That a publication tells of its write: the event, the write's intent, and what the write before it may lack.

    A write after `told_until` counts as not told of where Redis does not know; None for one that may still be on
    its way.
    """

    change: Change
    intent: str = ""
    told_until: int | None = None


class Publication(NamedTuple):
    """What a committed write left, the token that it began with, and what is told of it."""

    entry: Entry
    token: str
    telling: Telling


def lease(name: str, token: str) -> Command:
    """Ask to be the one to put something in this place, if nothing is there (lease.lua)."""
    return LEASE([name], token, LEASE_TTL_SECONDS)


def begin(ref: Ref, token: str) -> Command:
    """Begin a write on its way to Postgres (begin.lua)."""
    place = names.entry(ref) if ref.key else names.task(ref.task_id)
    return BEGIN([place, names.writing(ref), names.task(ref.task_id)], token, LEASE_TTL_SECONDS, WRITE_LASTS_MS)


def builder(token: str) -> str:
    """Name the builder of indexes that has a token (index_begin.lua)."""
    return f"\x01{token}"  # no key has control characters


def release(name: str, token: str) -> Command:
    """Give a lease back (release.lua)."""
    return RELEASE([name], token)


def write_keys(ref: Ref) -> tuple[str, ...]:
    """Name all that a write touches, in the order that put.lua and pend.lua expect."""
    task = names.task(ref.task_id)
    return (names.entry(ref), task, names.pending(ref.task_id), names.writing(ref), *names.indexes(ref.task_id))


def index_scores(entry: Entry, indexes_at: int = _INDEXES_AT) -> tuple[int, int, str | int]:
    """Return what _indexes.lua is told: the number of the index by type among `write_keys`, and the scores.

    The number is counted from 1, and 0 for a tombstone. `indexes_at` is that of the index of all keys, where a script
    takes other keys before it.
    """
    if isinstance(entry, Tombstone):
        return 0, 0, NEVER
    place = TYPE_PLACE[entry.content.type] + indexes_at - 1
    return place, entry.created_at, NEVER if entry.expires_at is None else entry.expires_at


def put(entry: Entry, ttl_seconds: int, token: str, telling: Telling | None = None, *, waits: bool = False) -> Command:
    """Set an entry and its indexes as Postgres has them, unless Redis holds something newer (put.lua).

    Tells of it if nobody has and `telling` is given; if it `waits`, not before the write before it has been told of.
    """
    ref = entry.ref if isinstance(entry, Tombstone) else Ref(entry.task_id, entry.key)
    ttl = TOMBSTONE_TTL_SECONDS if isinstance(entry, Tombstone) else ttl_seconds
    if telling is None:
        told: tuple[str | int, ...] = ("", 0, "", 0)
        event: Parts = ()
    else:
        after = "" if telling.told_until is None else telling.told_until
        told = (telling.intent, telling.change.previous_revision, after, int(waits))
        event = event_parts(telling.change)
    place = (ref.key, *index_scores(entry))
    return PUT(write_keys(ref), entry.revision, ttl, *place, token, *told, len(event), *event, *entry_fields(entry))


async def put_together(client: RedisClient, publications: Sequence[Publication], ttl_seconds: int) -> list[Publication]:
    """Publish committed writes in one round trip, but for those before which another has still to be told of.

    Those are returned: they can be put in in their turn. Raises CacheUnavailableError.
    """
    commands = [put(entry, ttl_seconds, token, telling, waits=True) for entry, token, telling in publications]
    replies = await client.run(commands)
    return [one for one, reply in zip(publications, replies, strict=True) if reply == _TOO_EARLY]


async def put_in_turn(client: RedisClient, publication: Publication, ttl_seconds: int) -> None:
    """Publish a committed write, and tell of it behind the write it replaced.

    That one's server may have come to a halt: it is waited for `PATIENCE_SECONDS`, and watchers hear that an event is
    missing. Raises CacheUnavailableError.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE_SECONDS
    entry, token, telling = publication
    while True:
        command = put(entry, ttl_seconds, token, telling, waits=loop.time() < end)
        if await client.run((command,)) != [_TOO_EARLY]:
            return
        await asyncio.sleep(_TURN_SECONDS)


def put_task(task: TaskEntry, ttl_seconds: int, token: str, change: Change | None = None) -> Command:
    """Set a task, unless Redis holds something as new; a tombstone takes the indexes with it (task_put.lua).

    `change` is a tombstone's event, for whoever is to tell of it if nobody has.
    """
    keys = [names.task(task.id), names.pending(task.id), *names.indexes(task.id)]
    gone = isinstance(task, TaskTombstone)
    ttl = TOMBSTONE_TTL_SECONDS if gone else ttl_seconds
    event = () if change is None else event_parts(change)
    return TASK_PUT(keys, task.revision, ttl, token, int(gone), len(event), *event, *task_fields(task))


def event_parts(change: Change) -> Parts:
    """Return what _events.lua makes an event of."""
    event = change.event
    what = (change.kind.value, change.task_id, change.key, change.id, change.type)
    return (event.type, event.data, *what, change.by, change.at, event.revision)


def expunge(refs: Sequence[Ref], revision: int) -> Command:
    """Drop what is left of attachments that went with a task at a revision (expunge.lua)."""
    return EXPUNGE([names.entry(ref) for ref in refs], revision)


def announce(event: Event) -> list[Command]:
    """Append an event to its stream and publish it on its channel."""
    stream = names.stream(event.type)
    line = ("data", event.data, "revision", event.revision)
    return [("XADD", stream, "MAXLEN", "~", STREAM_LENGTH, "*", *line), ("PUBLISH", event.type, event.data)]
