"""The limit on how much content one answer may have."""

from __future__ import annotations

from affix_server.errors import InvalidParamsError, Violation


def require_room(size: int, budget: int, field: str) -> None:
    """Raise InvalidParamsError, with the advice to lower `field`, if so many bytes do not fit in one answer."""
    if size > budget:
        raise InvalidParamsError(
            Violation(
                field,
                f"asks for {size} bytes of content, more than the {budget} that fit in one answer: lower `{field}`",
            )
        )
