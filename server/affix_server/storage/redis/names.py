"""The names of everything Affix keeps in Redis (design/storage.md, "Names in Redis")."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from affix_server.domain import AttachmentType, Ref

INTENTS = "cb:intents"
# Intents of writes that are on their way to Postgres, by when they are over, in ms.
WRITING = "cb:writing"
# Where there is no Postgres to ask: what will be gone, `{taskId}:{key}` by when, in ms.
EXPIRING = "cb:expiring"
WATCHED = "cb:stream:attachments"
HEARTBEAT = "cb:heartbeat"
PROBE = "cb:probe"
COUNTS = "cb:metrics:attachments"
COUNTS_BY_TYPE = "cb:metrics:attachments:type"
TASK_PATTERN = "cb:task:*"
TYPES = tuple(AttachmentType)


def task(task_id: str) -> str:
    """Name the hash of a task."""
    return f"cb:task:{task_id}"


def entry(ref: Ref) -> str:
    """Name the hash of an attachment."""
    return f"cb:task:{ref.task_id}:attachment:{ref.key}"


def entries(refs: Iterable[Ref]) -> list[str]:
    """Name the hashes of attachments."""
    return [f"cb:task:{task_id}:attachment:{key}" for task_id, key in refs]


def entry_prefix(task_id: str) -> str:
    """Return what the names of all attachments of a task begin with."""
    return f"cb:task:{task_id}:attachment:"


def pending(task_id: str) -> str:
    """Name the set of keys of a task whose newest write Postgres has not seen."""
    return f"cb:task:{task_id}:pending"


def index(task_id: str, type_: AttachmentType | None = None) -> str:
    """Name the sorted set of a task's keys, or of its keys of one type."""
    return f"cb:task:{task_id}:attachments" if type_ is None else f"cb:task:{task_id}:attachments:{type_}"


def expiring(task_id: str) -> str:
    """Name the sorted set of a task's keys that will be gone, by when."""
    return f"cb:task:{task_id}:attachments:expiring"


@lru_cache(maxsize=1024)
def indexes(task_id: str) -> tuple[str, ...]:
    """Name all sorted sets of a task: of all keys first, then one a type, in the order of TYPES, last `expiring`."""
    return (index(task_id), *(index(task_id, type_) for type_ in TYPES), expiring(task_id))


def expiring_member(ref: Ref) -> str:
    """Name an attachment among EXPIRING."""
    return f"{ref.task_id}:{ref.key}"


def parse_expiring(member: bytes) -> Ref:
    """Return which attachment a member of EXPIRING names."""
    task_id, _, key = member.decode().partition(":")
    return Ref(task_id, key)


def stream(event: str) -> str:
    """Name the stream of an event type."""
    return f"cb:stream:{event}"


def counted(process: str) -> str:
    """Name the number of the last addition of a process to COUNTS."""
    return f"cb:metrics:counted:{process}"


def intent(ref: Ref, token: str) -> str:
    """Name the intent of one write of a key; a task itself is the empty key.

    The write's token is part of it, so that one that is done cannot erase the trace of
    another that is not (docs/decisions/0004-every-write-has-its-own-intent.md).
    """
    return f"{ref.task_id}:{ref.key}\x1f{token}"


def parse_intent(member: bytes) -> Ref | None:
    """Return what an intent is about; None if the member is not one of ours."""
    try:
        name, _, _ = member.decode().partition("\x1f")
    except UnicodeDecodeError:
        return None
    task_id, colon, key = name.partition(":")
    return Ref(task_id, key) if task_id and colon else None


def is_cached(name: bytes) -> bool:
    """Tell whether a name of a task's is of something that Postgres has too: not of what is pending."""
    return b":attachment:" in name or not name.endswith(b":pending")
