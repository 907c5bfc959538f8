"""Named parameters read by type; what does not fit is collected, to be told all at once.

Only what protobuf cannot express is checked here: names, JSON types, words, the
integer ranges of the wire. Lengths, patterns and limits are the server's rules.
(design/contract.md, "Attachments")
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp
from msgspec import Raw, ValidationError
from msgspec.json import Decoder

from affix_shim.arrays import MOST_ITEMS, items_of
from affix_shim.jsonrpc import kind
from affix_shim.members import MAX_BESIDE, BulkyError, members_of, repeated
from affix_shim.times import parse_time
from affix_shim.violations import Violation, clip

T = TypeVar("T")

_string: Final = Decoder(str)
_JSON_INTEGER: Final = frozenset(b"-0123456789")


class Bounds(NamedTuple):
    """The integers that a protobuf type holds."""

    low: int
    high: int


INT32: Final = Bounds(-(2**31), 2**31 - 1)
INT64: Final = Bounds(-(2**63), 2**63 - 1)
_MOST_DIGITS: Final = len(str(INT64.low))


class Params:
    """The members of one parameter object, read by name.

    A member that is never read is no parameter of the method: `close` says so.
    Every reader gives None for a member that is absent or has been refused.
    """

    __slots__ = ("_members", "_prefix", "_read", "_text", "violations")

    def __init__(self, text: Raw, members: dict[str, Raw], violations: list[Violation], prefix: str) -> None:
        """Hold an object decoded by `open_params`."""
        self.violations = violations
        self._text = text
        self._members = members
        self._prefix = prefix
        self._read: set[str] = set()

    def refuse(self, name: str, description: str) -> None:
        """Add a violation about a member."""
        self.violations.append(Violation(self._prefix + clip(name), description))

    def has(self, name: str) -> bool:
        """Whether the member is there, as null too."""
        return name in self._members

    def raw(self, name: str, *, required: bool = False) -> Raw | None:
        """Read any JSON value."""
        self._read.add(name)
        value = self._members.get(name)
        if value is None and required:
            self.refuse(name, "is required")
        return value

    def json(self, name: str, *, required: bool = False) -> str | None:
        """Read any JSON value as its text, byte for byte."""
        value = self.raw(name, required=required)
        return None if value is None else str(value, "utf-8")

    def json_object(self, name: str) -> str | None:
        """Read a JSON object as its text, byte for byte."""
        value = self._typed(name, "an object", required=False)
        return None if value is None else str(value, "utf-8")

    def string(self, name: str, *, required: bool = False) -> str | None:
        """Read a string."""
        value = self.raw(name, required=required)
        if value is None:
            return None
        try:  # most are, so the type is found out by trying
            return _string.decode(value)
        except ValidationError:
            self.refuse(name, f"must be a string, not {kind(value)}")
            return None

    def required_string(self, name: str) -> str:
        """Read a string that must be there; empty when it has been refused."""
        return self.string(name, required=True) or ""

    def integer(self, name: str, bounds: Bounds) -> int | None:
        """Read an integer, written as one: `10.0` and `1e1` are none."""
        value = self._typed(name, "a number", required=False, wanted="an integer")
        if value is None:
            return None
        digits = bytes(value)
        fault = _integer_fault(digits, bounds)
        if fault is not None:
            self.refuse(name, f"{fault}, not {clip(digits.decode())}")
            return None
        return int(digits)

    def boolean(self, name: str) -> bool:
        """Read true or false; absent, or refused, it is false."""
        value = self._typed(name, "a boolean", required=False)
        return value is not None and bytes(value) == b"true"

    def time(self, name: str) -> Timestamp | None:
        """Read a time of RFC 3339, such as `2025-01-19T11:00:00Z`."""
        text = self.string(name)
        if text is None:
            return None
        try:
            return parse_time(text)
        except ValueError:
            self.refuse(name, f"must be a time such as 2025-01-19T11:00:00Z, not '{clip(text)}'")
            return None

    def strings(self, name: str) -> list[str] | None:
        """Read an array of strings."""
        value = self._typed(name, "an array", required=False)
        if value is None:
            return None
        items = items_of(value)
        if items is None:
            self.refuse(name, f"must have at most {MOST_ITEMS} items")
        found: list[str] = []
        for at, item in enumerate(items or ()):
            try:
                found.append(_string.decode(item))
            except ValidationError:
                self.refuse(f"{name}[{at}]", f"must be a string, not {kind(item)}")
        return found

    def word(self, name: str, words: Mapping[str, T], *, required: bool = False) -> T | None:
        """Read one of some words, as what it stands for."""
        text = self.string(name, required=required)
        if text is None:
            return None
        if text not in words:
            self.refuse(name, f"must be one of {', '.join(words)}, not '{clip(text)}'")
            return None
        return words[text]

    def object(self, name: str, *, required: bool = False) -> Params | None:
        """Open an object within; the caller closes it."""
        value = self.raw(name, required=required)
        return None if value is None else open_params(value, self.violations, self._prefix + name)

    def objects(self, name: str) -> Iterator[Params]:
        """Open the objects of a required array one by one; the caller closes each."""
        value = self._typed(name, "an array", required=True)
        items = [] if value is None else items_of(value)
        if items is None:
            self.refuse(name, f"must have at most {MOST_ITEMS} items")
        for at, item in enumerate(items or ()):
            opened = open_params(item, self.violations, f"{self._prefix}{name}[{at}]")
            if opened is not None:
                yield opened

    def ignore(self, names: Iterable[str]) -> None:
        """Count members as read whose meaning hangs on another that has been refused."""
        self._read.update(names)

    def close(self) -> None:
        """Refuse what has not been read and what is given twice."""
        if not self._read.issuperset(self._members):
            for name in self._members:
                if name not in self._read:
                    self.refuse(name, "is not a parameter of this method")
        twice = repeated(self._text, self._members)
        if twice is not None:
            self.refuse(twice, "must be given once")

    def context(self) -> dict[str, str]:
        """Give `taskId` and `key` as far as the call names them, for the data of an error."""
        found: dict[str, str] = {}
        for name, label in (("taskId", "taskId"), ("id", "taskId"), ("key", "key")):
            value = self._members.get(name)
            if value is not None and kind(value) == "a string":
                found.setdefault(label, _string.decode(value))
        return found

    def _typed(self, name: str, type_: str, *, required: bool, wanted: str | None = None) -> Raw | None:
        value = self.raw(name, required=required)
        if value is None:
            return None
        found = kind(value)
        if found != type_:
            self.refuse(name, f"must be {wanted or type_}, not {found}")
            return None
        return value


def open_params(text: Raw, violations: list[Violation], path: str = "") -> Params | None:
    """Open the object at `path` of the parameters; an empty text stands for an absent one.

    Every violation found in it is added to `violations`, so is the one that makes this None.
    """
    try:
        members = members_of(text) if len(text) else {}
    except ValidationError:
        violations.append(Violation(path or "params", f"must be an object, not {kind(text)}"))
        return None
    except BulkyError:
        violations.append(Violation(path or "params", f"must have at most {MAX_BESIDE} bytes beside its contents"))
        return None
    except RecursionError:  # the stack may be deeper here than where the envelope was parsed
        violations.append(Violation(path or "params", "must not be nested so deeply"))
        return None
    return Params(text, members, violations, f"{path}." if path else "")


def _integer_fault(digits: bytes, bounds: Bounds) -> str | None:
    """Say what a JSON number would have to be; None when it is an integer within bounds."""
    if not _JSON_INTEGER.issuperset(digits):
        return "must be an integer without fraction or exponent"
    # Python refuses to convert thousands of digits; so many are out of range anyway.
    small = len(digits) <= _MOST_DIGITS
    if digits.startswith(b"-"):
        return None if small and int(digits) >= bounds.low else f"must be at least {bounds.low}"
    return None if small and int(digits) <= bounds.high else f"must be at most {bounds.high}"
