"""Who a caller is: its instance id, else the address it calls from, which nobody can make up."""

from __future__ import annotations

from typing import Any

import pytest

from affix_server.interceptors.rate_limit import caller
from affix_server.local_channel import LocalContext
from tests.harness.wire import INVALID_PARAMS
from tests.limits.site import DELETE, LIMIT, NO_TASK, Site, grpc_call, http_call
from tests.limits.test_rate_limits import RATE_LIMITED, REFUSED


async def test_an_address_is_the_same_caller_over_either_wire(site: Site) -> None:
    (url, _), channel = site.urls, site.channels[0]
    for number in range(LIMIT):
        pretended = {"x-forwarded-for": f"127.0.1.{number}"}
        assert await grpc_call(channel, DELETE, metadata=pretended) != REFUSED
    assert await grpc_call(channel, DELETE, metadata={"x-forwarded-for": "127.0.1.9"}) == REFUSED
    assert await http_call(url, NO_TASK) == RATE_LIMITED
    assert await http_call(url, NO_TASK, headers={"X-Forwarded-For": "127.0.1.9"}) == RATE_LIMITED
    # All that comes through a shim elsewhere comes from the shim.
    assert await http_call(site.shim_url, NO_TASK, source="127.0.0.8") == RATE_LIMITED
    assert await http_call(url, NO_TASK, source="127.0.0.8") == INVALID_PARAMS


async def test_http_clients_in_process_are_told_apart(site: Site) -> None:
    sources = ["127.0.0.2", "127.0.0.3"] * (LIMIT + 1)
    codes = [await http_call(site.urls[0], NO_TASK, source=source) for source in sources]
    assert codes == [INVALID_PARAMS] * 2 * LIMIT + [RATE_LIMITED] * 2


@pytest.mark.parametrize(("instance", "source"), [("", "127.0.0.4"), ("i" * 129, "127.0.0.5")])
async def test_an_id_that_is_none_names_nobody(site: Site, instance: str, source: str) -> None:
    headers = {"x-instance-id": instance}
    for _ in range(LIMIT):
        assert await http_call(site.urls[0], NO_TASK, source=source, headers=headers) == INVALID_PARAMS
    assert await http_call(site.urls[0], NO_TASK, source=source) == RATE_LIMITED


class Remote(LocalContext):
    """A call over the network, from a peer as gRPC names it."""

    def __init__(self, peer: str, *metadata: tuple[str, Any]) -> None:
        super().__init__(metadata, None)
        self._peer = peer

    def peer(self) -> str:
        return self._peer


@pytest.mark.parametrize(
    ("context", "name"),
    [
        (Remote("ipv4:10.1.2.3:4711"), "address/10.1.2.3"),
        (Remote("ipv6:[2001:db8::1]:4711"), "address/2001:db8::1"),
        (Remote("ipv6:%5B2001:db8::1%5D:4711"), "address/2001:db8::1"),
        (Remote("unix:"), "address/unix:"),
        (Remote("ipv4:10.1.2.3:4711", ("x-forwarded-for", "10.9.9.9")), "address/10.1.2.3"),
        (Remote("ipv4:10.1.2.3:4711", ("x-instance-id", "a"), ("x-instance-id", "b")), "instance/a"),
        (LocalContext((("x-forwarded-for", "2001:db8::1"),), None), "address/2001:db8::1"),
        (LocalContext((), None), "address/inproc:"),
    ],
)
def test_the_name_of_a_caller(context: LocalContext, name: str) -> None:
    assert caller(context) == name
