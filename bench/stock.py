"""What is stored before anything is measured, and whether answers tell of it rightly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench import traffic
from bench.client import Client, WrongAnswerError, all_of, contents
from bench.generators import Sizes
from bench.traffic import Ref, Request

SMALL, MEDIUM, LARGE = 300, 10_000, 1_000_000
# Enough of each that no answer is the one before; 10,000 of the size that most values have.
COUNTS = {SMALL: 10_000, MEDIUM: 1_000, LARGE: 20}
PER_TASK = 50
BIG_TASK, BIG = "bench-big", 100_000
WRITTEN_TASKS = [f"bench-new-{number:03}" for number in range(100)]
_SLACK_BYTES = 24  # times and revisions differ in length
# Of an attachment in an answer with many: two times that may or may not have milliseconds; of all, less than one more.
_SLACK_EACH, _SLACK_MOST = 8, 400
_LOOKED_AT = 100


@dataclass(frozen=True, slots=True)
class Stock:
    """The names of what is stored, by size."""

    refs: dict[int, list[Ref]]

    @property
    def tasks(self) -> list[str]:
        """The tasks that hold exactly PER_TASK small attachments."""
        return sorted({task for task, _ in self.refs[SMALL]})


def planned() -> Stock:
    """Name everything."""
    return Stock({size: [_ref(size, number) for number in range(count)] for size, count in COUNTS.items()})


def big_refs() -> list[Ref]:
    """Name what is in the one large task."""
    return [(BIG_TASK, f"k{number:06}") for number in range(BIG)]


def text_of(ref: Ref, size: int) -> str:
    """Return what is stored under a name."""
    return traffic.value(size, "/".join(ref))


async def fill(client: Client, address: str, stock: Stock) -> None:
    """Store everything in Affix, by batches over gRPC."""
    for size, refs in stock.refs.items():
        await all_of(_task(client, "grpc", address, task) for task in sorted({task for task, _ in refs}))
        await store(client, address, refs, size)
    await all_of(_task(client, "grpc", address, task) for task in WRITTEN_TASKS)


async def fill_big(client: Client, address: str) -> None:
    """Store the one large task in Affix."""
    await _task(client, "grpc", address, BIG_TASK)
    await store(client, address, big_refs(), SMALL)


async def store(client: Client, address: str, refs: Sequence[Ref], size: int) -> None:
    """Store values of one size under names whose tasks exist."""
    together = max(1, min(100, 1_000_000 // size))
    parts = (refs[at : at + together] for at in range(0, len(refs), together))
    requests = (traffic.batch_create(part, [text_of(ref, size) for ref in part]) for part in parts)
    await all_of(client.send("grpc", address, request) for request in requests)


async def fill_plain(client: Client, address: str, stock: Stock) -> None:
    """Store everything in the baseline `plain`, one by one: it has no batches of writes."""
    tasks = {task for refs in stock.refs.values() for task, _ in refs}
    await all_of(_task(client, "http", address, task) for task in sorted({*tasks, *WRITTEN_TASKS}))
    for size, refs in stock.refs.items():
        await all_of(client.send("http", address, traffic.create(ref, text_of(ref, size))) for ref in refs)


async def verified(
    client: Client, wire: str, address: str, requests: Sequence[Request], size: int, count: int | None = None
) -> Sizes:
    """Look at answers to some of the requests and say how long right ones are. Raises WrongAnswerError.

    `count` is how many attachments an answer has; None if the request names them.
    """
    lengths, slack = [], _SLACK_BYTES
    for request in requests[:_LOOKED_AT]:
        answer = await client.send(wire, address, request)
        told = contents(wire, request, answer)
        wanted = count if count is not None else len(_named(request))
        if len(told) != wanted or any(text != text_of(ref, size) for ref, text in told.items()):
            raise WrongAnswerError(f"{wire} {address} {request.rpc}: {answer[:500]!r}")
        if count is None and list(told) != _named(request):
            raise WrongAnswerError(f"{wire} {address} {request.rpc}: other attachments than those asked for")
        lengths.append(len(answer) + (0 if wire == "http" else 5))
        slack = max(slack, min(_SLACK_EACH * wanted, _SLACK_MOST))
    return Sizes(min(lengths) - slack, max(lengths) + slack)


def _named(request: Request) -> list[Ref]:
    each = request.params.get("requests", [request.params])
    return [(one["taskId"], one["key"]) for one in each]  # type: ignore[attr-defined]  # both are made by traffic


def _ref(size: int, number: int) -> Ref:
    return f"bench-{size}-{number // PER_TASK:03}", f"k{number:06}"


async def _task(client: Client, wire: str, address: str, task_id: str) -> None:
    await client.send(wire, address, traffic.task(task_id))
