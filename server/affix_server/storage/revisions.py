"""The highest revision seen, so that every revision given is higher (design/storage.md, "Revisions")."""

from __future__ import annotations


class Revisions:
    """A hybrid clock's memory: what this process has seen of either store."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self._highest = 0

    @property
    def highest(self) -> int:
        """The highest revision seen so far, in microseconds; 0 if none was."""
        return self._highest

    def observe(self, revision: int) -> None:
        """Take note of a revision."""
        self._highest = max(self._highest, revision)
