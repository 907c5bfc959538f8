"""Who may import whom, and how long a file may be (design/layout.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("protos", "server", "shim", "cli")
OURS = ("affix", "affix_server", "affix_shim", "affix_cli")
GENERATED = ("_pb2.py", "_pb2_grpc.py")
WIRE = ("grpc", "grpc_health", "grpc_reflection", "grpc_status", "google", "affix")
BACKENDS = (
    "affix_server.storage.postgres",
    "affix_server.storage.redis",
    "affix_server.storage.repository",
    "affix_server.storage.task_repository",
    "affix_server.storage.reconciler",
    "asyncpg",
    "redis",
    "hiredis",
)
# Whose files (below ROOT, the first that fits a file's place) may not import what.
FORBIDDEN: list[tuple[str, tuple[str, ...]]] = [
    ("protos/affix", ("affix_server", "affix_shim", "affix_cli")),
    ("server/affix_server", ("affix_shim", "affix_cli")),
    ("shim/affix_shim", ("affix_server", "affix_cli")),
    ("server/affix_server/storage", WIRE),
    ("server/affix_server/storage", ("affix_server.services", "affix_server.interceptors", "affix_server.codec")),
    ("server/affix_server/storage/base.py", BACKENDS),
    ("server/affix_server/services", BACKENDS),
    ("server/affix_server/interceptors", BACKENDS),
    ("server/affix_server/domain", (*WIRE, *BACKENDS)),
    ("server/affix_server/errors.py", (*WIRE, *BACKENDS)),
    ("server/affix_server/validation.py", BACKENDS),
    ("shim/affix_shim/jsonrpc.py", ("aiohttp", "grpc", "google", "affix")),
]
# What the composition root alone may import, beside the package itself.
CONSTRUCTED = ("affix_server.storage.postgres", "affix_server.storage.redis", "affix_server.storage.repository")
# stores.py, with opening.py, is app.py's wiring of storage, apart so that tests of storage use the same.
WIRING = (
    "server/affix_server/app.py",
    "server/affix_server/stores.py",
    "server/affix_server/opening.py",
    "cli/affix_cli",
)
CONSTRUCTORS = (*WIRING, "server/affix_server/storage")


def _files() -> Iterator[Path]:
    for source in SOURCES:
        for path in sorted((ROOT / source).rglob("*.py")):
            if not path.name.endswith(GENERATED):
                yield path


def _named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in the file; `from a import b` counts as both a and a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{_named(path)}: a relative import"
            assert node.module is not None
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def _within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _breaches(path: Path, packages: tuple[str, ...]) -> list[str]:
    return [f"{_named(path)} imports {name}" for name in sorted(_imports(path)) if _within(name, packages)]


def _is_below(path: Path, place: str) -> bool:
    return path == ROOT / place or ROOT / place in path.parents


@pytest.mark.parametrize(("place", "packages"), FORBIDDEN)
def test_nobody_imports_what_is_not_theirs(place: str, packages: tuple[str, ...]) -> None:
    files = [path for path in _files() if _is_below(path, place)]
    assert files, f"nothing at {place}"
    assert [breach for path in files for breach in _breaches(path, packages)] == []


def test_only_the_composition_root_knows_the_stores() -> None:
    others = [path for path in _files() if not any(_is_below(path, place) for place in CONSTRUCTORS)]
    assert [breach for path in others for breach in _breaches(path, CONSTRUCTED)] == []


def test_only_the_wiring_knows_the_wiring() -> None:
    others = [path for path in _files() if not any(_is_below(path, place) for place in WIRING)]
    assert [breach for path in others for breach in _breaches(path, ("affix_server.app", "affix_server.stores"))] == []


def test_the_stubs_import_nothing_of_ours_but_stubs() -> None:
    for path in sorted((ROOT / "protos").rglob("*_pb2*.py")):
        ours = [name for name in _imports(path) if _within(name, OURS)]
        assert all(_within(name, ("affix.v1",)) for name in ours), path


def test_the_shim_command_runs_without_the_server() -> None:
    assert _breaches(ROOT / "cli/affix_cli/shim.py", ("affix_server",)) == []


def test_no_file_is_longer_than_300_lines() -> None:
    checked = [*_files(), *(path for place in ("tests", "bench") for path in sorted((ROOT / place).rglob("*.py")))]
    lengths = {_named(path): len(path.read_text().splitlines()) for path in checked}
    assert {name: length for name, length in lengths.items() if length > 300} == {}


def test_no_module_is_named_for_nothing() -> None:
    vague = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc"}
    modules = [path for path in [*_files(), *(ROOT / "tests").rglob("*.py")] if vague & {path.stem, path.parent.name}]
    assert modules == []
