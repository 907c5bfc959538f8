"""Times as they print in answers, and as they are read."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Python reads more than this, and less of a fraction than this allows.
RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_TO_THE_SECOND: Final = len("2025-01-19T11:00:00")


def print_time(time: Timestamp) -> str:
    """Print as protobuf's JSON does, to the millisecond: `2025-01-19T11:00:00Z`, `…00.250Z`.

    (design/contract.md, "Attachments".) Raises OverflowError outside the years 1 to 9999.
    """
    milliseconds = time.nanos // 1_000_000
    return f"{_second(time.seconds)}.{milliseconds:03}Z" if milliseconds else f"{_second(time.seconds)}Z"


def parse_time(text: str) -> Timestamp:
    """Read a time with a zone (RFC 3339); what is finer than a microsecond is cut off. Raises ValueError."""
    if not RFC3339.fullmatch(text):
        raise ValueError("not a time")
    time = Timestamp()
    time.FromDatetime(datetime.fromisoformat(text.upper()))
    return time


# Half of what an answer costs is its two times, and what is read often has the same ones each time.
@lru_cache(maxsize=16_384)
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:_TO_THE_SECOND]
