"""What tracing looks like to the server; what makes spans is handed in, and only where traces are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Protocol


class Spans(Protocol):
    """Makes spans. Those made inside a span are its children; none holds anything that was sent or answered."""

    def serve(
        self, service: str, method: str, metadata: Iterable[tuple[str, str | bytes]], *, stream: bool
    ) -> AbstractContextManager[Callable[[str], None]]:
        """Make the span of a call, below the one that its metadata name; call what it gives with a status but OK.

        That of a stream has no children: it is passed from task to task.
        """
        ...

    def ask(self, store: str, operation: str) -> AbstractContextManager[None]:
        """Make the span of a question to a store; none if it is not asked for a call."""
        ...
