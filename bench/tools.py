"""The load generators: wrk and h2load as the system has them, and our own for gRPC, compiled here."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILT = HERE.parent / "build" / "bench"
# The program, or a header of its package, and the Debian package it comes in.
_NEEDED = {"wrk": "wrk", "h2load": "nghttp2-client", "cc": "gcc"}
_HEADERS = {"nghttp2/nghttp2.h": "libnghttp2-dev"}
PACKAGES = (*_NEEDED.values(), *_HEADERS.values())


class MissingToolError(Exception):
    """A load generator is not installed; the message says how to get it."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Paths of the load generators."""

    wrk: str
    h2load: str
    grpc_load: Path
    lua: Path


def find() -> Tools:
    """Find the tools and compile ours if it is older than its source. Raises MissingToolError."""
    found = {name: shutil.which(name) for name in _NEEDED}
    missing = [package for name, package in _NEEDED.items() if found[name] is None]
    missing += [package for header, package in _HEADERS.items() if found["cc"] is None or not _has_header(header)]
    if missing:
        raise MissingToolError(f"the benchmark needs {' and '.join(missing)}: apt-get install {' '.join(missing)}")
    return Tools(str(found["wrk"]), str(found["h2load"]), _compiled(), HERE / "load" / "jsonrpc.lua")


def _has_header(header: str) -> bool:
    source = f"#include <stdio.h>\n#include <{header}>\n"
    done = subprocess.run(["cc", "-E", "-x", "c", "-"], input=source.encode(), capture_output=True, check=False)
    return done.returncode == 0


def _compiled() -> Path:
    source, program = HERE / "load" / "grpc_load.c", BUILT / "grpc_load"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        BUILT.mkdir(parents=True, exist_ok=True)
        command: list[str | Path] = ["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-o", program, source, "-lnghttp2"]
        subprocess.run(command, check=True)
    return program
