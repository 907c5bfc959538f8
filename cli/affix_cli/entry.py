"""Where the `affix` command begins: says plainly what is missing where only the typed client is installed."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command; exit code 2 and one line where its packages are not installed."""
    try:
        from affix_cli.main import main as run  # noqa: PLC0415 - what it needs may not be there
    except ModuleNotFoundError as missing:
        if missing.name != "typer":
            raise
        sys.stderr.write("affix: the command needs an extra: pip install 'affix[server]', [shim] or [embedded]\n")
        sys.exit(2)
    run()
