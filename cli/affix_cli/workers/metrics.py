"""The metrics of all workers, whichever of them is asked: each sample carries the number of its worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from affix_cli.metrics import Telling

LABEL = "worker"
# A worker that does not answer in this time is left out of an answer.
_SECONDS = 1.0


def together(folder: Path, number: int, count: int) -> Telling:
    """Tell of all of `count` workers, of which this one has a number; they share a folder."""

    @asynccontextmanager
    async def telling(registry: CollectorRegistry) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
        async with _told(folder / str(number), registry):
            yield partial(_of_all, folder, count)

    return telling


@asynccontextmanager
async def _told(socket: Path, registry: CollectorRegistry) -> AsyncIterator[None]:
    """Tell whoever asks of this worker's metrics, on a socket."""

    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(generate_latest(registry))
            await writer.drain()
        except ConnectionError:
            pass  # whoever asked has gone
        finally:
            writer.close()

    async with await asyncio.start_unix_server(tell, socket):
        yield


async def _of_all(folder: Path, count: int) -> bytes:
    """Ask so many workers, and render what they say as one text."""
    names = [str(number) for number in range(count)]
    texts = await asyncio.gather(*(_ask(folder / name) for name in names))
    return generate_latest(_Merged({name: text for name, text in zip(names, texts, strict=True) if text is not None}))


async def _ask(socket: Path) -> str | None:
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                return (await reader.read()).decode()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None  # it is starting, or it died and its place is not yet taken


class _Merged(CollectorRegistry):
    """As much of a registry as rendering needs."""

    def __init__(self, told: Mapping[str, str]) -> None:
        super().__init__()
        self._families: dict[str, Metric] = {}
        for worker, answer in told.items():
            for family in text_string_to_metric_families(answer):
                merged = self._families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    merged.samples.append(sample._replace(labels={**sample.labels, LABEL: worker}))

    def collect(self) -> Iterator[Metric]:
        """Give each family once, with the samples of all workers."""
        yield from self._families.values()
