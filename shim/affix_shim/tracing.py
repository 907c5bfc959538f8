"""What tracing looks like to the shim; what makes spans is handed in, and only where traces are wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

Metadata = Sequence[tuple[str, str]]


class Spans(Protocol):
    """Makes spans. Those made inside a span are its children; none holds anything that was sent or answered."""

    def http(
        self, method: str, route: str, headers: Mapping[str, str]
    ) -> AbstractContextManager[Callable[[int], None]]:
        """Make the span of an HTTP request, below the one that its headers name; call what it gives with the status."""
        ...

    def call(self, method: str) -> AbstractContextManager[Metadata]:
        """Make the span of a call to the service; gives what to send along, so that the service's is below it."""
        ...

    def sent_along(self) -> Metadata:
        """Return what to send along for the service's span to be below the current one."""
        ...
