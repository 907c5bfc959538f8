"""Where the log goes and how it looks."""

from __future__ import annotations

import logging
import sys

import structlog

from affix_cli import tracebacks


def configure(level: str) -> None:
    """Log to stderr from this level on: a JSON object a line, or for a terminal text in colours."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[structlog.typing.Processor] = (
        [tracebacks.format_exc_info, structlog.dev.ConsoleRenderer()]
        if sys.stderr.isatty()
        else [tracebacks.format_exc_info, structlog.processors.JSONRenderer()]
    )
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    # What libraries log goes the same way, as warnings and errors only: their chatter is not ours to keep.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
        )
    )
    handler.addFilter(tracebacks.NoGarbage())
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)
