"""What either store may hold under a key: an attachment, or the tombstone of one."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import Struct

from affix_server.domain import ALWAYS, Attachment, AttachmentType, Condition, Content, Ref, Summary, Task

# Who deletes what has expired.
EXPIRY = "expiry"

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
# Each byte that is drawn is a character, but for those beyond the last multiple of how many there are, or some would be
# likelier than others. One byte in 64 is of these, for which so many more are drawn.
_CHARACTERS = (_ALPHABET * 8)[:256].encode()
_TOO_MANY = bytes(range(256 - 256 % len(_ALPHABET), 256))
_DRAWN_MORE = 8


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A deleted attachment: its identity and when it went, never its content. Redis does not keep the id."""

    ref: Ref
    id: str
    deleted_at: int
    revision: int


Entry = Attachment | Tombstone


def ref_of(entry: Entry) -> Ref:
    """Return the name of what is there, or was."""
    return entry.ref if isinstance(entry, Tombstone) else Ref(entry.task_id, entry.key)


@dataclass(frozen=True, slots=True)
class TaskTombstone:
    """A deleted task."""

    id: str
    deleted_at: int
    revision: int


TaskEntry = Task | TaskTombstone


class Write(Struct, frozen=True, gc=False):
    """A create, or a delete if `content` is None, on its way to Postgres.

    `expires_at`, in ms, is when it is to be gone. `ends` is for the deletion of what has expired, and of nothing else.
    """

    ref: Ref
    content: Content | None
    written_by: str
    condition: Condition = ALWAYS
    expires_at: int | None = None
    ends: bool = False


def ending(ref: Ref) -> Write:
    """Return the deletion of what is under a key, if it has expired."""
    return Write(ref, None, EXPIRY, ends=True)


@dataclass(frozen=True, slots=True)
class Pending:
    """A write that only Redis has: what it left, who wrote it, and whether its identity is provisional.

    A provisional identity gives way to that of a row, if Postgres turns out to have one.
    """

    ref: Ref
    entry: Entry
    written_by: str
    provisional: bool

    @property
    def deleted_at(self) -> int:
        """When it was deleted, in ms; 0 for one that lives."""
        return self.entry.deleted_at if isinstance(self.entry, Tombstone) else 0


@dataclass(frozen=True, slots=True)
class PendingTask:
    """What only Redis knows of a task: what its last write left, and who wrote it.

    `born`: the revision with which it was registered, if Postgres has not seen that either; else 0. `emptied`: the
    revision of the tombstone that it was registered in the place of, or 0: what was born before, and all that hangs on
    it, is gone.
    """

    task: TaskEntry
    written_by: str
    born: int = 0
    emptied: int = 0


@dataclass(frozen=True, slots=True)
class TaskMetadata:
    """The metadata of a task, the text of a JSON object, as it is at a revision."""

    task_id: str
    metadata: str
    revision: int


@dataclass(frozen=True, slots=True)
class MetadataPage:
    """Some of all tasks, in the order of their ids.

    `count` tasks were looked at, up to the id `last`; `holding` are those whose metadata may have
    the member that was asked for.
    """

    holding: Sequence[TaskMetadata]
    count: int
    last: str


@dataclass(frozen=True, slots=True)
class TooLarge:
    """Stands for an entry that was not sent along because of its size in bytes."""

    size: int


@dataclass(frozen=True, slots=True)
class IndexLine:
    """What an index says of one key; `type` is None for one that is gone. `revision` is Postgres', 0 for unknown."""

    key: str
    type: AttachmentType | None
    created_at: int
    revision: int = 0
    expires_at: int | None = None


Found = Entry | Summary | TooLarge | None


@dataclass(frozen=True, slots=True)
class CachedPage:
    """A page as the index has it; an entry is None where its hash has expired."""

    total_count: int
    keys: tuple[str, ...]
    entries: tuple[Found, ...]


def random_suffix(length: int) -> str:
    """Return characters of 0-9a-z from a secure source, for the random part of an id."""
    (suffix,) = random_suffixes(1, length)
    return suffix


def random_suffixes(count: int, length: int) -> list[str]:
    """Return several: to ask the source for each character takes ten times as long."""
    characters = ""
    while len(characters) < count * length:
        drawn = secrets.token_bytes(count * length + _DRAWN_MORE)
        characters += drawn.translate(_CHARACTERS, _TOO_MANY).decode()
    return [characters[place : place + length] for place in range(0, count * length, length)]
