"""`affix config`, and what a bad setting says."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from affix_cli.settings import masked
from affix_server.config import Settings
from tests.cli.commands import affix

DSN = "postgresql://someone:sesame@db/affix"
URL = "redis://:sesame@cache:6379/0"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (DSN, "postgresql://someone:***@db/affix"),
        (URL, "redis://:***@cache:6379/0"),
        ("postgresql://someone:ses@me/x@db/affix", "postgresql://someone:***@db/affix"),
        (
            "postgresql://db/affix?user=someone&password=sesame&port=1",
            "postgresql://db/affix?user=someone&password=***&port=1",
        ),
        ("postgresql://db/affix?sslpassword=sesame", "postgresql://db/affix?sslpassword=***"),
        ("unix:///run/valkey.sock?db=0&PASSWORD=sesame", "unix:///run/valkey.sock?db=0&PASSWORD=***"),
        ("host=db password=sesame user=someone", "host=db password=*** user=someone"),
        ("host=db password = 'open \\' sesame&' user=someone", "host=db password = *** user=someone"),
        ("host=db password=open&sesame", "host=db password=***"),
        ("host=db password='open sesame", "host=db password=***"),
        ("postgresql://db:5432/affix?host=/run", "postgresql://db:5432/affix?host=/run"),
        ("none", "none"),
    ],
)
def test_passwords_are_masked_and_nothing_else(text: str, shown: str) -> None:
    assert masked(text) == shown


def test_config_prints_every_setting() -> None:
    done = affix("config", AFFIX_POSTGRES_DSN=DSN, AFFIX_REDIS_URL=URL, AFFIX_CACHE_TTL_SECONDS="61")
    assert done.returncode == 0
    assert "sesame" not in done.stdout + done.stderr
    head, *rows = [line.split() for line in done.stdout.splitlines()]
    assert head == ["name", "variable", "default", "value"]
    assert [row[:2] for row in rows] == [[name, f"AFFIX_{name.upper()}"] for name in Settings.model_fields]
    values = {row[0]: row[2:] for row in rows}
    assert values["grpc_listen"] == ["127.0.0.1:50051", "127.0.0.1:50051"]
    assert values["cache_ttl_seconds"] == ["3600", "61"]
    assert values["postgres_dsn"] == ["-", "postgresql://someone:***@db/affix"]


def test_config_as_json() -> None:
    done = affix("config", "--json", AFFIX_REDIS_URL=URL)
    rows = {row["variable"]: row for row in json.loads(done.stdout)}
    assert rows["AFFIX_MAX_CONTENT_BYTES"]["value"] == 16777216
    assert rows["AFFIX_POSTGRES_DSN"]["value"] is None
    assert rows["AFFIX_REDIS_URL"]["value"] == "redis://:***@cache:6379/0"


@pytest.mark.parametrize("command", ["config", "up"])
def test_each_bad_setting_is_a_line(command: str) -> None:
    done = affix(
        command,
        AFFIX_GRPC_LISTEN="50051",
        AFFIX_HTTP_LISTEN="localhost:65536",
        AFFIX_CACHE_TTL_SECONDS="59",
        AFFIX_OPERATION_TIMEOUT_SECONDS="soon",
        AFFIX_LOG_LEVEL="loud",
        AFFIX_POSTGRES_DSN=DSN,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "affix: AFFIX_GRPC_LISTEN must look like 127.0.0.1:8080 or [::1]:8080, not '50051'",
        "affix: AFFIX_HTTP_LISTEN is not acceptable: the port must be at most 65535, not 'localhost:65536'",
        "affix: AFFIX_CACHE_TTL_SECONDS must be at least 60, not '59'",
        "affix: AFFIX_OPERATION_TIMEOUT_SECONDS must be a number, not 'soon'",
        "affix: AFFIX_LOG_LEVEL must be 'debug', 'info', 'warning' or 'error', not 'loud'",
    ]


def test_the_log_is_json_on_stderr_from_its_level_on() -> None:
    set_up = "import structlog; from affix_cli import logs; log = structlog.get_logger(); logs.configure('warning')"
    code = f"{set_up}; log.info('unheard'); log.warning('heard', n=1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == ""
    line = json.loads(done.stderr)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "heard", "level": "warning", "n": 1}
