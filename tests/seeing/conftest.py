"""Servers of one's own on the session's stores, for settings of one's own."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from tests.harness.service import Service

Settings = dict[str, str]


@pytest.fixture
def stores(postgres_store: EmbeddedPostgres, valkey_store: EmbeddedValkey, server: Service) -> Settings:
    """The settings that name the stores, which are migrated."""
    assert server.command.running
    return {"AFFIX_POSTGRES_DSN": postgres_store.dsn, "AFFIX_REDIS_URL": valkey_store.url}


@pytest.fixture(scope="module")
def apart() -> Iterator[Path]:
    """A folder for stores of one's own, short enough for their sockets."""
    with tempfile.TemporaryDirectory(prefix="affix-") as path:
        yield Path(path)


def lines(text: str) -> list[dict[str, Any]]:
    """The lines of a log in JSON, among whatever else was printed."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
