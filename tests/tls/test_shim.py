"""`affix shim` before a server with TLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.service import serving, shimming
from tests.harness.wire import CallError
from tests.tls.authority import Authority
from tests.tls.clients import over_http


async def test_a_shim_shows_its_certificate_and_verifies_the_target(
    folder: Path, tls: dict[str, str], authority: Authority, stranger: Authority
) -> None:
    clients = Authority(folder)
    own, at_target = authority.issue(), clients.issue("shim.example")
    serves = {"AFFIX_TLS_CERTIFICATE": str(own.certificate), "AFFIX_TLS_KEY": str(own.key)}
    shows = {"AFFIX_TARGET_CERTIFICATE": str(at_target.certificate), "AFFIX_TARGET_KEY": str(at_target.key)}
    trusts = {"AFFIX_TARGET_CA": str(authority.certificate)}
    ways = {
        "all": serves | shows | trusts,
        "no certificate": serves | trusts,
        "another CA": serves | shows | {"AFFIX_TARGET_CA": str(stranger.certificate)},
        "no TLS": serves,
    }
    async with serving({**tls, "AFFIX_TLS_CLIENT_CA": str(clients.certificate)}, folder / "target.log") as service:
        for name, settings in ways.items():
            async with shimming(service.grpc_address, folder / "tls-shim.log", settings) as url:
                assert url.startswith("https://")
                async with over_http(url, authority) as wire:
                    if name == "all":
                        assert (await wire.call("task.create", {"text": "through"}))["text"] == "through"
                        continue
                    with pytest.raises(CallError) as refused:
                        await wire.call("task.create", {"text": "not through"})
                    assert (refused.value.code, refused.value.reason) == (-32500, "Service unreachable"), name
