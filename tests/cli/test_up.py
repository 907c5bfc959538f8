"""`affix up`: what a newcomer sees, and what is left when it ends."""

from __future__ import annotations

import json
import shlex
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from affix_cli.embedded import REDIS_ONLY
from tests.cli.commands import Up, affix, assert_no_store_in, plain_failure, running_up, stores_in


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    with tempfile.TemporaryDirectory(prefix="affix-") as folder:
        with running_up(Path(folder) / "data") as running:
            yield running
        assert_no_store_in(running.data_dir)


def pasted(line: str) -> str:
    done = subprocess.run(shlex.split(line), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_lines_to_paste_work(up: Up) -> None:
    assert json.loads(pasted(up.line("curl")))["result"]["text"] == "Say hello"
    assert json.loads(pasted(up.line("grpcurl")))["task"]["text"] == "Say hello"
    assert pasted(up.line("psql") + " -tAc 'SELECT 1'") == "1\n"
    address = shlex.split(up.line("redis-cli"))
    assert address[:2] == ["redis-cli", "-s"]
    with socket.socket(socket.AF_UNIX) as redis:
        redis.connect(address[2])


def test_a_second_one_says_who_is_first(up: Up) -> None:
    failure = plain_failure(affix("up", AFFIX_DATA_DIR=str(up.data_dir)))
    assert failure == (
        f"Affix is already running on {up.data_dir} (pid {up.process.pid}, gRPC {up.grpc}, HTTP {up.http})"
    )
    assert up.call("task.list")["hasMore"] is False


@pytest.mark.parametrize("variable", ["AFFIX_GRPC_LISTEN", "AFFIX_HTTP_LISTEN"])
def test_a_port_in_use_is_a_line(up: Up, data_dir: Path, variable: str) -> None:
    free = {"AFFIX_GRPC_LISTEN": "127.0.0.1:0", "AFFIX_HTTP_LISTEN": "127.0.0.1:0"}
    taken = up.grpc if variable == "AFFIX_GRPC_LISTEN" else up.http
    failure = plain_failure(affix("up", AFFIX_DATA_DIR=str(data_dir), **free | {variable: taken}))
    assert taken in failure
    assert "in use" in failure


def test_ipv6(up: Up, data_dir: Path) -> None:
    assert up.process.poll() is None
    with running_up(data_dir, AFFIX_GRPC_LISTEN="[::1]:0", AFFIX_HTTP_LISTEN="[::1]:0") as other:
        assert other.grpc.startswith("[::1]:")
        assert json.loads(pasted(other.line("curl")))["result"]["status"] == "pending"
        assert json.loads(pasted(other.line("grpcurl")))["task"]["text"] == "Say hello"


def test_ctrl_c_stops_what_it_started_and_nothing_else(up: Up, data_dir: Path) -> None:
    with running_up(data_dir) as other:
        task = other.call("task.create", text="keep me")["id"]
        other.interrupt()
        assert other.wait() == 0
        assert "Traceback" not in other.output
    assert stores_in(data_dir) == []
    assert up.call("task.list")["hasMore"] is False
    with running_up(data_dir) as again:
        assert again.call("task.get", id=task)["text"] == "keep me"


def test_stores_of_a_killed_one_are_taken_over(data_dir: Path) -> None:
    with running_up(data_dir) as killed:
        task = killed.call("task.create", text="keep me")["id"]
        killed.process.send_signal(signal.SIGKILL)
        killed.wait()
    orphans = stores_in(data_dir)
    assert orphans
    with running_up(data_dir) as up:
        assert not set(orphans) & set(stores_in(data_dir))
        assert up.call("task.get", id=task)["text"] == "keep me"


BODY = b'{"jsonrpc": "2.0", "id": 1, "method": "task.list"}'
HEAD = (
    f"POST /rpc HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n".encode()
)


def half_a_call(up: Up) -> socket.socket:
    host, _, port = up.http.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    connection.sendall(HEAD + BODY[:10])
    time.sleep(0.2)  # until it is surely in the handler
    return connection


def test_a_call_in_flight_is_answered(data_dir: Path) -> None:
    with running_up(data_dir) as up, half_a_call(up) as connection:
        up.interrupt()
        time.sleep(0.2)
        with pytest.raises(ConnectionRefusedError):
            half_a_call(up)
        connection.sendall(BODY[10:])
        assert b'"tasks"' in connection.recv(65536)
        assert up.wait() == 0


def test_a_second_ctrl_c_waits_for_nobody(data_dir: Path) -> None:
    with running_up(data_dir) as up, half_a_call(up):
        up.interrupt()
        time.sleep(0.2)
        assert up.process.poll() is None
        begun = time.monotonic()
        up.interrupt()
        assert up.wait() == 130
        assert time.monotonic() - begun < 4


def test_ctrl_c_while_it_starts(new_dir: Path) -> None:
    up = Up(new_dir, {})
    while not (new_dir / "valkey.log").exists():
        assert up.process.poll() is None
        time.sleep(0.01)
    up.interrupt()
    assert up.wait() == 0
    assert "Traceback" not in up.output


def test_without_postgres_redis_keeps_everything(tmp_path: Path) -> None:
    data, settings = tmp_path / "data", {"AFFIX_POSTGRES_DSN": "none"}
    with running_up(data, **settings) as first:
        assert "psql" not in first.output
        task = first.call("task.create", text="Kept by Redis alone")
        first.call("task.create_attachment", taskId=task["id"], key="note", type="text", content="kept")
    with running_up(data, **settings) as again:
        assert again.call("task.get_attachment", taskId=task["id"], key="note")["content"] == "kept"
    assert not (data / "postgres").exists()
    with running_up(data) as other:  # with a PostgreSQL, nothing of that is taken for a copy of its data
        assert other.call("task.list")["totalCount"] == 0
    assert_no_store_in(data)
    assert_no_store_in(data / REDIS_ONLY)
