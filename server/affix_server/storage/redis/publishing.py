"""The commands that make writes visible in Redis and tell of them (design/storage.md, step 3)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from affix_server.domain import Ref
from affix_server.storage.entries import Entry, TaskEntry, TaskTombstone, Tombstone
from affix_server.storage.events import Change, Event
from affix_server.storage.redis import names
from affix_server.storage.redis.client import RedisClient, Script
from affix_server.storage.redis.connection import Command
from affix_server.storage.redis.hashes import entry_fields, task_fields

BEGIN, LEASE = Script("_under_way", "begin"), Script("lease")
PUT, PEND = (Script("_events", "_indexes", "_under_way", name) for name in ("put", "pend"))
TASK_PUT, DROP, RELEASE, EXPUNGE = Script("_events", "task_put"), Script("drop"), Script("release"), Script("expunge")

# Longer than any request lives, so that no late fill or publish finds the place empty.
TOMBSTONE_TTL_SECONDS = 60
LEASE_TTL_SECONDS = 30
# From the intent to the commit or its failure: a wait behind one batch, and a time-out.
WRITE_LASTS_MS = 5_000
STREAM_LENGTH = 100_000
# How many writes one call of a script begins or publishes, and of about how much: others have their turn in between.
_AT_ONCE, _CHARACTERS_AT_ONCE = 32, 256 * 1024
# The place of each type's index among all indexes of a task, counted from 1 as in Lua; 0 is none of them.
TYPE_PLACE = {type_: 2 + number for number, type_ in enumerate(names.TYPES)}
# For scripts: when something expires that does not.
NEVER = ""
# No token is empty, so this one has no lease: for what is put in only over something older.
NO_LEASE = ""
Parts = tuple[str | bytes | int, ...]
# How many bytes MessagePack puts before the elements of an array of 16 to 65,535.
_ARRAY_HEAD = 3
# The place of a live entry's content, or the first part of it, among its fields; its name is before it.
_CONTENT_AT = 9

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


async def begin(
    client: RedisClient, refs: Sequence[Ref], traces: Sequence[str], tokens: Sequence[str]
) -> list[Sequence[Any] | None]:
    """Begin writes on their way to Postgres in one round trip; returns what begin.lua does."""
    commands = []
    for start in range(0, len(refs), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        places = [name for ref in refs[some] for name in (_place(ref), names.task(ref.task_id))]
        writes = [part for write in zip(traces[some], tokens[some], strict=True) for part in write]
        commands.append(BEGIN([names.INTENTS, *places], LEASE_TTL_SECONDS, WRITE_LASTS_MS, *writes))
    return [one for reply in await client.run(commands) for one in reply]


def _place(ref: Ref) -> str:
    return names.entry(ref) if ref.key else names.task(ref.task_id)


def builder(token: str) -> str:
    """Name the builder of indexes that has a token (index_begin.lua)."""
    return f"\x01{token}"  # no key has control characters


def release(name: str, token: str) -> Command:
    """Give a lease back (release.lua)."""
    return RELEASE([name], token)


def index_scores(entry: Entry) -> tuple[str, int, str | int]:
    """Return what _indexes.lua is told: the type, none for a tombstone, and the scores."""
    if isinstance(entry, Tombstone):
        return "", 0, NEVER
    return entry.content.type, entry.created_at, NEVER if entry.expires_at is None else entry.expires_at


async def put_all(
    client: RedisClient,
    entries: Sequence[tuple[Entry, str, Telling | None]],
    ttl_seconds: int,
    *,
    waits: bool = False,
    followed_by: Sequence[Command] = (),
) -> list[int]:
    """Set entries and their indexes as Postgres has them, unless Redis holds something newer, in one round trip.

    Each comes with the token of a lease, and is told of if nobody has and it says how; if it `waits`, not before the
    write before it has been told of. Returns for each what put.lua does. Raises CacheUnavailableError.
    """
    calls: list[list[str | bytes]] = []
    room = 0
    for one in entries:
        what, content = _packed(*one, ttl_seconds)
        if room <= 0 or len(calls[-1]) >= 2 * _AT_ONCE:
            calls.append([])
            room = _CHARACTERS_AT_ONCE
        calls[-1] += (what, content)
        room -= len(content)
    puts = [PUT((names.INTENTS,), int(waits), *args) for args in calls]
    replies = await client.run((*puts, *followed_by))
    return [result for reply in replies[: len(puts)] for result in reply]


def _packed(entry: Entry, token: str, telling: Telling | None, ttl_seconds: int) -> tuple[bytes, str]:
    """Return what put.lua is told of an entry, in one piece, and its content.

    Redis takes longer to read an argument than a script does to unpack it (docs/decisions/0035-what-a-write-costs.md).
    """
    name, content, rest = "", "", entry_fields(entry)
    if isinstance(entry, Tombstone):
        (task_id, key), ttl = entry.ref, TOMBSTONE_TTL_SECONDS
    else:
        task_id, key, ttl = entry.task_id, entry.key, ttl_seconds
        name, content, rest = str(rest[_CONTENT_AT - 1]), str(rest[_CONTENT_AT]), rest[_CONTENT_AT + 1 :]
    of_type, created_ms, expires_ms = index_scores(entry)
    written = (task_id, key, entry.id, of_type, entry.revision, created_ms, expires_ms, ttl, token)
    if telling is None:
        parts = (*written, "", None, None, "", "", "", "", "", name, *rest)
    else:
        change, trace, told_until = telling
        event = change.event
        told = (event.type, event.data.decode(), change.kind, change.by, change.at)
        parts = (*written, trace, change.previous_revision, told_until, *told, name, *rest)
    # The elements one by one, which a script gets as so many values, and not as a list of them.
    return msgspec.msgpack.encode(parts)[_ARRAY_HEAD:], content


async def put_together(client: RedisClient, publications: Sequence[Publication], ttl_seconds: int) -> list[Publication]:
    """Publish committed writes in one round trip, but for those before which another has still to be told of.

    Those are returned: they can be put in in their turn. Raises CacheUnavailableError.
    """
    results = await put_all(client, publications, ttl_seconds, waits=True)
    return [one for one, result in zip(publications, results, strict=True) if result == _TOO_EARLY]


async def put_in_turn(client: RedisClient, publication: Publication, ttl_seconds: int) -> None:
    """Publish a committed write, and tell of it behind the write it replaced.

    That one's server may have come to a halt: it is waited for `PATIENCE_SECONDS`, and watchers hear that an event is
    missing. Raises CacheUnavailableError.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE_SECONDS
    while True:
        if await put_all(client, (publication,), ttl_seconds, waits=loop.time() < end) != [_TOO_EARLY]:
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
    what = (change.kind, change.task_id, change.key, change.id, change.type)
    return (event.type, event.data, *what, change.by, change.at, event.revision)


def expunge(refs: Sequence[Ref], revision: int) -> Command:
    """Drop what is left of attachments that went with a task at a revision (expunge.lua)."""
    return EXPUNGE([names.entry(ref) for ref in refs], revision)


def announce(event: Event) -> list[Command]:
    """Append an event to its stream and publish it on its channel."""
    stream = names.stream(event.type)
    line = ("data", event.data, "revision", event.revision)
    return [("XADD", stream, "MAXLEN", "~", STREAM_LENGTH, "*", *line), ("PUBLISH", event.type, event.data)]
