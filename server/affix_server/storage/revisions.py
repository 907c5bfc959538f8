"""The highest revision seen, so that every revision given is higher (design/storage.md, "Revisions")."""

from __future__ import annotations

# A statement that is merely slow must not run into its fence.
_SLACK_US = 1_000_000
# What a statement needs above the highest revision seen, for its own and for those of rows it has not seen.
_STEP_US = 10_000


class Revisions:
    """A hybrid clock's memory: what this process has seen of either store."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self._highest = 0
        self._fence = 0

    @property
    def highest(self) -> int:
        """The highest revision seen so far, in microseconds; 0 if none was."""
        return self._highest

    def observe(self, revision: int) -> None:
        """Take note of a revision."""
        self._highest = max(self._highest, revision)

    def fence(self, now_us: int, timeout_seconds: float) -> int:
        """Return the revision that a statement sent now must stay below, to have any effect.

        A statement that is given up may still be executed, by a server that was
        frozen or across a line that was slow. Whoever gives it up uses a revision from the
        fence on, so whatever the statement still does is older, and by then it does nothing more.
        """
        fence = max(now_us + int(timeout_seconds * 1_000_000) + _SLACK_US, self._highest + _STEP_US)
        self._fence = max(self._fence, fence)
        return fence

    def beyond_fences(self, now_us: int, timeout_seconds: float) -> int:
        """Return a revision that no statement sent until now can reach, here or in a process with like settings.

        It follows the clock at a distance: however often it is asked for, revisions do not run away.
        """
        return max(now_us + int(timeout_seconds * 1_000_000) + _SLACK_US, self._fence)
