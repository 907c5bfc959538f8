"""The method `rpc.discover`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from msgspec import Raw
from msgspec.json import encode

from affix_shim.errors import NOT_ALLOWED
from affix_shim.jsonrpc import JsonRpcError
from affix_shim.openrpc.document import document
from affix_shim.params import open_params
from affix_shim.tracing import Metadata
from affix_shim.violations import Violation, invalid_params

DISCOVER: Final = "rpc.discover"
_NOTHING: Final = re.compile(rb"\[[ \t\r\n]*\]")


class Discovery:
    """Answers with the document, which is built and printed once."""

    def __init__(self, version: str, *, knows: Callable[[Metadata], bool] | None = None) -> None:
        """Describe the service `version`; to those alone whom `knows` knows by their credentials, if it is there."""
        self._document = Raw(encode(document(version)))
        self._knows = knows

    def answer(self, text: Raw, metadata: Metadata, violations: list[Violation]) -> Raw:
        """Return the document; `violations` are those found already. Raises JsonRpcError."""
        # Tools for OpenRPC ask with an empty list: with no parameters, by position.
        params = None if _NOTHING.fullmatch(memoryview(text)) else open_params(text, violations)
        if params is not None:
            params.close()
        if violations:
            raise invalid_params(violations, {})
        if self._knows is not None and not self._knows(metadata):
            message = f"{DISCOVER} needs credentials that are valid: authorization: Bearer and a token"
            raise JsonRpcError(NOT_ALLOWED, message, {"reason": "UNAUTHENTICATED"})
        return self._document
