"""What of a task's metadata becomes which attachment, and what is left of the metadata. Reads and writes no store."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from affix_cli.metadata.members import Member, decoded, members, written
from affix_server.domain import Content, JsonContent, MarkdownContent, TextContent, UrlContent
from affix_server.errors import InvalidParamsError
from affix_server.validation import Checks

MEMBER = "data"

_WEB = re.compile(r"https?:", re.IGNORECASE)
_HALF = "contains half a surrogate pair (\\ud800 to \\udfff)"


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of `data`, and the attachment it becomes."""

    key: str
    content: Content


@dataclass(frozen=True, slots=True)
class Skip:
    """What stays where it is, and why; `key` is None if it is all of `data`."""

    key: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What can be moved of one task's metadata, and what cannot."""

    entries: tuple[Entry, ...]
    skips: tuple[Skip, ...]
    _around: tuple[Member, ...]
    _data: tuple[Member, ...]

    def left(self, moved: Collection[str]) -> str:
        """Return the metadata without the entries of these keys: the text of all else stays as it is.

        Once `data` is empty it goes as well. Of members of one name the last one counts; those before it go too.
        """
        staying = [member for member in self._data if member.name not in moved]
        last = max(place for place, member in enumerate(self._around) if member.name == MEMBER)
        around = [
            member.with_value(written(staying)) if place == last else member
            for place, member in enumerate(self._around)
            if member.name != MEMBER or (place == last and staying)
        ]
        return written(around)


def plan(metadata: str, max_content_bytes: int) -> Plan | None:
    """Plan the move of a task's metadata, a valid JSON text; None if it has no `data`."""
    around = members(metadata) or []
    datas = [member for member in around if member.name == MEMBER]
    if not datas:
        return None
    data = members(datas[-1].value)
    if data is None:
        return Plan((), (Skip(None, f"`{MEMBER}` is no object"),), tuple(around), ())
    entries: list[Entry] = []
    skips: list[Skip] = []
    # Of members of one name the last one counts; what is no name at all has only its spelling.
    for member in {_identity(member): member for member in data}.values():
        planned = _entry(member, max_content_bytes)
        if isinstance(planned, Entry):
            entries.append(planned)
        else:
            skips.append(planned)
    return Plan(tuple(entries), tuple(skips), tuple(around), tuple(data))


def _identity(member: Member) -> tuple[bool, str]:
    name = member.name
    return (False, member.quoted_name) if name is None else (True, name)


def _entry(member: Member, max_content_bytes: int) -> Entry | Skip:
    key = member.name
    if key is None:
        return Skip(member.quoted_name, f"the key {_HALF}")
    if not key:
        return Skip(key, "the key is empty")
    content = _content(key, member.value)
    if content is None:
        return Skip(key, f"the content {_HALF}")
    checks = Checks()
    checks.key(key, "the key")
    checks.content(content, max_content_bytes)
    try:
        checks.done()
    except InvalidParamsError as fault:
        first = fault.violations[0]
        what = "the key" if first.field == "the key" else "the content"
        return Skip(key, f"{what} {first.description}")
    return Entry(key, content)


def _content(key: str, value: str) -> Content | None:
    """Return what a value becomes; None for a string that is no Unicode text."""
    if not value.startswith('"'):
        return JsonContent(value)
    text = decoded(value)
    if text is None:
        return None
    if _is_url(text):
        return UrlContent(text)
    return MarkdownContent(text) if key.endswith(".md") else TextContent(text)


def _is_url(text: str) -> bool:
    if not _WEB.match(text):
        return False
    checks = Checks()
    checks.url(text, "url")
    try:
        checks.done()
    except InvalidParamsError:
        return False
    return True
