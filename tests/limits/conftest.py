"""The site, once for this folder, and its three wires in place of the suite's."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.conftest import JSONRPC_WIRES
from tests.harness.grpc_wire import GrpcWire
from tests.harness.jsonrpc_wire import JsonRpcWire
from tests.harness.openrpc import DescribedWire
from tests.harness.wire import Wire
from tests.limits.site import Site, open_site


@pytest.fixture(scope="package")
async def site() -> AsyncIterator[Site]:
    with tempfile.TemporaryDirectory(prefix="affix-") as path:
        async with open_site(Path(path)) as opened:
            yield opened


@pytest.fixture(scope="package")
def jsonrpc_wires(site: Site, http: aiohttp.ClientSession) -> dict[str, JsonRpcWire]:
    """Both lead to the first server."""
    urls = dict(zip(JSONRPC_WIRES, (site.urls[0], site.shim_url), strict=True))
    return {name: DescribedWire(name, url, http) for name, url in urls.items()}


@pytest.fixture(scope="package")
def wires(site: Site, jsonrpc_wires: dict[str, JsonRpcWire]) -> dict[str, Wire]:
    """All three lead to the first server."""
    return {"grpc": GrpcWire(site.channels[0]), **jsonrpc_wires}


@pytest.fixture
def instance() -> str:
    """A caller that has not called yet."""
    return f"i-{secrets.token_hex(8)}"
