"""A release that is still running goes on working when the database has been migrated for the next one.

What it asks was recorded with it (recording.py), so that no old checkout is needed to ask it again.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from affix_server.storage.postgres.migrate import migrate, migrations
from tests.running.recording import LEFT, decode

RELEASES = sorted((Path(__file__).parent / "releases").glob("*.json"))


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.stem)
async def test_what_it_asks_has_the_same_effect_after_all_migrations(release: Path, dsn: str) -> None:
    recorded = _recorded(release)
    assert len(recorded["calls"]) > 30
    await migrate(dsn)
    connection = await asyncpg.connect(dsn)
    try:
        await _ask_again(connection, recorded)
        assert [row[0] for row in await connection.fetch(LEFT)] == recorded["left"]
    finally:
        await connection.close()


def _recorded(release: Path) -> dict[str, Any]:
    recorded: dict[str, Any] = json.loads(release.read_text())
    return recorded


async def _ask_again(connection: asyncpg.Connection, recorded: dict[str, Any]) -> None:
    later_us = time.time_ns() // 1000 - recorded["recorded_us"]
    for sql, args in recorded["calls"]:
        if args:
            await connection.fetch(sql, *decode(args, later_us))
        else:
            await connection.execute(sql)


def test_the_migrations_of_a_release_are_never_changed() -> None:
    """None is taken out, renamed or put in between: they only grow at the end."""
    for release in RELEASES:
        names = _recorded(release)["migrations"]
        assert list(migrations())[: len(names)] == names
