"""`affix serve` that kills itself at a named point of a write, and gives what others left ten times less time.

`python -m tests.resilience.crashing_server POINT`: it dies there (SIGKILL) as soon as a key begins with `crash`. `none`
is no such point. Writes cut short are finished after one second instead of ten.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

from affix_cli.main import app
from affix_server.domain import Attachment, Ref
from affix_server.storage import reconciler
from affix_server.storage.postgres import attachments
from affix_server.storage.redis.cache import Cache
from affix_server.storage.redis.intents import Intents
from affix_server.storage.redis.publishing import Publication

_begin, _write, _publish = Intents.begin, attachments.write_attachments, Cache.publish


def _patch(target: object, name: str, by: object) -> None:
    patch.object(target, name, by).start()  # for good


def _die_for(key: str) -> None:
    if key.startswith("crash"):
        os.kill(os.getpid(), signal.SIGKILL)


def _after_the_intent() -> None:
    async def begin(self: Intents, refs: Sequence[Ref]) -> Any:
        begun = await _begin(self, refs)
        _die_for(refs[0].key)
        return begun

    _patch(Intents, "begin", begin)


def _before_the_commit() -> None:
    async def write(connection: Any, writes: Any, *rest: Any) -> Any:
        async with connection.transaction():
            rows = await _write(connection, writes, *rest)
            _die_for(writes[0].ref.key)
        return rows

    _patch(attachments, "write_attachments", write)


def _after_the_commit() -> None:
    async def write(connection: Any, writes: Any, *rest: Any) -> Any:
        rows = await _write(connection, writes, *rest)
        _die_for(writes[0].ref.key)
        return rows

    _patch(attachments, "write_attachments", write)


def _after_the_publication() -> None:
    async def publish(self: Cache, publications: Sequence[Publication]) -> Any:
        late = await _publish(self, publications)
        entry = publications[0].entry
        _die_for(entry.key if isinstance(entry, Attachment) else entry.ref.key)
        return late

    _patch(Cache, "publish", publish)


POINTS: dict[str, Callable[[], None]] = {
    "after-the-intent": _after_the_intent,
    "before-the-commit": _before_the_commit,
    "after-the-commit": _after_the_commit,
    "after-the-publication": _after_the_publication,
}

if __name__ == "__main__":
    reconciler.STALE_MS = 1_000
    POINTS.get(sys.argv.pop(1), lambda: None)()
    app(["serve"])
