"""Where the log goes and how it looks."""

from __future__ import annotations

import logging
import sys

import structlog

from affix_cli import tracebacks


def configure(level: str, format_: str = "auto") -> None:
    """Log to stderr from this level on: `json`, an object a line; `console`, text; `auto`, text for a terminal only.

    What is logged while a call is answered has its `request_id`, and `trace_id` if it is traced.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _merge_trace,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[structlog.typing.Processor] = (
        [tracebacks.format_exc_info, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if format_ == "console" or (format_ == "auto" and sys.stderr.isatty())
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


def _merge_trace(
    _logger: structlog.typing.WrappedLogger, _level: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    trace = sys.modules.get("opentelemetry.trace")  # there only if the process traces
    if trace is not None and (context := trace.get_current_span().get_span_context()).is_valid:
        line["trace_id"] = f"{context.trace_id:032x}"
    return line
