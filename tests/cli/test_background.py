"""A service that a script has started in the background."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.cli.commands import assert_no_store_in
from tests.harness.processes import environment


def test_an_interrupt_stops_a_service_that_a_script_started_in_the_background(tmp_path: Path) -> None:
    """A shell without job control starts such a process with SIGINT ignored."""
    settings = {
        "AFFIX_DATA_DIR": str(tmp_path / "data"),
        "AFFIX_GRPC_LISTEN": "127.0.0.1:0",
        "AFFIX_HTTP_LISTEN": "127.0.0.1:0",
    }
    log = tmp_path / "log"
    with log.open("wb") as out:
        script = f"{Path(sys.executable).parent / 'affix'} up & echo $!; wait $!"
        shell = subprocess.Popen(["sh", "-c", script], stdout=out, stderr=out, env=environment(settings), cwd=tmp_path)
    try:
        until = time.monotonic() + 60
        while "is ready" not in log.read_text():
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        os.kill(int(log.read_text().splitlines()[0]), signal.SIGINT)
        assert shell.wait(timeout=30) == 0, log.read_text()
    finally:
        shell.kill()
        shell.wait()
    assert_no_store_in(tmp_path / "data")
