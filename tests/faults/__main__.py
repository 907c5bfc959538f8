"""`python -m tests.faults --seed S --seconds N`: replay a seed, print the table, end with 1 on a violation."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.cluster import open_cluster
from tests.faults.injections import INJECTIONS
from tests.faults.report import Report
from tests.faults.run import Plan, Run, known_faults


def main() -> int:
    """Run as the command line says; returns the exit code."""
    options = _options()
    try:
        names = known_faults(options.only.split(","))
    except ValueError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command prints
        return 2
    plan = Plan(options.seed, options.seconds, names, clients=options.clients)
    folder = Path(tempfile.mkdtemp(prefix="affix-faults-"))
    report = asyncio.run(_run(plan, folder, options.servers))
    print(f"\n{report}")  # noqa: T201 - as above
    if report.violations:
        print(f"\nlogs: {folder}")  # noqa: T201 - as above
        return 1
    shutil.rmtree(folder)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="what decides on everything")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long faults are struck")
    parser.add_argument(
        "--only", default="all", help=f"faults, or redis, postgres, server, all; there are {', '.join(INJECTIONS)}"
    )
    parser.add_argument("--servers", type=int, default=2)
    parser.add_argument("--clients", type=int, default=8)
    return parser.parse_args()


async def _run(plan: Plan, folder: Path, servers: int) -> Report:
    begun = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - begun:7.1f} s  {text}", flush=True)  # noqa: T201 - as above

    say(f"seed {plan.seed}, {plan.seconds:g} s, {servers} servers, {plan.clients} clients, {', '.join(plan.faults)}")
    async with open_cluster(folder, servers=servers, seed=plan.seed) as cluster:
        return await Run(cluster, plan, say=say).run()


if __name__ == "__main__":
    sys.exit(main())
