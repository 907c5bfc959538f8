"""The reference pages as data: every JSON block with its heading, and how an answer is compared with one."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness.samples import ATTACHMENT_ID, TIME

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("AFFIX_SHARED") or REPOSITORY.parent / "shared")
PAGES = ("create_attachment", "get_attachment", "list_attachments", "delete_attachment")
TASK = "t-1234567890"
# Whoever created what the pages show.
INSTANCE = "instance-1"
_SECTION = re.compile(r"^#+ (?P<heading>[^\n]+)$|^```json\n(?P<block>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A JSON block of a page: the heading above it, its text as it is written."""

    heading: str
    text: str

    @property
    def value(self) -> Any:
        return json.loads(self.text)


def blocks(page: str) -> list[Block]:
    """Every JSON block of a page in order. Fails when the page does not exist."""
    text = (SHARED / "spec" / f"{page}.md").read_text()
    found, heading = [], ""
    for match in _SECTION.finditer(text):
        heading = match["heading"] or heading
        if match["block"] is not None:
            found.append(Block(heading, match["block"]))
    return found


def block(page: str, heading: str) -> Block:
    """The one JSON block under a heading."""
    (found,) = (each for each in blocks(page) if each.heading == heading)
    return found


def agrees(documented: Any, actual: Any, at: str = "$") -> None:
    """Assert that an answer is the documented one field for field; ids and times only have the same form."""
    if isinstance(documented, dict):
        assert isinstance(actual, dict), at
        extra = {"reason"} if at.endswith(".error.data") else set()
        assert documented.keys() <= actual.keys() <= documented.keys() | extra, f"{at}: {sorted(actual)}"
        for name, value in documented.items():
            agrees(value, actual[name], f"{at}.{name}")
    elif isinstance(documented, list):
        assert isinstance(actual, list), at
        assert len(documented) == len(actual), at
        for number, value in enumerate(documented):
            agrees(value, actual[number], f"{at}[{number}]")
    elif at.endswith(".timestamp"):
        assert type(actual) is int, at
    elif isinstance(documented, str) and (form := _form(documented)):
        assert isinstance(actual, str), at
        assert form.fullmatch(actual), f"{at}: {actual}"
    else:
        assert type(actual) is type(documented), at
        assert actual == documented, f"{at}: {actual!r} instead of {documented!r}"


def _form(text: str) -> re.Pattern[str] | None:
    """The pattern of which a documented string is an example, if it is an id or a time."""
    return next((form for form in (ATTACHMENT_ID, TIME) if form.fullmatch(text)), None)
