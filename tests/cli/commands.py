"""The `affix` command as its users run it: a process, what it prints, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from affix_cli.embedded.orphans import running_in
from tests.harness.processes import AFFIX, environment

SECONDS = 30.0
NOBODY = "127.0.0.1:1"  # a port that nothing listens on


def affix(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [AFFIX, *arguments],
        env=environment(settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def plain_failure(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line of a command that could not do its work; exit code 2, no traceback."""
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if "pass through (o+x)" not in line]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("affix: ")
    return lines[0].removeprefix("affix: ")


def stores_in(data_dir: Path) -> list[int]:
    """List the ids of the processes of both stores of a data folder."""
    real = data_dir.resolve()
    found = [*running_in(real / "postgres", "postgres"), *running_in(real / "valkey", "valkey-server")]
    return [process.pid for process in found]


def assert_no_store_in(data_dir: Path) -> None:
    """Fail when a store still runs in a data folder of the tests', but leave none behind."""
    left = stores_in(data_dir)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []


class Running:
    """A command that serves until it is stopped."""

    def __init__(self, *arguments: str, out: Path, settings: Mapping[str, str]) -> None:
        self._out = out
        with out.open("wb") as writing:
            self.process = subprocess.Popen(
                [AFFIX, *arguments],
                env=environment(settings),
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        return self._out.read_text()

    @property
    def grpc(self) -> str:
        return self._word_after("gRPC")

    @property
    def url(self) -> str:
        return self._word_after("JSON-RPC")

    @property
    def http(self) -> str:
        return self.url.removeprefix("http://").removesuffix("/rpc")

    def until_ready(self) -> None:
        end = time.monotonic() + SECONDS
        while "Ctrl-C stops it" not in self.output:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < end, self.output
            time.sleep(0.02)

    def interrupt(self) -> None:
        """What Ctrl-C sends."""
        self.process.send_signal(signal.SIGINT)

    def wait(self) -> int:
        return self.process.wait(SECONDS)

    def line(self, start: str) -> str:
        """Return the line to paste that begins with this command."""
        found = [line.strip() for line in self.output.splitlines() if Path(line.strip().split(" ")[0]).name == start]
        assert len(found) == 1, self.output
        return found[0]

    def call(self, method: str, **params: Any) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(self.url, body, {"content-type": "application/json"})  # noqa: S310 - ours
        with urllib.request.urlopen(request, timeout=SECONDS) as response:  # noqa: S310 - as above
            return json.load(response)["result"]

    def _word_after(self, word: str) -> str:
        return next(line.split()[1] for line in self.output.splitlines() if line.split()[:1] == [word])


class Up(Running):
    """An `affix up` on ports of its own."""

    def __init__(self, data_dir: Path, settings: Mapping[str, str]) -> None:
        self.data_dir = data_dir
        ports = {"AFFIX_GRPC_LISTEN": "127.0.0.1:0", "AFFIX_HTTP_LISTEN": "127.0.0.1:0"}
        out = data_dir.parent / f"{data_dir.name}.out"
        super().__init__("up", out=out, settings={"AFFIX_DATA_DIR": str(data_dir), **ports, **settings})


T = TypeVar("T", bound=Running)


@contextmanager
def until_ready(command: T) -> Iterator[T]:
    """Wait until a command serves; at the end it is interrupted if it still runs."""
    try:
        command.until_ready()
        yield command
    finally:
        if command.process.poll() is None:
            command.interrupt()
        command.wait()


def running_up(data_dir: Path, **settings: str) -> AbstractContextManager[Up]:
    return until_ready(Up(data_dir, settings))
