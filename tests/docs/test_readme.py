"""README.md beyond its commands: the two of make, the excerpt, the table of methods."""

from __future__ import annotations

import os
import subprocess
import textwrap
from typing import Any

import pytest

from affix.v1 import attachments_pb2, tasks_pb2
from affix_shim.methods import METHODS, SUBSCRIBE, Stubs
from tests.docs.pages import ROOT, blocks, examples, read, table

SERVICES = [
    *attachments_pb2.DESCRIPTOR.services_by_name.values(),
    *tasks_pb2.DESCRIPTOR.services_by_name.values(),
]


def test_a_command_that_shows_no_output_is_of_make() -> None:
    silent = [example.command for example in examples("README.md") if example.output is None]
    assert silent == ["make run", "make test"]


@pytest.mark.parametrize(
    ("target", "commands"), [("run", ["affix up"]), ("test", ["ruff", "mypy", "buf lint", "pytest"])]
)
def test_make_does_what_is_said(target: str, commands: list[str]) -> None:
    # What make would run; the commands themselves are run by tests/cli and by this very suite.
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    dry = ["make", "--no-print-directory", "--dry-run", target]
    done = subprocess.run(dry, cwd=ROOT, env=outside, capture_output=True, text=True, timeout=30, check=True)
    assert [command for command in commands if command not in done.stdout] == []


def test_the_excerpt_is_of_the_client() -> None:
    (excerpt,) = (block.text for block in blocks("README.md") if block.language == "python")
    assert textwrap.indent(excerpt, " " * 8) in read("docs/client.py")


class _Paths:
    """Stands for a channel: what the stubs call on it is the path they would call."""

    def unary_unary(self, path: str, **_: Any) -> str:
        return path

    unary_stream = unary_unary


def test_the_table_of_methods_is_the_shims_and_names_every_rpc() -> None:
    stubs: Any = Stubs(_Paths())  # type: ignore[arg-type]  # as much of a channel as stubs need
    served = {name: str(method.rpc(stubs)) for name, method in METHODS.items()}
    documented = {
        name: "/affix.v1." + rpc.replace(".", "/")
        for name, rpc, _ in table("README.md", "JSON-RPC", "gRPC", "what it does")
    }
    # No row of the shim's table: it is answered more than once.
    served[SUBSCRIBE] = str(stubs.attachments.WatchAttachments)
    assert documented == served
    assert sorted(documented.values()) == sorted(
        f"/{service.full_name}/{method.name}" for service in SERVICES for method in service.methods
    )
