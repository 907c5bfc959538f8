"""The suite's stores, for servers of this folder's own."""

from __future__ import annotations

import pytest

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from tests.harness.service import Service


@pytest.fixture(scope="session")
def stores(postgres_store: EmbeddedPostgres, valkey_store: EmbeddedValkey, server: Service) -> dict[str, str]:
    """The settings that name them; the database is migrated."""
    assert server.command.running
    return {"AFFIX_POSTGRES_DSN": postgres_store.dsn, "AFFIX_REDIS_URL": valkey_store.url}
