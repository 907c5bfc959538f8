"""The documentation as data: its commands with their output, its tables, its links."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")))

_FENCED = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$\n?", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block; `follows` says that nothing but white space stands between it and the block before."""

    language: str
    text: str
    follows: bool


@dataclass(frozen=True)
class Example:
    """A command, and what the page shows that it prints; None when it shows nothing."""

    command: str
    output: str | None


def read(page: str) -> str:
    return (ROOT / page).read_text()


def blocks(page: str) -> Iterator[Block]:
    text, end = read(page), 0
    for found in _FENCED.finditer(text):
        yield Block(found["language"], found["text"], follows=not text[end : found.start()].strip())
        end = found.end()


def examples(page: str) -> list[Example]:
    """Every command block (`sh`) in order, with the block right after it as its output."""
    found = list(blocks(page))
    made = []
    for block, after in itertools.zip_longest(found, found[1:]):
        if block.language == "sh":
            shown = after.text if after is not None and after.follows and after.language != "sh" else None
            made.append(Example(block.text.rstrip("\n"), shown))
    return made


def table(page: str, *head: str) -> list[list[str]]:
    """The rows of the one table with this head, cells without the marks of code."""
    lines = [_cells(line) if line.startswith("|") else None for line in read(page).splitlines()]
    assert lines.count(list(head)) == 1, f"{page} has {lines.count(list(head))} tables headed {head}"
    rows = []
    for row in lines[lines.index(list(head)) + 2 :]:
        if row is None:
            break
        rows.append(row)
    return rows


def links(page: str) -> list[tuple[str, str]]:
    """The targets of all relative links, each a path from the root (the page itself for `#…`) and a fragment."""
    prose = _FENCED.sub("", read(page))
    targets = [found["target"] for found in _LINK.finditer(prose) if "://" not in found["target"]]
    split = [target.partition("#") for target in targets]
    return [(_resolved(page, path) if path else page, fragment) for path, _, fragment in split]


def anchors(page: str) -> set[str]:
    """The fragments that lead to a heading, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", _FENCED.sub("", read(page)), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _resolved(page: str, path: str) -> str:
    return os.path.relpath((ROOT / page).parent / path, ROOT)


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("`", "").replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
