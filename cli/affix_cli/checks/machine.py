"""The machine: ports, folders, disk, files that settings name."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from affix_cli.checks.findings import Finding, ok, problem, warning
from affix_cli.workers.ports import bound_alone
from affix_server.config import Settings

_LEAST_BYTES, _FEW_BYTES = 256 * 1024 * 1024, 2 * 1024 * 1024 * 1024
_NOT_FILES = ("data_dir",)
# Of settings that name files: whose contents nobody else may read.
_PRIVATE = ("key", "token", "secret", "password")
_HEAD_BYTES = 64


def look_at_ports(settings: Settings) -> list[Finding]:
    """Look whether both ports can be listened on."""
    return [
        _port("port.grpc", settings.grpc_listen, "AFFIX_GRPC_LISTEN"),
        _port("port.http", settings.http_listen, "AFFIX_HTTP_LISTEN"),
    ]


def _port(check: str, listen: str, variable: str) -> Finding:
    try:
        bound_alone(listen)
    except OSError as error:
        what = f"{listen} cannot be listened on: {(error.strerror or str(error)).lower()}"
        return problem(check, what, f"end what listens there (Affix itself, perhaps), or change {variable}")
    return ok(check, f"{listen} is free")


def look_at_data_dir(settings: Settings) -> list[Finding]:
    """Look at the folder of `affix up` and the room on its disk."""
    folder = settings.data_dir.absolute()
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        what = f"{folder} cannot be written" if there == folder else f"{folder} cannot be made in {there}"
        return [problem("data_dir", what, "make it writable for this user, or change AFFIX_DATA_DIR")]
    return [ok("data_dir", f"{folder} can be written"), _room("disk", there)]


def _room(check: str, folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    what = f"{free >> 20} MiB are free where {folder} is"
    if free < _LEAST_BYTES:
        return problem(check, what, "make room: a full disk stops PostgreSQL")
    if free < _FEW_BYTES:
        return warning(check, what, "make room before it runs out")
    return ok(check, what)


def look_at_files(settings: Settings) -> list[Finding]:
    """Look at every file that a setting names: there, readable, and private where it should be."""
    found = []
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Path) and name not in _NOT_FILES:
            found.append(look_at_file(name, value, private=any(word in name for word in _PRIVATE)))
    return found


def look_at_file(name: str, path: Path, *, private: bool) -> Finding:
    """Look at the file that the setting `name` names, which only this user may read if it is private."""
    check, variable = f"file.{name}", f"AFFIX_{name.upper()}"
    try:
        with path.open("rb") as opened:
            head = opened.read(_HEAD_BYTES)
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
    except OSError as error:
        what = f"{path} cannot be read: {(error.strerror or str(error)).lower()}"
        return problem(check, what, f"put the file there, readable for this user, or change {variable}")
    if not head:
        return problem(check, f"{path} is empty", f"see what should have written it, or change {variable}")
    public = b"PUBLIC KEY" in head or b"CERTIFICATE" in head
    if private and not public and mode & (stat.S_IRWXG | stat.S_IRWXO) & ~stat.S_IRGRP:
        return warning(check, f"{path} is open to other users (mode {mode:o})", f"chmod 600 {path}")
    return ok(check, f"{path} can be read")
