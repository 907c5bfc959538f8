"""What a run did, or would do: counted as it goes, and said at its end."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field

from affix_cli.metadata.moving import Outcome
from affix_cli.metadata.planning import Skip
from affix_server.domain import AttachmentType

_CONTROL = re.compile(r"[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_LONGEST_KEY = 120
_TYPES = (AttachmentType.JSON, AttachmentType.MARKDOWN, AttachmentType.TEXT, AttachmentType.URL)


@dataclass(slots=True)
class Report:
    """The figures of a run. `applied`: it changed something; else it only foresaw. `complete`: it came to its end."""

    applied: bool
    complete: bool = False
    tasks: int = 0
    with_data: int = 0
    cleared: int = 0
    already: int = 0
    entries: Counter[AttachmentType] = field(default_factory=Counter)
    skipped: list[tuple[str, Skip]] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count what became of a task that had `data`."""
        self.with_data += 1
        self.cleared += not outcome.skips
        self.already += sum(one.already for one in outcome.moved)
        self.entries.update(one.type for one in outcome.moved)
        self.skipped.extend((outcome.task_id, skip) for skip in outcome.skips)

    def as_json(self) -> str:
        """Print for programs."""
        return json.dumps(
            {
                "applied": self.applied,
                "complete": self.complete,
                "tasks": {"read": self.tasks, "withData": self.with_data, "cleared": self.cleared},
                "entries": {
                    "moved": self.entries.total(),
                    "byType": {type_.value: self.entries[type_] for type_ in _TYPES},
                    "alreadyThere": self.already,
                },
                "skipped": [
                    {"taskId": task_id, "key": skip.key, "reason": skip.reason} for task_id, skip in self.skipped
                ],
            },
            indent=2,
        )

    def as_text(self) -> str:
        """Print for people: what was skipped, a line each, and the figures last."""
        lines = [
            f"skipped: task {task_id}{'' if skip.key is None else f', key {_shown(skip.key)}'}: {skip.reason}"
            for task_id, skip in self.skipped
        ]
        return "\n".join([*lines, *self._figures()])

    def _figures(self) -> list[str]:
        moved = "moved" if self.applied else "would be moved"
        removed = "gone" if self.applied else "would be gone"
        by_type = ", ".join(f"{self.entries[type_]} {type_}" for type_ in _TYPES)
        already = f"; {self.already} of them had been attachments with the same content" if self.already else ""
        lines = [
            f"{_count(self.tasks, 'task', 'tasks')} read, {self.with_data} with metadata.data",
            f"{_count(self.entries.total(), 'entry', 'entries')} {moved}: {by_type}{already}",
            f"metadata.data {removed} from {_count(self.cleared, 'task', 'tasks')}",
        ]
        if self.skipped:
            lines.append(f"{len(self.skipped)} skipped, and left where they are")
        if not self.complete:
            lines.append("not finished: run it again to go on")
        elif not self.applied:
            lines.append("nothing has been changed: --apply does it")
        return lines


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def _shown(key: str) -> str:
    """Quote a key so that it is one line, and harmless to a terminal."""
    quoted = json.dumps(key if len(key) <= _LONGEST_KEY else f"{key[:_LONGEST_KEY]}…", ensure_ascii=False)
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)
