"""The commands that make writes visible in Redis and tell of them (design/storage.md, step 3)."""

from __future__ import annotations

from affix_server.domain import Ref
from affix_server.storage.entries import Entry, TaskEntry, TaskTombstone, Tombstone
from affix_server.storage.events import Event
from affix_server.storage.redis import names
from affix_server.storage.redis.client import Script
from affix_server.storage.redis.connection import Command
from affix_server.storage.redis.hashes import entry_fields, task_fields

PUT, TASK_PUT, DROP = Script("put"), Script("task_put"), Script("drop")

# Longer than any request lives, so that no late fill or publish finds the place empty.
TOMBSTONE_TTL_SECONDS = 60
STREAM_LENGTH = 100_000
# Where each type's index stands among the KEYS of put.lua.
TYPE_KEY = {type_: 4 + number for number, type_ in enumerate(names.TYPES)}


def put(entry: Entry, ttl_seconds: int) -> Command:
    """Set an entry and its indexes, if Redis holds nothing as new."""
    if isinstance(entry, Tombstone):
        ref, ttl, type_key, created_at = entry.ref, TOMBSTONE_TTL_SECONDS, 0, 0
    else:
        ref, ttl = Ref(entry.task_id, entry.key), ttl_seconds
        type_key, created_at = TYPE_KEY[entry.content.type], entry.created_at
    keys = [names.entry(ref), names.task(ref.task_id), *names.indexes(ref.task_id)]
    return PUT(keys, entry.revision, ttl, ref.key, type_key, created_at, *entry_fields(entry))


def put_task(task: TaskEntry, ttl_seconds: int) -> Command:
    """Set a task, if Redis holds nothing as new; a tombstone takes the indexes with it."""
    if isinstance(task, TaskTombstone):
        keys, ttl = [names.task(task.id), *names.indexes(task.id)], TOMBSTONE_TTL_SECONDS
    else:
        keys, ttl = [names.task(task.id)], ttl_seconds
    return TASK_PUT(keys, task.revision, ttl, *task_fields(task))


def announce(event: Event) -> list[Command]:
    """Append an event to its stream and publish it on its channel."""
    stream = names.stream(event.type)
    line = ("data", event.data, "revision", event.revision)
    return [("XADD", stream, "MAXLEN", "~", STREAM_LENGTH, "*", *line), ("PUBLISH", event.type, event.data)]
