"""Tracebacks for the log: what was raised and where, never what it said.

The text of an exception and the variables of a frame may hold what callers store, or a password of ours.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any

_logger = logging.getLogger("asyncio")


def safe(fault: BaseException) -> str:
    """Print the frames and types of an exception and of what led to it, without their texts."""
    return "\n".join(_lines(fault, set()))


def _lines(fault: BaseException, seen: set[int]) -> list[str]:
    if id(fault) in seen:
        return []
    seen.add(id(fault))
    lines = []
    led = fault.__cause__ or (None if fault.__suppress_context__ else fault.__context__)
    if led is not None:
        lines += [*_lines(led, seen), "which led to"]
    # Neither the line of source, which may hold what is secret in a script given with -c, nor variables.
    for frame in traceback.extract_tb(fault.__traceback__):
        lines.append(f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}')
    lines.append(f"{type(fault).__module__}.{type(fault).__qualname__}")
    if isinstance(fault, BaseExceptionGroup):
        for one in fault.exceptions:
            lines += ["of which one is", *_lines(one, seen)]
    return lines


def report(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what a loop has to say, as its exception handler: asyncio itself prints the task, and with it the text."""
    fault = context.get("exception")
    _logger.error(context.get("message", "unhandled exception in the event loop"), exc_info=fault)


def format_exc_info(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace `exc_info` by `exception`, as a processor of structlog."""
    fault = event.pop("exc_info", None)
    if fault is True:
        fault = sys.exc_info()
    if isinstance(fault, tuple):
        fault = fault[1]
    if isinstance(fault, BaseException):
        event["exception"] = safe(fault)
    return event


class Formatter(logging.Formatter):
    """A line of `logging`, with such tracebacks."""

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """Print an exception (logging.Formatter)."""
        return "" if ei[1] is None else safe(ei[1])


class NoGarbage(logging.Filter):
    """Drops what aiohttp says about requests that are no HTTP, or that their client has given up.

    It quotes them, and anybody can send any number.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is kept."""
        fault = record.exc_info[1] if record.exc_info else None
        if fault is None or not record.name.startswith("aiohttp."):
            return True
        names = {kind.__name__ for kind in type(fault).__mro__}
        return names.isdisjoint({"HttpProcessingError", "ConnectionError"})


def configure_logging(level: int) -> None:
    """Log to stderr, a line each, without structlog, which the shim alone does not have."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.addFilter(NoGarbage())
    logging.basicConfig(handlers=[handler], level=level, force=True)
