"""What a run did and found, as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.faults.history import NEVER, Operation, Outcome

_COLUMNS = ("ok", "not found", "present", "refused", "unknown", "late", "pending", "degraded", "slowest ms")


@dataclass(slots=True)
class Report:
    """Faults struck, operations run, violations found."""

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    operations: dict[str, Counter[str]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def count(self, operations: Iterable[Operation]) -> None:
        """Add operations, with creates of a key that was there told apart."""
        known: set[str] = set()
        for operation in sorted(operations, key=lambda each: each.returned):
            row = self.operations.setdefault(_kind(operation, known), Counter())
            row[operation.outcome.value] += 1
            row["late"] += operation.late
            row["pending"] += operation.pending
            row["degraded"] += operation.degraded
            if operation.returned < NEVER:
                row["slowest ms"] = max(row["slowest ms"], round((operation.returned - operation.called) * 1000))
            if operation.outcome in {Outcome.UNKNOWN, Outcome.REFUSED}:
                self.errors[operation.error or "the run ended"] += 1

    def __str__(self) -> str:
        """Print the tables, then the violations in full."""
        faults = [("fault", "times"), *((name, str(times)) for name, times in sorted(self.faults.items()))]
        rows = [(kind, *(str(row[column]) for column in _COLUMNS)) for kind, row in sorted(self.operations.items())]
        total = sum(row[outcome.value] for row in self.operations.values() for outcome in Outcome)
        errors = [
            ("no answer, or an error", "times"),
            *((text, str(times)) for text, times in self.errors.most_common()),
        ]
        parts = [
            _table(faults),
            _table([("operation", *_COLUMNS), *rows]),
            _table(errors),
            self._sum(total),
            *self.violations,
        ]
        return "\n\n".join(parts)

    def _sum(self, total: int) -> str:
        faults = sum(self.faults.values())
        return f"seed {self.seed}: {faults} faults, {total} operations, {len(self.violations)} violations"


def _kind(operation: Operation, known: set[str]) -> str:
    if operation.kind != "create" or operation.identity is None:
        return operation.kind
    if operation.identity.id in known:
        return "overwrite"
    known.add(operation.identity.id)
    return "create"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )


def impossible_answers(operations: Iterable[Operation]) -> list[str]:
    """List the answers that no call of ours may get: every parameter is right."""
    allowed = ("-32500 ", "-32001 ", "-32000 ")
    wrong = [
        operation
        for operation in operations
        if operation.outcome not in {Outcome.NOT_FOUND, Outcome.PRESENT}
        and operation.error.startswith("-")
        and not operation.error.startswith(allowed)
    ]
    times = Counter((operation.error, operation.kind) for operation in wrong)
    return [f"{error} in answer to {kind}, {count} times" for (error, kind), count in times.items()]
