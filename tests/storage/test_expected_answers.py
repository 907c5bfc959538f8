"""Answers that are as expected are taken as such however they arrive, and any other is told as it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import hiredis
import pytest

from affix_server.storage.redis.connection import Connection, ConnectionLostError

QUESTION = b"*1\r\n$4\r\nPING\r\n"


def bulk(text: bytes) -> bytes:
    """Return how Redis says a string."""
    return b"$%d\r\n%b\r\n" % (len(text), text)


@asynccontextmanager
async def answering(folder: Path, pieces: Sequence[bytes]) -> AsyncIterator[Connection]:
    """Connect to what sends these, each by itself, once something has been asked."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"PING\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            # Longer than it takes to arrive and be read, or pieces may arrive as one: then less is tried, not wrong.
            await asyncio.sleep(0.001)
        writer.close()

    path = folder / "redis.sock"
    async with await asyncio.start_unix_server(answer, path):
        _, connection = await asyncio.get_running_loop().create_unix_connection(
            lambda: Connection(5.0, on_fault=_ignored, on_late=_ignored, observe=_ignored), str(path)
        )
        yield connection
        connection.close()


def _ignored(*_: object) -> None:
    """Take no notice."""


def split(data: bytes, random: Random) -> list[bytes]:
    """Cut bytes into pieces anywhere."""
    places = sorted(random.sample(range(1, len(data)), 4))
    return [data[begin:end] for begin, end in zip([0, *places], [*places, len(data)], strict=True)]


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_the_pieces_each_question_has_its_answer(folder: Path, seed: int) -> None:
    random = Random(seed)  # noqa: S311 - replayed
    one, three = bulk(b"1"), bulk(b"1") * 3
    told = [one, three, bulk(b"2"), one, bulk(b"1") + b"$-1\r\n" + bulk(b"1"), three, b"-ERR no\r\n", one, three]
    pieces = [b"".join(told)] if seed == 0 else split(b"".join(told), random)
    async with answering(folder, pieces) as connection:
        asked = [
            connection.ask_whether(QUESTION, one),
            connection.ask_whether(QUESTION * 3, three, 3),
            connection.ask_whether(QUESTION, one),
            connection.ask(("PING",)),
            connection.ask_whether(QUESTION * 3, three, 3),
            connection.send([("PING",)] * 3),
            connection.ask_whether(QUESTION, one),
            connection.ask_whether(QUESTION, one),
            connection.ask_whether(QUESTION * 3, three, 3),
        ]
        answers = [await answer for answer in asked]
    assert [answers[place] for place in (2, 3, 4, 5)] == [[b"2"], b"1", [b"1", None, b"1"], [b"1"] * 3]
    assert isinstance(answers[6][0], hiredis.ReplyError)
    # What arrives in pieces is parsed, and is what was expected all the same.
    assert [answers[place] for place in (0, 1, 7, 8)] == [None] * 4


async def test_what_has_come_in_part_is_not_taken_for_the_whole(folder: Path) -> None:
    three = bulk(b"1") * 3
    async with answering(folder, [bulk(b"1"), three, bulk(b"1") * 2]) as connection:
        first, second = connection.ask_whether(QUESTION * 3, three, 3), connection.ask_whether(QUESTION * 3, three, 3)
        assert [await first, await second] == [None, None]


async def test_what_breaks_off_fails(folder: Path) -> None:
    async with answering(folder, [bulk(b"1")]) as connection:
        with pytest.raises(ConnectionLostError):
            await connection.ask_whether(QUESTION * 3, bulk(b"1") * 3, 3)
