"""The built wheel, and docs/client.py with nothing else installed: what someone who only calls the service has."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.docs.pages import ROOT
from tests.harness.processes import environment
from tests.harness.samples import ATTACHMENT_ID, TASK_ID
from tests.harness.service import Service

PACKAGES = {
    "affix": ROOT / "protos/affix",
    "affix_server": ROOT / "server/affix_server",
    "affix_shim": ROOT / "shim/affix_shim",
    "affix_cli": ROOT / "cli/affix_cli",
}
CLIENT = ROOT / "docs/client.py"
SECONDS = 100


def _run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a command to its successful end and return what it printed."""
    done = subprocess.run(
        command, cwd=cwd, env=environment({}), capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the working tree with the build backend that is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def base_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a virtual environment that holds the base install, and not even pip."""
    folder = tmp_path_factory.mktemp("base")
    _run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin/python"
    _run(sys.executable, "-m", "pip", "--python", python, "install", wheel)
    return python


def _sources(package: Path) -> Iterator[Path]:
    return (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def test_the_wheel_holds_all_of_the_four_packages(wheel: Path) -> None:
    packed = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == {
        f"{name}/{path.relative_to(package)}" for name, package in PACKAGES.items() for path in _sources(package)
    }
    assert {f"{name}/py.typed" for name in PACKAGES} <= packed
    assert {".lua", ".sql", ".pyi", ".proto"} <= {Path(name).suffix for name in packed}


def test_the_wheel_has_the_command(wheel: Path) -> None:
    (entry_points,) = (name for name in ZipFile(wheel).namelist() if name.endswith("/entry_points.txt"))
    assert "affix = affix_cli.entry:main" in ZipFile(wheel).read(entry_points).decode()


def test_the_base_install_is_small(base_python: Path) -> None:
    listed = _run(sys.executable, "-m", "pip", "--python", base_python, "list", "--format", "freeze")
    assert {line.partition("==")[0] for line in listed.split()} == {"affix", "grpcio", "protobuf", "typing_extensions"}


def test_the_client_needs_the_base_install_only(base_python: Path, server: Service, tmp_path: Path) -> None:
    # Isolated (-I), and elsewhere: nothing of the repository but the file itself is in reach.
    printed = _run(base_python, "-I", CLIENT, server.grpc_address, cwd=tmp_path)
    expected = (
        rf"{ATTACHMENT_ID.pattern} notes '## Findings\\n\\nNone yet\.'\n"
        rf"NOT_FOUND Attachment with key 'summary' not found for task {TASK_ID.pattern}\n"
    )
    assert re.fullmatch(expected, printed), printed


def test_the_client_loads_nothing_of_the_service(base_python: Path, server: Service) -> None:
    client = f"import runpy, sys; sys.argv = ['client.py', {server.grpc_address!r}]; runpy.run_path({str(CLIENT)!r})"
    loaded = _run(base_python, "-I", "-c", f"{client}; print({{name.partition('.')[0] for name in sys.modules}})")
    assert "'affix'" in loaded
    assert [name for name in ("affix_server", "affix_shim", "affix_cli") if f"'{name}'" in loaded] == []


def test_the_client_is_typed_and_short() -> None:
    _run(sys.executable, "-m", "mypy", "--strict", CLIENT)
    assert len(CLIENT.read_text().splitlines()) <= 30


def test_the_command_says_plainly_what_the_base_install_lacks(base_python: Path) -> None:
    done = subprocess.run(
        [base_python.parent / "affix", "--version"], env=environment({}), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "affix: the command needs an extra: pip install 'affix[server]', [shim] or [embedded]\n"
