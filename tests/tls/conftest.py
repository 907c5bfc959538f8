"""A CA for the folder, and what a server with TLS is started with."""

from __future__ import annotations

from pathlib import Path

import pytest

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from tests.harness.service import Service
from tests.tls.authority import Authority, Pair


@pytest.fixture(scope="package")
def authority(folder: Path) -> Authority:
    return Authority(folder)


@pytest.fixture(scope="package")
def stranger(folder: Path) -> Authority:
    """A CA that nobody trusts."""
    return Authority(folder)


@pytest.fixture
def stores(server: Service, postgres_store: EmbeddedPostgres, valkey_store: EmbeddedValkey) -> dict[str, str]:
    """The settings that name the suite's stores, migrated."""
    assert server.command.running
    return {"AFFIX_POSTGRES_DSN": postgres_store.dsn, "AFFIX_REDIS_URL": valkey_store.url}


@pytest.fixture
def pair(authority: Authority) -> Pair:
    """The certificate of a server of this test alone."""
    return authority.issue()


@pytest.fixture
def tls(stores: dict[str, str], pair: Pair) -> dict[str, str]:
    return {**stores, "AFFIX_TLS_CERTIFICATE": str(pair.certificate), "AFFIX_TLS_KEY": str(pair.key)}
