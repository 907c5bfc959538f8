"""What can go wrong, in the terms of the contract (design/contract.md, "Errors").

Raised anywhere in the server; `status.py` alone knows how each looks on the
wire. No message here ever holds a driver's text, SQL, an address or a class name.
"""

from __future__ import annotations

from dataclasses import dataclass


class AffixError(Exception):
    """Base of every error a caller may see."""


class StartError(Exception):
    """The service cannot start; the message is one plain line for its operator."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One bad parameter: its protobuf path (`requests[3].key`) and what is wrong, as a predicate.

    `Violation("key", "must be 1 to 100 characters, not 101")`.
    """

    field: str
    description: str


class InvalidParamsError(AffixError):
    """Parameters outside the contract; nothing was done."""

    def __init__(self, *violations: Violation) -> None:
        """Carry at least one violation."""
        super().__init__(violations)
        self.violations = violations


class TaskNotFoundError(AffixError):
    """No such task."""

    def __init__(self, task_id: str) -> None:
        """Name the task."""
        super().__init__(task_id)
        self.task_id = task_id


class AttachmentNotFoundError(AffixError):
    """The task exists and has no attachment under this key."""

    def __init__(self, task_id: str, key: str) -> None:
        """Name the attachment."""
        super().__init__(task_id, key)
        self.task_id = task_id
        self.key = key


class ConflictError(AffixError):
    """A precondition of the write does not hold; nothing was written."""

    def __init__(self, what: str, current_revision: int) -> None:
        """Say what conflicts, as a sentence, and the revision that is there."""
        super().__init__(what, current_revision)
        self.what = what
        self.current_revision = current_revision


class StorageUnavailableError(AffixError):
    """A store failed, or did not answer in time; a write may or may not have happened."""

    def __init__(self, cause: str) -> None:
        """Give the cause as a plain phrase, such as `Database connection timeout`."""
        super().__init__(cause)
        self.cause = cause


class DeadlineExceededError(StorageUnavailableError):
    """The operation's deadline passed; a write may or may not have happened."""

    def __init__(self, cause: str = "Operation timed out") -> None:
        """Give the cause as a plain phrase."""
        super().__init__(cause)


class CircuitOpenError(AffixError):
    """A store has failed so often that it is left alone for a while."""

    def __init__(self, retry_after_ms: int) -> None:
        """Say when asking again makes sense."""
        super().__init__(retry_after_ms)
        self.retry_after_ms = retry_after_ms


class ResumeTokenExpiredError(AffixError):
    """Events since a resume token may be missing: it is too old, or the stream of events was lost."""


class SlowWatcherError(AffixError):
    """A watcher has not taken its events as fast as they came; it can resume from its last token."""


class ShuttingDownError(AffixError):
    """The server is stopping; a watcher can resume elsewhere from its last token."""


class UnauthenticatedError(AffixError):
    """The caller has not shown who it is; the message says what to do about it, and nothing of what was shown."""

    def __init__(self, what: str) -> None:
        """Say it as a sentence."""
        super().__init__(what)
        self.what = what


class PermissionDeniedError(AffixError):
    """The caller may not do this; nothing was done."""

    def __init__(self, what: str) -> None:
        """Say what is missing, as a sentence."""
        super().__init__(what)
        self.what = what


class RateLimitedError(AffixError):
    """The caller has used up its allowance of this method."""

    def __init__(self, retry_after_ms: int) -> None:
        """Say when asking again makes sense."""
        super().__init__(retry_after_ms)
        self.retry_after_ms = retry_after_ms


class LimitExceededError(AffixError):
    """The server already does as much at the same time as it may; nothing was done."""

    def __init__(self, what: str, limit: int, actual: int) -> None:
        """Say what there would be too many of (`calls at the same time`), how many may be and how many would be."""
        super().__init__(what, limit, actual)
        self.what = what
        self.limit = limit
        self.actual = actual
