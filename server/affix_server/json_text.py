"""JSON as text: what counts as JSON (RFC 8259), and how deep it goes, without building it."""

from __future__ import annotations

import msgspec

MAX_DEPTH = 128

_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_ALL_BUT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def fault(text: str) -> str | None:
    """Say, as a predicate, why a text cannot be stored as JSON; None if it can.

    Numbers are not converted, so none is too large. Escaped lone surrogates,
    NaN and more than 128 levels are refused (design/contract.md, "Attachments").
    """
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except RecursionError:
        return f"must be at most {MAX_DEPTH} levels deep"
    except msgspec.DecodeError as error:
        return f"must be valid JSON: {_reason(error)}"
    return None if _is_shallow(text) else f"must be at most {MAX_DEPTH} levels deep"


def is_object(text: str) -> bool:
    """Tell whether a valid JSON text is an object."""
    return text.lstrip(" \t\r\n").startswith("{")


def merge_objects(held: str, changes: str) -> str:
    """Merge one JSON object into another, member by member; what is not named keeps its text."""
    members = msgspec.json.decode(held, type=dict[str, msgspec.Raw])
    members |= msgspec.json.decode(changes, type=dict[str, msgspec.Raw])
    return msgspec.json.encode(members).decode()


def _reason(error: msgspec.DecodeError) -> str:
    reason = str(error)
    return "it ends too early" if "truncated" in reason else reason.removeprefix("JSON is malformed: ")


def _is_shallow(text: str) -> bool:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return True
    # Without strings, and with one kind of bracket, removing all empty pairs takes off one level.
    bare = text.replace("\\\\", "").replace('\\"', "")
    outside_strings = "".join(bare.split('"')[::2]).encode()
    brackets = outside_strings.translate(_ONE_KIND, _ALL_BUT_BRACKETS)
    for _ in range(MAX_DEPTH):
        if not brackets:
            return True
        brackets = brackets.replace(b"[]", b"")
    return not brackets
