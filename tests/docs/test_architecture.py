"""docs/architecture.md: what it names is there, and nothing is there that it does not name."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from affix_server.domain import AttachmentType, Ref
from affix_server.rate_limits import KEY_PREFIX
from affix_server.storage.redis import names
from tests.docs.pages import ROOT, read, table

PAGE = "docs/architecture.md"
OURS = ("affix", "affix_server", "affix_shim", "affix_cli")
FOLDERS = {name: ROOT / place / name for name, place in zip(OURS, ("protos", "server", "shim", "cli"), strict=True)}
# Where the text looks for the files that it calls by their last names.
BASES = (
    "",
    "server/affix_server",
    "server/affix_server/storage",
    "server/affix_server/storage/redis",
    "server/affix_server/storage/redis/lua",
    "server/affix_server/storage/postgres",
    "shim/affix_shim",
)


def _mapped() -> list[Path]:
    return [ROOT / path.strip() for paths, _ in table(PAGE, "path", "what") for path in paths.split(",")]


def test_the_map_leads_to_every_file() -> None:
    mapped = _mapped()
    assert [str(path) for path in mapped if not path.exists()] == []
    sources = [path for folder in FOLDERS.values() for path in folder.rglob("*.py")]
    lost = [path for path in sources if not any(path == place or place in path.parents for place in mapped)]
    assert [str(path.relative_to(ROOT)) for path in lost if path.name != "__init__.py"] == []


def test_the_map_names_every_part_of_the_server() -> None:
    unnamed = {path.name for path in FOLDERS["affix_server"].iterdir() if path not in _mapped()}
    assert unnamed <= {"__init__.py", "__pycache__", "py.typed"}


def test_every_file_named_in_the_text_exists() -> None:
    named = set(re.findall(r"[\w/]+\.(?:py|lua|sql)\b", read(PAGE)))
    assert len(named) > 20
    assert [name for name in sorted(named) if not any((ROOT / base / name).is_file() for base in BASES)] == []


def test_the_keys_in_redis_are_so_named() -> None:
    ref, event = Ref("{id}", "{key}"), "{event}"
    of_type = names.index("{id}", AttachmentType.JSON).replace("json", "{type}")
    assert [key for key, _, _ in table(PAGE, "key", "type", "what")] == [
        names.task("{id}"),
        names.entry(ref),
        names.index("{id}"),
        of_type,
        names.expiring("{id}"),
        names.pending("{id}"),
        names.EXPIRING,
        names.INTENTS,
        names.WRITING,
        names.HEARTBEAT,
        names.PROBE,
        names.COUNTS,
        names.COUNTS_BY_TYPE,
        names.counted("{process}"),
        f"{KEY_PREFIX}:{{…}}",
        names.stream(event),
        names.WATCHED,
    ]


def test_each_package_imports_what_the_table_says() -> None:
    rows = dict(table(PAGE, "package", "imports of ours"))
    assert list(rows) == list(OURS)
    for package, said in rows.items():
        allowed = set(OURS) if said.startswith("all three") else {package, *re.findall(r"affix\w*", said)}
        assert _imported(FOLDERS[package]) <= allowed, package


def _imported(folder: Path) -> set[str]:
    found: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module)
    return {name.partition(".")[0] for name in found} & set(OURS)
