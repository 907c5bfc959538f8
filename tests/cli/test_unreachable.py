"""Stores and servers that are not there."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from tests.cli.commands import NOBODY, Running, affix, plain_failure, until_ready
from tests.harness.service import migrate


async def test_a_store_that_cannot_be_reached_is_a_line(new_dir: Path) -> None:
    nowhere = {
        "AFFIX_POSTGRES_DSN": f"postgresql://affix:sesame@{NOBODY}/affix",
        "AFFIX_REDIS_URL": f"redis://{NOBODY}",
    }
    assert "sesame" not in plain_failure(affix("serve", **nowhere))
    assert "sesame" not in plain_failure(affix("migrate", **nowhere))
    postgres, valkey = EmbeddedPostgres(new_dir), EmbeddedValkey(new_dir)
    try:
        await postgres.start()
        await valkey.start()
        stores = {"AFFIX_POSTGRES_DSN": postgres.dsn, "AFFIX_REDIS_URL": valkey.url}
        assert "`affix migrate`" in plain_failure(affix("serve", **stores))
        await migrate(stores, new_dir / "migrate.log")
        assert affix("migrate", **stores).stdout == "the database is up to date\n"
        without_redis = plain_failure(affix("serve", **stores | {"AFFIX_REDIS_URL": f"redis://{NOBODY}"}))
        assert "AFFIX_REDIS_URL" in without_redis or "Redis" in without_redis
    finally:
        await postgres.stop()
        await valkey.stop()


def test_the_shim_lives_without_its_server(tmp_path: Path) -> None:
    shim = Running("shim", "--target", NOBODY, "--listen", "127.0.0.1:0", out=tmp_path / "out", settings={})
    with until_ready(shim):
        with urllib.request.urlopen(f"http://{shim.http}/healthz", timeout=10) as healthy:
            assert healthy.status == 200
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"http://{shim.http}/readyz", timeout=10)
        with urllib.request.urlopen(f"http://{shim.http}/metrics", timeout=10) as metrics:
            assert b"process_resident_memory_bytes" in metrics.read()
        assert plain_failure(affix("shim", "--target", NOBODY, "--listen", shim.http)) == (
            f"cannot serve HTTP on {shim.http} (AFFIX_HTTP_LISTEN): address already in use"
        )
        shim.interrupt()
        assert shim.wait() == 0
