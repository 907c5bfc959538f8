"""What is installed is what is locked, what is locked fits what is asked for, and its licences are listed."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
LOCKS = {"server": ("server", "shim"), "dev": ("server", "shim", "embedded", "dev")}
_PIN = re.compile(r"^(?P<name>[a-z0-9._-]+)==(?P<version>\S+)(?: ; (?P<marker>[^\\]+))? \\$")


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _locked(lock: str) -> dict[str, str]:
    """The versions of a lock; every one must come with hashes."""
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?=\S)", (ROOT / f"locks/{lock}.txt").read_text().strip()):
        first, *rest = entry.splitlines()
        pin = _PIN.match(first)
        assert pin, first
        assert rest
        assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?", line) for line in rest), pin["name"]
        found[_canonical(pin["name"])] = pin["version"]
    return found


def _asked(extra: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = [*project["dependencies"], *project["optional-dependencies"][extra]]
    return [requirement for requirement in map(Requirement, texts) if requirement.name != "affix"]


@pytest.mark.parametrize("lock", LOCKS)
def test_what_is_locked_is_what_is_asked_for(lock: str) -> None:
    locked = _locked(lock)
    for extra in LOCKS[lock]:
        for requirement in _asked(extra):
            version = locked.get(_canonical(requirement.name))
            assert version is not None, f"{requirement.name} is not in locks/{lock}.txt: make lock"
            assert requirement.specifier.contains(version), f"{requirement} is locked at {version}: make lock"


def test_both_locks_have_the_same_versions() -> None:
    every, server = _locked("dev"), _locked("server")
    assert {name: every.get(name) for name in server} == server


def test_what_is_installed_is_what_is_locked() -> None:
    locked = _locked("dev")
    installed = {_canonical(each.name): each.version for each in metadata.distributions()}
    for installer in ("pip", "setuptools"):  # they do the installing, and are the interpreter's
        locked.pop(installer, None)
    different = {name: installed[name] for name, version in locked.items() if installed.get(name, version) != version}
    assert different == {}


@pytest.mark.parametrize("path", ["locks/server.txt", "locks/dev.txt", "pyproject.toml", "Makefile", ".ci/run"])
def test_no_registry_is_named(path: str) -> None:
    assert "--index-url" not in (ROOT / path).read_text()
    assert "://" not in re.sub(r"#.*", "", (ROOT / path).read_text())


def test_the_licences_are_listed() -> None:
    done = subprocess.run([sys.executable, ROOT / "locks/licences.py", "--check"], timeout=60, check=False)
    assert done.returncode == 0, "docs/licences.md is not what is installed: python locks/licences.py"


def test_every_licence_is_known_and_permissive() -> None:
    rows = re.findall(r"^\| ([\w.-]+) \| (.+?) \| ", (ROOT / "docs/licences.md").read_text(), re.MULTILINE)
    listed = {name: licence for name, licence in rows if name not in {"package", "---"}}
    assert len(listed) > 30
    permissive = re.compile(r"MIT|BSD|Apache|ISC|PSF|Python Software Foundation|PostgreSQL|MPL")
    assert {name: licence for name, licence in listed.items() if not permissive.search(licence)} == {}
