"""Looks up what is known of the versions that are locked: 1 for vulnerabilities, 0 for advisories out of reach."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCKED = Path(__file__).resolve().parent / "server.txt"
SECONDS = 60


def main() -> int:
    """Print what was found, in a line each, and return the exit code."""
    command = ["-m", "pip_audit", "--requirement", str(LOCKED), "--disable-pip", "--require-hashes", "--format", "json"]
    try:
        done = subprocess.run(
            [sys.executable, *command, "--progress-spinner", "off", "--timeout", "10"],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        found: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        print("pip-audit: the advisories cannot be reached from here; nothing was looked up")
        return 0
    known = [
        f"pip-audit: {package['name']} {package['version']}: {fault['id']}, mended in {fault['fix_versions']}"
        for package in found["dependencies"]
        for fault in package.get("vulns", ())
    ]
    print("\n".join(known) or f"pip-audit: nothing is known against {len(found['dependencies'])} packages")
    return 1 if known else 0


if __name__ == "__main__":
    sys.exit(main())
