"""Lists the licence of everything that an installation brings, in docs/licences.md; with --check, only compares."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/licences.md"
HEAD = """# Licences of what Affix depends on

Everything that `pip install 'affix[embedded]'` brings beside Affix, as each package states its licence itself; the
wheels of the two embedded stores contain PostgreSQL and Valkey. Made by `locks/licences.py`; `make lock` makes it anew.

| package | licence | where |
| --- | --- | --- |
"""
_CLASSIFIER = "License :: OSI Approved :: "


def direct(extra: str) -> set[str]:
    """Return all packages that an extra of Affix brings, by the metadata of what is installed."""
    found: set[str] = set()
    waiting = [("affix", frozenset({extra}))]
    seen = set(waiting)
    while waiting:
        name, extras = waiting.pop()
        for text in metadata.requires(name) or ():
            requirement = Requirement(text)
            if not _wanted(requirement, extras):
                continue
            key = (_canonical(requirement.name), frozenset(requirement.extras))
            if key not in seen:
                seen.add(key)
                waiting.append(key)
            found.add(key[0])
    return found - {"affix"}


def _wanted(requirement: Requirement, extras: frozenset[str]) -> bool:
    environment = {name: str(value) for name, value in default_environment().items()}
    marker = requirement.marker
    return marker is None or any(marker.evaluate({**environment, "extra": extra}) for extra in (*extras, ""))


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def licence(package: str) -> str:
    """Return what a package says of its licence, in few words."""
    about = metadata.metadata(package)
    stated: list[str] = about.get_all("License-Expression") or []
    classified = [text.removeprefix(_CLASSIFIER) for text in about.get_all("Classifier") or () if _CLASSIFIER in text]
    first_lines = [text.strip().split("\n")[0] for text in about.get_all("License") or ()]
    return ", ".join(stated or classified or first_lines) or "not stated"


def page() -> str:
    """Return the text of the page."""
    everywhere, server, embedded = direct(""), direct("cli"), direct("embedded")
    rows = []
    for package in sorted(everywhere | server | embedded):
        where = "client" if package in everywhere else "service" if package in server else "`affix up`"
        rows.append(f"| {package} | {licence(package)} | {where} |")
    return HEAD + "\n".join(rows) + "\n"


def main() -> int:
    """Write the page, or compare it; return the exit code."""
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.read_text() == page() else 1
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
