"""Bad parameters, as the caller is told of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from affix_shim.jsonrpc import INVALID_PARAMS, JsonRpcError

_MAX_NAMED: Final = 100
_MAX_QUOTED: Final = 100


class Violation(NamedTuple):
    """One bad parameter: its JSON path (`requests[3].key`) and what is wrong, as a predicate."""

    field: str
    description: str


def invalid_params(violations: Sequence[Violation], context: Mapping[str, str]) -> JsonRpcError:
    """Make the one answer (-32602) that names all violations; `context` is `taskId` and `key` if known.

    At most 100 are spelled out, so that an answer is not many times the size of its request.
    """
    named = violations[:_MAX_NAMED]
    message = "; ".join(f"{field} {description}" for field, description in named)
    if len(violations) > len(named):
        message += f"; and {len(violations) - len(named)} more"
    data: dict[str, object] = dict(context)
    data["violations"] = [violation._asdict() for violation in named]
    data["reason"] = "INVALID_PARAMS"
    return JsonRpcError(INVALID_PARAMS, f"Invalid params: {message}", data)


def clip(text: str) -> str:
    """Shorten what a caller sent to what is worth quoting back."""
    return text if len(text) <= _MAX_QUOTED else text[:_MAX_QUOTED] + "…"
