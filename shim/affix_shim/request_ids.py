"""The id of a request: what joins an answer, its log lines and its trace, here and in the service."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final

from structlog.contextvars import STRUCTLOG_KEY_PREFIX

REQUEST_ID: Final = "x-request-id"
RULE: Final = "must be 1 to 128 of A-Z a-z 0-9 . _ : / + = -"
_VALID: Final = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")

# Of the request under way. So named, structlog puts it into every line that is logged meanwhile.
current: Final[ContextVar[str]] = ContextVar(f"{STRUCTLOG_KEY_PREFIX}request_id")


class RequestIds:
    """Makes ids that no other process makes. Not secret: one can be guessed from another."""

    def __init__(self) -> None:
        """Begin anew, with a name of this process' own."""
        self._name = secrets.token_hex(6)
        self._numbers = itertools.count(1)

    def of(self, headers: Mapping[str, str]) -> str:
        """Return the id that is given, if it is one that may be passed on, returned and logged; else a new one."""
        given = headers.get(REQUEST_ID)
        return given if given is not None and is_valid(given) else f"{self._name}-{next(self._numbers):x}"


def is_valid(request_id: str) -> bool:
    """Tell whether an id may be used as it is."""
    return _VALID.fullmatch(request_id) is not None
