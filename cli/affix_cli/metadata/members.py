"""JSON objects as text: their members, and what is left when some are taken out, without printing anything anew."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

_SPACE = r"[ \t\n\r]*+"
_STRING = r'"(?:[^"\\]++|\\.)*+"'
_OPEN = re.compile(rf"{_SPACE}\{{{_SPACE}")
_NAME = re.compile(rf"{_SPACE}({_STRING}){_SPACE}:{_SPACE}", re.DOTALL)
_SCALAR = re.compile(rf"{_STRING}|[^ \t\n\r,\]}}]++", re.DOTALL)
_AFTER = re.compile(rf"{_SPACE}([,}}])")
# A string is matched as a whole, so that no bracket in one counts.
_NESTING = re.compile(rf"{_STRING}|[\[\]{{}}]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an object as it is written: its name in quotes, its value, and all of it with the space around."""

    quoted_name: str
    value: str
    text: str

    @property
    def name(self) -> str | None:
        """The name; None if it is no Unicode text, because of half a surrogate pair."""
        return decoded(self.quoted_name)

    def with_value(self, value: str) -> Member:
        """Return the member with another value in the place of its own."""
        before, _, after = self.text.rpartition(self.value)
        return Member(self.quoted_name, value, f"{before}{value}{after}")


def decoded(quoted: str) -> str | None:
    """Return what a string in JSON stands for; None if it is no Unicode text."""
    try:
        return msgspec.json.decode(quoted, type=str)
    except msgspec.DecodeError:
        return None


def members(text: str) -> list[Member] | None:
    """Return the members of an object in order, all those of one name included; None if it is no object.

    The text has to be valid JSON, however deep it goes.
    """
    opened = _OPEN.match(text)
    if opened is None:
        return None
    found: list[Member] = []
    if text[opened.end()] == "}":
        return found
    begin = text.index("{") + 1
    while True:
        name = _match(_NAME, text, begin)
        end = _value_end(text, name.end())
        after = _match(_AFTER, text, end)
        found.append(Member(name[1], text[name.end() : end], text[begin : after.start(1)]))
        if after[1] == "}":
            return found
        begin = after.end()


def written(left: Sequence[Member]) -> str:
    """Write an object of members that were read, each as it was."""
    return f"{{{','.join(member.text for member in left)}}}"


def _value_end(text: str, begin: int) -> int:
    if text[begin] not in "[{":
        return _match(_SCALAR, text, begin).end()
    depth = 0
    for found in _NESTING.finditer(text, begin):
        if found[0] in "[{":
            depth += 1
        elif found[0] in "]}":
            depth -= 1
            if not depth:
                return found.end()
    raise ValueError("not a JSON text")


def _match(pattern: re.Pattern[str], text: str, begin: int) -> re.Match[str]:
    found = pattern.match(text, begin)
    if found is None:
        raise ValueError("not a JSON text")
    return found
