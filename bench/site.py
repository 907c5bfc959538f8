"""Everything that takes part in a run, started on loopback: stores, Affix, the baselines."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from affix_server.storage.postgres.migrate import migrate
from bench.processes import AFFIX, output_of, running

_BASELINE_READY = re.compile(r"^listening on (?P<http>\S+)$", re.MULTILINE)
_SERVE_READY = re.compile(r"^  gRPC +(?P<grpc>\S+)\n  JSON-RPC +http://(?P<http>\S+)/rpc$", re.MULTILINE)
_SHIM_READY = re.compile(r"^  JSON-RPC +http://(?P<http>\S+)/rpc$", re.MULTILINE)
_LISTEN = {"AFFIX_GRPC_LISTEN": "127.0.0.1:0", "AFFIX_HTTP_LISTEN": "127.0.0.1:0"}


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a process listens, host:port; empty where it does not."""

    http: str
    grpc: str = ""


@dataclass(slots=True)
class Site:
    """The running stores, and whatever is started beside them."""

    folder: Path
    dsn: str
    redis_url: str
    stack: AsyncExitStack
    pids: dict[str, int] = field(default_factory=dict)

    async def start_affix(self, name: str = "affix", *arguments: str, **settings: str) -> Addresses:
        """Start `affix serve` on the stores."""
        stores = {"AFFIX_POSTGRES_DSN": self.dsn, "AFFIX_REDIS_URL": self.redis_url, "AFFIX_INSTANCE_ID": "bench"}
        found = await self._start(name, (AFFIX, "serve", *arguments), _SERVE_READY, {**stores, **_LISTEN, **settings})
        return Addresses(found["http"], found["grpc"])

    async def start_shim(self, target: str) -> Addresses:
        """Start `affix shim` in front of a gRPC address."""
        found = await self._start("shim", (AFFIX, "shim", "--target", target), _SHIM_READY, _LISTEN)
        return Addresses(found["http"])

    async def start_baseline(self, name: str, *arguments: str | Path) -> Addresses:
        """Start one of bench/baselines."""
        module = f"bench.baselines.{name.replace('-', '_')}"
        found = await self._start(name, (sys.executable, "-m", module, *arguments), _BASELINE_READY, {})
        return Addresses(found["http"], found["http"])

    def beside(self, stack: AsyncExitStack) -> Site:
        """Return the same stores, with whatever is started next on a stack of its own."""
        return replace(self, stack=stack)

    async def has_workers(self) -> bool:
        """Tell whether `affix serve` can be several processes."""
        return "--workers" in await output_of(AFFIX, "serve", "--help")

    async def _start(
        self, name: str, command: tuple[str | Path, ...], ready: re.Pattern[str], settings: Mapping[str, str]
    ) -> re.Match[str]:
        process = running(name, *command, ready=ready, log=self.folder / f"{name}.log", settings=settings)
        self.pids[name], found = await self.stack.enter_async_context(process)
        return found


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Site]:
    """Run stores in a folder, as `affix up` runs them; whatever is started beside them stops before them."""
    valkey, postgres = EmbeddedValkey(folder), EmbeddedPostgres(folder)
    async with AsyncExitStack() as stack:
        for store in (valkey, postgres):
            await store.start()
            stack.push_async_callback(store.stop)
        await migrate(postgres.dsn)
        beside = await stack.enter_async_context(AsyncExitStack())
        yield Site(folder, postgres.dsn, valkey.url, beside, {"valkey": valkey.pid, "postgres": postgres.pid})
