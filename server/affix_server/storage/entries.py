"""What either store may hold under a key: an attachment, or the tombstone of one."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from affix_server.domain import ALWAYS, Attachment, AttachmentType, Condition, Content, Ref, Summary, Task

# Who deletes what has expired.
EXPIRY = "expiry"

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
# So much more than 9 characters hold that none of them is any likelier than another, as far as anybody could tell.
_DRAWN_BYTES = 12


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


@dataclass(frozen=True, slots=True)
class Write:
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
    """Return several, of at most 9 characters: to ask the source for each character takes ten times as long."""
    drawn = secrets.token_bytes(_DRAWN_BYTES * count)
    return [
        _base_36(int.from_bytes(drawn[place : place + _DRAWN_BYTES]), length)
        for place in range(0, len(drawn), _DRAWN_BYTES)
    ]


def _base_36(number: int, length: int) -> str:
    """Return the last characters of a number."""
    characters = ""
    while len(characters) < length:
        number, pair = divmod(number, len(_PAIRS))
        characters += _PAIRS[pair]
    return characters[:length]
