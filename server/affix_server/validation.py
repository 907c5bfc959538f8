"""The rules of the contract for what callers send (design/contract.md, "Attachments" and "Tasks")."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from urllib.parse import urlsplit

from google.protobuf.timestamp_pb2 import Timestamp

from affix_server import json_text
from affix_server.domain import BinaryContent, Content, JsonContent, MarkdownContent, TextContent, UrlContent
from affix_server.errors import InvalidParamsError, Violation
from affix_server.times import format_ms

MAX_TASK_ID = 128
MAX_KEY = 100
MAX_URL = 8192
MAX_MIME_TYPE = 1024
MAX_BATCH = 100
MAX_LIST = 100
MAX_TASK_LIST = 1000
MAX_TASK_TEXT = 500
MAX_NAME = 128
MAX_PRIORITY = 100
MAX_TTL_SECONDS = 315_360_000
_MOST_NANOS = 999_999_999
_YEAR_10000 = 253_402_300_800
MAX_WRITERS = 100
# An id that is made for a task has room behind it.
MAX_TASK_PREFIX = 100

_TASK_ID = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
_TASK_ID_BYTES = string.ascii_letters.encode() + string.digits.encode() + b"._-"
_KEY = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,100}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# RFC 3986 section 3.1 and 2; other letters than ASCII as RFC 3987 has them.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_NOT_IN_URI = re.compile(r"[\x00-\x20\x7f-\xa0<>\"\\^`{|}\u2028\u2029]")
_REFUSED_SCHEMES = frozenset({"javascript", "data", "vbscript"})
# RFC 6838 section 4.2 for the names, RFC 2045 section 5.1 for the parameters.
_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_ATOM = r"[!#$%&'*+.0-9A-Z^_`a-z{|}~-]+"
_QUOTED = r'"(?:[^"\\\x00-\x1f\x7f-\U0010ffff]|\\[\x20-\x7e])*"'
_MIME_TYPE = re.compile(rf"{_NAME}/{_NAME}(?:[ \t]*;[ \t]*{_ATOM}=(?:{_ATOM}|{_QUOTED}))*")


def is_plain(task_id: str, key: str) -> bool:
    """Tell of one name what `are_plain` tells of many."""
    return bool(key) and len(key) <= MAX_KEY and key.isprintable() and _TASK_ID.fullmatch(task_id) is not None


def are_plain(task_ids: Sequence[str], keys: Sequence[str]) -> bool:
    """Tell that Checks has nothing against any of these, which most need not be asked one by one.

    False says nothing: Checks knows whether, and what, is wrong.
    """
    joined = "".join(task_ids)
    return (
        all(task_ids)
        and all(keys)
        and max(map(len, task_ids), default=0) <= MAX_TASK_ID
        and max(map(len, keys), default=0) <= MAX_KEY
        and joined.isascii()
        and not joined.encode().translate(None, _TASK_ID_BYTES)
        and "".join(keys).isprintable()  # control characters are not
    )


class Checks:
    """Collects what is wrong with one request, so that a caller hears all of it at once."""

    def __init__(self) -> None:
        """Begin with nothing wrong."""
        self._violations: list[Violation] = []

    def fail(self, field: str, description: str) -> None:
        """Note one fault, as a predicate of the field."""
        self._violations.append(Violation(field, description))

    def done(self) -> None:
        """Raise InvalidParamsError if anything was wrong."""
        if self._violations:
            raise InvalidParamsError(*self._violations)

    def task_id(self, value: str, field: str = "task_id") -> None:
        """Require 1-128 of `A-Z a-z 0-9 . _ -`."""
        if _TASK_ID.fullmatch(value):
            return
        if not value:
            self.fail(field, "is required")
        elif len(value) > MAX_TASK_ID:
            self.fail(field, f"must be 1 to {MAX_TASK_ID} characters, not {len(value)}")
        else:
            self.fail(field, "must consist of A-Z a-z 0-9 . _ - only")

    def task_prefix(self, value: str, field: str) -> None:
        """Require what a task's id may begin with, at most 100 characters."""
        if len(value) > MAX_TASK_PREFIX:
            self.fail(field, f"must be at most {MAX_TASK_PREFIX} characters, not {len(value)}")
        else:
            self.task_id(value, field)

    def key(self, value: str, field: str = "key") -> None:
        """Require 1-100 Unicode code points, any but control characters."""
        if _KEY.fullmatch(value):
            return
        if not value:
            self.fail(field, "is required")
        elif len(value) > MAX_KEY:
            self.fail(field, f"must be 1 to {MAX_KEY} characters, not {len(value)}")
        else:
            self.fail(field, "must not contain control characters")

    def prefix(self, value: str, field: str) -> None:
        """Require what a key may begin with, or nothing."""
        if value:
            self.key(value, field)

    def content(self, content: Content, max_bytes: int, path: str = "") -> None:
        """Check what is attached, by its type; `path` is what the fields' names begin with."""
        match content:
            case JsonContent(value):
                self.json(value, f"{path}json.value", max_bytes)
            case MarkdownContent(text):
                self.text(text, f"{path}markdown.content", max_bytes)
            case TextContent(text):
                self.text(text, f"{path}text.content", max_bytes)
            case UrlContent(url):
                self.url(url, f"{path}url.url")
            case BinaryContent(mime_type, size):
                self.mime_type(mime_type, f"{path}binary.mime_type")
                if size is not None and size < 1:
                    self.fail(f"{path}binary.size", f"must be 1 or more, not {size}")

    def json(self, value: str, field: str, max_bytes: int) -> None:
        """Require any JSON value as its text, at most `max_bytes` of UTF-8 and 128 levels."""
        if not value:
            self.fail(field, "is required: a JSON value as text")
        elif self._fits(value, field, max_bytes) and (fault := json_text.fault(value)):
            self.fail(field, fault)

    def json_object(self, value: str, field: str, max_bytes: int) -> None:
        """Check that a text is a JSON object."""
        before = len(self._violations)
        self.json(value, field, max_bytes)
        if len(self._violations) == before and not json_text.is_object(value):
            self.fail(field, "must be a JSON object")

    def text(self, value: str, field: str, max_bytes: int) -> None:
        """Require any text without U+0000, which Postgres cannot hold."""
        if self._fits(value, field, max_bytes) and "\0" in value:
            self.fail(field, "must not contain U+0000")

    def url(self, url: str, field: str) -> None:
        """Require an absolute URI (RFC 3986) of at most 8,192 characters, and none that runs as a script."""
        if not url:
            self.fail(field, "is required")
        elif len(url) > MAX_URL:
            self.fail(field, f"must be at most {MAX_URL} characters, not {len(url)}")
        elif not (parts := _SCHEME.fullmatch(url)) or not parts[2]:
            self.fail(field, "must be an absolute URI with a scheme, such as https://example.com/")
        elif parts[1].lower() in _REFUSED_SCHEMES:
            self.fail(field, f"must not have the scheme {parts[1].lower()}:")
        elif _NOT_IN_URI.search(url):
            self.fail(field, 'must be a URI: spaces, control characters and <>"\\^`{|} have to be percent-encoded')
        elif parts[1].lower() in {"http", "https"} and not _has_host(url):
            self.fail(field, "must name a host")

    def mime_type(self, mime_type: str, field: str) -> None:
        """Require `type/subtype` (RFC 6838), with parameters (RFC 2045) allowed."""
        if not mime_type:
            self.fail(field, "is required")
        elif len(mime_type) > MAX_MIME_TYPE:
            self.fail(field, f"must be at most {MAX_MIME_TYPE} characters, not {len(mime_type)}")
        elif not _MIME_TYPE.fullmatch(mime_type):
            self.fail(field, "must be type/subtype, such as application/pdf or text/plain; charset=utf-8")

    def number(self, value: int, field: str, least: int, most: int | None) -> None:
        """Require an integer within bounds, both included."""
        if value < least or (most is not None and value > most):
            bounds = f"{least} or more" if most is None else f"{least} to {most}"
            self.fail(field, f"must be {bounds}, not {value}")

    def task_text(self, text: str, field: str = "text") -> None:
        """Require 1-500 Unicode code points without U+0000."""
        if not 1 <= len(text) <= MAX_TASK_TEXT:
            self.fail(field, f"must be 1 to {MAX_TASK_TEXT} characters, not {len(text)}" if text else "is required")
        elif "\0" in text:
            self.fail(field, "must not contain U+0000")

    def name(self, name: str, field: str) -> None:
        """Require a worker's or an instance's name: 1-128 code points without control characters."""
        if not 1 <= len(name) <= MAX_NAME:
            self.fail(field, f"must be 1 to {MAX_NAME} characters, not {len(name)}")
        elif _CONTROL.search(name):
            self.fail(field, "must not contain control characters")

    def moment(self, time: Timestamp, field: str, *, later_than_ms: int) -> None:
        """Require a time after another one, in ms, and before the year 10000."""
        if not 0 <= time.nanos <= _MOST_NANOS:
            self.fail(field, f"must have nanos from 0 to {_MOST_NANOS}, not {time.nanos}")
        elif time.seconds >= _YEAR_10000:
            self.fail(field, "must be before the year 10000")
        elif time.seconds * 1000 + time.nanos // 1_000_000 <= later_than_ms:
            self.fail(field, f"must be later than now, {format_ms(later_than_ms)}")

    def writers(self, writers: Sequence[str], field: str) -> None:
        """Check who may change a task: at most 100 names, none of them twice."""
        if len(writers) > MAX_WRITERS:
            self.fail(field, f"must have at most {MAX_WRITERS} items, not {len(writers)}")
            return
        for place, name in enumerate(writers):
            self.name(name, f"{field}[{place}]")
            if name in writers[:place]:
                self.fail(f"{field}[{place}]", "must not be named twice")

    def count(self, count: int, field: str, most: int) -> None:
        """Check the number of items of a batch."""
        if not 1 <= count <= most:
            self.fail(field, f"must have 1 to {most} items, not {count}")

    def _fits(self, value: str, field: str, max_bytes: int) -> bool:
        # Four bytes a character at most, one at least: most texts need no encoding to be measured.
        if len(value) * 4 <= max_bytes or (size := len(value.encode())) <= max_bytes:
            return True
        self.fail(field, f"must be at most {max_bytes} bytes, not {size}")
        return False


def _has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:
        return False
