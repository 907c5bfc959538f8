"""The id of a request: what joins an answer, its log lines and its trace."""

from __future__ import annotations

import itertools
import re
import secrets
from contextvars import ContextVar

from structlog.contextvars import STRUCTLOG_KEY_PREFIX

from affix_server.calls import CallContext

REQUEST_ID = "x-request-id"
RULE = "must be 1 to 128 of A-Z a-z 0-9 . _ : / + = -"
_VALID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")

# Of the call under way. So named, structlog puts it into every line that the call logs.
current: ContextVar[str] = ContextVar(f"{STRUCTLOG_KEY_PREFIX}request_id")


def is_valid(request_id: str) -> bool:
    """Tell whether an id may be passed on, returned and logged as it is."""
    return _VALID.fullmatch(request_id) is not None


class RequestIds:
    """Makes ids that no other process makes. Not secret: one can be guessed from another."""

    def __init__(self) -> None:
        """Begin anew, with a name of this process' own."""
        self._name = secrets.token_hex(6)
        self._numbers = itertools.count(1)

    def new(self) -> str:
        """Make an id."""
        return f"{self._name}-{next(self._numbers):x}"


def given(context: CallContext) -> str | None:
    """Return the id that the caller gave, valid or not."""
    for name, value in context.invocation_metadata() or ():
        if name == REQUEST_ID:
            return value if isinstance(value, str) else ""
    return None
