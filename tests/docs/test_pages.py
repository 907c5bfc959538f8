"""Every page: its commands print what it shows, and its links lead somewhere."""

from __future__ import annotations

import shutil

import aiohttp
import pytest

from tests.docs.commands import addressed, run, send, shown_as
from tests.docs.pages import PAGES, ROOT, anchors, blocks, examples, links
from tests.harness.service import Service

WITH_COMMANDS = [page for page in PAGES if any(example.output is not None for example in examples(page))]
# The requests are always sent without curl, so that they are checked on a machine that has none;
# where curl is there, the commands are run a second time as they are written.
CURL = ["sent by aiohttp", *(["run by curl"] if shutil.which("curl") else [])]


@pytest.mark.parametrize("curl", CURL)
@pytest.mark.parametrize("page", WITH_COMMANDS)
@pytest.mark.usefixtures("no_task")
async def test_every_command_prints_what_is_shown(
    page: str, curl: str, server: Service, http: aiohttp.ClientSession
) -> None:
    for example in examples(page):
        if example.output is None:
            continue
        command = addressed(example.command, server)
        by_hand = command.startswith("curl ") and curl == "sent by aiohttp"
        printed = await (send(command, http) if by_hand else run(command))
        if not shown_as(example.output.rstrip("\n")).fullmatch(printed.rstrip("\n")):
            pytest.fail(f"{page}: {command}\nshown:\n{example.output}\nprinted:\n{printed}", pytrace=False)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    for target, fragment in links(page):
        assert (ROOT / target).exists(), target
        assert not fragment or fragment in anchors(target), f"{target}#{fragment}"


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_its_language(page: str) -> None:
    assert {block.language for block in blocks(page)} <= {"sh", "json", "text", "python"}
