"""Which heads of requests are plain: those that have one meaning for everybody."""

from __future__ import annotations

import pytest

from affix_cli.heads import Heads


@pytest.mark.parametrize(
    "line",
    [
        *(b"GET /rpc HTTP/1.1", b"POST /rpc HTTP/1.0", b"POST /rpc?a HTTP/1.1", b"POST  /rpc HTTP/1.1"),
        *(b"post /rpc HTTP/1.1", b"POST http://x/rpc HTTP/1.1", b"POST /rpc HTTP/1.1 ", b"POST /Rpc HTTP/1.1"),
    ],
)
def test_only_one_request_line_is_plain(line: bytes) -> None:
    assert Heads().read(line + b"\r\nHost: x\r\nContent-Length: 1") is None


@pytest.mark.parametrize(
    ("fields", "plain"),
    [
        (b"Host: x\r\nContent-Length: 1", True),
        (b"host: x\r\ncontent-length: 0\r\nConnection: Keep-Alive\r\nContent-Type: Application/JSON; a=b", True),
        (b"Host: x\r\nContent-Length: 1\r\nConnection: close", False),
        (b"Host: x\r\nContent-Length: 1\r\nConnection: upgrade\r\nUpgrade: websocket", False),
        (b"Host: x\r\nContent-Length: 1\r\nExpect: 100-continue", False),
        (b"Host: x\r\nContent-Length: 1\r\nContent-Encoding: gzip", False),
        (b"Host: x\r\nContent-Length: 1\r\nContent-Type: text/plain", False),
        (b"Host: x\r\nContent-Length: +1", False),
        (b"Host: x\r\nContent-Length: 1,1", False),
        (b"Host: x\r\nContent-Length: 0x1", False),
        (b"Host: x\r\nContent-Length: \xb2", False),
        (b"Host: x\r\nContent-Length: 1\r\nContent-length: 1", False),
        (b"Host: x", False),
        (b"Content-Length: 1", False),
        (b"Host: x\r\nContent-Length: 1\r\n", False),
        (b"Host: x\r\nContent-Length: 1\r\nX: " + b"a" * 4096, False),
    ],
)
def test_a_head_is_plain_if_it_has_one_meaning(fields: bytes, plain: bool) -> None:  # noqa: FBT001 - a parameter of the test
    heads = Heads()
    for _ in range(2):
        assert (heads.read(b"POST /rpc HTTP/1.1\r\n" + fields) is not None) == plain


async def test_heads_that_never_recur_are_not_kept_without_end() -> None:
    heads = Heads()
    for number in range(10_000):
        assert heads.read(b"POST /rpc HTTP/1.1\r\nHost: x\r\nX-Number: %d\r\nContent-Length: 1" % number) is not None
    assert len(heads._kept) <= 1024  # noqa: SLF001 - nothing else shows it
