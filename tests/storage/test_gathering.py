"""When commands for Redis leave: together, if they come one soon after the other, and never later than that."""

from __future__ import annotations

import asyncio

import pytest

from affix_server.storage.redis import connection as subject
from affix_server.storage.redis.connection import Connection

# More rounds of the loop than commands wait for others.
MANY_ROUNDS = 20
# More commands than wait for others.
MANY_COMMANDS = 40


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep a write (asyncio.WriteTransport)."""
        self.writes.append(bytes(data))

    def abort(self) -> None:
        """Do nothing (asyncio.WriteTransport)."""


def connected() -> tuple[Connection, Wire]:
    connection = Connection(1.0, on_fault=lambda: None, on_late=lambda: None, observe=lambda _seconds: None)
    wire = Wire()
    connection.connection_made(wire)
    return connection, wire


async def rounds(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_commands_of_neighbouring_rounds_leave_in_one_write() -> None:
    connection, wire = connected()
    sent = []
    for name in ("a", "b", "c"):
        sent.append(connection.send((("GET", name),)))
        await rounds(2)
    assert wire.writes == []
    await rounds(MANY_ROUNDS)
    (written,) = wire.writes
    assert written.count(b"GET") == len(sent)
    connection.data_received(b":1\r\n:2\r\n:3\r\n")
    assert await asyncio.gather(*sent) == [[1], [2], [3]]
    connection.close()


async def test_a_command_alone_leaves_without_another() -> None:
    connection, wire = connected()
    answer = connection.send((("PING",),))
    await rounds(MANY_ROUNDS)
    assert len(wire.writes) == 1
    connection.data_received(b"+PONG\r\n")
    assert await answer == [b"PONG"]
    connection.close()


async def test_commands_without_end_do_not_hold_back_the_first() -> None:
    connection, wire = connected()
    sent = []
    for _ in range(MANY_COMMANDS):
        sent.append(connection.send((("PING",),)))
        await rounds(1)
    assert wire.writes
    connection.close()
    await asyncio.gather(*sent, return_exceptions=True)


async def test_where_rounds_are_slow_a_command_waits_for_one_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "_LONGEST_SECONDS", 0.0)  # as long as any round takes
    connection, wire = connected()
    answer = connection.send((("PING",),))
    assert wire.writes == []
    await rounds(1)
    assert len(wire.writes) == 1
    connection.close()
    await asyncio.gather(answer, return_exceptions=True)
