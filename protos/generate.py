"""Regenerate the Python stubs from `protos/affix/v1/*.proto`; `--check` only compares.

`python protos/generate.py` writes `*_pb2.py`, `*_pb2.pyi`, `*_pb2_grpc.py` and
`*_pb2_grpc.pyi` beside the .proto files, so that paths mirror imports.
`--check` generates into a temporary folder and exits with 1 if any committed
file differs, is missing or is left over.
"""

from __future__ import annotations

import importlib.resources
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
PATTERNS = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")


def generate(out: Path) -> None:
    """Write the stubs of every .proto file below `out`."""
    sources = sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.proto"))
    wellknown = importlib.resources.files("grpc_tools") / "_proto"
    # The mypy plugins are found beside this interpreter, whatever PATH says.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    command = [
        *(sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT}", f"-I{wellknown}"),
        *(f"--python_out={out}", f"--grpc_python_out={out}"),
        *(f"--mypy_out=quiet:{out}", f"--mypy_grpc_out=quiet:{out}"),
        *sources,
    ]
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "PATH": path})


def stubs(below: Path) -> dict[str, str]:
    """Return the text of every generated file below a folder, by relative path."""
    found = (path for pattern in PATTERNS for path in below.rglob(pattern))
    return {str(path.relative_to(below)): path.read_text() for path in found}


def main() -> int:
    """Generate, or with --check compare; return the exit code."""
    if sys.argv[1:] == ["--check"]:
        with tempfile.TemporaryDirectory() as folder:
            generate(Path(folder))
            fresh, committed = stubs(Path(folder)), stubs(ROOT)
        stale = sorted(name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))
        for name in stale:
            print(f"protos/{name} is not what protos/generate.py makes", file=sys.stderr)
        return 1 if stale else 0
    if sys.argv[1:]:
        print(__doc__, file=sys.stderr)
        return 2
    generate(ROOT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
