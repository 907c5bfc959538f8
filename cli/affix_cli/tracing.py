"""Traces, if the environment asks for them in OpenTelemetry's own words; without, nothing of it is imported."""

# OpenTelemetry is an extra, and slow to import:
# ruff: noqa: PLC0415

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from affix_cli.failures import Failure

if TYPE_CHECKING:
    from affix_cli.otel import OtelSpans

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


@asynccontextmanager
async def configured(service: str) -> AsyncIterator[OtelSpans | None]:
    """Give what makes spans, and send off the last ones at the end; None if no traces are asked for.

    They are if OTEL_TRACES_EXPORTER is `otlp`, or not set and there is an endpoint for them. `service` is
    their service.name, unless OTEL_SERVICE_NAME says another. Raises Failure for what cannot be had.
    """
    if not _wanted():
        yield None
        return
    try:
        from affix_cli import otel
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("opentelemetry"):
            raise
        raise Failure("OTEL_… asks for traces, and they need the otel extra: pip install 'affix[otel]'") from error
    async with otel.exporting(service) as spans:
        yield spans


def _wanted() -> bool:
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporter not in {"", "none", "otlp"}:
        raise Failure(f"OTEL_TRACES_EXPORTER must be otlp or none, not {exporter!r}")
    return exporter == "otlp" or (not exporter and any(os.environ.get(name) for name in _ENDPOINTS))
