"""How mechanisms are taken out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from affix_server.storage.postgres import attachments
from affix_server.storage.redis.client import Script
from tests.resilience.world import Scenario

Change = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Mutation:
    """What is taken out, how, and who must notice."""

    name: str
    change: Change
    noticed_by: tuple[Scenario, ...]


def lua(script: Script, *changes: tuple[str, str]) -> Change:
    """Change the text of a script, before any server loads it."""

    @contextmanager
    def changed() -> Iterator[None]:
        source, sha = script.source, script.sha
        script.source = edited(source, changes)
        script.sha = hashlib.sha1(script.source.encode()).hexdigest()  # noqa: S324 - Redis names scripts so
        try:
            yield
        finally:
            script.source, script.sha = source, sha

    return changed


def sql(statement: str, *changes: tuple[str, str]) -> Change:
    """Change the text of a statement of the attachments table."""
    return lambda: patch.object(attachments, statement, edited(getattr(attachments, statement), changes))


def replaced(target: object, name: str, by: object) -> Change:
    """Put something else in the place of a method or a constant."""
    return lambda: patch.object(target, name, by)


def together(*changes: Change) -> Change:
    """Make several changes."""

    @contextmanager
    def changed() -> Iterator[None]:
        with ExitStack() as stack:
            for change in changes:
                stack.enter_context(change())
            yield

    return changed


def edited(text: str, changes: tuple[tuple[str, str], ...]) -> str:
    """Return a text with changes, each of which must find what it replaces."""
    for old, new in changes:
        if old not in text:
            raise LookupError(f"there is no {old!r} to take out any more")
        text = text.replace(old, new)
    return text
