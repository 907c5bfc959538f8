"""Plays cases named on stdin, one a line, on stores of its own; prints each flaw as a line of JSON, null for none.

A mutation changes a whole process, so a process plays one case at a time; but most of a case is waiting, so
several processes at once take little longer than one. By hand: `echo NAME | python -m tests.resilience.worker`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from tests.resilience.cases import EVERYTHING
from tests.resilience.world import open_stores


async def _main() -> None:
    # What else is printed, such as the servers' logs, goes to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    async with open_stores() as stores:
        while name := (await asyncio.to_thread(sys.stdin.readline)).strip():
            sys.stderr.write(f"=== {name}\n")
            answers.write(json.dumps(await EVERYTHING[name].flaw(stores)) + "\n")
            answers.flush()


if __name__ == "__main__":
    asyncio.run(_main())
