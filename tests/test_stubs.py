"""The committed stubs are what the .proto files make."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_stubs_are_fresh() -> None:
    check = [sys.executable, str(ROOT / "protos/generate.py"), "--check"]
    outcome = subprocess.run(check, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
