"""When commands for Redis leave: together, if they come one soon after the other, and never later than that."""

from __future__ import annotations

import asyncio

import pytest

from affix_server.storage.redis import connection as subject
from affix_server.storage.redis.connection import Connection
from affix_server.storage.redis.patience import Patience

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


def patient_or_not(patience: Patience, *, patient: bool) -> None:
    """Show what makes patience worth its while: a loop that is at work, and writes of one command each."""
    patience.note(1)
    patience.judge(0.95 if patient else 0.1, 1.0)


def connected(*, patient: bool = False) -> tuple[Connection, Wire]:
    connection = Connection(1.0, on_fault=lambda: None, on_late=lambda: None, observe=lambda _seconds: None)
    patient_or_not(connection._patience, patient=patient)  # noqa: SLF001 - a test cannot have a loop at work for long
    wire = Wire()
    connection.connection_made(wire)
    return connection, wire


async def rounds(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_commands_of_neighbouring_rounds_leave_in_one_write_where_that_pays() -> None:
    connection, wire = connected(patient=True)
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


@pytest.mark.parametrize("patient", [False, True])
async def test_a_command_alone_leaves_without_another(patient: bool) -> None:  # noqa: FBT001 - a parameter of the test
    connection, wire = connected(patient=patient)
    answer = connection.send((("PING",),))
    await rounds(MANY_ROUNDS)
    assert len(wire.writes) == 1
    connection.data_received(b"+PONG\r\n")
    assert await answer == [b"PONG"]
    connection.close()


async def test_commands_without_end_do_not_hold_back_the_first() -> None:
    connection, wire = connected(patient=True)
    sent = []
    for _ in range(MANY_COMMANDS):
        sent.append(connection.send((("PING",),)))
        await rounds(1)
    assert wire.writes
    connection.close()
    await asyncio.gather(*sent, return_exceptions=True)


async def test_where_rounds_are_slow_a_command_waits_for_one_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "_LONGEST_SECONDS", 0.0)  # as long as any round takes
    connection, wire = connected(patient=True)
    answer = connection.send((("PING",),))
    assert wire.writes == []
    await rounds(1)
    assert len(wire.writes) == 1
    connection.close()
    await asyncio.gather(answer, return_exceptions=True)


async def test_commands_of_one_round_leave_at_once_where_waiting_does_not_pay() -> None:
    connection, wire = connected()
    sent = [connection.send((("GET", name),)) for name in ("a", "b", "c")]
    await rounds(1)
    (written,) = wire.writes
    assert written.count(b"GET") == len(sent)
    connection.close()
    await asyncio.gather(*sent, return_exceptions=True)


def test_patience_needs_a_loop_at_work_and_commands_that_come_alone() -> None:
    patience = Patience()
    for commands, at_work, patient in ((1, 0.9, True), (1, 0.5, False), (8, 0.9, False), (1, 0.9, True)):
        for _ in range(100):
            patience.note(commands)
        patience.judge(at_work, 1.0)
        assert (patience.rounds > 0) == patient


async def test_questions_wait_while_redis_has_enough_to_answer() -> None:
    connection, wire = connected()
    question = ("GET", "k" * 10_000)
    sent = [connection.send((question, question)) for _ in range(10)]
    await rounds(MANY_ROUNDS)
    asked = b"".join(wire.writes).count(b"GET")
    assert asked == 4  # the second goes while there is room; a pipeline is never parted
    for answered in range(10):
        connection.data_received(b"$-1\r\n")
        assert not sent[answered].done()
        connection.data_received(b"$-1\r\n")
        assert b"".join(wire.writes).count(b"GET") == min(20, asked + 2 * (answered + 1))
    assert await asyncio.gather(*sent) == [[None, None]] * 10
    connection.close()


async def test_a_question_larger_than_the_window_leaves() -> None:
    connection, wire = connected()
    sent = [connection.send((("GET", "k" * 1_000_000),)) for _ in range(2)]
    await rounds(MANY_ROUNDS)
    assert b"".join(wire.writes).count(b"GET") == 1
    connection.data_received(b"$-1\r\n")
    assert b"".join(wire.writes).count(b"GET") == 2
    connection.data_received(b"$-1\r\n")
    assert await asyncio.gather(*sent) == [[None]] * 2
    connection.close()


async def test_a_question_may_count_for_more_than_it_has() -> None:
    connection, wire = connected()
    sent = [connection.ask(("GET", "k"), weight=20_000) for _ in range(5)]
    await rounds(MANY_ROUNDS)
    assert b"".join(wire.writes).count(b"GET") == 2
    for answered in range(5):
        connection.data_received(b"$-1\r\n")
        assert b"".join(wire.writes).count(b"GET") == min(5, answered + 3)
    assert await asyncio.gather(*sent) == [None] * 5
    connection.close()
