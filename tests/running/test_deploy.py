"""What is under deploy/, as far as it can be judged without systemd and Docker running."""

from __future__ import annotations

import re
import shutil
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml
from typer.main import get_command

from affix_cli.main import app
from affix_server.config import Settings
from tests.harness.processes import AFFIX

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "deploy/systemd/affix.service"
DOCKERFILE = ROOT / "deploy/docker/Dockerfile"
COMPOSE = ROOT / "deploy/docker/compose.yaml"
COMMANDS = set(getattr(get_command(app), "commands", ()))
VARIABLES = {f"AFFIX_{name.upper()}" for name in Settings.model_fields}


def _unit() -> dict[str, list[str]]:
    """The settings of the unit; one may be there several times."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def test_the_unit_is_what_systemd_takes(tmp_path: Path) -> None:
    unit = _unit()
    assert unit["Type"] == ["notify"]
    for command in (*unit["ExecStartPre"], *unit["ExecStart"]):
        assert re.fullmatch(r"/opt/affix/bin/affix (\S+)", command)
        assert command.split()[1] in COMMANDS
    fields = Settings.model_fields
    stopping = fields["drain_pause_seconds"].default + fields["drain_seconds"].default
    assert int(unit["TimeoutStopSec"][0]) > 2 * stopping
    analyze = shutil.which("systemd-analyze")
    if analyze is not None:  # where it is not, what it says cannot be asked
        verified = tmp_path / UNIT.name
        verified.write_text(UNIT.read_text().replace("/opt/affix/bin/affix", str(AFFIX)))
        done = subprocess.run([analyze, "verify", verified], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, [line for line in done.stderr.splitlines() if UNIT.name in line]) == (0, [])


def _instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE))
    return [(line.split()[0], line.split(None, 1)[1]) for line in text.splitlines() if line.strip()]


def test_the_image_copies_what_is_there_and_sent_to_docker() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for instruction, arguments in _instructions():
        if instruction != "COPY" or arguments.startswith("--from"):
            continue
        for source in arguments.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert any(fnmatch(source, pattern) for pattern in allowed), source


def test_the_image_runs_as_nobody_in_particular_and_says_how_it_is() -> None:
    instructions = _instructions()
    last_stage = instructions[max(index for index, (name, _) in enumerate(instructions) if name == "FROM") :]
    names = dict(last_stage)
    assert names["USER"].isdecimal()
    assert int(names["USER"]) > 0
    assert "/readyz" in names["HEALTHCHECK"]
    assert (names["ENTRYPOINT"], names["CMD"]) == ('["affix"]', '["serve"]')
    installs = [arguments for name, arguments in instructions if name == "RUN" and "pip install" in arguments]
    assert "--require-hashes --requirement locks/server.txt" in installs[0]
    for name, image in instructions:
        assert name != "FROM" or ":" in image, f"{image} is not pinned"


def test_the_services_of_compose_fit_together() -> None:
    compose: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    services: dict[str, dict[str, Any]] = compose["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] in {"service_healthy", "service_completed_successfully"}
            assert how["condition"] != "service_healthy" or "healthcheck" in services[other], name
        for volume in service.get("volumes", ()):
            assert volume.partition(":")[0] in compose["volumes"]
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), "what has no TLS is for this machine"
        variables = set(service.get("environment", ()))
        assert {each for each in variables if each.startswith("AFFIX_")} <= VARIABLES
    ours = [service for service in services.values() if service["image"] == "affix"]
    assert {service["command"][0] for service in ours} <= COMMANDS
    for service in ours:
        assert (ROOT / service["build"]["dockerfile"]).exists()
        assert (COMPOSE.parent / service["build"]["context"]).resolve() == ROOT
    assert not re.search(r"PASSWORD: [^$]", COMPOSE.read_text()), "a password has no place in a repository"
