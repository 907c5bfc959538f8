"""`python -m bench`: Affix beside its baselines (`make bench`), or what things cost (`make bench-costs`)."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Coroutine

from bench import chart, tools
from bench.comparing import Spread
from bench.comparison import Comparison, say
from bench.costs import Measurement, growth, measure, process
from bench.goals import outcomes
from bench.processes import ROOT
from bench.report import as_data, case_table, goal_table, load, machine, save

COSTS: dict[str, Measurement] = {
    "list pages": growth.lists,
    "create callers": growth.creates,
    "workers": growth.workers,
    "start": process.start,
    "events": process.events,
    "memory": process.memory,
}
ROUNDS, SECONDS = 3, 2


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("compare", "costs"), default="compare")
    parser.add_argument(
        "--only", default="", metavar="NAME", help="only cases, or costs, with this in their name; nothing is kept"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often the subjects take turns")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="how long a turn is")
    return parser.parse_args()


def _growth() -> Spread | None:
    """Return what `make bench-costs` has found, if it was run on the code that is measured now."""
    costs = load("costs")
    if costs is None or costs["machine"]["commit"] != machine()["commit"]:
        return None
    return next((Spread(**cost["figure"]) for cost in costs["memory"] if cost["of"] == process.GROWTH), None)


async def _compare(arguments: argparse.Namespace, found: tools.Tools) -> int:
    comparison = Comparison(found, rounds=arguments.rounds, seconds=arguments.seconds, only=arguments.only)
    began = time.monotonic()
    samples = await comparison.run()
    results = outcomes(samples, _growth())
    lines = [line for name, case in samples.items() for line in case_table(comparison.titles[name], case)]
    sys.stdout.write("\n".join([*lines, *goal_table(results), ""]))
    if not arguments.only:
        data = as_data(samples, comparison.titles, results)
        save(
            "comparison",
            {
                "rounds": arguments.rounds,
                "seconds": arguments.seconds,
                "generators": comparison.generators,
                "failures": comparison.failures,
                **data,
            },
        )
        chart.CHART.write_text(chart.drawn(samples))
        say(f"kept in bench/results.json and {chart.CHART.relative_to(ROOT)}")
    say(f"took {time.monotonic() - began:.0f} s")
    return 1 if comparison.failures else 0


async def _costs(arguments: argparse.Namespace, found: tools.Tools) -> int:
    await measure(COSTS, found, only=arguments.only, rounds=arguments.rounds, seconds=arguments.seconds)
    return 0


async def _until_stopped(work: Coroutine[object, object, int]) -> int:
    """Do the work; a signal cancels it, so that whatever was started is stopped."""
    task = asyncio.create_task(work)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


def main() -> int:
    """Run; exit code 1 when answers were wrong, 2 when a load generator is missing, 130 when stopped."""
    arguments = _arguments()
    try:
        found = tools.find()
    except tools.MissingToolError as missing:
        say(str(missing))
        return 2
    try:
        return asyncio.run(
            _until_stopped(_compare(arguments, found) if arguments.what == "compare" else _costs(arguments, found))
        )
    except asyncio.CancelledError:
        say("stopped")
        return 130


if __name__ == "__main__":
    sys.exit(main())
